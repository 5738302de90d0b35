/** What applications give and get: plain objects with names instead of the wire's numbers. */
import { QuorateError } from '../base/errors.js';
import type { Durability as WireDurability, Key, KeyResponse } from '../protocol/gen/quorate_pb.js';
import type { HashName, KeySchemeName, KeyStateName, KeyTypeName, MaterialFormatName, ReasonName } from '../protocol/names.js';
import { HASHES, KEY_SCHEMES, KEY_STATES, KEY_TYPES, nameOf, numberOf, REASONS } from '../protocol/names.js';
import type { CallOptions } from './caller.js';

/** Bytes, or text that stands for its UTF-8 bytes. Read during the call; the caller may wipe them when it has returned its promise. */
export type Bytes = Uint8Array | string;

const encoder = new TextEncoder();

export function bytesOf(value: Bytes | undefined, field: string): Uint8Array | undefined {
  if (value === undefined || value instanceof Uint8Array) return value;
  if (typeof value === 'string') return encoder.encode(value);
  throw new QuorateError('BAD_REQUEST', `${field} is neither a Uint8Array nor text`, { field });
}

export function hashOf(name: HashName | undefined): number | undefined {
  return name === undefined ? undefined : numberOf(HASHES, name, 'hash');
}

export interface KeyVersionInfo {
  version: number;
  state: KeyStateName;
  /** Unix time in milliseconds, as all fields that end so. */
  createdMs: number;
  /** 0: not revoked. */
  revokedMs: number;
  imported: boolean;
  /** The private half was never here. */
  publicOnly: boolean;
}

export interface KeyInfo {
  /** 32 hexadecimal digits; stays when the key is renamed. */
  id: string;
  name: string;
  domain: string;
  type: KeyTypeName;
  scheme: KeySchemeName;
  state: KeyStateName;
  /** The version that encrypts and signs. */
  version: number;
  versions: KeyVersionInfo[];
  labels: Record<string, string>;
  /** It may leave, wrapped by another key. */
  exportable: boolean;
  /** Scheme pkcs11: what its attributes permit, and whether its value is never told (CKA_SENSITIVE); it leaves as `exportable` (CKA_EXTRACTABLE) says. */
  uses?: string[];
  sensitive?: boolean;
  createdMs: number;
  /** Scheduled; 0: nothing is. */
  activatesMs: number;
  deactivatesMs: number;
  destroysMs: number;
  /** Why it was deactivated. */
  reason: ReasonName | null;
  /** One more with each change; see `ifGeneration`. */
  generation: number;
}

/** Who has a write durably. On a single host one host of one zone. */
export interface Durability {
  confirmed: number;
  needed: number;
  revision: number;
  hosts: string[];
  /** Of a change that takes something away, in a region: hosts of every role on which it is not in force yet. */
  pendingHosts: { name: string; zone: string; state: string; silentMs: number }[];
}

/** A write that was answered, whichever method it was. */
export interface Written {
  method: string;
  durability: Durability;
}

export interface KeyChange {
  key: KeyInfo;
  durability: Durability;
}

export interface ChangeOptions extends CallOptions {
  /** CONFLICT unless the key has this generation. */
  ifGeneration?: number;
}

export interface KeyAttributes {
  type: KeyTypeName;
  /** Default: the type's own. Fixed for the life of the key. */
  scheme?: KeySchemeName;
  /** At most 32; keys up to 64 bytes, values up to 256. */
  labels?: Record<string, string>;
  /** It may leave, wrapped by another key. Default false. */
  exportable?: boolean;
  /** Make it without activating it. */
  preActive?: boolean;
}

export interface EncryptOptions extends CallOptions {
  /** Up to 4096 bytes, authenticated and not stored: managed: context; AES-GCM: AAD; RSA-OAEP: label. */
  context?: Bytes;
  /** AES-CBC and AES-CTR only: 16 bytes. Default: random. */
  iv?: Uint8Array;
  /** AES-GCM only: 12 to 16. Default 16. */
  tagBytes?: number;
  /** RSA-OAEP only. Default sha-256. */
  hash?: HashName;
}

export interface Encrypted {
  /** Managed: names its key, version and nonce. AES-GCM: the tag is at its end. */
  ciphertext: Uint8Array;
  /** Raw schemes: decryption needs it. Empty for managed keys and RSA-OAEP. */
  iv: Uint8Array;
  /** The key's version that did it. */
  version: number;
}

export interface DecryptOptions extends CallOptions {
  /** Name or id. Managed ciphertexts name their key: given, it must be that one. */
  key?: KeyRef;
  context?: Bytes;
  iv?: Uint8Array;
  tagBytes?: number;
  hash?: HashName;
  /** Raw schemes: default the current one. */
  version?: number;
}

export interface SignOptions extends CallOptions {
  /** What is given is the digest, not the message. Not for Ed25519. */
  digest?: boolean;
  /** Default: SHA-256, with P-384 SHA-384, with P-521 SHA-512. */
  hash?: HashName;
  /** ECDSA: `der` (default) or `p1363`, r and s side by side. */
  format?: 'der' | 'p1363';
  /** RSA-PSS. Default: the hash's length. */
  saltBytes?: number;
}

export interface VerifyOptions extends SignOptions {
  /** Default: the current one. */
  version?: number;
}

/** A key by its name or its id (32 hexadecimal digits), or a session key of this client. */
export type KeyRef = string | { readonly sessionRef: string };

export interface SessionKeyAttributes {
  type: KeyTypeName;
  scheme?: KeySchemeName;
  exportable?: boolean;
}

export interface WrapOptions extends CallOptions {
  context?: Bytes;
  hash?: HashName;
  /** Of the wrapped material. Default: raw for symmetric keys, pkcs8 for private ones. */
  format?: MaterialFormatName;
}

export function keyInfoOf(key: Key): KeyInfo {
  return {
    id: Buffer.from(key.id.buffer, key.id.byteOffset, key.id.byteLength).toString('hex'),
    name: key.name,
    domain: key.domain,
    // A daemon newer than this client may know more than it.
    type: nameOf(KEY_TYPES, key.type, 'unknown' as KeyTypeName),
    scheme: nameOf(KEY_SCHEMES, key.scheme, 'unknown' as KeySchemeName),
    state: nameOf(KEY_STATES, key.state, 'unknown' as KeyStateName),
    version: key.currentVersion,
    versions: key.versions.map((v) => ({
      version: v.version,
      state: nameOf(KEY_STATES, v.state, 'unknown' as KeyStateName),
      createdMs: Number(v.createdMs),
      revokedMs: Number(v.revokedMs),
      imported: v.imported,
      publicOnly: v.publicOnly,
    })),
    labels: key.labels,
    exportable: key.exportable,
    ...(key.scheme === KEY_SCHEMES.pkcs11 ? { uses: key.uses, sensitive: key.sensitive } : {}),
    createdMs: Number(key.createdMs),
    activatesMs: Number(key.activatesMs),
    deactivatesMs: Number(key.deactivatesMs),
    destroysMs: Number(key.destroysMs),
    reason: nameOf(REASONS, key.reason, null),
    generation: Number(key.generation),
  };
}

export function durabilityOf(d: WireDurability | undefined): Durability {
  const pendingHosts = (d?.pendingHosts ?? []).map(({ name, zone, state, silentMs }) => ({ name, zone, state, silentMs: Number(silentMs) }));
  return { confirmed: d?.confirmed ?? 0, needed: d?.needed ?? 0, revision: Number(d?.revision ?? 0n), hosts: d?.hosts ?? [], pendingHosts };
}

export function keyOf(response: KeyResponse): KeyInfo {
  if (response.key === undefined) throw new QuorateError('INTERNAL', 'the reply names no key');
  return keyInfoOf(response.key);
}

export function changeOf(response: KeyResponse): KeyChange {
  return { key: keyOf(response), durability: durabilityOf(response.durability) };
}
