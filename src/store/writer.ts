/** The writing side of the SQLite store: a queue of commits, one transaction for all that wait, one outcome for each. */
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { decide, nameKey, type Rows, type Wanted } from './batch.js';
import type { Connection, Statement } from './connection.js';
import { idempotencyName, sealResult } from './idempotency.js';
import { recordAad } from './identity.js';
import type { SqliteStoreOptions } from './sqlite.js';
import type { Change, Idempotency } from './store.js';

const BATCH_MAX = 256;
const PRUNE_EVERY_MS = 60_000;
/** Each waits a second inside SQLite for a reader that still steps. */
const SCRUB_TRIES = 3;

interface Pending extends Wanted {
  readonly idempotency: Idempotency | null;
  readonly resolve: (revision: number) => void;
  readonly reject: (error: unknown) => void;
}

type Context = Pick<SqliteStoreOptions, 'addon' | 'ring' | 'clock' | 'log'>;

interface Statements {
  generation: Statement;
  once: Statement;
  insert: Statement;
  update: Statement;
  remove: Statement;
  putOnce: Statement;
  prune: Statement;
  revision: Statement;
}

export class Writer {
  readonly #connection: Connection;
  readonly #context: Context;
  readonly #statements: Statements;
  readonly #queue: Pending[] = [];
  readonly #scrubs: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | null = null;
  #revision: number;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #refusal: QuorateError | null = null;
  #transactions = 0;

  private constructor(connection: Connection, context: Context, statements: Statements, revision: number) {
    this.#connection = connection;
    this.#context = context;
    this.#statements = statements;
    this.#revision = revision;
  }

  static async start(connection: Connection, context: Context): Promise<Writer> {
    const revision = await connection.value("SELECT value FROM meta WHERE name = 'revision'");
    if (!Number.isSafeInteger(revision)) throw new QuorateError('STORE_CORRUPT', 'the store has no revision');
    const prepare = (sql: string): Promise<Statement> => connection.prepare(sql, 'write');
    const statements: Statements = {
      generation: await prepare('SELECT generation FROM records WHERE domain = ? AND kind = ? AND id = ?'),
      once: await prepare('SELECT 1 FROM idempotency WHERE name = ? AND expires_ms > ?'),
      insert: await prepare('INSERT INTO records (generation, revision, value, domain, kind, id) VALUES (?, ?, ?, ?, ?, ?)'),
      update: await prepare('UPDATE records SET generation = ?, revision = ?, value = ? WHERE domain = ? AND kind = ? AND id = ?'),
      remove: await prepare('DELETE FROM records WHERE domain = ? AND kind = ? AND id = ?'),
      putOnce: await prepare('INSERT OR REPLACE INTO idempotency (name, revision, expires_ms, sealed) VALUES (?, ?, ?, ?)'),
      prune: await prepare(
        'DELETE FROM idempotency WHERE name IN (SELECT name FROM idempotency WHERE expires_ms <= ? ORDER BY expires_ms LIMIT 1000)',
      ),
      revision: await prepare("UPDATE meta SET value = ? WHERE name = 'revision'"),
    };
    return new Writer(connection, context, statements, revision as number);
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
      for (const scrub of this.#scrubs.splice(0)) await this.#emptyLog().then(scrub.resolve, scrub.reject);
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
    const verdicts = decide(batch, await this.#load(batch));
    const accepted = batch.filter((_, i) => verdicts[i]);
    let revision = this.#revision;
    const revisions = new Map<Pending, number>(accepted.map((pending) => [pending, ++revision]));
    if (accepted.length > 0) {
      const writes = accepted.flatMap((pending) => this.#writes(pending, revisions.get(pending) as number));
      await this.#transact(writes, revision);
      this.#revision = revision;
    }
    batch.forEach((pending, i) => {
      if (verdicts[i]) pending.resolve(revisions.get(pending) as number);
      else pending.reject(new QuorateError('CONFLICT', 'the record changed in between'));
    });
  }

  async #load(batch: readonly Pending[]): Promise<Rows> {
    const names = new Map(batch.flatMap((p) => p.changes.map((c) => [nameKey(c.name), c.name] as const)));
    const generations = new Map<string, number>();
    for (const [key, name] of names) {
      const [row] = await this.#statements.generation.all(name.domain, name.kind, name.id);
      if (row !== undefined) generations.set(key, Number(row['generation']));
    }
    const taken = new Set<string>();
    const nowMs = this.#context.clock.nowMs();
    for (const { once } of batch) {
      if (once !== '' && (await this.#statements.once.all(once, nowMs)).length > 0) taken.add(once);
    }
    return { generations, taken };
  }

  /** Seals now, so that a failure to seal comes before the transaction begins. */
  #writes(pending: Pending, revision: number): (() => Promise<void>)[] {
    const { addon, ring, clock } = this.#context;
    const writes = pending.changes.map(({ name, value, ifGeneration }) => {
      const place = [name.domain, name.kind, name.id] as const;
      if (value === null) return () => this.#statements.remove.run(...place);
      const generation = ifGeneration + 1;
      const sealed = addon.sealRecord(ring.domainKey(name.domain), recordAad(name, generation), value);
      const statement = ifGeneration === 0 ? this.#statements.insert : this.#statements.update;
      return () => statement.run(generation, revision, sealed, ...place);
    });
    if (pending.idempotency !== null) {
      const sealed = sealResult(addon, ring, pending.idempotency, pending.once, revision);
      const expires = clock.nowMs() + LIMITS.idempotency_life_ms;
      writes.push(() => this.#statements.putOnce.run(pending.once, revision, expires, sealed));
    }
    return writes;
  }

  async #transact(writes: readonly (() => Promise<void>)[], revision: number): Promise<void> {
    await this.#connection.exec('BEGIN IMMEDIATE', 'write');
    try {
      for (const write of writes) await write();
      await this.#prune();
      await this.#statements.revision.run(revision);
      await this.#connection.exec('COMMIT', 'commit');
    } catch (error) {
      // SQLite may have rolled back already; then this one fails, and that is fine.
      await this.#connection.exec('ROLLBACK', 'write').catch(() => undefined);
      throw error;
    }
    this.#transactions++;
  }

  async #prune(): Promise<void> {
    const at = this.#context.clock.monotonicMs();
    if (at - this.#prunedAt < PRUNE_EVERY_MS) return;
    await this.#statements.prune.run(this.#context.clock.nowMs());
    this.#prunedAt = at;
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

  async #emptyLog(): Promise<void> {
    for (let i = 0; i < SCRUB_TRIES; i++) {
      const [row] = await this.#connection.all('PRAGMA wal_checkpoint(TRUNCATE)', 'write');
      if (Number(row?.['busy']) === 0) return;
    }
    throw new QuorateError('STORE_IO', 'the log could not be emptied: a reader held it');
  }

  async drain(): Promise<void> {
    this.#refusal ??= new QuorateError('STORE_IO', 'the store is closed');
    while (this.#running !== null) await this.#running;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
