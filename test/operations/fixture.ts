/** Operations over a real store and the real addon; the plane is the set of what it would hold. */
import { create, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { u64le } from '../../src/base/bytes.js';
import type { QuorateError } from '../../src/base/errors.js';
import type { Handle, InstalledVersion, NativeAddon, Upcall } from '../../src/crypto/addon.js';
import type { Caller, OperationContext } from '../../src/operations/context.js';
import { perform, prepareGrant, reserveIvs, sweep, type PreparedGrant } from '../../src/operations/operations.js';
import type * as pb from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import type { SqliteStore } from '../../src/store/sqlite.js';
import type { LiveAccess } from '../../src/daemon/access.js';
import type { Journal } from '../../src/operations/journal.js';
import { makeAccess } from '../access.js';
import { Fixture, silent, type TestClock } from '../store/fixture.js';

/** The administrator is 1000. */
export const caller = (uid = 1000, over: Partial<Caller> = {}): Caller => ({
  uid, gid: uid, pid: 1, session: 1, listener: 1, principal: `uid:${uid}`, holder: over.principal ?? `uid:${uid}`, app: '', socket: '', epoch: 1, token: null, ...over,
});

type Output<N extends OperationName> = MessageShape<(typeof OPERATIONS)[N]['output']>;
type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;

export class Operations {
  readonly store: Fixture;
  context!: OperationContext;
  access!: LiveAccess;
  opened!: SqliteStore;
  /** Key ids (hexadecimal) whose plane state was voided, in order. */
  readonly voided: string[] = [];
  baseline = 0;
  /** Nothing is audited unless a test says so. */
  readonly journals: { current?: Journal } = {};
  #once = 0;

  constructor(readonly addon: NativeAddon) {
    this.baseline = addon.secretCount();
    this.store = new Fixture(addon);
  }

  get clock(): TestClock {
    return this.store.clock;
  }

  async open(): Promise<this> {
    this.opened = await this.store.open();
    const { access } = makeAccess(this.addon, { adminUid: 1000, clock: this.clock, plane: false });
    this.access = access;
    const { journals } = this;
    this.context = {
      get journal() { return journals.current; },
      addon: this.addon,
      store: this.opened,
      ring: this.store.keys.ring,
      clock: this.clock,
      log: silent,
      domain: 'default',
      access,
      addDomain: () => Promise.resolve([]),
      onKeyChanged: (id) => void this.voided.push(Buffer.from(id).toString('hex')),
    };
    await access.load(this.context);
    return this;
  }

  /** As a daemon that starts again: nothing but the file stays. */
  async restart(): Promise<void> {
    await this.opened.close();
    await this.open();
  }

  async close(): Promise<void> {
    await this.store.close();
  }

  /** A new idempotency key. */
  key(): Uint8Array {
    return new TextEncoder().encode(`idempotency-${this.#once++}`.padEnd(20, '.'));
  }

  async call<N extends OperationName>(name: N, init: Input<N>, who = caller()): Promise<Output<N>> {
    const request = create(OPERATIONS[name].input as DescMessage, init as never);
    return (await perform(this.context, who, name, request)) as Output<N>;
  }

  async code<N extends OperationName>(name: N, init: Input<N>): Promise<string> {
    return codeOf(this.call(name, init));
  }

  /** A key's view after the fact. */
  async get(key: string): Promise<pb.Key> {
    return (await this.call('GetKey', { key })).key!;
  }

  async create(init: Input<'CreateKey'>): Promise<pb.Key> {
    const made = await this.call('CreateKey', { idempotencyKey: this.key(), ...(init as object) });
    return made.key!;
  }

  /** What a sensitive field holds in the daemon. */
  secret(bytes: Uint8Array): Uint8Array {
    return u64le(this.addon.secretFromBytes(Uint8Array.from(bytes)));
  }

  upcall(method: OperationName, keyRef: string, over: Partial<Upcall> = {}): Upcall {
    return {
      kind: 'grant',
      token: 1,
      listener: 1,
      session: 1,
      peer: 1,
      uid: 1000,
      gid: 1000,
      groups: [],
      domain: '',
      identity: 0,
      unit: '',
      status: 0,
      pid: 1,
      method: OPERATIONS[method].id,
      body: new Uint8Array(0),
      target: false,
      keyRef,
      version: 0,
      keyId: new Uint8Array(16),
      ...over,
    };
  }

  /** Prepares a grant; the installed handles are given to `use`, then dropped as the plane would. */
  async grant<T = PreparedGrant>(
    method: OperationName,
    keyRef: string,
    over: Partial<Upcall> = {},
    use?: (grant: PreparedGrant) => T,
  ): Promise<T | PreparedGrant> {
    const grant = await prepareGrant(this.context, caller(), this.upcall(method, keyRef, over));
    try {
      return use === undefined ? grant : use(grant);
    } finally {
      this.drop(grant.install);
    }
  }

  /** As another caller, who is told the outcome alone. */
  async grantAs(who: Caller, method: OperationName, keyRef: string, use?: (grant: PreparedGrant) => void, over: Partial<Upcall> = {}): Promise<void> {
    const grant = await prepareGrant(this.context, who, this.upcall(method, keyRef, over));
    use?.(grant);
    this.drop(grant.install);
  }

  drop(install: readonly InstalledVersion[]): void {
    for (const { handle } of install) if (handle !== 0) this.addon.secretDrop(handle);
  }

  grantCode(method: OperationName, keyRef: string, over: Partial<Upcall> = {}): Promise<string> {
    return codeOf(this.grant(method, keyRef, over));
  }

  reserve(keyId: Uint8Array, version: number): Promise<number> {
    return reserveIvs(this.context, this.upcall('Encrypt', '', { kind: 'reserve', keyId, version }));
  }

  sweep(): ReturnType<typeof sweep> {
    return sweep(this.context);
  }

  /** Handles beyond the store's own three. */
  handles(): number {
    return this.addon.secretCount() - this.baseline - 3;
  }

  /** The bytes of a secret, by what HMAC makes of them: enough to tell whether two secrets are one. */
  fingerprint(handle: Handle): string {
    return Buffer.from(this.addon.hmac(handle, new Uint8Array([1]))).toString('hex');
  }
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'OK';
  } catch (error) {
    return (error as QuorateError).code ?? String(error);
  }
}
