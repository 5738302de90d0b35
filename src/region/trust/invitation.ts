/**
 * An invitation to a region: one line that an administrator gives to whoever sets up the next host. It names whom to call and by which CA's
 * fingerprint to know them, and holds a secret that is good for one join. The region keeps a public key of that secret: whoever reads the
 * record, or a backup of it, cannot join with it. The secret is one of the things that a person is given: it is in JavaScript, and wiped
 * where it lies in an array.
 */
import { createHash, createPrivateKey, createPublicKey, hkdfSync, randomBytes, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { concatBytes, equalBytes, fromBase64url, fromHex, toBase64url } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { InvitationSchema, StoredInvitationSchema } from '../../protocol/gen/enrolment_pb.js';
import { ed25519Spki } from './certificate.js';
import type { Der } from './certificate.js';
import { isLabel, REGION_ID_BYTES, requireLabel, splitAddress } from './names.js';
import type { RegionIdentity } from './names.js';
import { fingerprint } from './peer.js';

export const INVITATION_PREFIX = 'quorate-join1:';
const FORMAT = 1;
const ID_BYTES = 16;
const SECRET_BYTES = 32;
const CHECKSUM_BYTES = 6;
const TEXT_CHARACTERS_MAX = 4096;
const ADDRESSES_MAX = 8;
export const INVITATION_LIFE_MS_MAX = 30 * 86_400_000;
const ED25519_PKCS8_HEAD = fromHex('302e020100300506032b657004220420')!;

const ROLES = ['voter', 'app', 'replica'] as const;
export type HostRole = (typeof ROLES)[number];
const isRole = (text: string): text is HostRole => (ROLES as readonly string[]).includes(text);

/** What the inviter has decided about the host: the region's record of it counts, and the text repeats it for the person. */
export interface Place {
  readonly host: string;
  readonly zone: string;
  readonly role: HostRole;
}

export interface Invitation extends Place {
  readonly id: Uint8Array;
  readonly region: RegionIdentity;
  readonly addresses: readonly string[];
  readonly caFingerprint: Uint8Array;
  /** Wiped by wipeInvitation. */
  readonly secret: Uint8Array;
  readonly expiresMs: number;
}

export interface StoredInvitation extends Place {
  readonly id: Uint8Array;
  readonly regionId: Uint8Array;
  readonly proofKey: Uint8Array;
  readonly createdMs: number;
  readonly expiresMs: number;
  /** null: nobody has used it. */
  readonly takenBy: Uint8Array | null;
}

export function wipeInvitation(invitation: Invitation): void {
  invitation.secret.fill(0);
}

// ---- The secret's key pair

function proofPrivate(secret: Uint8Array, id: Uint8Array): KeyObject {
  const seed = new Uint8Array(hkdfSync('sha256', secret, id, 'quorate/join1/proof', SECRET_BYTES));
  const encoded = Buffer.from(concatBytes(ED25519_PKCS8_HEAD, seed));
  const key = createPrivateKey({ key: encoded, format: 'der', type: 'pkcs8' });
  seed.fill(0);
  encoded.fill(0);
  return key;
}

/** 64 bytes that only the holder of the secret makes. */
export function proveInvitation(invitation: Pick<Invitation, 'secret' | 'id'>, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, message, proofPrivate(invitation.secret, invitation.id)));
}

export function provesInvitation(proofKey: Uint8Array, message: Uint8Array, proof: Uint8Array): boolean {
  return verify(null, message, createPublicKey({ key: Buffer.from(ed25519Spki(proofKey)), format: 'der', type: 'spki' }), proof);
}

// ---- Making

export interface InvitationOrder extends Place {
  readonly region: RegionIdentity;
  /** "host:port", where the joining host finds this one. */
  readonly addresses: readonly string[];
  readonly caCertificate: Der;
  readonly lifeMs: number;
}

/** The text is for one person's eyes; `stored` is for the region. BAD_REQUEST naming the field */
export function makeInvitation(order: InvitationOrder, nowMs: number): { text: string; stored: StoredInvitation } {
  for (const field of ['host', 'zone'] as const) requireLabel(order[field], field);
  requireLabel(order.region.name, 'region');
  if (!isRole(order.role)) throw new QuorateError('BAD_REQUEST', `role is one of ${ROLES.join(', ')}`, { field: 'role' });
  if (order.addresses.length < 1 || order.addresses.length > ADDRESSES_MAX) throw new QuorateError('BAD_REQUEST', `1 to ${ADDRESSES_MAX} addresses are named`, { field: 'addresses' });
  for (const address of order.addresses) splitAddress(address);
  if (!Number.isSafeInteger(order.lifeMs) || order.lifeMs < 1 || order.lifeMs > INVITATION_LIFE_MS_MAX) throw new QuorateError('BAD_REQUEST', 'an invitation lives for at most 30 days', { field: 'life' });
  const id = new Uint8Array(randomBytes(ID_BYTES));
  const secret = new Uint8Array(randomBytes(SECRET_BYTES));
  const expiresMs = nowMs + order.lifeMs;
  const proofKey = new Uint8Array(createPublicKey(proofPrivate(secret, id)).export({ type: 'spki', format: 'der' }).subarray(-32));
  const place = { host: order.host, zone: order.zone, role: order.role };
  const payload = toBinary(InvitationSchema, create(InvitationSchema, {
    format: FORMAT, id, region: order.region.name, regionId: order.region.id, addresses: [...order.addresses], caFingerprint: fingerprint(order.caCertificate), secret, ...place,
    expiresMs: BigInt(expiresMs),
  }));
  const framed = concatBytes(payload, checksum(payload));
  const text = INVITATION_PREFIX + toBase64url(framed);
  for (const bytes of [secret, payload, framed]) bytes.fill(0);
  return { text, stored: { id, regionId: order.region.id, proofKey, ...place, createdMs: nowMs, expiresMs, takenBy: null } };
}

/** Finds what a hand or a terminal has changed; it proves nothing. */
function checksum(payload: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(INVITATION_PREFIX).update(payload).digest().subarray(0, CHECKSUM_BYTES));
}

// ---- Reading

const invalid = (fact: string): QuorateError => new QuorateError('INVITATION_INVALID', fact);

function payloadOf(text: string): Uint8Array {
  const line = text.trim();
  if (!line.startsWith(INVITATION_PREFIX)) throw invalid(`it does not begin with ${INVITATION_PREFIX}`);
  const framed = line.length > TEXT_CHARACTERS_MAX ? null : fromBase64url(line.slice(INVITATION_PREFIX.length));
  if (framed === null || framed.length <= CHECKSUM_BYTES) throw invalid('it is cut short, or has characters that do not belong there');
  const payload = framed.subarray(0, -CHECKSUM_BYTES);
  if (!equalBytes(checksum(payload), framed.subarray(-CHECKSUM_BYTES))) throw invalid('a part of it was changed or left out');
  return payload;
}

/** INVITATION_INVALID: not one, or changed on the way. INVITATION_REFUSED: expired by this host's clock */
export function readInvitation(text: string, nowMs: number): Invitation {
  const payload = payloadOf(text);
  let message: ReturnType<typeof fromBinary<typeof InvitationSchema>>;
  try {
    message = fromBinary(InvitationSchema, payload);
  } catch (error) {
    throw new QuorateError('INVITATION_INVALID', 'what it says cannot be read', { cause: error });
  }
  if (message.format !== FORMAT) throw invalid(`it is of format ${message.format}; this release knows ${FORMAT}`);
  const { id, regionId, caFingerprint, secret, role, addresses } = message;
  const lengths = id.length === ID_BYTES && regionId.length === REGION_ID_BYTES && caFingerprint.length === 32 && secret.length === SECRET_BYTES;
  if (!lengths || !isRole(role) || ![message.region, message.host, message.zone].every(isLabel)) throw invalid('a field of it has a value that is not allowed');
  if (addresses.length < 1 || addresses.length > ADDRESSES_MAX || !addresses.every(isAddress)) throw invalid('it names no address to call');
  const expiresMs = Number(message.expiresMs);
  if (!(nowMs < expiresMs)) throw new QuorateError('INVITATION_REFUSED', `it expired at ${new Date(Math.min(expiresMs, 8.64e15)).toISOString()}`);
  return { id, region: { name: message.region, id: regionId }, addresses, caFingerprint, secret, host: message.host, zone: message.zone, role, expiresMs };
}

function isAddress(text: string): boolean {
  try {
    splitAddress(text);
    return true;
  } catch {
    return false;
  }
}

// ---- The region's record of it

export function encodeStoredInvitation(stored: StoredInvitation): Uint8Array {
  return toBinary(StoredInvitationSchema, create(StoredInvitationSchema, {
    format: FORMAT, id: stored.id, regionId: stored.regionId, proofKey: stored.proofKey, host: stored.host, zone: stored.zone, role: stored.role,
    createdMs: BigInt(stored.createdMs), expiresMs: BigInt(stored.expiresMs), takenBy: stored.takenBy ?? new Uint8Array(0),
  }));
}

/** STORE_CORRUPT, STORE_SCHEMA_NEWER */
export function decodeStoredInvitation(bytes: Uint8Array): StoredInvitation {
  let m: ReturnType<typeof fromBinary<typeof StoredInvitationSchema>>;
  try {
    m = fromBinary(StoredInvitationSchema, bytes);
  } catch (error) {
    throw new QuorateError('STORE_CORRUPT', 'the record of an invitation cannot be read', { cause: error });
  }
  if (m.format > FORMAT) throw new QuorateError('STORE_SCHEMA_NEWER', `the record of an invitation has format ${m.format}; this release knows ${FORMAT}`);
  const lengths = m.id.length === ID_BYTES && m.regionId.length === REGION_ID_BYTES && m.proofKey.length === 32 && [0, 32].includes(m.takenBy.length);
  if (m.format !== FORMAT || !lengths || !isRole(m.role)) throw new QuorateError('STORE_CORRUPT', 'the record of an invitation has a field that is not allowed');
  return {
    id: m.id, regionId: m.regionId, proofKey: m.proofKey, host: m.host, zone: m.zone, role: m.role, createdMs: Number(m.createdMs), expiresMs: Number(m.expiresMs),
    takenBy: m.takenBy.length === 0 ? null : m.takenBy,
  };
}
