/**
 * Makes a host's store out of a destination: with enough shares of the recovery kit, on a host that has none yet. What is restored is a single host;
 * `quorate region init` makes it the first of a region again. One that was cut short goes on: how far it was stands in the file itself, under a page
 * key that the same backup and the salt beside the file give again.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Catalogue } from '../../backup/catalogue.js';
import { CatalogueReader } from '../../backup/catalogue.js';
import type { Destination } from '../../backup/destination.js';
import { signerName } from '../../backup/manifest.js';
import { ringName } from '../../backup/names.js';
import { openEvery, planId, planRestore, restore, type Restored } from '../../backup/restore.js';
import { BackupRing, kitOf, openByKit, parseRingFile, RING_FILE_BYTES_MAX, type RingContent, type RingFile } from '../../backup/ringFile.js';
import { fromHex, toHex, u64le, utf8Bytes } from '../../base/bytes.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import { verifierKey } from '../../base/note.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { BackupFault, RestoreBackupRequest, RestoreBackupResponse } from '../../protocol/gen/quorate_pb.js';
import { RestoreFile } from '../../store/restoreFile.js';
import { RESTORE_DATABASE, RESTORE_SALT } from '../files.js';
import type { Lifecycle } from '../lifecycle.js';
import { RESTORED_RECORD } from '../region/init.js';
import { BACKUP_SEAL, BACKUP_SIGN, PAGE } from '../seal/ring.js';
import type { SecretScope } from '../seal/scope.js';
import { handleIn } from '../sensitive.js';
import type { Job } from './job.js';
import { KitShares } from './kitShares.js';

type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

export interface RestoreSeals {
  readonly adminUid: number;
  readonly passphrase: Handle | null;
  readonly credential: Handle | null;
  readonly custodians: { readonly count: number; readonly threshold: number } | null;
}

export interface RestorerOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
  readonly job: Job;
  /** The store's. */
  readonly folder: string;
  readonly destinations: () => readonly Destination[];
  /** As Init asks for them. BAD_REQUEST */
  readonly sealsOf: (uid: number, request: RestoreBackupRequest) => RestoreSeals;
}

const PAGE_INFO = utf8Bytes('quorate/backup/restore/page');
const SALT_BYTES = 32;
const NOTHING = { done: false, storeId: '', timeMs: 0n, newestMs: 0n, records: 0n, destroyed: 0n, lost: [], tookMs: 0n, resumed: false, custodianShares: [], region: '', bytes: 0n };

/** What lies there. */
interface Found {
  readonly destination: Destination;
  readonly ring: RingFile;
}

export class Restorer {
  readonly #o: RestorerOptions;
  readonly #shares: KitShares;

  constructor(options: RestorerOptions) {
    this.#o = options;
    this.#shares = new KitShares(options.addon, options.clock);
  }

  /**
   * ALREADY_INITIALISED, BAD_REQUEST, UNSEAL_FAILED (a share), BACKUP_NOT_FOUND, BACKUP_KEY_WRONG, BACKUP_CORRUPT, BACKUP_INCOMPLETE, BACKUP_NEWER,
   * BACKUP_UNAVAILABLE, BUSY, STORE_FULL, STORE_IO: the host has no store, as before, and the same call goes on
   */
  async restore(uid: number, request: RestoreBackupRequest): Promise<Fields<RestoreBackupResponse>> {
    const { lifecycle, addon } = this.#o;
    if (lifecycle.mode !== 'uninitialised') throw new QuorateError('ALREADY_INITIALISED', 'a backup is restored on a host without a store');
    if (request.reset) this.#shares.reset();
    const destinations = this.#o.destinations();
    try {
      const found = await this.#find(destinations, request);
      const kit = kitOf(found.ring);
      if (kit === null) throw new QuorateError('BACKUP_KEY_WRONG', 'this backup was made without a recovery kit');
      const share = handleIn(request.share, 'share');
      const given = share === null ? this.#shares.given(kit.set) : this.#shares.give(kit, share);
      if (given < kit.threshold) return { ...NOTHING, sharesGiven: given, sharesNeeded: kit.threshold };
      const privateKey = this.#shares.combine(kit.set);
      let content: RingContent;
      try {
        content = openByKit(addon, found.ring, privateKey);
      } finally {
        addon.secretDrop(privateKey);
      }
      const ring = new BackupRing(addon, content);
      try {
        return { ...(await this.#restoreFrom(uid, request, found, ring)), sharesGiven: given, sharesNeeded: kit.threshold };
      } finally {
        ring.close();
      }
    } finally {
      for (const destination of destinations) destination.close();
    }
  }

  /** BAD_REQUEST, BACKUP_NOT_FOUND, BACKUP_UNAVAILABLE */
  async #find(destinations: readonly Destination[], { place, store }: RestoreBackupRequest): Promise<Found> {
    const names = destinations.map(({ name }) => name).join(', ');
    const destination = destinations.find(({ name }) => name === place) ?? (place === '' && destinations.length === 1 ? destinations[0] : undefined);
    if (destination === undefined) throw new QuorateError('BAD_REQUEST', names === '' ? 'this daemon\'s configuration names no destinations: [backup.destinations]' : `say from where: ${names}`, { field: 'place' });
    const stores: string[] = [];
    for await (const { name } of destination.list('')) {
      const id = /^([0-9a-f]{32})\/ring\.qr$/.exec(name)?.[1];
      if (id !== undefined) stores.push(id);
    }
    const id = store === '' && stores.length === 1 ? stores[0]! : store;
    if (!stores.includes(id)) {
      throw new QuorateError('BACKUP_NOT_FOUND', stores.length === 0 ? `${destination.name} holds no backups` : `${destination.name} holds backups of ${stores.join(', ')}: say which (--store)`);
    }
    const bytes = await destination.read(ringName(id), RING_FILE_BYTES_MAX);
    if (bytes === null) throw new QuorateError('BACKUP_NOT_FOUND', `there is no ring file of ${id} at ${destination.name}`);
    const ring = parseRingFile(bytes);
    if (ring.store !== id) throw new QuorateError('BACKUP_CORRUPT', 'the ring file is another store\'s');
    return { destination, ring };
  }

  async #restoreFrom(uid: number, request: RestoreBackupRequest, { destination, ring: file }: Found, ring: BackupRing): Promise<Omit<Fields<RestoreBackupResponse>, 'sharesGiven' | 'sharesNeeded'>> {
    const { addon, clock, job, log } = this.#o;
    const beganMs = clock.monotonicMs();
    const { store } = file;
    const sign = ring.keys.filter(({ name }) => name === BACKUP_SIGN).at(-1);
    if (sign === undefined) throw new QuorateError('BACKUP_CORRUPT', 'the ring file has no key that signs');
    const reader = new CatalogueReader(destination, store, verifierKey(signerName(store), addon.ed25519Public(sign.handle)));
    const catalogue: Catalogue = await reader.read();
    const plan = planRestore(catalogue, request.atMs === 0n ? null : Number(request.atMs), request.acceptDamaged);
    const bytes = plan.steps.reduce((sum, { manifest }) => sum + manifest.bytes, 0);
    const said = { storeId: store, timeMs: BigInt(plan.target.timeMs), newestMs: BigInt(plan.newest.timeMs), bytes: BigInt(bytes), lost: plan.skipped.map((one): BackupFault => ({ $typeName: 'quorate.v1.BackupFault', place: destination.name, epoch: BigInt(one.epoch), number: BigInt(one.number), code: 'error' in one ? one.error.code : 'BACKUP_INCOMPLETE', detail: 'error' in one ? one.error.detail : 'it, or one that it builds on, cannot be read' })), region: '' };
    if (request.planOnly) return { ...NOTHING, ...said };
    const seals = this.#o.sealsOf(uid, request);
    return job.run('restore', bytes, async (onProgress) => {
      let restored: Restored | null = null;
      let isResumed = false;
      const made = await this.#o.lifecycle.join(seals, async (scope) => {
        const page = this.#pageKey(scope, ring);
        const { file: into, done } = await RestoreFile.open(this.#database(), addon.secretPageKeyHex(page) + store, planId(plan));
        isResumed = done > 0;
        try {
          restored = await restore({ addon, plan, ring, open: (manifest) => reader.open(manifest), file: into, done, onProgress });
          await openEvery(addon, into, ring);
        } catch (error) {
          await into.close();
          throw error;
        }
        await into.whole(restored.revision);
        return { given: [...this.#ringKeys(scope, ring), { name: PAGE, version: 1, handle: page }], storeId: store, kit: kitSeal(file), database: this.#database(), save: () => undefined, undo: () => undefined };
      });
      await this.#note(plan.target.to);
      const { records, destroyed } = restored!;
      log.info('restored from a backup', { destination: destination.name, time: new Date(plan.target.timeMs).toISOString(), records, destroyed });
      return {
        ...NOTHING, ...said, done: true, records: BigInt(records), destroyed: BigInt(destroyed), tookMs: BigInt(Math.round(clock.monotonicMs() - beganMs)), resumed: isResumed, custodianShares: made.custodianShares.map(u64le),
      };
    });
  }

  /** For a region that is made of it: what came behind is not in it. */
  async #note(revision: number): Promise<void> {
    await this.#o.lifecycle.withContext(async ({ store }) => {
      const before = await store.get(RESTORED_RECORD);
      await store.commit([{ name: RESTORED_RECORD, value: utf8Bytes(JSON.stringify({ revision })), ifGeneration: before?.generation ?? 0 }], null);
    });
  }

  /** Copies of the file's keys: the ring closes its own. */
  #ringKeys(scope: SecretScope, ring: BackupRing): { name: string; version: number; handle: Handle }[] {
    const { addon } = this.#o;
    const kek = scope.keep(addon.secretRandom(32));
    return ring.keys.map(({ name, version, handle }) => {
      const aad = utf8Bytes(`${version} ${name}`);
      return { name, version, handle: scope.keep(addon.openSecret(kek, aad, addon.sealSecret(kek, aad, handle))) };
    });
  }

  #database(): string {
    return path.join(this.#o.folder, RESTORE_DATABASE);
  }

  #saltFile(): string {
    return path.join(this.#o.folder, ...RESTORE_SALT);
  }

  /** The same for the same backup until a restore has ended. */
  #pageKey(scope: SecretScope, ring: BackupRing): Handle {
    const file = this.#saltFile();
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    if (!existsSync(file)) writeFileSync(file, toHex(randomBytes(SALT_BYTES)), { mode: 0o600 });
    const salt = fromHex(readFileSync(file, 'ascii'));
    const seal = ring.keys.find(({ name }) => name === BACKUP_SEAL);
    if (salt?.byteLength !== SALT_BYTES || seal === undefined) {
      rmSync(file, { force: true });
      throw new QuorateError('STORE_IO', `${file} was damaged, and is removed: begin again`);
    }
    return scope.keep(this.#o.addon.hkdf(seal.handle, salt, PAGE_INFO, 32));
  }
}

function kitSeal(file: RingFile): { type: 'recovery'; set: string; count: number; threshold: number; publicKey: string } {
  const kit = file.recipients.find((one) => one.type === 'kit') as { set: string; count: number; threshold: number; publicKey: string };
  return { type: 'recovery', set: kit.set, count: kit.count, threshold: kit.threshold, publicKey: kit.publicKey };
}
