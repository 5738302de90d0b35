/** A region: several hosts in zones, as one. */
import type { ClearAlarmsResponse, DrainHostResponse, RebuildRegionResponse, RegionQuarantineResponse, RegionStatusResponse, RemoveHostResponse, RotateRingResponse, RotationStatusResponse } from '../protocol/gen/quorate_pb.js';
import type { SealTypeName } from '../protocol/names.js';
import { numberOf, SEAL_TYPES } from '../protocol/names.js';
import { type Plain, plain } from './access.js';
import type { Caller, CallOptions } from './caller.js';
import { type Bytes, bytesOf } from './types.js';

export type RegionState = Plain<RegionStatusResponse>;
export type RotationState = Plain<RotationStatusResponse>;

export interface RemoveOptions extends CallOptions {
  /** The ring's keys, which the host has known, stay as they are. Default: they are rotated. */
  keepKeys?: boolean;
}

/** host:port each. Hosts of the roles app and replica have no engine. */
export interface HostPlaces {
  peer: string;
  engine?: string;
  enginePeer?: string;
}

export interface InitRegionOptions extends CallOptions {
  region: string;
  host: string;
  zone: string;
  addresses: HostPlaces;
  /** For this host's etcd. Default a minute. */
  waitMs?: number;
}

export interface InviteOptions extends CallOptions {
  zone: string;
  /** Default voter. */
  role?: 'voter' | 'app' | 'replica';
  /** Default an hour, at most 30 days. */
  lifeMs?: number;
}

export interface JoinOptions extends CallOptions {
  invitation: string;
  addresses: HostPlaces;
  /** Default: passphrase. Any one of them unseals. */
  seals?: Exclude<SealTypeName, 'development' | 'recovery'>[];
  passphrase?: Bytes;
  credential?: Uint8Array;
  shareCount?: number;
  shareThreshold?: number;
}

export interface JoinResult {
  /** Each a line of ASCII, shown once. */
  custodianShares: Uint8Array[];
  region: string;
  host: string;
  zone: string;
  role: string;
  /** What etcd is started with; '' where none runs. */
  engineSettings: string;
  /** false: the copy is still to come; unseal to go on. */
  copied: boolean;
}

export interface RebuildOptions extends CallOptions {
  from: 'copy' | 'replica';
  /** Whoever says it has seen to it that they are, and stay so. */
  oldHostsAreOff: boolean;
  /** What is left out stays as it was. A host that had no engine names its addresses for one. */
  addresses?: Partial<HostPlaces>;
  /** For this host's etcd. Default a minute. */
  waitMs?: number;
  /** Nothing is done: what would be lost, and whether it may begin. */
  planOnly?: boolean;
}

export type RebuildResult = Plain<RebuildRegionResponse>;

export class Region {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** This host with its keys becomes the first one. CONFLICT, ENGINE_UNAVAILABLE, ENGINE_REFUSED, BAD_REQUEST */
  async init({ region, host, zone, addresses, waitMs, ...options }: InitRegionOptions): Promise<{ regionId: string; records: number; engineSettings: string }> {
    const { regionId, records, engineSettings } = await this.#caller.call('InitRegion', { region, host, zone, addresses, waitMs }, options);
    return { regionId, records: Number(records), engineSettings };
  }

  /** The text is a secret, good for one join. BAD_REQUEST, READ_ONLY */
  async invite(host: string, { zone, role = 'voter', lifeMs, ...options }: InviteOptions): Promise<{ invitation: string; expiresMs: number }> {
    const { invitation, expiresMs } = await this.#caller.call('InviteHost', { host, zone, role, lifeMs: lifeMs === undefined ? undefined : BigInt(lifeMs) }, options);
    return { invitation, expiresMs: Number(expiresMs) };
  }

  /** Makes this daemon's store, as a host of the region that has invited it. INVITATION_INVALID, INVITATION_REFUSED, ALREADY_INITIALISED, CONNECTION_LOST */
  async join({ invitation, addresses, seals = ['passphrase'], passphrase, credential, shareCount, shareThreshold, ...options }: JoinOptions): Promise<JoinResult> {
    const reply = await this.#caller.call('JoinRegion', {
      invitation, addresses, seals: seals.map((seal) => numberOf(SEAL_TYPES, seal, 'seals')), passphrase: bytesOf(passphrase, 'passphrase'), credential, shareCount, shareThreshold,
    }, options);
    const { custodianShares, region, host, zone, role, engineSettings, copied } = reply;
    return { custodianShares, region, host, zone, role, engineSettings, copied };
  }

  /** As this host sees it. CONFLICT: it is in no region */
  async status(options: CallOptions = {}): Promise<RegionState> {
    return plain(await this.#caller.call('RegionStatus', {}, options));
  }

  /**
   * This host's copy becomes the first of a new incarnation of the region, whose majority is gone for good; its etcd is started anew meanwhile.
   * OLD_HOSTS_ANSWER, BAD_REQUEST, CONFLICT, ENGINE_UNAVAILABLE (again: it goes on), ENGINE_REFUSED
   */
  async rebuild({ from, oldHostsAreOff, addresses, waitMs, planOnly, ...options }: RebuildOptions): Promise<RebuildResult> {
    return plain(await this.#caller.call('RebuildRegion', { from, oldHostsAreOff, addresses, waitMs, planOnly }, options));
  }

  /** What this host has that the later incarnation has not, when it is quarantined. */
  async quarantine(options: CallOptions = {}): Promise<Plain<RegionQuarantineResponse>> {
    return plain(await this.#caller.call('RegionQuarantine', {}, options));
  }

  /** READ_ONLY: writes would stop with it. ENGINE_REFUSED, BAD_REQUEST */
  async remove(host: string, { keepKeys, ...options }: RemoveOptions = {}): Promise<Plain<RemoveHostResponse>> {
    return plain(await this.#caller.call('RemoveHost', { host, keepKeys }, options));
  }

  /** Begins a new generation of the ring's keys, in a region or on a single host; the daemon carries it on by itself. CONFLICT, READ_ONLY, ARENA_FULL */
  async rotateRing(options: CallOptions = {}): Promise<Plain<RotateRingResponse>> {
    return plain(await this.#caller.call('RotateRing', {}, options));
  }

  async rotation(options: CallOptions = {}): Promise<RotationState> {
    return plain(await this.#caller.call('RotationStatus', {}, options));
  }

  /** It stops counting, for upkeep; `undrain`: it comes to count again. READ_ONLY: writes would stop without it. BAD_REQUEST */
  async drain(host: string, options: CallOptions = {}): Promise<Plain<DrainHostResponse>> {
    return plain(await this.#caller.call('DrainHost', { host }, options));
  }

  async undrain(host: string, options: CallOptions = {}): Promise<Plain<DrainHostResponse>> {
    return plain(await this.#caller.call('DrainHost', { host, undo: true }, options));
  }

  /** Makes room in the engine where that is lacking, then clears its alarms: writes go on. ENGINE_UNAVAILABLE, ENGINE_REFUSED */
  async clearAlarms(options: CallOptions = {}): Promise<Plain<ClearAlarmsResponse>> {
    return plain(await this.#caller.call('ClearAlarms', {}, options));
  }
}
