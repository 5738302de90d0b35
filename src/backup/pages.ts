/** Segments as they are read: page by page, and the check that what was read is what the manifest names. */
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { BackupPage, BackupRecord } from '../protocol/gen/backup_pb.js';
import type { PageRecord } from '../store/copyRows.js';
import type { RecordName } from '../store/store.js';
import type { SignedManifest } from './manifest.js';
import type { BackupRing } from './ringFile.js';
import { readSegment } from './segment.js';

export interface SegmentReader {
  readonly addon: Pick<NativeAddon, 'openRecord'>;
  readonly ring: BackupRing;
  readonly open: (manifest: SignedManifest) => Promise<AsyncIterable<Uint8Array>>;
}

export const nameOf = ({ domain, kind, id }: RecordName): RecordName => ({ domain, kind, id });

export function rowOf(record: BackupRecord): PageRecord {
  return { name: nameOf(record), generation: Number(record.generation), revision: Number(record.revision), sealed: record.sealed };
}

/** Its pages, each opened, and behind the last one the check that the file is the manifest's. BACKUP_CORRUPT, BACKUP_KEY_WRONG, BACKUP_INCOMPLETE */
export async function* pagesOf({ addon, ring, open }: SegmentReader, manifest: SignedManifest, onPiece: (bytes: number) => void = () => undefined): AsyncGenerator<BackupPage> {
  const { store, epoch, number, bytes, sha256, records, removed } = manifest;
  let file: { bytes: number; sha256: Uint8Array } | null = null;
  const seen = { records: 0, removed: 0 };
  const pieces = counted(await open(manifest), onPiece);
  try {
    for await (const page of readSegment(addon, { store, epoch, number }, ring.key('backup/seal', manifest.keyVersion), pieces, (end) => { file = end; })) {
      seen.records += page.records.length;
      seen.removed += page.removed.length;
      yield page;
    }
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'BACKUP_CORRUPT') throw new QuorateError('BACKUP_CORRUPT', `segment ${number} of epoch ${epoch}: ${error.detail}`, { cause: error });
    throw error;
  }
  const end = file as { bytes: number; sha256: Uint8Array } | null;
  if (end === null || end.bytes !== bytes || !equalBytes(end.sha256, sha256) || seen.records !== records || seen.removed !== removed) {
    throw new QuorateError('BACKUP_CORRUPT', `segment ${number} of epoch ${epoch} is not the one that its manifest names`);
  }
}

async function* counted(pieces: AsyncIterable<Uint8Array>, onPiece: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    onPiece(piece.byteLength);
    yield piece;
  }
}
