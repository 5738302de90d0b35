/**
 * Secrets of which somebody has destroyed a value behind the point in time are as they were last, whole: the record that says so, and the values that it
 * still has. What only made room for later values is no destruction: such a secret is as it was at that time.
 */
import type { BackupRecord } from '../protocol/gen/backup_pb.js';
import { decodeSecret, isGone, type SecretRecord } from '../secrets/record.js';
import type { PageRecord } from '../store/copyRows.js';
import type { RecordName } from '../store/store.js';
import { pagesOf, rowOf } from './pages.js';
import type { RestoreOptions } from './restore.js';
import { openRow } from './row.js';

const VALUE = 'secretValue';

const keyOf = ({ domain }: Pick<RecordName, 'domain'>, path: string): string => `${domain} ${path}`;
const valueName = ({ domain, id }: RecordName, version: number): RecordName => ({ domain, kind: VALUE, id: `${id}:${version}` });
const living = ({ versions }: SecretRecord): number[] => versions.filter((version) => !isGone(version)).map(({ version }) => version);

async function* laterRecords(options: RestoreOptions, kind: string): AsyncGenerator<BackupRecord> {
  const { plan, ring } = options;
  for (const { manifest } of plan.steps.filter(({ content }) => !content)) {
    for await (const page of pagesOf(options, manifest)) yield* page.records.filter((record) => record.kind === kind && !ring.shredded.has(record.domain));
  }
}

/** `destroyed`: names of what a later destruction took from what was there then. */
export async function applySecretLedger(options: RestoreOptions, destroyed: Set<string>): Promise<void> {
  const { addon, file, ring } = options;
  const read = (row: PageRecord): SecretRecord => decodeSecret(openRow(addon, ring, row));
  /** By domain and path: which values each has now. */
  const now = new Map<string, ReadonlySet<number>>();
  for await (const record of laterRecords(options, 'secret')) {
    const row = rowOf(record);
    const key = keyOf(row.name, row.name.id);
    const before = await file.get(row.name);
    // Once one of its values was destroyed, all later states of it count.
    if (before === null || before.generation >= row.generation || (!record.ledger && !now.has(key))) continue;
    const [then, last] = [living(read(before)), new Set(living(read(row)))];
    await file.put([row]);
    const gone = then.filter((version) => !last.has(version));
    await file.remove([...gone.map((version) => valueName(row.name, version)), { domain: row.name.domain, kind: 'secretDestruction', id: row.name.id }]);
    now.set(key, last);
    if (gone.length > 0) destroyed.add(key);
  }
  if (now.size === 0) return;
  for await (const record of laterRecords(options, VALUE)) {
    const at = record.id.lastIndexOf(':');
    if (now.get(keyOf(record, record.id.slice(0, at)))?.has(Number(record.id.slice(at + 1))) === true) await file.put([rowOf(record)]);
  }
}
