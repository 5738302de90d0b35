/**
 * The members' addresses, a channel for each. The first is the local member: it is used while it answers, and again once it does.
 * Channels are never shared with another client, and one whose member went silent is thrown away: a connection whose packets get
 * lost would otherwise stay open, and unused, until TCP gives up.
 */
import { Client, credentials } from '@grpc/grpc-js';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import { assert } from '../../base/assert.js';
import { LIMITS } from '../../base/limits.js';

/** PEM. `ca` holds every certificate authority that is trusted now. */
export interface EngineTls {
  readonly ca: Uint8Array;
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** A member that was asked and not heard for this long gets a new connection with the next attempt. */
const SILENCE_MAX_MS = 2000;

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

/** What is sent as the server's name where its address is a number, which RFC 6066, section 3, does not allow there. A member has one certificate. */
const SERVER_NAME = 'engine.quorate.invalid';

/** Both sides show a certificate; the member's must name the host of its address, also when that is a number. */
function credentialsFor(host: string, tls: EngineTls): ChannelCredentials {
  const bytes = (pem: Uint8Array): Buffer => Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength);
  const context = createSecureContext({ ca: bytes(tls.ca), cert: bytes(tls.certificate), key: bytes(tls.privateKey), minVersion: 'TLSv1.3' });
  return credentials.createFromSecureContext(context, { checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate) });
}

export class Endpoint {
  readonly address: string;
  private tls: EngineTls;
  private open: Client | null = null;
  /** Since when it has been asked and not heard; 0 while it answers. */
  private unheard = 0;

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
    const host = this.address.slice(0, this.address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const options = isIP(host) === 0 ? OPTIONS : { ...OPTIONS, 'grpc.ssl_target_name_override': SERVER_NAME };
    return new Client(this.address, credentialsFor(host, this.tls), options);
  }

  asked(): void {
    if (this.unheard === 0) this.unheard = performance.now();
  }

  answered(): void {
    this.unheard = 0;
  }

  silent(): void {
    if (this.unheard !== 0 && performance.now() - this.unheard > SILENCE_MAX_MS) this.close();
  }

  /** Calls under way end by themselves; the next one opens a connection with what is set now. */
  renew(tls: EngineTls): void {
    this.tls = tls;
    this.close();
  }

  close(): void {
    this.unheard = 0;
    this.open?.close();
    this.open = null;
  }
}

export class Endpoints {
  #all: Endpoint[];
  #tls: EngineTls;
  /** The index of the one that the next request goes to first. */
  chosen = 0;
  /** What an answer takes of late, from any of them. */
  usualMs = 0;
  closed = false;

  constructor(addresses: readonly string[], tls: EngineTls) {
    assert(addresses.length > 0 && new Set(addresses).size === addresses.length, 'each address once');
    this.#tls = tls;
    this.#all = addresses.map((address) => new Endpoint(address, tls));
  }

  get all(): readonly Endpoint[] {
    return this.#all;
  }

  /** The local one first, as before. Connections to members that stay are kept; requests under way at one that goes end by themselves. */
  set(addresses: readonly string[]): void {
    assert(addresses.length > 0 && new Set(addresses).size === addresses.length, 'each address once');
    const old = new Map(this.#all.map((endpoint) => [endpoint.address, endpoint]));
    const chosen = this.#all[this.chosen]!.address;
    this.#all = addresses.map((address) => old.get(address) ?? new Endpoint(address, this.#tls));
    this.chosen = Math.max(0, addresses.indexOf(chosen));
    for (const [address, endpoint] of old) if (!addresses.includes(address)) endpoint.close();
  }

  get atHome(): boolean {
    return this.chosen === 0;
  }

  /** Moves on, unless somebody else's failure has moved on already. */
  failed(endpoint: Endpoint): void {
    if (this.all[this.chosen] === endpoint) this.chosen = (this.chosen + 1) % this.all.length;
  }

  took(ms: number): void {
    this.usualMs += (ms - this.usualMs) / 8;
  }

  goHome(): void {
    this.chosen = 0;
  }

  renew(tls: EngineTls): void {
    this.#tls = tls;
    for (const endpoint of this.all) endpoint.renew(tls);
  }

  close(): void {
    this.closed = true;
    for (const endpoint of this.all) endpoint.close();
  }
}
