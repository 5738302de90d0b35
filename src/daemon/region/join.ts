/** A host joins: both ends in the daemon. What is said and proved on the way is src/region/trust/enrolment.ts. */
import { connect, type TLSSocket } from 'node:tls';
import { fromHex, toHex } from '../../base/bytes.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { DAEMON } from '../../operations/journal.js';
import { isConflict } from '../../operations/mutate.js';
import { commitAudited } from '../../operations/pending.js';
import type { JoinAnswer, JoinRequest } from '../../protocol/gen/enrolment_pb.js';
import { decodeRegion, encodeRegion, REGION_RECORD, type RegionRecord } from '../../region/membership.js';
import { fingerprint } from '../../region/trust/peer.js';
import { join, JOIN_PROTOCOL, serveJoin } from '../../region/trust/exchange.js';
import { checkJoinRequest, type EngineMemberName, type Joined, type JoiningKeys, makeJoinAnswer } from '../../region/trust/enrolment.js';
import { decodeStoredInvitation, encodeStoredInvitation, type Invitation, type StoredInvitation } from '../../region/trust/invitation.js';
import type { RecordName } from '../../store/store.js';
import { addressesOf, identityOf, listenAt, type OpenRegion, type RegionDesk } from './desk.js';
import type { OwnAddresses } from './files.js';
import { caSeedOf, givenKeys } from './incarnation.js';
import { requireAddresses } from './init.js';

const CONNECT_MS = 10_000;
/** With the same keys, after an answer that was lost: the region knows who has taken the invitation. */
const TAKES = 3;
const TRIES = 3;
const JOINS_MAX = 4;

export const invitationName = (id: Uint8Array): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'invitation', id: toHex(id) });

// ---- the region's end

export class Admissions {
  readonly #addon: NativeAddon;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #desk: RegionDesk;
  #serving = 0;
  /** One after the other: the engine takes one learner at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(addon: NativeAddon, clock: Clock, log: Logger, desk: RegionDesk) {
    this.#addon = addon;
    this.#clock = clock;
    this.#log = log;
    this.#desk = desk;
    desk.onJoin = (socket) => this.#serve(socket);
  }

  #serve(socket: TLSSocket): void {
    socket.on('error', () => undefined);
    if (this.#serving >= JOINS_MAX) {
      socket.destroy();
      return;
    }
    this.#serving++;
    serveJoin(socket, (request, channel) => this.#inTurn(() => this.#answer(request, channel)))
      .catch((error: unknown) => this.#log.warn('a host could not join', { peer: socket.remoteAddress ?? '', error: String(error) }))
      .finally(() => { this.#serving--; });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => undefined);
    return done;
  }

  /** INVITATION_REFUSED, BAD_REQUEST, READ_ONLY, ENGINE_REFUSED (another host is just being taken in), ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN */
  async #answer(request: JoinRequest, channel: Uint8Array): Promise<JoinAnswer> {
    const [open, context] = [this.#desk.open, this.#desk.context];
    if (open === null || context === null) throw new QuorateError('SEALED');
    const { addon, clock } = { addon: this.#addon, clock: this.#clock };
    const region = identityOf(open.store.membership);
    const kept = await context.store.get(invitationName(request.invitationId));
    const stored = kept === null ? null : decodeStoredInvitation(kept.value);
    const checked = checkJoinRequest(region, stored, request, channel, clock.nowMs());
    requireAddresses({ peer: request.peerAddress, engine: request.engineAddress, enginePeer: request.enginePeerAddress }, stored!.role === 'voter');
    await this.#requireRoom(open, request);
    if (!checked.again) await this.#taken(context, stored!, kept!.generation, request, checked.takenBy);
    const engine = stored!.role === 'voter' ? await this.#engineMembers(open, request) : [];
    const { lineage, ca } = open.store.membership;
    return makeJoinAnswer(addon, {
      ca: { addon, seed: caSeedOf(addon, open.ring, ca[0]!) }, caCertificate: ca[0]!, region, incarnation: { counter: lineage.counter, id: fromHex(lineage.id)! },
      ring: givenKeys(addon, open.ring, open.store.membership, () => true), membership: encodeRegion(open.store.membership), engine,
    }, checked, clock.nowMs());
  }

  /** Before anything is written: the engine refuses a second learner. */
  async #requireRoom({ engine }: OpenRegion, request: JoinRequest): Promise<void> {
    if (request.enginePeerAddress === '') return;
    const members = await engine.members.list(LIMITS.region_commit_ms);
    const other = members.find(({ learner, peerUrls }) => learner && !peerUrls.includes(`https://${request.enginePeerAddress}`));
    if (other !== undefined) throw new QuorateError('ENGINE_REFUSED', `${other.name === '' ? other.peerUrls.join() : other.name} is just being taken in`);
  }

  /** Hosts that have just joined write the membership, too: once more then. */
  async #taken(context: OperationContext, stored: StoredInvitation, generation: number, request: JoinRequest, takenBy: Uint8Array): Promise<void> {
    for (let left = TAKES; ; left--) {
      try {
        return await this.#take(context, stored, generation, request, takenBy);
      } catch (error) {
        if (!isConflict(error) || left <= 1) throw error;
      }
    }
  }

  /** The invitation and the membership in one write: of two who come at once, one loses. */
  async #take(context: OperationContext, stored: StoredInvitation, generation: number, request: JoinRequest, takenBy: Uint8Array): Promise<void> {
    const current = (await context.store.get(REGION_RECORD))!;
    const record = decodeRegion(current.value);
    const { host, zone, role } = stored;
    if (record.hosts.some(({ name }) => name === host)) throw new QuorateError('INVITATION_REFUSED', `there is a host ${host} in the region: remove it first`);
    const { peerAddress, engineAddress, enginePeerAddress, enrolmentKey } = request;
    const next: RegionRecord = { ...record, hosts: [...record.hosts, { name: host, zone, role, peerAddress, engineAddress, enginePeerAddress, enrolmentKey, domains: ['*'], promoted: false, certificates: [], tlsKey: fingerprint(request.hostSpki) }] };
    const entry = context.journal?.begin({
      method: 'JoinRegion', domain: SYSTEM_DOMAIN, principal: DAEMON, uid: process.getuid!(), pid: process.pid, request: null, resource: host, detail: `zone=${zone} role=${role}`,
    });
    try {
      await commitAudited({ ...context, auditEntry: entry }, [
        { name: invitationName(stored.id), value: encodeStoredInvitation({ ...stored, takenBy }), ifGeneration: generation },
        { name: REGION_RECORD, value: encodeRegion(next), ifGeneration: current.generation },
      ], null);
      entry?.done();
    } catch (error) {
      entry?.failed(error);
      throw error;
    }
    this.#log.info('a host joins', { host, zone, role });
  }

  /** Every member by the name that it starts under. */
  async #engineMembers({ engine, store }: OpenRegion, request: JoinRequest): Promise<EngineMemberName[]> {
    const url = `https://${request.enginePeerAddress}`;
    let members = await engine.members.list(LIMITS.region_commit_ms);
    if (!members.some(({ peerUrls }) => peerUrls.includes(url))) members = (await engine.members.addLearner(request.enginePeerAddress, LIMITS.region_commit_ms)).all;
    return members.map(({ name, peerUrls }) => {
      const peerAddress = (peerUrls[0] ?? '').slice('https://'.length);
      const host = store.membership.hosts.find(({ enginePeerAddress }) => enginePeerAddress === peerAddress);
      return { name: peerUrls.includes(url) ? request.host : (host?.name ?? name), peerAddress };
    });
  }
}

// ---- the joining host's end

function dial(address: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...listenAt(address), rejectUnauthorized: false, ALPNProtocols: [JOIN_PROTOCOL], minVersion: 'TLSv1.3', timeout: CONNECT_MS });
    const failed = (why: string): void => {
      socket.destroy();
      reject(new QuorateError('CONNECTION_LOST', `${address}: ${why}`));
    };
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      socket.removeAllListeners('timeout').removeAllListeners('error').on('error', () => undefined);
      resolve(socket);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
    socket.once('timeout', () => failed('no answer'));
  });
}

export interface Asking {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly invitation: Invitation;
  readonly keys: JoiningKeys;
  readonly addresses: OwnAddresses;
}

/** From whichever of the invitation's addresses answers. What the region refuses with; CONNECTION_LOST: none answers */
export async function askToJoin({ addon, clock, invitation, keys, addresses }: Asking): Promise<Joined> {
  const place = { peerAddress: addresses.peer, engineAddress: addresses.engine, enginePeerAddress: addresses.enginePeer };
  let last: unknown = null;
  for (let i = 0; i < TRIES; i++) {
    for (const address of invitation.addresses) {
      let socket: TLSSocket | null = null;
      try {
        socket = await dial(address);
        return await join(addon, socket, invitation, keys, addressesOf({ addresses }), () => clock.nowMs(), undefined, place);
      } catch (error) {
        last = error;
        if (!(error instanceof QuorateError) || !['CONNECTION_LOST', 'DEADLINE_EXCEEDED'].includes(error.code)) throw error;
      } finally {
        socket?.destroy();
      }
    }
  }
  throw last;
}
