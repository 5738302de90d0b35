/**
 * A store as it was at a point in time, out of a destination's segments. What is an application's (keys, their names, objects) is taken of that time;
 * who may do what is taken as it was last; and what was destroyed or revoked since stays so, by the ledger of every later segment. docs/BACKUP.md
 */
import { fromBinary } from '@bufbuild/protobuf';
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { NativeAddon } from '../crypto/addon.js';
import { isDestroyed, type State } from '../keys/states.js';
import type { BackupPage } from '../protocol/gen/backup_pb.js';
import { StoredKeySchema } from '../protocol/gen/records_pb.js';
import type { RestoreFile } from '../store/restoreFile.js';
import type { RecordName } from '../store/store.js';
import type { Catalogue, Damaged } from './catalogue.js';
import { segmentAt, stepsTo } from './chain.js';
import type { SignedManifest } from './manifest.js';
import type { BackupRing } from './ringFile.js';
import { nameOf, pagesOf, rowOf, type SegmentReader } from './pages.js';
import { applySecretLedger } from './restoreSecrets.js';
import { openRow } from './row.js';

/** Of a point in time. Everything else is governing: as it was last. */
const CONTENT: ReadonlySet<string> = new Set(['key', 'keyName', 'keyDestruction', 'object', 'objectGone', 'secret', 'secretValue', 'secretDestruction']);
/** Of the hosts that wrote them, and of no use to another. */
const LEFT_BEHIND: ReadonlySet<string> = new Set(['ringKey', 'ringBundle', 'invitation', 'auditPending', 'backupWriter']);

const isLeftBehind = ({ kind, id }: RecordName): boolean => LEFT_BEHIND.has(kind) || (kind === 'setting' && id.startsWith('auditBegun'));

export interface RestorePlan {
  readonly target: SignedManifest;
  readonly newest: SignedManifest;
  /** Segments, in order, and what is taken of each. */
  readonly steps: readonly Step[];
  /** Behind the target and not readable: what they held is lost. */
  readonly skipped: readonly (SignedManifest | Damaged)[];
}

interface Step {
  readonly manifest: SignedManifest;
  readonly content: boolean;
  readonly governing: boolean;
}

/**
 * `atMs` null: the last. A chain that is damaged behind the point in time cannot tell what was revoked since: BACKUP_INCOMPLETE, unless
 * `acceptDamaged` says that this is known. BACKUP_NOT_FOUND, BACKUP_INCOMPLETE, BACKUP_CORRUPT
 */
export function planRestore({ chain, damaged, withoutSegment }: Catalogue, atMs: number | null, acceptDamaged: boolean): RestorePlan {
  const { segments } = chain;
  const isHere = ({ epoch, number }: SignedManifest): boolean => !withoutSegment.some((place) => place.epoch === epoch && place.number === number);
  if (segments.length === 0 && damaged.length > 0) throw damaged[0]!.error;
  const last = segments.at(-1);
  const later = damaged.filter(({ epoch, number }) => last !== undefined && (epoch > last.epoch || (epoch === last.epoch && number > last.number)));
  const target = atMs === null ? (last ?? segmentAt(segments, 0)) : segmentAt(segments, atMs);
  const whole = (to: SignedManifest): readonly SignedManifest[] => {
    const steps = stepsTo(segments, to);
    const missing = steps.find((step) => !isHere(step));
    if (missing !== undefined) throw new QuorateError('BACKUP_INCOMPLETE', `segment ${missing.number} of epoch ${missing.epoch} is missing, or has another length`);
    return steps;
  };
  const content = whole(target);
  let newest = last!;
  let governing: readonly SignedManifest[] | null = null;
  const skipped: (SignedManifest | Damaged)[] = [...later];
  for (; governing === null; newest = segments[segments.indexOf(newest) - 1]!) {
    try {
      governing = whole(newest);
      break;
    } catch (error) {
      if (!acceptDamaged || newest === target) throw error;
      skipped.push(newest);
    }
  }
  if (skipped.length > 0 && !acceptDamaged) {
    throw new QuorateError('BACKUP_CORRUPT', `${skipped.length} segments behind that point in time cannot be read: what was destroyed or revoked since is not known here. Use the other destination, or say --accept-damaged`);
  }
  const all = [...content.map((manifest) => ({ manifest, content: true, governing: governing.includes(manifest) }))];
  // A full one may be in both; what is governing is laid over in its own order, behind.
  const behind = governing.filter((manifest) => !content.includes(manifest)).map((manifest) => ({ manifest, content: false, governing: true }));
  return { target, newest, steps: [...all, ...behind], skipped };
}

export function planId({ target, newest }: RestorePlan): string {
  return `${toHex(target.hash)} ${toHex(newest.hash)}`;
}

export interface RestoreOptions extends SegmentReader {
  readonly plan: RestorePlan;
  readonly file: RestoreFile;
  /** Steps that the file has. */
  readonly done: number;
  readonly onProgress: (bytes: number) => void;
}

export interface Restored {
  readonly records: number;
  /** Keys that were there at that time and are destroyed now. */
  readonly destroyed: number;
  readonly revision: number;
}

/** The file is not whole yet when it resolves: whoever asked looks at it, and says whole(). */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { plan, file, onProgress } = options;
  const id = planId(plan);
  // A restore of an earlier time lays what is governing over what was: its rows of before go first.
  const isSplit = plan.target !== plan.newest;
  const destroyed = new Set<string>();
  for (const [i, step] of plan.steps.entries()) {
    if (i < options.done) {
      onProgress(step.manifest.bytes);
      continue;
    }
    if (isSplit && !step.content && step.manifest.kind === 'full') await file.dropKinds([...CONTENT], true);
    for await (const page of pagesOf(options, step.manifest, onProgress)) await apply(options, step, page);
    await file.done({ plan: id, done: i + 1 });
  }
  if (isSplit) {
    await applyLedger(options, destroyed);
    await applySecretLedger(options, destroyed);
  }
  return { records: await file.count(), destroyed: destroyed.size, revision: plan.newest.to };
}

async function apply({ file, plan, ring }: RestoreOptions, { content, governing }: Step, page: BackupPage): Promise<void> {
  const isWanted = (name: RecordName): boolean => !isLeftBehind(name) && !ring.shredded.has(name.domain) && (CONTENT.has(name.kind) ? content : governing || plan.target === plan.newest);
  await file.remove(page.removed.filter(isWanted).map(nameOf));
  await file.put(page.records.filter(isWanted).map(rowOf));
}

/** Keys of which anything was destroyed or revoked behind that time are as they are now. */
async function applyLedger(options: RestoreOptions, destroyed: Set<string>): Promise<void> {
  const { addon, file, ring, plan } = options;
  const later = plan.steps.filter(({ content }) => !content);
  for (const { manifest } of later) {
    for await (const page of pagesOf(options, manifest)) {
      for (const record of page.records.filter(({ ledger, kind, domain }) => ledger && kind === 'key' && !ring.shredded.has(domain))) {
        const row = rowOf(record);
        const before = await file.get(row.name);
        if (before === null || before.generation >= row.generation) continue;
        await file.put([row]);
        const [then, now] = [before, row].map((one) => fromBinary(StoredKeySchema, openRow(addon, ring, one)));
        if (!isDestroyed(now!.state as State)) continue;
        destroyed.add(`${record.domain} ${record.id}`);
        await file.remove([{ domain: record.domain, kind: 'keyDestruction', id: record.id }]);
        if (then!.name !== now!.name) await file.remove([{ domain: record.domain, kind: 'keyName', id: then!.name }]);
      }
    }
  }
}

/** Every record of a restored file opens under the ring's keys. The number of them. BACKUP_CORRUPT, BACKUP_KEY_WRONG */
export async function openEvery(addon: Pick<NativeAddon, 'openRecord'>, file: Pick<RestoreFile, 'rows'>, ring: BackupRing): Promise<number> {
  let opened = 0;
  for await (const page of file.rows()) {
    for (const row of page) openRow(addon, ring, row);
    opened += page.length;
  }
  return opened;
}

