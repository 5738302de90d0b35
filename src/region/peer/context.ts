/** What both directions of the links share. */
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/logger.js';
import type { Lineage, Watermark } from '../../store/lineage.js';
import type { Revision } from '../apply.js';
import type { Word } from '../quorum.js';
import type { FormerHost } from './herald.js';

/** PEM texts. `cert` may have the CA's certificate behind the host's. */
export interface PeerCredentials {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

export interface PeerWord extends Word {
  /** The peer's wall clock minus this host's, by what came last; the way of the frame is in it. */
  readonly skewMs: number;
}

export interface PeerEvents {
  onPush(host: string, revision: Revision): void;
  onWatermark(host: string, word: PeerWord): void;
  /** The most that this host has ever confirmed to the peer, as the peer remembers: more than the own watermark means COPY_ROLLED_BACK. */
  onRemembered(host: string, watermark: Watermark): void;
  /** The peer is of another incarnation or cluster; neither side takes anything from the other. */
  onForeign(host: string, lineage: Lineage): void;
  /** What a peer says of a later incarnation, not looked at yet: whoever has a host's certificate can say something. */
  onSuccession(host: string, signed: Uint8Array): void;
}

/** How this host speaks to those of an earlier incarnation, which trust that one's CA alone: only to tell them that it is over. */
export interface FormerFace {
  readonly lineage: Lineage;
  /** Issued by the former CA. */
  readonly credentials: PeerCredentials;
  /** Signed with the former CA's seed (src/region/succession.ts). */
  readonly succession: Uint8Array;
  /** Who is behind a connection by the former CA. PEER_REFUSED */
  identify(socket: TLSSocket): string;
}

export interface PeerOptions {
  /** 32 lower-case hexadecimal digits. */
  readonly region: string;
  readonly host: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly credentials: PeerCredentials;
  /** Who is behind a connection whose handshake is done; `expected`: whom this host has dialled, null where it was dialled. Throws PEER_REFUSED. */
  identify(socket: TLSSocket, expected: string | null): string;
  /** Whether it has that host's own key; absent: whoever is identified has. */
  isOwnKey?(socket: TLSSocket, host: string): boolean;
  /** A host that joins, on the same port (ALPN JOIN_PROTOCOL), without a certificate: the socket is the callee's. Absent: none can join here. */
  onJoin?(socket: TLSSocket): void;
  /** The current one, of the region record. */
  lineage(): Lineage;
  /** The face for hosts of this earlier incarnation; null: it is none of this region's. */
  former?(counter: number, id: string): FormerFace | null;
  /** Hosts of earlier incarnations that are none of the present one, as far as their addresses tell. */
  formerHosts?(): readonly FormerHost[];
  /** What has put this host out of office, passed on to the others of its incarnation. null: nothing has. It may begin at any time. */
  superseded?(): Uint8Array | null;
  /** The most that the peer has ever confirmed here. */
  remembered(host: string): Watermark | null;
  readonly events: PeerEvents;
  readonly clock: Clock;
  readonly log: Logger;
}

export function tlsOptions({ key, cert, ca }: PeerCredentials): SecureContextOptions {
  return { key, cert, ca, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' };
}

/** As TLS names the server (SNI): which incarnation the dialler is of. Nobody looks it up. */
export function incarnationName({ counter, id }: Pick<Lineage, 'counter' | 'id'>): string {
  return `i${counter}-${id}.incarnation.quorate.internal`;
}

/** null: another name, or none. */
export function incarnationOf(name: string): { counter: number; id: string } | null {
  const m = /^i([1-9][0-9]{0,15})-([0-9a-f]{32})\.incarnation\.quorate\.internal$/.exec(name);
  return m === null ? null : { counter: Number(m[1]), id: m[2]! };
}

const REASONS_MAX = 256;
const REPEAT_MS = 60_000;

/** A peer that is refused comes again each second: the same reason is logged once a minute. */
export class Reasons {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #last = new Map<string, { reason: string; atMs: number }>();

  constructor({ log, clock }: Pick<PeerOptions, 'log' | 'clock'>) {
    this.#log = log;
    this.#clock = clock;
  }

  warn(message: string, who: string, reason: string): void {
    const atMs = this.#clock.monotonicMs();
    const last = this.#last.get(`${message} ${who}`);
    if (last !== undefined && last.reason === reason && atMs - last.atMs < REPEAT_MS) return;
    if (this.#last.size >= REASONS_MAX) this.#last.clear();
    this.#last.set(`${message} ${who}`, { reason, atMs });
    this.#log.warn(message, { peer: who, reason });
  }
}
