/** A segment's file out of one state of the store: written beside, closed and synced before anybody is told. */
import { open } from 'node:fs/promises';
import { fromBinary } from '@bufbuild/protobuf';
import type { NativeAddon } from '../crypto/addon.js';
import { isDestroyed, type State } from '../keys/states.js';
import { StoredKeySchema, StoredTokenSchema } from '../protocol/gen/records_pb.js';
import { decodeSecret, hasDestroyed } from '../secrets/record.js';
import type { PageRecord } from '../store/copyRows.js';
import { type Generations, openUnder } from '../store/generations.js';
import { recordAad } from '../store/identity.js';
import type { Snapshot } from '../store/snapshot.js';
import { type SegmentFile, type SegmentId, type SegmentKey, SegmentWriter } from './segment.js';

/** Keys of the ring on their way to a host, sealed to it: no backup holds a domain's key, however it is wrapped. */
const HOLDS_KEYS: ReadonlySet<string> = new Set(['ringKey', 'ringBundle']);

export interface BuildOptions {
  readonly addon: Pick<NativeAddon, 'sealRecord' | 'openRecord'>;
  readonly domainKey: (domain: string) => Generations;
  /** Its folder is there; the file is replaced. */
  readonly file: string;
  readonly id: SegmentId;
  readonly key: SegmentKey;
  readonly snapshot: Snapshot;
  /** 0: a full one. */
  readonly from: number;
}

/** What holds for every restore: keys and values of secrets that were destroyed, versions and tokens that were revoked. */
function isLedger({ addon, domainKey }: BuildOptions, { name, generation, sealed }: PageRecord): boolean {
  if (name.kind !== 'key' && name.kind !== 'token' && name.kind !== 'secret') return false;
  const value = openUnder(addon, domainKey(name.domain), recordAad(name, generation), sealed);
  if (name.kind === 'secret') return hasDestroyed(decodeSecret(value));
  if (name.kind === 'token') return fromBinary(StoredTokenSchema, value).revokedMs !== 0n;
  const { state, versions } = fromBinary(StoredKeySchema, value);
  return isDestroyed(state as State) || versions.some(({ revokedMs }) => revokedMs !== 0n);
}

/** STORE_CORRUPT, STORE_IO, STORE_FULL and what the file system says */
export async function buildSegment(options: BuildOptions): Promise<SegmentFile> {
  const { addon, file, id, key, snapshot, from } = options;
  const handle = await open(file, 'w', 0o600);
  try {
    const writer = await SegmentWriter.begin(addon, handle, id, key);
    if (from > 0) for await (const page of snapshot.removals(from)) for (const { name } of page) await writer.remove(name);
    for await (const page of snapshot.rows(from)) {
      for (const row of page.filter(({ name }) => !HOLDS_KEYS.has(name.kind))) {
        await writer.add({ ...row.name, generation: BigInt(row.generation), revision: BigInt(row.revision), sealed: row.sealed, ledger: isLedger(options, row) });
      }
    }
    const made = await writer.end();
    await handle.sync();
    return made;
  } finally {
    await handle.close();
  }
}
