/**
 * How a host joins, both halves, without a store or a daemon: what is said, what proves it, and what is checked before anything is believed.
 *
 *   joiner                                   inviter
 *   connects, TLS 1.3            <-          its certificate and the CA's, whose fingerprint the invitation names
 *   JoinRequest                  ->          proof by the secret and proof by the host's key, both over this connection's exporter
 *                                            the caller takes the invitation and writes the membership; then
 *                                <-          JoinAnswer: the certificate, the CA's, the ring sealed to the enrolment key, the membership
 *
 * The exporter (RFC 8446 7.5) is of one connection and covers the server's certificate: a proof that was recorded, or relayed by somebody in the
 * middle, is for another connection.
 */
import { createHash, createPublicKey, sign, verify } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { equalBytes, lengthPrefixed } from '../../base/bytes.js';
import { ERRORS, QuorateError } from '../../base/errors.js';
import type { ErrorCode } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import { JoinAnswerSchema, JoinRequestSchema } from '../../protocol/gen/enrolment_pb.js';
import type { JoinAnswer, JoinRequest } from '../../protocol/gen/enrolment_pb.js';
import { issueHostCertificate } from './ca.js';
import type { CaKey } from './ca.js';
import { ed25519Spki, factsOf, parseCertificate } from './certificate.js';
import type { Der } from './certificate.js';
import { makeHostKey } from './credentials.js';
import { openRing, REGION_CA, REQUIRED_ENTRIES, sealRing } from './entries.js';
import type { Incarnation, RingKey } from './entries.js';
import { proveInvitation, provesInvitation } from './invitation.js';
import type { Invitation, StoredInvitation } from './invitation.js';
import { addressKind, splitAddress } from './names.js';
import type { RegionIdentity } from './names.js';
import { fingerprint, presentedCa, presentedCertificate, requireTls13, verifyHostCertificate } from './peer.js';

const FORMAT = 1;
const EXPORTER_LABEL = 'EXPORTER-quorate-join1';
const EXPORTER_BYTES = 32;
const ADDRESSES_MAX = 16;
const ENROLMENT_KEY_BYTES = 32;

const refused = (fact: string): QuorateError => new QuorateError('INVITATION_REFUSED', fact);

/** What both ends of this connection know, and those of no other: 32 bytes. PEER_REFUSED: not TLS 1.3 */
export function channelOf(socket: TLSSocket): Uint8Array {
  requireTls13(socket);
  return new Uint8Array(socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)));
}

/**
 * Before a word is said: is this the region that has invited us? The socket was connected without a CA to trust (rejectUnauthorized: false).
 * PEER_REFUSED: the caller destroys the socket
 */
export function requireInviter(socket: TLSSocket, invitation: Invitation, nowMs: number): Der {
  requireTls13(socket);
  const ca = presentedCa(socket, invitation.caFingerprint);
  if (ca === null) throw new QuorateError('PEER_REFUSED', `who answers does not belong to the region ${invitation.region.name} that has invited this host`);
  verifyHostCertificate(presentedCertificate(socket), { region: invitation.region, cas: [ca], isRevoked: () => false }, nowMs);
  return ca;
}

// ---- The joiner asks

export interface JoiningKeys {
  readonly keyPem: string;
  readonly spki: Der;
  /** The caller drops it, or keeps it in its ring: later keys of the region are sealed to it. */
  readonly enrolmentPrivate: Handle;
  readonly enrolmentKey: Uint8Array;
}

/** SELF_TEST_FAILED, ARENA_FULL */
export function makeJoiningKeys(addon: Pick<NativeAddon, 'hpkeKeyPair'>): JoiningKeys {
  const { handle, publicKey } = addon.hpkeKeyPair();
  return { ...makeHostKey(), enrolmentPrivate: handle, enrolmentKey: publicKey };
}

/** What both signatures are over: all that the request says, and the connection it is said on. */
function transcript(label: 'proof' | 'possession', r: JoinRequest, channel: Uint8Array): Uint8Array {
  return lengthPrefixed(`quorate/join1/${label}`, channel, r.regionId, r.invitationId, r.host, r.hostSpki, r.enrolmentKey, String(r.addresses.length), ...r.addresses,
    r.peerAddress, r.engineAddress, r.enginePeerAddress);
}

/** Where the joining host listens, host:port each; '' for what it does not have. */
export interface JoinPlace {
  readonly peerAddress: string;
  readonly engineAddress: string;
  readonly enginePeerAddress: string;
}
const NO_PLACE: JoinPlace = { peerAddress: '', engineAddress: '', enginePeerAddress: '' };

/** `addresses`: where the others will reach this host, without ports. BAD_REQUEST */
export function makeJoinRequest(invitation: Invitation, keys: JoiningKeys, addresses: readonly string[], channel: Uint8Array, place: JoinPlace = NO_PLACE): JoinRequest {
  if (addresses.length > ADDRESSES_MAX) throw new QuorateError('BAD_REQUEST', `at most ${ADDRESSES_MAX} addresses`, { field: 'addresses' });
  for (const address of addresses) addressKind(address);
  const request = create(JoinRequestSchema, {
    format: FORMAT, invitationId: invitation.id, regionId: invitation.region.id, host: invitation.host, hostSpki: keys.spki, enrolmentKey: keys.enrolmentKey, addresses: [...addresses], ...place,
  });
  request.proof = proveInvitation(invitation, transcript('proof', request, channel));
  request.possession = new Uint8Array(sign('sha256', transcript('possession', request, channel), keys.keyPem));
  return request;
}

// ---- The inviter checks

export interface CheckedJoin {
  readonly request: JoinRequest;
  /** For the record: who has taken the invitation. The same host with the same keys may come again, when the answer was lost on its way. */
  readonly takenBy: Uint8Array;
  /** The record says so already: the caller writes nothing, and answers again. */
  readonly again: boolean;
}

/**
 * `stored`: the record of request.invitationId, null when there is none. The caller then takes it in one write with the membership, on the record's
 * generation that was read here: of two who come at once, one loses. INVITATION_REFUSED; BAD_REQUEST: a field
 */
export function checkJoinRequest(region: RegionIdentity, stored: StoredInvitation | null, request: JoinRequest, channel: Uint8Array, nowMs: number): CheckedJoin {
  if (request.format !== FORMAT) throw new QuorateError('BAD_REQUEST', `the request is of format ${request.format}; this release knows ${FORMAT}`, { field: 'format' });
  if (!equalBytes(request.regionId, region.id)) throw refused('it is for another region');
  if (stored === null || !equalBytes(stored.id, request.invitationId) || !equalBytes(stored.regionId, region.id)) throw refused('there is no such invitation');
  if (!provesInvitation(stored.proofKey, transcript('proof', request, channel), request.proof)) throw refused('its secret is wrong, or was used on another connection');
  // From here on the other end holds the secret, and may know what became of it.
  if (request.enrolmentKey.length !== ENROLMENT_KEY_BYTES || request.addresses.length > ADDRESSES_MAX) throw new QuorateError('BAD_REQUEST', 'a field of the request has a length that is not allowed');
  for (const address of [request.peerAddress, request.engineAddress, request.enginePeerAddress]) if (address !== '') splitAddress(address);
  if (!possesses(request, channel)) throw refused('the host does not hold the key that it shows');
  if (request.host !== stored.host) throw refused(`it is for the host ${stored.host}`);
  const takenBy = new Uint8Array(createHash('sha256').update(lengthPrefixed(request.hostSpki, request.enrolmentKey)).digest());
  const again = stored.takenBy !== null && equalBytes(stored.takenBy, takenBy);
  if (stored.takenBy !== null && !again) throw refused('it was used before');
  if (nowMs >= stored.expiresMs) throw refused(`it expired at ${new Date(stored.expiresMs).toISOString()}`);
  return { request, takenBy, again };
}

function possesses(request: JoinRequest, channel: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(request.hostSpki), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ec' && verify('sha256', transcript('possession', request, channel), key, request.possession);
  } catch {
    return false;
  }
}

// ---- The inviter answers

export interface Admission {
  readonly ca: CaKey;
  readonly caCertificate: Der;
  readonly region: RegionIdentity;
  readonly incarnation: Incarnation;
  /** What the host gets: isFor() picks. */
  readonly ring: readonly RingKey[];
  readonly membership: Uint8Array;
  /** Every member of the engine, the host's own too, for a host that has one. */
  readonly engine?: readonly EngineMemberName[];
}

export interface EngineMemberName {
  readonly name: string;
  readonly peerAddress: string;
}

/** After the membership names the host. BAD_REQUEST: the key or an address; KEY_INVALID: the enrolment key; CONFIG_INVALID: the CA */
export function makeJoinAnswer(addon: Pick<NativeAddon, 'hpkeSeal' | 'secretSize'>, admission: Admission, checked: CheckedJoin, nowMs: number): JoinAnswer {
  const { host, hostSpki, enrolmentKey, addresses } = checked.request;
  const { region, incarnation } = admission;
  return create(JoinAnswerSchema, {
    format: FORMAT, certificate: issueHostCertificate(admission.ca, admission.caCertificate, region, { host, spki: hostSpki, addresses }, nowMs), ca: admission.caCertificate,
    incarnationCounter: BigInt(incarnation.counter), incarnationId: incarnation.id, membership: admission.membership, engine: (admission.engine ?? []).map((member) => ({ ...member })),
    entries: sealRing(addon, enrolmentKey, { region, incarnation, host }, admission.ring).map((e) => ({ ...e })),
  });
}

/** Facts of this host (a path, say) are nobody's who has not joined. */
const TOLD: readonly ErrorCode[] = ['INVITATION_REFUSED', 'BAD_REQUEST', 'PEER_REFUSED'];

/** What a refusal says to the other end: the code, and for what the other end has done wrong the fact; INTERNAL for what is nobody's refusal. */
export function makeRefusal(error: unknown): JoinAnswer {
  const known = error instanceof QuorateError;
  return create(JoinAnswerSchema, { format: FORMAT, refusedCode: known ? error.code : 'INTERNAL', refusedDetail: known && TOLD.includes(error.code) ? error.detail : '' });
}

function refusalOf(answer: JoinAnswer): QuorateError {
  const known = Object.hasOwn(ERRORS, answer.refusedCode) && answer.refusedCode !== 'OK';
  return new QuorateError(known ? answer.refusedCode as ErrorCode : 'INTERNAL', answer.refusedDetail.slice(0, 500));
}

// ---- The joiner believes

export interface Joined {
  readonly certificate: Der;
  readonly ca: Der;
  readonly incarnation: Incarnation;
  /** The handles are the caller's. */
  readonly ring: readonly RingKey[];
  readonly membership: Uint8Array;
  readonly engine: readonly EngineMemberName[];
}

/**
 * `ca`: as requireInviter gave it. Throws what the inviter refused with; PEER_REFUSED: an answer that is not for this host, or lacks a key;
 * CIPHERTEXT_INVALID: a key that does not open; ARENA_FULL. No handle is left when it throws.
 */
export function openJoinAnswer(addon: Pick<NativeAddon, 'hpkeOpen' | 'secretDrop' | 'secretSize' | 'ed25519Public'>, invitation: Invitation, keys: JoiningKeys, ca: Der, answer: JoinAnswer, nowMs: number): Joined {
  if (answer.refusedCode !== '') throw refusalOf(answer);
  const bad = (fact: string): QuorateError => new QuorateError('PEER_REFUSED', fact);
  if (answer.format !== FORMAT) throw bad(`its answer is of format ${answer.format}; this release knows ${FORMAT}`);
  if (!equalBytes(answer.ca, ca) || !equalBytes(fingerprint(ca), invitation.caFingerprint)) throw bad('it answers with another CA than it was invited by');
  const facts = verifyHostCertificate(answer.certificate, { region: invitation.region, cas: [ca], isRevoked: () => false }, nowMs);
  if (facts.commonName !== invitation.host || !equalBytes(facts.spki, keys.spki)) throw bad('the certificate that it gives is another host\'s');
  const incarnation = { counter: Number(answer.incarnationCounter), id: answer.incarnationId };
  if (incarnation.id.length !== 16 || !Number.isSafeInteger(incarnation.counter) || incarnation.counter < 1) throw bad('its answer names no incarnation');
  const ring = openRing(addon, keys.enrolmentPrivate, { region: invitation.region, incarnation, host: invitation.host }, answer.entries);
  try {
    const missing = REQUIRED_ENTRIES.find((name) => !ring.some((key) => key.name === name));
    if (missing !== undefined) throw bad(`its answer lacks the key ${missing}`);
    requireSeedOf(addon, ca, ring, bad);
    return { certificate: answer.certificate, ca, incarnation, ring, membership: answer.membership, engine: answer.engine.map(({ name, peerAddress }) => ({ name, peerAddress })) };
  } catch (error) {
    for (const { handle } of ring) addon.secretDrop(handle);
    throw error;
  }
}

/** The CA's newest seed must be the one that has signed all this, or this host could sign nothing that the others believe. */
function requireSeedOf(addon: Pick<NativeAddon, 'ed25519Public'>, ca: Der, ring: readonly RingKey[], bad: (fact: string) => QuorateError): void {
  const [newest] = ring.filter((key) => key.name === REGION_CA).sort((a, b) => b.version - a.version);
  if (!equalBytes(factsOf(parseCertificate(ca)!).spki, ed25519Spki(addon.ed25519Public(newest!.handle)))) throw bad('its CA\'s key is not the one of its certificate');
}
