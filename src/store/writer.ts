/** The writing side of the SQLite store: a queue of commits, one transaction for all that wait, one outcome for each. */
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { decide, nameKey, type Rows, type Wanted } from './batch.js';
import type { Connection } from './connection.js';
import { emptyLog } from './files.js';
import { idempotencyName, sealResult } from './idempotency.js';
import { sealUnder } from './generations.js';
import { recordAad } from './identity.js';
import { literal, texts, tuples } from './sql.js';
import type { SqliteStoreOptions } from './sqlite.js';
import type { Change, Idempotency, RecordName } from './store.js';

const BATCH_MAX = 256;
const PRUNE_EVERY_MS = 60_000;

interface Pending extends Wanted {
  readonly idempotency: Idempotency | null;
  readonly resolve: (revision: number) => void;
  readonly reject: (error: unknown) => void;
}

type Context = Pick<SqliteStoreOptions, 'addon' | 'ring' | 'clock' | 'log'>;

/** What a transaction leaves behind: the last word on each record, since nobody sees those before it. */
interface Writes {
  /** By name: the statement. */
  readonly records: Map<string, string>;
  readonly onces: string[];
}

const PUT = `INSERT INTO records (generation, revision, value, domain, kind, id) VALUES %
  ON CONFLICT (domain, kind, id) DO UPDATE SET generation = excluded.generation, revision = excluded.revision, value = excluded.value`;
const PUT_NEW = 'INSERT INTO records (generation, revision, value, domain, kind, id) VALUES %';
const PUT_ONCE = 'INSERT OR REPLACE INTO idempotency (name, revision, expires_ms, sealed) VALUES %';
const PUT_ONCE_NEW = 'INSERT INTO idempotency (name, revision, expires_ms, sealed) VALUES %';
const PRUNE = 'DELETE FROM idempotency WHERE name IN (SELECT name FROM idempotency WHERE expires_ms <= % ORDER BY expires_ms LIMIT 1000)';

export class Writer {
  readonly #connection: Connection;
  readonly #context: Context;
  readonly #queue: Pending[] = [];
  readonly #scrubs: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | null = null;
  #revision: number;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #refusal: QuorateError | null = null;
  #transactions = 0;

  private constructor(connection: Connection, context: Context, revision: number) {
    this.#connection = connection;
    this.#context = context;
    this.#revision = revision;
  }

  static async start(connection: Connection, context: Context): Promise<Writer> {
    const revision = await connection.value("SELECT value FROM meta WHERE name = 'revision'");
    if (!Number.isSafeInteger(revision)) throw new QuorateError('STORE_CORRUPT', 'the store has no revision');
    return new Writer(connection, context, revision as number);
  }

  get revision(): number {
    return this.#revision;
  }

  get writable(): boolean {
    return this.#refusal === null;
  }

  get transactions(): number {
    return this.#transactions;
  }

  /** The revision. CONFLICT, STORE_FULL, STORE_IO, STORE_CORRUPT, OUTCOME_UNKNOWN */
  commit(changes: readonly Change[], idempotency: Idempotency | null): Promise<number> {
    assert(changes.length > 0 || idempotency !== null, 'a commit changes something');
    const once = idempotency === null ? '' : idempotencyName(this.#context.addon, this.#context.ring, idempotency);
    return new Promise((resolve, reject) => {
      if (this.#refusal !== null) {
        reject(this.#refusal);
        return;
      }
      this.#queue.push({ changes, idempotency, once, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // One turn of the loop, so that all that was asked in this one shares the first transaction.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 || this.#scrubs.length > 0) {
      for (const scrub of this.#scrubs.splice(0)) await emptyLog(this.#connection).then(scrub.resolve, scrub.reject);
      const batch = this.#queue.splice(0, BATCH_MAX);
      if (batch.length === 0) continue;
      try {
        await this.#apply(batch);
      } catch (error) {
        this.#fail(error);
        for (const pending of batch) pending.reject(error);
        if (this.#refusal !== null) for (const pending of this.#queue.splice(0)) pending.reject(this.#refusal);
      }
    }
    this.#running = null;
  }

  /**
   * A COMMIT that failed in its fsync may be on the disk or not, and the kernel may have dropped the dirty pages while the cache still shows
   * them, so nothing read or written from here on could be trusted to be durable. Only a new start, which reads the log again, decides.
   */
  #fail(error: unknown): void {
    if (!(error instanceof QuorateError) || error.code !== 'OUTCOME_UNKNOWN') return;
    this.#refusal = new QuorateError('STORE_IO', 'a write failed while it was made durable; start the daemon again', { cause: error });
    this.#context.log.error('the store has stopped writing', { detail: error.detail });
  }

  async #apply(batch: readonly Pending[]): Promise<void> {
    if (!(await this.#applyNew(batch))) await this.#applyDecided(batch);
  }

  /**
   * A batch that makes what was not there needs no look before it: the tables' own uniqueness is its precondition. false: something is there
   * after all, nothing was written, and the batch has to be decided.
   */
  async #applyNew(batch: readonly Pending[]): Promise<boolean> {
    const names = batch.flatMap(({ changes }) => changes.map(({ name }) => nameKey(name)));
    const onces = batch.map(({ once }) => once).filter((once) => once !== '');
    const isNew = batch.every(({ changes }) => changes.every(({ value, ifGeneration }) => value !== null && ifGeneration === 0));
    if (!isNew || new Set(names).size < names.length || new Set(onces).size < onces.length) return false;
    const first = this.#revision + 1;
    const writes: Writes = { records: new Map(), onces: [] };
    for (const [i, pending] of batch.entries()) this.#add(writes, pending, first + i, PUT_NEW, PUT_ONCE_NEW);
    const revision = this.#revision + batch.length;
    try {
      await this.#transact(writes, revision);
    } catch (error) {
      if (error instanceof QuorateError && error.code === 'CONFLICT') return false;
      throw error;
    }
    this.#revision = revision;
    for (const [i, pending] of batch.entries()) pending.resolve(first + i);
    return true;
  }

  async #applyDecided(batch: readonly Pending[]): Promise<void> {
    const verdicts = decide(batch, await this.#load(batch));
    const accepted = batch.filter((_, i) => verdicts[i]);
    let revision = this.#revision;
    const revisions = new Map<Pending, number>(accepted.map((pending) => [pending, ++revision]));
    if (accepted.length > 0) {
      const writes: Writes = { records: new Map(), onces: [] };
      for (const pending of accepted) this.#add(writes, pending, revisions.get(pending) as number, PUT, PUT_ONCE);
      await this.#transact(writes, revision);
      this.#revision = revision;
    }
    batch.forEach((pending, i) => {
      if (verdicts[i]) pending.resolve(revisions.get(pending) as number);
      else pending.reject(new QuorateError('CONFLICT', 'the record changed in between'));
    });
  }

  async #load(batch: readonly Pending[]): Promise<Rows> {
    const names = new Map(batch.flatMap((p) => p.changes.map(({ name }) => [nameKey(name), [name.domain, name.kind, name.id]] as const)));
    const onces = [...new Set(batch.map(({ once }) => once))].filter((once) => once !== '');
    const rows = await this.#connection.all(
      `SELECT domain, kind, id, generation FROM records WHERE (domain, kind, id) IN (VALUES ${tuples(names.size === 0 ? [['', '', '']] : names.values())})
       UNION ALL SELECT NULL, NULL, name, 0 FROM idempotency WHERE expires_ms > ${literal(this.#context.clock.nowMs())} AND name IN (${onces.map(literal).join(', ')})`,
      'write',
    );
    const generations = new Map<string, number>();
    const taken = new Set<string>();
    for (const { domain, kind, id, generation } of rows) {
      if (domain === null) taken.add(String(id));
      else generations.set(nameKey({ domain, kind, id } as RecordName), Number(generation));
    }
    return { generations, taken };
  }

  /** Seals now, so that a failure to seal comes before the transaction begins. */
  #add(writes: Writes, pending: Pending, revision: number, put: string, putOnce: string): void {
    const { addon, ring, clock } = this.#context;
    for (const { name, value, ifGeneration } of pending.changes) {
      const place = [name.domain, name.kind, name.id];
      if (value === null) {
        writes.records.set(nameKey(name), `DELETE FROM records WHERE (domain, kind, id) = ${tuples([place])}`);
        continue;
      }
      const generation = ifGeneration + 1;
      const sealed = sealUnder(addon, ring.domainKey(name.domain), recordAad(name, generation), value);
      writes.records.set(nameKey(name), put.replace('%', () => tuples([[generation, revision, sealed, ...place]])));
    }
    if (pending.idempotency === null) return;
    const sealed = sealResult(addon, ring, pending.idempotency, pending.once, revision);
    writes.onces.push(putOnce.replace('%', () => tuples([[pending.once, revision, clock.nowMs() + LIMITS.idempotency_life_ms, sealed]])));
  }

  async #transact({ records, onces }: Writes, revision: number): Promise<void> {
    const statements = ['BEGIN IMMEDIATE', `UPDATE meta SET value = ${literal(revision)} WHERE name = 'revision'`, ...records.values(), ...onces, ...this.#prune(), 'COMMIT'];
    const all = texts(statements);
    try {
      // Of a text that ends in COMMIT nobody knows which statement failed: its failures are those of the COMMIT, unless their code rules that out.
      for (const [i, text] of all.entries()) await this.#connection.exec(text, i + 1 < all.length ? 'write' : 'commit');
    } catch (error) {
      // SQLite may have rolled back already; then this one fails, and that is fine.
      await this.#connection.exec('ROLLBACK', 'write').catch(() => undefined);
      throw error;
    }
    this.#transactions++;
  }

  #prune(): string[] {
    const at = this.#context.clock.monotonicMs();
    if (at - this.#prunedAt < PRUNE_EVERY_MS) return [];
    this.#prunedAt = at;
    return [PRUNE.replace('%', literal(this.#context.clock.nowMs()))];
  }

  /** Between two transactions: inside one the log cannot be emptied. */
  scrub(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#refusal !== null) {
        reject(this.#refusal);
        return;
      }
      this.#scrubs.push({ resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async drain(): Promise<void> {
    this.#refusal ??= new QuorateError('STORE_IO', 'the store is closed');
    while (this.#running !== null) await this.#running;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
