/** Proved restores: the newest backup into a scratch store, every record opened, a sample of keys compared with those in use; then it is thrown away. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import type { Place } from '../../backup/place.js';
import { openEvery, planId, planRestore, restore } from '../../backup/restore.js';
import type { BackupRing } from '../../backup/ringFile.js';
import { openRow } from '../../backup/row.js';
import { equalBytes, utf8Bytes } from '../../base/bytes.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { BackupProof } from '../../protocol/gen/quorate_pb.js';
import { StoredKeySchema } from '../../protocol/gen/records_pb.js';
import { type Generations, openSecretUnder } from '../../store/generations.js';
import { materialAad } from '../../store/identity.js';
import { RestoreFile } from '../../store/restoreFile.js';
import type { RecordName } from '../../store/store.js';
import type { Lifecycle } from '../lifecycle.js';
import type { OpenRing } from '../seal/ring.js';
import type { Job } from './job.js';

const SAMPLE = 64;
const SAME = utf8Bytes('quorate/backup/proof');

export interface ProverOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
  readonly job: Job;
  readonly folder: string;
}

export class Prover {
  readonly #o: ProverOptions;
  #last: BackupProof | null = null;
  #goodMs = 0;

  constructor(options: ProverOptions) {
    this.#o = options;
  }

  get last(): BackupProof | null {
    return this.#last;
  }

  /** When the last one that succeeded began, Unix milliseconds; 0: none since the start. */
  get goodMs(): number {
    return this.#goodMs;
  }

  /** The ring is closed here. What failed is in the proof. BUSY */
  async prove(place: Place, ring: BackupRing): Promise<BackupProof> {
    const { clock, log } = this.#o;
    const beganMs = clock.monotonicMs();
    const proof = { timeMs: BigInt(clock.nowMs()), place: place.destination.name, pointMs: 0n, records: 0n, keysTried: 0n, tookMs: 0n, failure: '' };
    try {
      await this.#restored(place, ring, proof);
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code === 'BUSY') throw error;
      proof.failure = `${error.code}: ${error.detail}`;
      log.error('ALARM: a backup could not be proved', { destination: proof.place, code: error.code, detail: error.detail });
    } finally {
      ring.close();
    }
    proof.tookMs = BigInt(Math.round(clock.monotonicMs() - beganMs));
    if (proof.failure === '') this.#goodMs = Number(proof.timeMs);
    this.#last = { $typeName: 'quorate.v1.BackupProof', ...proof };
    return this.#last;
  }

  async #restored(place: Place, ring: BackupRing, proof: { pointMs: bigint; records: bigint; keysTried: bigint }): Promise<void> {
    const { addon, job, folder } = this.#o;
    const { catalogue } = place;
    if (catalogue === null) throw new QuorateError('BACKUP_UNAVAILABLE', `${place.destination.name} was not read`);
    const plan = planRestore(catalogue, null, false);
    proof.pointMs = BigInt(plan.target.timeMs);
    const scratch = path.join(folder, 'backup', 'proof.db');
    const pageKey = addon.secretRandom(32);
    try {
      const { file, done } = await RestoreFile.open(scratch, addon.secretPageKeyHex(pageKey) + plan.target.store, planId(plan));
      try {
        const total = plan.steps.reduce((sum, { manifest }) => sum + manifest.bytes, 0);
        await job.run('proof', total, (onProgress) => restore({ addon, plan, ring, open: (manifest) => place.open(manifest), file, done, onProgress }));
        proof.records = BigInt(await openEvery(addon, file, ring));
        proof.keysTried = BigInt(await this.#compare(file, ring));
      } finally {
        await file.abandon();
      }
    } finally {
      addon.secretDrop(pageKey);
      rmSync(scratch, { force: true });
    }
  }

  /** Material of keys that are in use, of the backup and of the store: the same. How many. */
  async #compare(file: RestoreFile, ring: BackupRing): Promise<number> {
    const { lifecycle } = this.#o;
    const names: RecordName[] = [];
    for await (const page of file.rows()) names.push(...page.filter(({ name }) => name.kind === 'key').map(({ name }) => name));
    const step = Math.max(1, Math.floor(names.length / SAMPLE));
    let tried = 0;
    for (const name of names.filter((_, i) => i % step === 0).slice(0, SAMPLE)) {
      const row = (await file.get(name))!;
      tried += await lifecycle.withContext((context) => lifecycle.withRing(async (own) => {
        const stored = await context.store.get(name);
        if (stored === null) return 0;
        const then = fromBinary(StoredKeySchema, openRow(this.#o.addon, ring, row));
        return this.#compareOne(name, then.versions, fromBinary(StoredKeySchema, stored.value).versions, ring.domainKey(name.domain), own);
      }));
    }
    return tried;
  }

  #compareOne(name: RecordName, then: readonly { version: number; sealed: Uint8Array }[], now: readonly { version: number; sealed: Uint8Array }[], of: Generations, own: OpenRing): number {
    const { addon } = this.#o;
    for (const { version, sealed } of then) {
      const today = now.find((one) => one.version === version);
      if (sealed.length === 0 || today === undefined || today.sealed.length === 0) continue;
      const aad = materialAad(name.domain, name.id, version);
      const handles: Handle[] = [];
      try {
        handles.push(openSecretUnder(addon, of, aad, sealed), openSecretUnder(addon, own.domainKey(name.domain), aad, today.sealed));
        if (!equalBytes(addon.hmac(handles[0]!, SAME), addon.hmac(handles[1]!, SAME))) throw new QuorateError('BACKUP_CORRUPT', `key ${name.id} version ${version} is another one in the backup`);
      } finally {
        for (const handle of handles) addon.secretDrop(handle);
      }
    }
    return 1;
  }
}

