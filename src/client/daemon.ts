/** What concerns the daemon itself: status, seals. */
import type { SealTypeName } from '../protocol/names.js';
import { nameOf, numberOf, SEAL_TYPES } from '../protocol/names.js';
import type { Caller, CallOptions } from './caller.js';
import type { Output } from './call.js';
import { type Bytes, bytesOf } from './types.js';

export interface DaemonStatus {
  socket: string;
  /** The store's folder. */
  store: string;
  initialised: boolean;
  sealed: boolean;
  /** The root key lies in a file beside the store: for development only. */
  development: boolean;
  seals: { type: SealTypeName; detail: string }[];
  /** AES-GCM implementation in use, and all that this CPU runs. */
  kernel: string;
  kernels: string[];
  selfTestsPassed: boolean;
  versions: { quorate: string; node: string; openssl: string; sqlcipher: string; schema: number };
  uptimeMs: number;
  keys: number;
  revision: number;
  arena: { bytesUsed: number; bytesMax: number };
  connections: number;
  sessions: number;
  /** Custodians' or recovery shares, while sealed. */
  unseal: { sharesGiven: number; sharesNeeded: number };
  requests: number;
  /** Requests that needed JavaScript. */
  upcalls: number;
  /** Why an unsealed daemon answers AUDIT_UNAVAILABLE; '' when it does not. */
  auditFault: string;
  /** The region that this host is in, and its own name there; '' for a single host. */
  region: string;
  regionHost: string;
  /** Destinations for backups are configured: client.backups.status() tells more. */
  backups: boolean;
}

export interface InitOptions extends CallOptions {
  /** Default: passphrase. Any one of them unseals. */
  seals?: Exclude<SealTypeName, 'development' | 'recovery'>[];
  /** 8 to 1024 bytes. */
  passphrase?: Bytes;
  /** At least 32 bytes: what the credential file will hold. */
  credential?: Uint8Array;
  /** Custodians, with the seal `shamir`. */
  shareCount?: number;
  shareThreshold?: number;
  /** The recovery kit. Default 5, any 3 of which open. */
  recoveryCount?: number;
  recoveryThreshold?: number;
}

/** Shown once, never again: each share is a line of ASCII. Wipe them when they have been handed over. */
export interface InitResult {
  recoveryShares: Uint8Array[];
  custodianShares: Uint8Array[];
  storeId: string;
}

export type UnsealOptions = CallOptions &
  ({ type: 'passphrase'; passphrase: Bytes } | { type: 'shamir' | 'recovery'; share: Bytes; reset?: boolean } | { type: 'credential' });

export interface RotateRootOptions extends CallOptions {
  /** Where the store has a passphrase seal: its passphrase, which stays what it is. */
  passphrase?: Bytes;
  /** Of the credential seal. Default: what the daemon's credential file holds. */
  credential?: Uint8Array;
  /** Where the store has a seal of custodians: new shares for them; the old ones open nothing any more. */
  newShares?: boolean;
}

export class DaemonClient {
  protected readonly caller: Caller;

  /** @internal Use connect(). */
  constructor(caller: Caller) {
    this.caller = caller;
  }

  /** The socket that it is connected to. */
  get socket(): string {
    return this.caller.socket;
  }

  /** Answered to everybody, sealed or not. */
  async status(options: CallOptions = {}): Promise<DaemonStatus> {
    return statusOf(await this.caller.call('Status', {}, options));
  }

  /** `live`: it answers; `ready`: it is unsealed and serves. */
  /** Prometheus' text exposition, which holds no name of a key or a principal. DENIED, SEALED */
  async metrics(options: CallOptions = {}): Promise<string> {
    return (await this.caller.call('Metrics', {}, options)).text;
  }

  async health(options: CallOptions = {}): Promise<{ live: boolean; ready: boolean }> {
    const { live, ready } = await this.caller.call('Health', {}, options);
    return { live, ready };
  }

  /** Makes the store's root key and seals. ALREADY_INITIALISED, BAD_REQUEST */
  async init(options: InitOptions): Promise<InitResult> {
    const { seals = ['passphrase'], credential, shareCount, shareThreshold, recoveryCount = 5, recoveryThreshold = 3 } = options;
    const reply = await this.caller.call('Init', {
      seals: seals.map((seal) => numberOf(SEAL_TYPES, seal, 'seals')), passphrase: bytesOf(options.passphrase, 'passphrase'), credential,
      shareCount, shareThreshold, recoveryCount, recoveryThreshold,
    }, options);
    return { recoveryShares: reply.recoveryShares, custodianShares: reply.custodianShares, storeId: reply.storeId };
  }

  /** Gives one passphrase, or one share; shares add up over calls. UNSEAL_FAILED, UNINITIALISED */
  async unseal(options: UnsealOptions): Promise<{ sealed: boolean; sharesGiven: number; sharesNeeded: number }> {
    const request = { type: numberOf(SEAL_TYPES, options.type, 'type') };
    const secrets = 'passphrase' in options ? { passphrase: bytesOf(options.passphrase, 'passphrase') }
      : 'share' in options ? { share: bytesOf(options.share, 'share'), reset: options.reset } : {};
    const { sealed, sharesGiven, sharesNeeded } = await this.caller.call('Unseal', { ...request, ...secrets }, options);
    return { sealed, sharesGiven, sharesNeeded };
  }

  /** Wipes every key from the daemon's memory; nothing works until it is unsealed. */
  async seal(options: CallOptions = {}): Promise<void> {
    await this.caller.call('Seal', {}, options);
  }

  /**
   * A new root key for this host; keys stay, and clients notice nothing. The shares, when new ones were asked for, are shown once: wipe them.
   * BAD_REQUEST (a seal's secret is missing), UNSEAL_FAILED (it is wrong), STORE_FULL, STORE_IO: nothing has changed.
   */
  async rotateRoot(options: RotateRootOptions = {}): Promise<{ custodianShares: Uint8Array[]; shareThreshold: number }> {
    const { passphrase, credential, newShares } = options;
    const { custodianShares, shareThreshold } = await this.caller.call('RotateRoot', {
      ...(passphrase === undefined ? {} : { passphrase: bytesOf(passphrase, 'passphrase') }), credential, newShares,
    }, options);
    return { custodianShares, shareThreshold };
  }
}

function statusOf(s: Output<'Status'>): DaemonStatus {
  return {
    socket: s.socket,
    store: s.store,
    initialised: s.initialised,
    sealed: s.sealed,
    development: s.development,
    seals: s.seals.map((seal) => ({ type: nameOf(SEAL_TYPES, seal.type, 'unknown' as SealTypeName), detail: seal.detail })),
    kernel: s.kernel,
    kernels: s.kernels,
    selfTestsPassed: s.selfTestsPassed,
    versions: { quorate: s.release, node: s.node, openssl: s.openssl, sqlcipher: s.sqlcipher, schema: s.schema },
    uptimeMs: Number(s.uptimeMs),
    keys: Number(s.keys),
    revision: Number(s.revision),
    arena: { bytesUsed: Number(s.arenaBytesUsed), bytesMax: Number(s.arenaBytesMax) },
    connections: s.connections,
    sessions: s.sessions,
    unseal: { sharesGiven: s.unsealSharesGiven, sharesNeeded: s.unsealSharesNeeded },
    requests: Number(s.requests),
    upcalls: Number(s.upcalls),
    backups: s.backups,
    auditFault: s.auditFault,
    region: s.region,
    regionHost: s.regionHost,
  };
}
