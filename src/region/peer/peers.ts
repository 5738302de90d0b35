/**
 * The links of a host with all others of its region. Each host dials every other; on the connection that it dialled it sends its pushes and its
 * watermark, at once after each apply and every `region_heartbeat_ms`. A peer is heard by what comes on the connection that the peer dialled.
 */
import { LIMITS } from '../../base/limits.js';
import { assert } from '../../base/assert.js';
import type { Revision } from '../apply.js';
import { Acceptor } from './acceptor.js';
import { type PeerCredentials, type PeerEvents, type PeerOptions, type PeerWord, Reasons } from './context.js';
import { Dialler, type PeerAddress } from './dialler.js';
import { Herald } from './herald.js';
import { type OwnWord, pushFrame, watermarkFrame } from './messages.js';

export type { PeerAddress, PeerCredentials, PeerEvents, PeerOptions, PeerWord, OwnWord };

export interface LinkStatus {
  readonly host: string;
  /** The connection that this host dialled. */
  readonly reached: boolean;
  /** Why it is not reached. */
  readonly reason: string;
  /** The peer has dialled this host. */
  readonly connected: boolean;
  /** Pushes that found no room on the present connection. */
  readonly droppedPushes: number;
  readonly waitingBytes: number;
  /** It says that it is out of office: of an incarnation that was followed by a later one. */
  readonly isQuarantined: boolean;
}

const TICK_MS = LIMITS.region_heartbeat_ms / 2;

export class Peers {
  readonly #options: PeerOptions;
  readonly #reasons: Reasons;
  readonly #diallers = new Map<string, Dialler>();
  readonly #words = new Map<string, PeerWord>();
  readonly #herald: Herald;
  #acceptor!: Acceptor;
  #credentials: PeerCredentials;
  #own: OwnWord;
  #timer: NodeJS.Timeout | null = null;
  #beatMs = 0;

  private constructor(options: PeerOptions, own: OwnWord) {
    this.#options = options;
    this.#credentials = options.credentials;
    this.#reasons = new Reasons(options);
    this.#herald = new Herald(options);
    this.#own = own;
  }

  /** `own`: what this host says of its copy to begin with. Nobody is dialled before setHosts(). SOCKET_UNUSABLE */
  static async listen(options: PeerOptions, own: OwnWord): Promise<Peers> {
    assert(/^[0-9a-f]{32}$/.test(options.region), 'a region has an id');
    const peers = new Peers(options, own);
    const { events } = options;
    const noted: PeerEvents = {
      onPush: (host, revision) => events.onPush(host, revision),
      onRemembered: (host, watermark) => events.onRemembered(host, watermark),
      onForeign: (host, lineage) => events.onForeign(host, lineage),
      onSuccession: (host, signed) => events.onSuccession(host, signed),
      onWatermark: (host, word) => {
        peers.#words.set(host, word);
        events.onWatermark(host, word);
      },
    };
    peers.#acceptor = await Acceptor.listen({ ...options, events: noted, reasons: peers.#reasons });
    peers.#timer = setInterval(() => peers.#tick(), TICK_MS);
    return peers;
  }

  /** Where it listens; the port that was found free when 0 was asked for. */
  get port(): number {
    return this.#acceptor.port;
  }

  /** The newest word of each peer, and this host's own, for a View of quorum.ts. */
  words(): Map<string, PeerWord> {
    const nowMs = this.#options.clock.monotonicMs();
    return new Map([...this.#words, [this.#options.host, { ...this.#own, heardMs: nowMs, skewMs: 0 }]]);
  }

  /** The others of the membership, this host left out or not. Who is gone is hung up on, who has moved is dialled anew. */
  setHosts(hosts: readonly PeerAddress[]): void {
    const others = hosts.filter(({ name }) => name !== this.#options.host);
    assert(others.length < LIMITS.region_hosts_max, 'a region has few hosts');
    const wanted = new Map(others.map((address) => [address.name, address]));
    for (const [name, dialler] of [...this.#diallers]) {
      const address = wanted.get(name);
      if (address?.host === dialler.address.host && address.port === dialler.address.port) continue;
      dialler.stop();
      this.#diallers.delete(name);
    }
    for (const name of [...this.#words.keys()]) if (!wanted.has(name)) this.#words.delete(name);
    for (const address of others) if (!this.#diallers.has(address.name)) this.#diallers.set(address.name, this.#dialler(address));
    this.recheck();
  }

  #dialler(address: PeerAddress): Dialler {
    return new Dialler(address, {
      ...this.#options, identify: (socket, expected) => this.#options.identify(socket, expected),
      lineage: () => this.#options.lineage(), reasons: this.#reasons, currentCredentials: () => this.#credentials, watermark: () => this.#frame(),
    });
  }

  /** To every peer that can take it now; the watch brings it to the others. */
  push(revision: Revision): void {
    const frame = pushFrame(revision);
    if (frame === null) {
      this.#options.log.debug('a revision is too long to be pushed', { revision: revision.revision });
      return;
    }
    for (const dialler of this.#diallers.values()) dialler.push(frame);
  }

  /** After each apply, and whenever withholding begins or ends. The revision must be on the disk. */
  confirm(own: OwnWord): void {
    this.#own = own;
    this.#beat();
  }

  #frame(): Uint8Array {
    return watermarkFrame(this.#own, this.#options.clock.nowMs());
  }

  #beat(): void {
    this.#beatMs = this.#options.clock.monotonicMs();
    const frame = this.#frame();
    for (const dialler of this.#diallers.values()) dialler.confirm(frame);
  }

  #tick(): void {
    if (this.#options.clock.monotonicMs() - this.#beatMs >= LIMITS.region_heartbeat_ms - TICK_MS / 2) this.#beat();
    for (const dialler of this.#diallers.values()) dialler.tick();
    this.#acceptor.tick();
    this.#herald.tick();
  }

  /** Connections that come from now on show and check these; those that are open stay. */
  setCredentials(credentials: PeerCredentials): void {
    this.#acceptor.setCredentials(credentials);
    this.#credentials = credentials;
  }

  /** Asks identify() about every open connection again: after a change of the membership or of the revoked certificates. */
  recheck(): void {
    this.#acceptor.recheck();
    for (const dialler of this.#diallers.values()) dialler.recheck();
  }

  /** Hangs up on all, and begins again with Hello: after a change of the lineage. What peers said before is forgotten. */
  restart(): void {
    this.#words.clear();
    this.#acceptor.dropAll();
    for (const dialler of this.#diallers.values()) dialler.redial('this host has begun anew');
  }

  status(): LinkStatus[] {
    const connected = new Set(this.#acceptor.hosts);
    return [...this.#diallers].map(([host, d]) => ({
      host, reached: d.isUp, reason: d.reason, connected: connected.has(host), droppedPushes: d.dropped, waitingBytes: d.waitingBytes, isQuarantined: d.isQuarantined,
    }));
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#herald.stop();
    for (const dialler of this.#diallers.values()) dialler.stop();
    this.#diallers.clear();
    await this.#acceptor.close();
  }
}
