/**
 * The keys that open a destination's segments, in one small file that is replaced and never kept: sealed to the recovery root, whose private half
 * only the recovery kit has, and to the hosts of today. Without it the segments are noise; a key that is taken out of it is gone from every backup.
 * Each key is sealed on its own, so that none of them leaves the arena; names and versions are sealed as one list. docs/BACKUP.md
 */
import { concatBytes, fromHex, lengthPrefixed, toHex, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { KeyType } from '../protocol/gen/quorate_pb.js';
import type { Generations } from '../store/generations.js';

const FORMAT = 'quorate-backup-ring';
const VERSION = 1;
export const RING_FILE_BYTES_MAX = 4 * 1024 * 1024;
const KEY_BYTES = 32;
const KIT_INFO = utf8Bytes('quorate/backup/kit');
const HOSTS_INFO = utf8Bytes('quorate/backup/hosts');
const KEYS_MAX = 65_536;

/** The recovery kit's public half, as seal.json and the region's records have it. */
export interface Kit {
  readonly set: string;
  readonly count: number;
  readonly threshold: number;
  /** X25519, SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
}

export interface BackupKey {
  /** As in the ring: `domain/<name>`, `recordName`, `backup/seal`, `backup/sign` ... */
  readonly name: string;
  readonly version: number;
  readonly handle: Handle;
  /** Unix milliseconds: the ring has forgotten it, and segments of before that need it until then. 0: it is in the ring. */
  readonly untilMs: number;
}

/** What a ring file holds. */
export interface RingContent {
  readonly keys: readonly BackupKey[];
  /** Domains whose keys were destroyed: what segments hold of them is not to be opened, and no fault. */
  readonly shredded: readonly string[];
}

interface Recipient {
  readonly type: 'kit' | 'hosts';
  /** Hexadecimal: the file's key, sealed. */
  readonly wrapped: string;
}
interface KitRecipient extends Recipient { readonly type: 'kit'; readonly set: string; readonly count: number; readonly threshold: number; readonly publicKey: string; readonly ephemeral: string }
interface HostsRecipient extends Recipient { readonly type: 'hosts'; /** Of `backup/seal`. */ readonly keyVersion: number }

export interface RingFile {
  readonly format: typeof FORMAT;
  readonly version: number;
  readonly store: string;
  readonly recipients: readonly (KitRecipient | HostsRecipient)[];
  /** Hexadecimal: the list of keys and of shredded domains, sealed. */
  readonly keys: string;
}

type Addon = Pick<NativeAddon, 'secretRandom' | 'secretDrop' | 'sealSecret' | 'openSecret' | 'sealRecord' | 'openRecord' | 'generateKey' | 'agree' | 'hkdf'>;

const keyAad = (store: string, name: string, version: number): Uint8Array => lengthPrefixed('quorate/backup/ring/key', store, name, String(version));
/** With the recipients: whoever opens the file by one of them sees that the others' parts are as they were written, which he cannot open. */
const listAad = ({ store, recipients }: Pick<RingFile, 'store' | 'recipients'>): Uint8Array => lengthPrefixed('quorate/backup/ring/list', store, JSON.stringify(recipients));

function recipientAad(store: string, recipient: Omit<KitRecipient, 'wrapped'> | Omit<HostsRecipient, 'wrapped'>): Uint8Array {
  const parts = recipient.type === 'hosts' ? [String(recipient.keyVersion)] : [recipient.set, String(recipient.count), String(recipient.threshold), recipient.publicKey, recipient.ephemeral];
  return lengthPrefixed('quorate/backup/ring/recipient', store, recipient.type, ...parts);
}

/** Under a fresh key each time. The handles stay the caller's. ARENA_FULL */
export async function sealRingFile(addon: Addon, store: string, { keys, shredded }: RingContent, kit: Kit | null, hosts: { readonly version: number; readonly handle: Handle }): Promise<Uint8Array> {
  const held: Handle[] = [];
  const keep = (handle: Handle): Handle => {
    held.push(handle);
    return handle;
  };
  try {
    const fileKey = keep(addon.secretRandom(KEY_BYTES));
    const recipients: RingFile['recipients'][number][] = [];
    const toHosts = { type: 'hosts' as const, keyVersion: hosts.version };
    const hostsKek = keep(addon.hkdf(hosts.handle, fromHex(store)!, HOSTS_INFO, KEY_BYTES));
    recipients.push({ ...toHosts, wrapped: toHex(addon.sealSecret(hostsKek, recipientAad(store, toHosts), fileKey)) });
    if (kit !== null) {
      const once = await addon.generateKey(KeyType.X25519, 0);
      keep(once.handle);
      const toKit = { type: 'kit' as const, set: kit.set, count: kit.count, threshold: kit.threshold, publicKey: toHex(kit.publicKey), ephemeral: toHex(once.spki) };
      const kek = keep(addon.hkdf(keep(addon.agree(KeyType.X25519, once.handle, kit.publicKey)), concatBytes(once.spki, kit.publicKey), KIT_INFO, KEY_BYTES));
      recipients.push({ ...toKit, wrapped: toHex(addon.sealSecret(kek, recipientAad(store, toKit), fileKey)) });
    }
    const entries = keys.map(({ name, version, handle, untilMs }) => ({ name, version, untilMs, wrapped: toHex(addon.sealSecret(fileKey, keyAad(store, name, version), handle)) }));
    const file: RingFile = { format: FORMAT, version: VERSION, store, recipients, keys: toHex(addon.sealRecord(fileKey, listAad({ store, recipients }), utf8Bytes(JSON.stringify({ keys: entries, shredded } satisfies List)))) };
    return utf8Bytes(`${JSON.stringify(file)}\n`);
  } finally {
    for (const handle of held) addon.secretDrop(handle);
  }
}

// ---- reading

const corrupt = (fact: string): never => {
  throw new QuorateError('BACKUP_CORRUPT', `the ring file ${fact}`);
};

const isHex = (value: unknown): value is string => typeof value === 'string' && /^([0-9a-f]{2})+$/.test(value);
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** BACKUP_CORRUPT, BACKUP_NEWER */
export function parseRingFile(bytes: Uint8Array): RingFile {
  let value: RingFile;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as RingFile;
  } catch {
    return corrupt('is cut short or not JSON');
  }
  if (typeof value !== 'object' || value === null || value.format !== FORMAT || !isCount(value.version)) return corrupt('is none');
  if (value.version > VERSION) throw new QuorateError('BACKUP_NEWER', `the ring file has version ${value.version}; this release knows ${VERSION}`);
  if (value.version !== VERSION) return corrupt('is none');
  const recipientsFit = Array.isArray(value.recipients) && value.recipients.every((r: Partial<KitRecipient> & Partial<HostsRecipient>) =>
    isHex(r.wrapped) && ((r as Recipient).type === 'hosts' ? isCount(r.keyVersion) : r.type === 'kit' && isHex(r.publicKey) && isHex(r.ephemeral) && isHex(r.set) && isCount(r.count) && isCount(r.threshold)));
  if (!recipientsFit || !isHex(value.keys) || !/^[0-9a-f]{32}$/.test(value.store)) return corrupt('has a field that does not belong there');
  return value;
}

/** Who can open it, for a person. */
export function kitOf(file: RingFile): { set: string; count: number; threshold: number } | null {
  const kit = file.recipients.find((r): r is KitRecipient => r.type === 'kit');
  return kit === undefined ? null : { set: kit.set, count: kit.count, threshold: kit.threshold };
}

interface List { readonly keys: readonly ListEntry[]; readonly shredded: readonly string[] }
interface ListEntry { readonly name: string; readonly version: number; readonly untilMs: number; readonly wrapped: string }

function openList(addon: Addon, file: RingFile, fileKey: Handle): RingContent {
  const opened: BackupKey[] = [];
  try {
    const { keys, shredded } = JSON.parse(Buffer.from(addon.openRecord(fileKey, listAad(file), fromHex(file.keys)!)).toString('utf8')) as List;
    if (keys.length > KEYS_MAX) return corrupt('has too many keys');
    for (const { name, version, untilMs, wrapped } of keys) {
      opened.push({ name, version, untilMs, handle: addon.openSecret(fileKey, keyAad(file.store, name, version), fromHex(wrapped)!) });
    }
    return { keys: opened, shredded };
  } catch (error) {
    for (const { handle } of opened) addon.secretDrop(handle);
    if (error instanceof QuorateError && error.code === 'STORE_CORRUPT') return corrupt('was changed');
    throw error;
  }
}

/** null: it is not this recipient's key. */
function openFileKey(addon: Addon, file: RingFile, recipient: KitRecipient | HostsRecipient, kek: Handle): Handle | null {
  const { wrapped: _wrapped, ...rest } = recipient;
  try {
    return addon.openSecret(kek, recipientAad(file.store, rest as Omit<HostsRecipient, 'wrapped'>), fromHex(recipient.wrapped)!);
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'STORE_CORRUPT') return null;
    throw error;
  }
}

function openWith(addon: Addon, file: RingFile, recipient: KitRecipient | HostsRecipient, kek: Handle): RingContent | null {
  const fileKey = openFileKey(addon, file, recipient, kek);
  if (fileKey === null) return null;
  try {
    return openList(addon, file, fileKey);
  } finally {
    addon.secretDrop(fileKey);
  }
}

/** `privateKey`: what the kit's shares combined to. The handles are the caller's. BACKUP_KEY_WRONG, BACKUP_CORRUPT, ARENA_FULL */
export function openByKit(addon: Addon, file: RingFile, privateKey: Handle): RingContent {
  const recipient = file.recipients.find((r): r is KitRecipient => r.type === 'kit');
  if (recipient === undefined) throw new QuorateError('BACKUP_KEY_WRONG', 'this backup was made without a recovery kit: only a host of its service opens it');
  const [publicKey, ephemeral] = [fromHex(recipient.publicKey)!, fromHex(recipient.ephemeral)!];
  const held: Handle[] = [];
  try {
    held.push(addon.agree(KeyType.X25519, privateKey, ephemeral));
    held.push(addon.hkdf(held[0]!, concatBytes(ephemeral, publicKey), KIT_INFO, KEY_BYTES));
    const content = openWith(addon, file, recipient, held[1]!);
    if (content === null) throw new QuorateError('BACKUP_KEY_WRONG', 'the recovery kit is another service\'s');
    return content;
  } catch (error) {
    // The ephemeral key is no key any more.
    if (error instanceof QuorateError && error.code === 'KEY_INVALID') return corrupt('was changed');
    throw error;
  } finally {
    for (const handle of held) addon.secretDrop(handle);
  }
}

/** By a host's own `backup/seal`, of any generation that it has. The handles are the caller's. BACKUP_KEY_WRONG, BACKUP_CORRUPT, ARENA_FULL */
export function openByHost(addon: Addon, file: RingFile, own: readonly { readonly version: number; readonly handle: Handle }[]): RingContent {
  const recipient = file.recipients.find((r): r is HostsRecipient => r.type === 'hosts');
  const key = own.find(({ version }) => version === recipient?.keyVersion);
  if (recipient !== undefined && key !== undefined) {
    const kek = addon.hkdf(key.handle, fromHex(file.store)!, HOSTS_INFO, KEY_BYTES);
    try {
      const content = openWith(addon, file, recipient, kek);
      if (content !== null) return content;
    } finally {
      addon.secretDrop(kek);
    }
  }
  throw new QuorateError('BACKUP_KEY_WRONG', 'this host\'s keys do not open the ring file');
}

/** The keys of a ring file, for as long as segments are read with them. */
export class BackupRing {
  readonly #addon: Pick<NativeAddon, 'secretDrop'>;
  readonly keys: readonly BackupKey[];
  readonly shredded: ReadonlySet<string>;

  /** The handles are this object's from here on. */
  constructor(addon: Pick<NativeAddon, 'secretDrop'>, { keys, shredded }: RingContent) {
    this.#addon = addon;
    this.keys = keys;
    this.shredded = new Set(shredded);
  }

  /** BACKUP_KEY_WRONG: it is not in the file, or was taken out of it. */
  key(name: string, version: number): Handle {
    const found = this.keys.find((key) => key.name === name && key.version === version);
    if (found === undefined) throw new QuorateError('BACKUP_KEY_WRONG', `the ring file has no key ${name} version ${version}`);
    return found.handle;
  }

  /** For opening alone: there is no version that seals, and asking for it is BACKUP_KEY_WRONG, as for one that was taken out. */
  domainKey(domain: string): Generations {
    return (version = 0) => ({ version, handle: this.key(`domain/${domain}`, version) });
  }

  close(): void {
    for (const { handle } of this.keys) this.#addon.secretDrop(handle);
  }
}
