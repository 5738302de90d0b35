/** A store, two folders that it is backed up to, and a clock that is moved by hand: the writer as the daemon uses it. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import type { Destination } from '../../src/backup/destination.js';
import { FolderDestination } from '../../src/backup/destinations/folder.js';
import { planId, planRestore, restore, type Restored } from '../../src/backup/restore.js';
import { BackupRing, openByHost, openByKit, parseRingFile, type Kit } from '../../src/backup/ringFile.js';
import type { RingEntry, WriterRing } from '../../src/backup/ringKeeper.js';
import { openRow } from '../../src/backup/row.js';
import { BackupWriter } from '../../src/backup/writer.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { StoredKeySchema, StoredTokenSchema } from '../../src/protocol/gen/records_pb.js';
import { RestoreFile } from '../../src/store/restoreFile.js';
import { openSqliteStore, type SqliteStore } from '../../src/store/sqlite.js';
import type { Change } from '../../src/store/store.js';
import { silent, STORE_ID, TestClock } from '../store/fixture.js';

export const DAY_MS = 86_400_000;

export interface RigOptions {
  readonly everyMs?: number;
  readonly fullEveryMs?: number;
  readonly keepMs?: number;
  readonly kit?: Kit | null;
}

/** The value of a key's record: with a revoked version where `revoked`. */
export function keyValue(name: string, state = KeyState.ACTIVE, revoked = false): Uint8Array {
  return toBinary(StoredKeySchema, create(StoredKeySchema, { format: 1, name, state, versions: [{ version: 1, revokedMs: revoked ? 5n : 0n }] }));
}

export function tokenValue(id: string, revokedMs: number): Uint8Array {
  return toBinary(StoredTokenSchema, create(StoredTokenSchema, { format: 1, id, revokedMs: BigInt(revokedMs) }));
}

export class Rig {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'quorate-backup-'));
  readonly clock = new TestClock();
  readonly addon: NativeAddon;
  readonly #handles: number[] = [];
  readonly entries: RingEntry[] = [];
  readonly shredded = new Set<string>();
  readonly options: Required<RigOptions>;
  destinations: Destination[] = [];
  sealVersion = 1;
  store!: SqliteStore;
  writer!: BackupWriter;

  constructor(addon: NativeAddon, options: RigOptions = {}) {
    this.addon = addon;
    this.options = { everyMs: 300_000, fullEveryMs: DAY_MS, keepMs: 30 * DAY_MS, kit: null, ...options };
    for (const name of ['domain/default', 'domain/system', 'domain/other', 'recordName', 'backup/seal', 'backup/sign']) this.addKey(name, 1);
  }

  secret(): number {
    const handle = this.addon.secretRandom(32);
    this.#handles.push(handle);
    return handle;
  }

  addKey(name: string, version: number): void {
    this.entries.push({ name, version, handle: this.secret() });
  }

  dropKey(name: string, version: number): void {
    this.entries.splice(this.entries.findIndex((one) => one.name === name && one.version === version), 1);
  }

  key(name: string, version?: number): RingEntry {
    const all = this.entries.filter((one) => one.name === name && (version === undefined || one.version === version));
    const found = all.at(-1);
    if (found === undefined) throw new Error(`the ring has no ${name} ${version}`);
    return found;
  }

  ring(): WriterRing {
    return { entries: this.entries, seal: this.key('backup/seal', this.sealVersion), sign: this.key('backup/sign'), kit: this.options.kit, shredded: this.shredded };
  }

  readonly domainKey = (domain: string) => (version?: number) => this.key(`domain/${domain}`, version);

  where(name: string): string {
    return path.join(this.folder, name);
  }

  async open(): Promise<void> {
    for (const name of ['a', 'b']) mkdirSync(this.where(name), { recursive: true });
    mkdirSync(this.where('work'), { recursive: true });
    const pageKey = this.secret();
    this.store = await openSqliteStore({
      path: path.join(this.folder, 'store.db'), pageKey, storeId: STORE_ID, ring: { domainKey: this.domainKey, recordNameKey: this.key('recordName').handle }, addon: this.addon, clock: this.clock, log: silent, create: true, host: 'here',
    });
    this.restart();
  }

  /** As a new process would begin: it knows what the destinations say. */
  restart(host = 'here'): BackupWriter {
    this.writer?.close();
    this.destinations = ['a', 'b'].map((name) => new FolderDestination(name, this.where(name)));
    this.writer = new BackupWriter({
      addon: this.addon, clock: this.clock, log: silent, store: STORE_ID, host, destinations: this.destinations, folder: this.where('work'), keepMs: this.options.keepMs, fullEveryMs: this.options.fullEveryMs,
      ring: () => this.ring(), domainKey: this.domainKey, snapshot: () => this.store.snapshot(), checkpoint: async () => '', counted: async () => this.clock.monotonic, hold: (work) => work(),
    });
    return this.writer;
  }

  commit(...changes: Change[]): Promise<unknown> {
    return this.store.commit(changes, null);
  }

  /** Everything that the store holds now: name, generation and content. */
  async contents(): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (let after: Parameters<SqliteStore['walk']>[0] = null; ; ) {
      const page = await this.store.walk(after, 1000);
      for (const { name, generation, value } of page) found.set(`${name.domain}/${name.kind}/${name.id}`, `${generation} ${Buffer.from(value).toString('hex')}`);
      if (page.length === 0) return found;
      after = page.at(-1)!.name;
    }
  }

  async ringAt(place: 'a' | 'b', by: { kit?: number } = {}): Promise<BackupRing> {
    const bytes = await this.destinations[place === 'a' ? 0 : 1]!.read(`${STORE_ID}/ring.qr`, 1 << 22);
    const file = parseRingFile(bytes!);
    const content = by.kit === undefined ? openByHost(this.addon, file, this.entries.filter(({ name }) => name === 'backup/seal')) : openByKit(this.addon, file, by.kit);
    return new BackupRing(this.addon, content);
  }

  /** What a restore gives, opened with the keys of the ring file alone. */
  async restored(place: 'a' | 'b', atMs: number | null, acceptDamaged = false, ring?: BackupRing): Promise<{ contents: Map<string, string>; said: Restored }> {
    const keys = ring ?? (await this.ringAt(place));
    try {
      const at = this.writer.places[place === 'a' ? 0 : 1]!;
      const plan = planRestore((await at.look())!, atMs, acceptDamaged);
      const { file, done } = await RestoreFile.open(path.join(this.folder, 'restored.db'), this.addon.secretPageKeyHex(keys.key('recordName', 1)) + STORE_ID, planId(plan));
      try {
        const said = await restore({ addon: this.addon, plan, ring: keys, open: (manifest) => at.open(manifest), file, done, onProgress: () => undefined });
        const contents = new Map<string, string>();
        for await (const page of file.rows()) {
          for (const { name, generation, sealed } of page) {
            contents.set(`${name.domain}/${name.kind}/${name.id}`, `${generation} ${Buffer.from(openRow(this.addon, keys, { name, generation, sealed })).toString('hex')}`);
          }
        }
        return { contents, said };
      } finally {
        await file.abandon();
      }
    } finally {
      if (ring === undefined) keys.close();
    }
  }

  async close(): Promise<void> {
    this.writer.close();
    await this.store.close();
    for (const handle of this.#handles) this.addon.secretDrop(handle);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A pair for a recovery kit: its public half, and the private one in the arena. */
export async function makeKit(addon: NativeAddon): Promise<{ kit: Kit; privateKey: number }> {
  const { handle, spki } = await addon.generateKey(KeyType.X25519, 0);
  return { kit: { set: '01020304', count: 5, threshold: 3, publicKey: spki }, privateKey: handle };
}
