/** Access tokens over a real store and the real addon; of the plane, what it was told. */
import { create, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readU64le, u64le } from '../../src/base/bytes.js';
import type { Handle, NativeAddon } from '../../src/crypto/addon.js';
import type { Access } from '../../src/operations/access.js';
import type { Caller, OperationContext } from '../../src/operations/context.js';
import { rotateTokenKey } from '../../src/operations/tokenKeys.js';
import { createToken, listTokens, revokeToken, sweepTokens } from '../../src/operations/tokens.js';
import { openSession, TokenSessions, type OpenedSession } from '../../src/operations/tokenSessions.js';
import { TokenRejected } from '../../src/protocol/accessTokenFault.js';
import type { CreateTokenResponse } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import type { SqliteStore } from '../../src/store/sqlite.js';
import { Fixture, silent, type TestClock } from '../store/fixture.js';

const CALLS = { CreateToken: createToken, ListTokens: listTokens, RevokeToken: revokeToken, RotateTokenKey: rotateTokenKey };
type Name = keyof typeof CALLS;
type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;

export interface Issued {
  readonly chain: string;
  readonly seed: Uint8Array;
  readonly id: string;
}

/** What the plane was told, in order. */
export class ToldPlane {
  readonly told: string[] = [];
  readonly carried = new Map<number, number>();
  onSet: () => void = () => undefined;
  setIdentity(session: number, identity: number, lifeMs: number): void {
    this.told.push(`set ${session} ${identity} ${lifeMs}`);
    this.carried.set(session, identity);
    this.onSet();
  }
  endIdentity(identity: number): void {
    this.told.push(`end ${identity}`);
    for (const [session, carried] of this.carried) if (carried === identity) this.carried.delete(session);
  }
  carriedIdentities(): ReadonlySet<number> {
    return new Set(this.carried.values());
  }
}

export class TokenOperations {
  readonly store: Fixture;
  readonly plane = new ToldPlane();
  opened!: SqliteStore;
  context!: OperationContext;
  #once = 0;
  readonly #baseline: number;

  constructor(readonly addon: NativeAddon, readonly storeId = 'a'.repeat(32)) {
    this.#baseline = addon.secretCount();
    this.store = new Fixture(addon);
  }

  get clock(): TestClock { return this.store.clock; }
  get tokens(): TokenSessions { return this.context.access.tokens; }

  async open(): Promise<this> {
    this.opened = await this.store.open();
    const base = { addon: this.addon, store: this.opened, ring: { ...this.store.keys.ring, storeId: this.storeId }, clock: this.clock, log: silent, domain: 'default' };
    const tokens = await TokenSessions.open(base, this.plane);
    const access = { tokens, domains: new Set(['default', 'payments']) } as unknown as Access;
    this.context = { ...base, access, addDomain: () => Promise.resolve([]), onKeyChanged: () => undefined };
    return this;
  }

  /** As a daemon that starts again: nothing but the file stays. */
  async restart(): Promise<void> {
    await this.opened.close();
    await this.open();
  }

  close(): Promise<void> { return this.store.close(); }

  caller(uid = 1000, session = 1): Caller {
    return { uid, gid: uid, pid: 1, session, listener: 1, principal: `uid:${uid}`, holder: `uid:${uid}`, app: '', socket: '', epoch: 1, token: null };
  }

  key(): Uint8Array { return new TextEncoder().encode(`idempotency-${this.#once++}`.padEnd(20, '.')); }

  call<N extends Name>(name: N, init: Input<N> = {} as Input<N>, who = this.caller()): Promise<MessageShape<(typeof OPERATIONS)[N]['output']>> {
    const request = create(OPERATIONS[name].input as DescMessage, { idempotencyKey: this.key(), ...(init as object) } as never);
    return (CALLS[name] as (c: OperationContext, w: Caller, r: unknown) => Promise<never>)(this.context, who, request);
  }

  /** The secret as whoever asked gets it over the wire; its handle is dropped. */
  taken(response: CreateTokenResponse): Issued {
    const handle = readU64le(response.secret) as Handle;
    // Which seed it is, its public key says: the arena gives no secret to JavaScript.
    const seed = this.#seeds.get(Buffer.from(this.addon.ed25519Public(handle)).toString('hex'));
    this.addon.secretDrop(handle);
    return { chain: response.chain, seed: seed ?? new Uint8Array(0), id: response.info!.id };
  }

  readonly #seeds = new Map<string, Uint8Array>();

  /** The next seed of a token is this one. A test must know it; the daemon never does. */
  async create(init: Input<'CreateToken'> = { principal: 'service:ci' }, seed = crypto.getRandomValues(new Uint8Array(32))): Promise<Issued> {
    return this.taken(await this.withSeed(seed, () => this.call('CreateToken', init)));
  }

  async withSeed<T>(seed: Uint8Array, work: () => Promise<T>): Promise<T> {
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    const x = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({ format: 'jwk' }).x as string;
    this.#seeds.set(Buffer.from(x, 'base64url').toString('hex'), seed);
    const { addon } = this;
    let used = false;
    const secretRandom = (n: number): Handle => {
      if (used) return addon.secretRandom(n);
      used = true;
      return addon.secretFromBytes(Uint8Array.from(seed));
    };
    const before = this.context;
    this.context = { ...before, addon: { ...addon, secretRandom } };
    try {
      return await work();
    } finally {
      this.context = before;
    }
  }

  async openSession({ chain, seed }: Pick<Issued, 'chain' | 'seed'>, who = this.caller(), asked = ''): Promise<OpenedSession> {
    const handle = seed.length === 0 ? 0 : this.addon.secretFromBytes(Uint8Array.from(seed));
    const request = create(OPERATIONS.OpenSession.input, { chain, secret: handle === 0 ? new Uint8Array(0) : u64le(handle) });
    try {
      return await openSession(this.context, who, request, asked);
    } finally {
      if (handle !== 0) this.addon.secretDrop(handle);
    }
  }

  /** 'accepted', or why not; of any other error its code. */
  async reason(token: Pick<Issued, 'chain' | 'seed'>, who = this.caller(), asked = ''): Promise<string> {
    try {
      await this.openSession(token, who, asked);
      return 'accepted';
    } catch (error) {
      return error instanceof TokenRejected ? error.reason : ((error as { code?: string }).code ?? String(error));
    }
  }

  /** Does `work` when the nth read of the token's record has its answer, and before that answer is heard. */
  async whenRead(id: string, nth: number, work: () => Promise<unknown>, meanwhile: () => Promise<unknown>): Promise<void> {
    const before = this.context;
    let reads = 0;
    const get: SqliteStore['get'] = async (name) => {
      const answer = await this.opened.get(name);
      if (name.kind === 'token' && name.id === id && ++reads === nth) {
        this.context = before;
        await work();
      }
      return answer;
    };
    this.context = { ...before, store: Object.assign(Object.create(this.opened) as SqliteStore, { get }) };
    try {
      await meanwhile();
    } finally {
      this.context = before;
    }
    if (reads < nth) throw new Error(`the record was read ${reads} times`);
  }

  sweep(): ReturnType<typeof sweepTokens> { return sweepTokens(this.context); }

  /** Handles beyond the store's own three. */
  handles(): number { return this.addon.secretCount() - this.#baseline - 3; }
}
