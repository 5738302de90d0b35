/** A folder with a store in it, keys in the arena, and a clock that stands still until it is moved. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Clock } from '../../src/base/clock.js';
import type { QuorateError } from '../../src/base/errors.js';
import { utf8Bytes } from '../../src/base/bytes.js';
import { createLogger } from '../../src/base/logger.js';
import type { Handle, NativeAddon } from '../../src/crypto/addon.js';
import type { Ring } from '../../src/operations/context.js';
import { Connection } from '../../src/store/connection.js';
import { openSqliteStore, type SqliteStore, type SqliteStoreOptions } from '../../src/store/sqlite.js';
import type { Idempotency, RecordName } from '../../src/store/store.js';

export class TestClock implements Clock {
  wall = 1_700_000_000_000;
  monotonic = 5_000;

  nowMs(): number {
    return this.wall;
  }

  monotonicMs(): number {
    return this.monotonic;
  }

  /** Time passes while the daemon runs. */
  pass(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
  }
}

export const silent = createLogger('error', 'text', () => undefined);

/** Known keys, so that a second process can open what the first wrote. */
export function testRing(addon: NativeAddon, seed = 1): { ring: Ring; pageKey: Handle; drop: () => void } {
  const secret = (n: number): Handle => addon.secretFromBytes(new Uint8Array(32).fill(16 * seed + n));
  const [domainKey, recordNameKey, pageKey] = [secret(1), secret(2), secret(3)];
  const drop = (): void => {
    for (const handle of [domainKey, recordNameKey, pageKey]) addon.secretDrop(handle);
  };
  return { ring: { storeId: STORE_ID, domainKey: () => () => ({ version: 1, handle: domainKey }), recordNameKey }, pageKey, drop };
}

/** What the store's file begins with. */
export const STORE_ID = '1d'.repeat(16);

export class Fixture {
  readonly folder: string;
  readonly clock = new TestClock();
  readonly keys: ReturnType<typeof testRing>;
  #open: SqliteStore[] = [];

  constructor(
    readonly addon: NativeAddon,
    folder?: string,
  ) {
    this.folder = folder ?? mkdtempSync(path.join(tmpdir(), 'quorate-store-'));
    this.keys = testRing(addon);
  }

  get path(): string {
    return path.join(this.folder, 'store.db');
  }

  /** The database itself, behind the store's back. The caller closes it. */
  async raw(file = this.path): Promise<Connection> {
    const connection = await Connection.openFile(file);
    await connection.unlock(this.addon.secretPageKeyHex(this.keys.pageKey) + STORE_ID);
    return connection;
  }

  async open(over: Partial<SqliteStoreOptions> = {}): Promise<SqliteStore> {
    const store = await openSqliteStore({
      path: this.path,
      pageKey: this.keys.pageKey,
      storeId: STORE_ID,
      ring: this.keys.ring,
      addon: this.addon,
      clock: this.clock,
      log: silent,
      create: true,
      host: 'here',
      ...over,
    });
    this.#open.push(store);
    return store;
  }

  /** Every file of the folder but the lock, by content. */
  fingerprint(): Record<string, string> {
    const files = readdirSync(this.folder)
      .filter((f) => f !== 'store.lock')
      .sort();
    return Object.fromEntries(
      files.map((f) => [
        f,
        createHash('sha256')
          .update(readFileSync(path.join(this.folder, f)))
          .digest('hex'),
      ]),
    );
  }

  async close(): Promise<void> {
    for (const store of this.#open) await store.close().catch(() => undefined);
    this.keys.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const key = (id: string, kind = 'key'): RecordName => ({ domain: 'default', kind, id });
export const text = (value: string): Uint8Array => utf8Bytes(value);

export function once(id: string, over: Partial<Idempotency> = {}): Idempotency {
  return {
    domain: 'default',
    principal: 'uid:1000',
    key: utf8Bytes(id.padEnd(16, '.')),
    digest: createHash('sha256').update(id).digest(),
    result: utf8Bytes(`result of ${id}`),
    ...over,
  };
}

/** The code of the QuorateError that a promise rejects with; the message of any other error; OK. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'OK';
  } catch (error) {
    return (error as QuorateError).code ?? String(error);
  }
}
