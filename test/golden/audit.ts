/** test/golden/audit.txt: a small audit log, as the twin (test/audit/twin.ts) writes it. The C++ tests read the same file. */
import { createHash } from 'node:crypto';
import { checkpointText, frontierBytes, gapLeaf, logKeys, merkleTreeHash, sealEntry, segmentHeader, segmentKey, verifierKeyText } from '../audit/twin.js';

const range = (first: number, n: number): Buffer => Buffer.from(Array.from({ length: n }, (_, i) => first + i));
const text = (s: string): Buffer => Buffer.from(s, 'utf8');
const hex = (s: string): Buffer => Buffer.from(s, 'hex');

/** AuditEntry messages, by protoc --encode. A call that was denied; a batch of counted calls; a daemon that was started. */
const LEAVES = [
  hex('080210fbd8c1a28c34220a757365723a616c69636528e8073092213811420764656661756c74482252086b6579733a6765745a08696e766f6963657370077a026e6f'),
  hex('080410fbd8c1a28c3492011b08111210a0a1a2a3a4a5a6a7a8a9aaabacadaeaf18032040308004'),
  hex('080510fbd8c1a28c349a010d72656c656173653d302e312e30'),
];

export function goldenAudit(): Map<string, Buffer> {
  const keys = logKeys(range(0xe0, 16), range(0x30, 32), range(0x70, 32));
  const salt = range(0xc0, 16);
  const header = segmentHeader(keys.storeId, salt, 0);
  const key = segmentKey(keys.sealKey, salt);
  const entries = LEAVES.map((leaf, i) => sealEntry(key, header, i, leaf));
  const root = merkleTreeHash(LEAVES);
  const subtrees = [merkleTreeHash(LEAVES.slice(0, 2)), merkleTreeHash(LEAVES.slice(2))];
  return new Map([
    ['audit.storeId', keys.storeId],
    ['audit.key', keys.sealKey],
    ['audit.salt', salt],
    ['audit.segmentKey', key],
    ...LEAVES.map((leaf, i): [string, Buffer] => [`leaf.${i}`, leaf]),
    ...LEAVES.map((leaf, i): [string, Buffer] => [`leaf.${i}.hash`, createHash('sha256').update(Buffer.of(0)).update(leaf).digest()]),
    ['segment', Buffer.concat([header, ...entries])],
    ['root', root],
    ['frontier', frontierBytes(keys.storeId, 3, subtrees)],
    ['sign.seed', range(0x70, 32)],
    ['sign.public', keys.rawPublic],
    ['checkpoint.text', text(checkpointText(keys, 3, root))],
    ['verifierKey.text', text(verifierKeyText(keys))],
    ['gap', gapLeaf(1, 3, root, subtrees)],
  ]);
}

const HEAD = `# An audit log of three leaves in one segment, docs/FORMAT.md: name = hexadecimal bytes. Written by: QUORATE_WRITE_GOLDEN=1 npm test
# (test/golden/audit.test.ts).
`;

export const goldenAuditText = (): string => HEAD + [...goldenAudit()].map(([name, bytes]) => `${name} = ${bytes.toString('hex')}\n`).join('');
