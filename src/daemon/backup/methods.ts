/** The methods of Backups, as the wire has them: src/protocol/quorate.proto. */
import type { Message } from '@bufbuild/protobuf';
import type { Fault } from '../../backup/verify.js';
import { faultsOf, verifySegment } from '../../backup/verify.js';
import type { SignedManifest } from '../../backup/manifest.js';
import type { Place, PlaceStatus } from '../../backup/place.js';
import { BackupRing, openByHost, parseRingFile } from '../../backup/ringFile.js';
import type { BackupWriter } from '../../backup/writer.js';
import { toHex } from '../../base/bytes.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type {
  BackupFault, BackupPlace, BackupProgressResponse, BackupSegment, BackupStatusResponse, ListBackupsResponse, ProveBackupRequest, ProveBackupResponse, RestoreBackupRequest, RestoreBackupResponse, RunBackupRequest,
  RunBackupResponse, VerifyBackupRequest, VerifyBackupResponse,
} from '../../protocol/gen/quorate_pb.js';
import type { OperationName } from '../../protocol/operations.gen.js';
import type { Lifecycle } from '../lifecycle.js';
import { BACKUP_SEAL } from '../seal/ring.js';
import type { Job } from './job.js';
import type { Prover } from './prove.js';
import type { Restorer } from './restorer.js';
import type { ProofFacts } from '../metrics/backups.js';
import type { BackupService, BackupView } from './service.js';

/** A message's fields alone. */
type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

export interface BackupMethodsOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly service: BackupService;
  readonly restorer: Restorer;
  readonly prover: Prover;
  readonly job: Job;
}

const PROOF_MS = 86_400_000;
/** After a start nothing is known of the last one. */
const FIRST_PROOF_MS = 600_000;

const whole = (value: number): bigint => BigInt(Math.round(value));

function placeMessage({ name, where, segments, bytes, first, last, behind, forks, damaged, failing }: PlaceStatus): BackupPlace {
  return {
    $typeName: 'quorate.v1.BackupPlace', name, where, segments: whole(segments), bytes: whole(bytes), firstMs: whole(first?.timeMs ?? 0), lastMs: whole(last?.timeMs ?? 0), behind: whole(behind), forks: whole(forks),
    damaged: whole(damaged), failing: failing?.code ?? '', detail: failing?.detail ?? '', failingSinceMs: whole(failing?.sinceMs ?? 0),
  };
}

export function faultMessage(place: string, { epoch, number, error }: Fault): BackupFault {
  return { $typeName: 'quorate.v1.BackupFault', place, epoch: whole(epoch), number: whole(number), code: error.code, detail: error.detail };
}

export class BackupMethods {
  readonly #o: BackupMethodsOptions;
  /** When this daemon last read a segment to its end, by its hash. */
  readonly #verified = new Map<string, number>();
  #provedMs: number;
  #proofs = 0;

  constructor(options: BackupMethodsOptions) {
    this.#o = options;
    this.#provedMs = options.clock.monotonicMs();
  }

  /** What was authorized, and takes longer than a seal would wait: not while the store is held open. null: another method */
  later(name: OperationName, request: Message): Promise<object> | null {
    switch (name) {
      case 'RunBackup': return this.#run(request as RunBackupRequest);
      case 'BackupStatus': return Promise.resolve(this.#status());
      case 'ListBackups': return this.#list();
      case 'VerifyBackup': return this.#verify(request as VerifyBackupRequest);
      case 'ProveBackup': return this.#prove(request as ProveBackupRequest);
      default: return null;
    }
  }

  restore(uid: number, request: RestoreBackupRequest): Promise<Fields<RestoreBackupResponse>> {
    return this.#o.restorer.restore(uid, request);
  }

  progress(): Fields<BackupProgressResponse> {
    const { what, done, total } = this.#o.job.state;
    return { what, done: whole(done), total: whole(total) };
  }

  #segment(one: SignedManifest, places: readonly string[]): BackupSegment {
    const { epoch, number, kind, timeMs, from, to, records, removed, total, bytes, writer, hash } = one;
    return {
      $typeName: 'quorate.v1.BackupSegment', epoch: whole(epoch), number: whole(number), kind, timeMs: whole(timeMs), from: whole(from), to: whole(to), records: whole(records), removed: whole(removed), total: whole(total),
      bytes: whole(bytes), writer, places: [...places], verifiedMs: whole(this.#verified.get(toHex(hash)) ?? 0),
    };
  }

  async #run({ full }: RunBackupRequest): Promise<Fields<RunBackupResponse>> {
    const { manifest, places } = await this.#o.service.now(full ? 'full' : 'increment');
    return { segment: this.#segment(manifest, places), places: this.#o.service.view().places.map(placeMessage) };
  }

  #status(): Fields<BackupStatusResponse> {
    const { configured, writer, isWriter, epoch, places, warnings } = this.#o.service.view();
    const { last } = this.#o.prover;
    const failed = last !== null && last.failure !== '' ? [`BACKUP: the last proof failed: ${last.failure}`] : [];
    return { configured, writer, isWriter, epoch: whole(epoch), places: places.map(placeMessage), warnings: [...warnings, ...failed], ...(last === null ? {} : { proof: last }) };
  }

  /** For metrics. */
  facts(): { view: BackupView; proof: ProofFacts } {
    const { service, prover } = this.#o;
    return { view: service.view(), proof: { last: prover.last, goodMs: prover.goodMs } };
  }

  async #list(): Promise<Fields<ListBackupsResponse>> {
    const writer = await this.#o.service.writer();
    const all = new Map<string, { one: SignedManifest; places: string[]; isFork: boolean }>();
    for (const { destination, catalogue } of writer.places) {
      const { segments = [], forks = [] } = catalogue?.chain ?? {};
      for (const [list, isFork] of [[segments, false], [forks, true]] as const) {
        for (const one of list) {
          const known = all.get(toHex(one.hash));
          if (known === undefined) all.set(toHex(one.hash), { one, places: [destination.name], isFork });
          else {
            known.places.push(destination.name);
            // Beside the chain of a place that has lost what comes between, and in that of another one.
            known.isFork &&= isFork;
          }
        }
      }
    }
    const found = [...all.values()].sort((a, b) => a.one.number - b.one.number || a.one.epoch - b.one.epoch);
    const of = (isFork: boolean): BackupSegment[] => found.filter((entry) => entry.isFork === isFork).map(({ one, places }) => this.#segment(one, places));
    return { segments: of(false), forks: of(true), places: writer.status.map(placeMessage) };
  }

  /** Of a destination, by this host's own keys. BACKUP_KEY_WRONG, BACKUP_CORRUPT, BACKUP_INCOMPLETE: there is no ring file */
  async ringAt(place: Place): Promise<BackupRing> {
    const { addon, lifecycle } = this.#o;
    const bytes = await place.ringFile();
    if (bytes === null) throw new QuorateError('BACKUP_INCOMPLETE', `there is no ring file at ${place.destination.name}`);
    return lifecycle.withRing((ring) => Promise.resolve(new BackupRing(addon, openByHost(addon, parseRingFile(bytes), ring.entries.filter(({ name }) => name === BACKUP_SEAL)))));
  }

  #placesOf(writer: BackupWriter, name: string): readonly Place[] {
    const places = writer.places.filter(({ destination }) => name === '' || destination.name === name);
    if (places.length === 0) throw new QuorateError('BAD_REQUEST', `there is no destination ${name}; there are ${writer.places.map(({ destination }) => destination.name).join(', ')}`, { field: 'place' });
    return places;
  }

  async #verify({ place: name, quick }: VerifyBackupRequest): Promise<Fields<VerifyBackupResponse>> {
    const writer = await this.#o.service.writer(true, name);
    const places = this.#placesOf(writer, name);
    const found = { segments: 0, records: 0, shredded: 0, bytes: 0, faults: [] as BackupFault[] };
    const total = places.reduce((sum, { status }) => sum + status.bytes, 0);
    await this.#o.job.run('verify', total, async (onProgress) => {
      for (const place of places) {
        const { failing } = place.status;
        if (place.catalogue === null || failing !== null) {
          found.faults.push(faultMessage(place.destination.name, { epoch: 0, number: 0, error: new QuorateError((failing?.code ?? 'BACKUP_UNAVAILABLE') as 'BACKUP_UNAVAILABLE', failing?.detail ?? 'it was not read') }));
          continue;
        }
        const { segments, forks } = place.catalogue.chain;
        for (const fault of faultsOf(place.catalogue)) found.faults.push(faultMessage(place.destination.name, fault));
        found.segments += segments.length + forks.length;
        if (quick) continue;
        try {
          await this.#readAll(place, [...segments, ...forks], found, onProgress);
        } catch (error) {
          // The ring file: its own place is unreadable, and the next one is looked at.
          if (!(error instanceof QuorateError)) throw error;
          found.faults.push(faultMessage(place.destination.name, { epoch: 0, number: 0, error }));
        }
      }
    });
    return { segments: whole(found.segments), records: whole(found.records), shredded: whole(found.shredded), bytes: whole(found.bytes), faults: found.faults };
  }

  async #readAll(place: Place, segments: readonly SignedManifest[], found: { records: number; shredded: number; bytes: number; faults: BackupFault[] }, onProgress: (bytes: number) => void): Promise<void> {
    const { addon } = this.#o;
    const ring = await this.ringAt(place);
    try {
      for (const one of segments) {
        try {
          const { opened, shredded } = await verifySegment({ addon, ring, open: (manifest) => place.open(manifest), onProgress }, one);
          found.records += opened;
          found.shredded += shredded;
          found.bytes += one.bytes;
          this.#verified.set(toHex(one.hash), Date.now());
        } catch (error) {
          if (!(error instanceof QuorateError)) throw error;
          found.faults.push(faultMessage(place.destination.name, { epoch: one.epoch, number: one.number, error }));
        }
      }
    } finally {
      ring.close();
    }
  }

  /** The writer, a day after the last one that it knows of; each destination in turn. */
  async proveWhenDue(): Promise<void> {
    const { service, prover, clock } = this.#o;
    if (!service.view().isWriter) return;
    const { last } = prover;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#provedMs < (last === null ? FIRST_PROOF_MS : PROOF_MS)) return;
    this.#provedMs = nowMs;
    const writer = await service.writer();
    const proven = writer.places.filter(({ catalogue }) => (catalogue?.chain.segments.length ?? 0) > 0);
    const place = proven[this.#proofs++ % Math.max(1, proven.length)];
    if (place !== undefined) await prover.prove(place, await this.ringAt(place));
  }

  async #prove({ place: name }: ProveBackupRequest): Promise<Fields<ProveBackupResponse>> {
    const writer = await this.#o.service.writer(false, name);
    const [place] = this.#placesOf(writer, name);
    const proof = await this.#o.prover.prove(place!, await this.ringAt(place!));
    return { proof };
  }
}
