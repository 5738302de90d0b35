/**
 * The members' addresses, a channel for each. The first is the local member: it is used while it answers, and again once it does.
 * Channels are never shared with another client, and one whose member went silent is thrown away: a connection whose packets get
 * lost would otherwise stay open, and unused, until TCP gives up.
 */
import { Client, credentials } from '@grpc/grpc-js';
import { assert } from '../../base/assert.js';
import { LIMITS } from '../../base/limits.js';

/** PEM. `ca` holds every certificate authority that is trusted now. */
export interface EngineTls {
  readonly ca: Uint8Array;
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** So many timeouts in a row, and the next attempt opens a new connection. */
const TIMEOUTS_MAX = 3;

const OPTIONS = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.max_send_message_length': LIMITS.engine_request_bytes_max,
  'grpc.max_receive_message_length': LIMITS.engine_answer_bytes_max,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

export class Endpoint {
  readonly address: string;
  private tls: EngineTls;
  private open: Client | null = null;
  private timeouts = 0;

  constructor(address: string, tls: EngineTls) {
    this.address = address;
    this.tls = tls;
  }

  client(): Client {
    this.open ??= this.newClient();
    return this.open;
  }

  /** A channel of the caller's own, to be closed by it. */
  newClient(): Client {
    const bytes = (pem: Uint8Array): Buffer => Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength);
    return new Client(this.address, credentials.createSsl(bytes(this.tls.ca), bytes(this.tls.privateKey), bytes(this.tls.certificate)), OPTIONS);
  }

  answered(): void {
    this.timeouts = 0;
  }

  timedOut(): void {
    this.timeouts += 1;
    if (this.timeouts >= TIMEOUTS_MAX) this.close();
  }

  /** Calls under way end by themselves; the next one opens a connection with what is set now. */
  renew(tls: EngineTls): void {
    this.tls = tls;
    this.close();
  }

  close(): void {
    this.timeouts = 0;
    this.open?.close();
    this.open = null;
  }
}

export class Endpoints {
  readonly all: readonly Endpoint[];
  private chosen = 0;
  closed = false;

  constructor(addresses: readonly string[], tls: EngineTls) {
    assert(addresses.length > 0 && new Set(addresses).size === addresses.length, 'each address once');
    this.all = addresses.map((address) => new Endpoint(address, tls));
  }

  /** Where the next request goes first. */
  get current(): Endpoint {
    return this.all[this.chosen]!;
  }

  get atHome(): boolean {
    return this.chosen === 0;
  }

  /** Moves on, unless somebody else's failure has moved on already. */
  failed(endpoint: Endpoint): void {
    if (this.current === endpoint) this.chosen = (this.chosen + 1) % this.all.length;
  }

  goHome(): void {
    this.chosen = 0;
  }

  renew(tls: EngineTls): void {
    for (const endpoint of this.all) endpoint.renew(tls);
  }

  close(): void {
    this.closed = true;
    for (const endpoint of this.all) endpoint.close();
  }
}
