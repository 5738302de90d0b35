/**
 * What the daemon holds in memory follows what other hosts have written: it is in force here before this host confirms it to anybody. The
 * host's own writes have told of themselves already, and are not read again.
 */
import { fromHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { OperationContext } from '../../operations/context.js';
import { wipeFiles } from '../../operations/idempotent.js';
import { SECRET } from '../../operations/secretRecords.js';
import { secretIdText } from '../../secrets/record.js';
import { SHRED } from '../../operations/shredRecords.js';
import { volatileOf } from '../../operations/volatile.js';
import { RING_BUNDLE } from '../../operations/reseal.js';
import type { RecordName, Store } from '../../store/store.js';
import { ROTATION_RECORD } from '../rotation/record.js';
import type { RingKeys } from './ringKeys.js';

/** What decisions are made from. */
const RULES: ReadonlySet<string> = new Set(['domain', SHRED, 'principal', 'mapping', 'app', 'policy', 'setting']);
const KEYS: ReadonlySet<string> = new Set(['key', 'object']);
const NAMES: ReadonlySet<string> = new Set(['keyName', 'objectGone', 'keyDestruction']);

/** The part of the daemon's Access that follows. */
export interface Followed {
  /** Of these records something has changed; null: of any. */
  follow(names: readonly RecordName[] | null): Promise<void>;
  /** An access token or a PIN was written by another host. */
  tokenChanged(name: RecordName): Promise<void>;
}

const textOf = ({ domain, kind, id }: RecordName): string => JSON.stringify([domain, kind, id]);

/** Writes of this host that are under way: the first revision with such a name is theirs, or they fail. */
export class OwnWrites {
  readonly #awaited = new Map<string, number>();

  /** Returns what to call at its end: the names that were taken for this write's. */
  begin(names: readonly RecordName[]): () => void {
    const texts = names.filter(({ kind }) => RULES.has(kind) || kind === 'clock' || kind === 'token' || kind === 'pin').map(textOf);
    for (const text of texts) this.#awaited.set(text, (this.#awaited.get(text) ?? 0) + 1);
    return () => { for (const text of texts) this.#forget(text); };
  }

  take(name: RecordName): boolean {
    return this.#forget(textOf(name));
  }

  #forget(text: string): boolean {
    const left = this.#awaited.get(text) ?? 0;
    if (left <= 1) this.#awaited.delete(text);
    else this.#awaited.set(text, left - 1);
    return left > 0;
  }
}

export class Follower {
  readonly own = new OwnWrites();
  readonly #ringKeys: RingKeys;
  /** Where the ring's rotation stands has changed. */
  readonly #onRotation: (store: Store) => Promise<void>;
  /** Domains are shredded: whether this host has lost a key by it. */
  readonly #onShred: (store: Store) => Promise<boolean>;
  #context: OperationContext | null = null;
  #access: Followed | null = null;
  /** What came before there was a context; null: everything. */
  #early: RecordName[] | null = [];

  constructor(ringKeys: RingKeys, onRotation: (store: Store) => Promise<void>, onShred: (store: Store) => Promise<boolean>) {
    this.#ringKeys = ringKeys;
    this.#onRotation = onRotation;
    this.#onShred = onShred;
  }

  /** From here on; what came since the store was opened is followed first. */
  async start(context: OperationContext, access: Followed): Promise<void> {
    await this.#ringKeys.adoptAll(context.store);
    await this.#onRotation(context.store);
    await this.#shredded(context);
    const early = this.#early;
    this.#early = [];
    this.#context = context;
    this.#access = access;
    if (early === null || early.length > 0) await this.applied(early);
  }

  stop(): void {
    this.#context = null;
    this.#access = null;
  }

  /** A write of this host's own has failed after its revision may have been taken for its own. */
  async failed(names: readonly RecordName[]): Promise<void> {
    const rules = names.filter(({ kind }) => RULES.has(kind));
    if (rules.length > 0) await this.#access?.follow(rules);
  }

  async applied(names: readonly RecordName[] | null): Promise<void> {
    const [context, access] = [this.#context, this.#access];
    if (context === null || access === null) {
      this.#early = names === null || this.#early === null ? null : [...this.#early, ...names];
      return;
    }
    if (names === null) return this.#everything(context, access);
    // A domain's key comes in the domain's own transaction: it is here before the domain is.
    for (const name of names) if (name.kind === 'ringKey') await this.#ringKeys.adopt(context.store, name);
    for (const name of names) if (name.kind === RING_BUNDLE) await this.#ringKeys.adoptBundle(context.store, name);
    if (names.some(({ kind }) => kind === ROTATION_RECORD.kind)) await this.#onRotation(context.store);
    if (names.some(({ kind }) => kind === SHRED)) await this.#shredded(context);
    const rules: RecordName[] = [];
    for (const name of names) await this.#one(context, access, name, rules);
    if (rules.length > 0) await access.follow(rules);
  }

  /** The file is wiped beside it: what is confirmed is that the key is gone. */
  async #shredded(context: OperationContext): Promise<void> {
    if (await this.#onShred(context.store)) void wipeFiles(context);
  }

  async #one(context: OperationContext, access: Followed, name: RecordName, rules: RecordName[]): Promise<void> {
    const { kind, id } = name;
    const isOwn = this.own.take(name);
    if (KEYS.has(kind)) return keyChanged(context, id);
    if (kind === SECRET) return keyChanged(context, secretIdText(name.domain, id));
    if (NAMES.has(kind)) volatileOf(context.store).gate.ended++;
    if (isOwn) return;
    if (RULES.has(kind)) rules.push(name);
    else if (kind === 'token' || kind === 'pin') await access.tokenChanged(name);
    else if (kind === 'clock') volatileOf(context.store).elapsed = null;
  }

  async #everything(context: OperationContext, access: Followed): Promise<void> {
    await this.#ringKeys.adoptAll(context.store);
    await this.#onRotation(context.store);
    await this.#shredded(context);
    const state = volatileOf(context.store);
    state.gate.ended++;
    state.elapsed = null;
    await access.follow(null);
  }
}

function keyChanged(context: OperationContext, id: string): void {
  const bytes = fromHex(id);
  if (bytes === null || bytes.length !== 16) throw new QuorateError('STORE_CORRUPT', `a key's record has the id ${id.slice(0, 64)}`);
  const { gate } = volatileOf(context.store);
  // What is being prepared from the record as it was starts again.
  gate.begin(id);
  context.onKeyChanged(bytes);
  gate.end(id);
}
