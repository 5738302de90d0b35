/** test/golden/formats.txt: one example of each format, as the twin gives it. The C++ tests read the same file. */
import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import * as pb from '../../src/protocol/gen/quorate_pb.js';
import { auditCheckpoint, auditFrontier, auditGapDetail, auditSegment, begin, fileKey, message, record, share, shareText, stream, xaesKey, type Identity } from './twin.js';

const range = (first: number, n: number): Buffer => Buffer.from(Array.from({ length: n }, (_, i) => first + i));
const text = (s: string): Buffer => Buffer.from(s, 'utf8');

/** Byte i of the long file. */
export const longByte = (i: number): number => (i + 3 * (i >> 8)) & 0xff;

export function goldenFormats(): Map<string, Buffer> {
  const key: Identity = { stored: range(0x00, 32), domain: 'default', keyId: range(0xa0, 16), version: 3 };
  const nonce = range(0x40, 24);
  const fileNonce = range(0x60, 24);
  const context = text('invoice 7');
  const plaintext = text('iban FR76');
  const one = begin(key, 1, nonce, context);
  const long = Buffer.from(Array.from({ length: 2 * 262_144 + 5 }, (_, i) => longByte(i)));
  const kek = range(0x10, 32);
  const salt = range(0xc0, 16);
  const set = range(0xd0, 4);
  const polynomials = [range(0x20, 32), range(0x80, 32)];
  const shares = [1, 2, 3].map((x) => share(x, 2, set, polynomials));
  return new Map([
    ['key.stored', key.stored],
    ['key.domain', text(key.domain)],
    ['key.id', key.keyId],
    ['key.version', Buffer.from([0, 0, 0, key.version])],
    ['key.encrypt', one.encryptKey],
    ['key.commit', one.commitKey],
    ['context', context],
    ['plaintext', plaintext],
    ['message.nonce', nonce],
    ['message.h', one.h],
    ['message.commitment', one.commitment],
    ['message.key', xaesKey(one.encryptKey, nonce)],
    ['message.sealed', message(key, nonce, context, plaintext)],
    ['file.nonce', fileNonce],
    ['file.key', fileKey(key, fileNonce)],
    ['file.sealed', stream(key, fileNonce, context, plaintext)],
    ['file.sealedEmpty', stream(key, fileNonce, context, Buffer.alloc(0))],
    ['file.sealedLongSha256', createHash('sha256').update(stream(key, fileNonce, context, long)).digest()],
    ['record.kek', kek],
    ['record.salt', salt],
    ['record.aad', text('an identity')],
    ['record.sealed', record(kek, salt, text('an identity'), plaintext)],
    ['share.secret', polynomials[0]!],
    ...auditFormats(),
    ...shares.flatMap((bytes, i): [string, Buffer][] => [[`share.${i + 1}`, bytes], [`share.${i + 1}.text`, text(shareText(bytes))]]),
  ]);
}

/** A log of two leaves, then one of a repair, which began a segment. */
function auditFormats(): [string, Buffer][] {
  const auditKey = range(0x30, 32);
  const seed = range(0x50, 32);
  const storeId = range(0xe0, 16);
  const origin = `quorate/${storeId.toString('hex')}`;
  const entry = (init: Parameters<typeof create<typeof pb.AuditEntrySchema>>[1]): Buffer => Buffer.from(toBinary(pb.AuditEntrySchema, create(pb.AuditEntrySchema, init)));
  const keyId = range(0xa0, 16);
  const counts = entry({
    kind: pb.AuditKind.AUDIT_COUNTS, timeMs: 1_700_000_000_000n,
    counts: [{ session: 7n, keyId, version: 3, method: 64, status: 0, count: 2n ** 40n }, { session: 7n, method: 70, status: 7, count: 1n }],
  });
  const call = entry({ kind: pb.AuditKind.AUDIT_CALL, timeMs: 1_700_000_000_001n, uid: 1000, pid: 4242, session: 7n, method: 72, resource: 'wages', keyId, version: 3 });
  const gap = entry({ kind: pb.AuditKind.AUDIT_GAP, timeMs: 1_700_000_000_002n, reason: 'a segment is gone', detail: auditGapDetail(1, [counts, call]) });
  const leaves = [counts, call, gap];
  return [
    ['audit.key', auditKey],
    ['audit.seed', seed],
    ['audit.store', storeId],
    ['audit.counts', counts],
    ['audit.call', call],
    ['audit.gap', gap],
    ['audit.segment', auditSegment({ auditKey, storeId, salt: range(0x90, 16), firstIndex: 0 }, [counts, call])],
    ['audit.segmentAfterGap', auditSegment({ auditKey, storeId, salt: range(0x70, 16), firstIndex: 2 }, [gap])],
    ['audit.frontier', auditFrontier(storeId, leaves)],
    ['audit.checkpoint.text', text(auditCheckpoint(seed, origin, leaves))],
  ];
}

const HEAD = `# One example of each format in docs/FORMAT.md: name = hexadecimal bytes. key.version is big endian here. The long file has
# 2 * 262144 + 5 bytes; byte i is (i + 3 * floor(i / 256)) mod 256. Written by: QUORATE_WRITE_GOLDEN=1 npm test (test/golden/formats.test.ts).
`;

export const goldenText = (): string => HEAD + [...goldenFormats()].map(([name, bytes]) => `${name} = ${bytes.toString('hex')}\n`).join('');
