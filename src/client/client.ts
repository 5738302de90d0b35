/** The client for applications: keys are used by name and stay in the daemon. */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { clientSocket } from '../base/settings.js';
import { SignatureFormat } from '../protocol/gen/quorate_pb.js';
import { KEY_SCHEMES, KEY_TYPES, MATERIAL_FORMATS, type MaterialFormatName, numberOf } from '../protocol/names.js';
import { tokenSource, type TokenOptions } from './accessToken.js';
import { Access } from './access.js';
import { Audit } from './audit.js';
import { Caller, type CallOptions } from './caller.js';
import type { Connection } from './connection.js';
import { DaemonClient } from './daemon.js';
import { Keys } from './keys.js';
import { Region } from './region.js';
import { Backups } from './backups.js';
import { Secrets } from './secrets.js';
import { type ByteSource, decryptStream, encryptStream } from './streams.js';
import { Tokens } from './tokens.js';
import {
  type Bytes, bytesOf, type DecryptOptions, type Encrypted, type EncryptOptions, hashOf, type KeyRef, type SessionKeyAttributes,
  type SignOptions, type VerifyOptions, type WrapOptions, type Written,
} from './types.js';

export interface ConnectOptions extends TokenOptions {
  /** Path of the daemon's socket. Default: QUORATE_SOCKET, else the configuration file's, else where this user's daemon listens. */
  socket?: string;
  /** Whose names this client speaks of. Default: the application socket's, else `default`. */
  domain?: string;
  /** For each call, and for connecting. Default 10,000. */
  timeoutMs?: number;
  /** Told of each write that was answered, before the call returns: whose revision a receipt is asked for. */
  onWritten?: (written: Written) => void;
  /** Gives up connecting. */
  signal?: AbortSignal;
}

/**
 * Connects to the daemon, with an access token where there is one. CONNECT_FAILED, CONFIG_INVALID, VERSION_UNSUPPORTED, DEADLINE_EXCEEDED, TOKEN_REJECTED
 *
 * One connection serves any number of calls at once; there is no pool to size. When it is lost, the next call connects anew.
 * An idle client does not keep the process alive.
 */
export async function connect(options: ConnectOptions = {}): Promise<QuorateClient> {
  const timeoutMs = options.timeoutMs ?? LIMITS.request_timeout_ms;
  const caller = new Caller({ socket: clientSocket(options.socket), domain: options.domain ?? '', token: tokenSource(options), timeoutMs, onWritten: options.onWritten });
  await caller.connect(options.signal);
  return new QuorateClient(caller);
}

/** A key that lives with this client's connection and is never stored. After a lost connection every use is CONNECTION_LOST. */
export class SessionKey {
  /** Its name within its session. */
  readonly sessionRef: string;
  /** SPKI, DER; empty for symmetric keys. */
  readonly publicKey: Uint8Array;
  readonly #caller: Caller;
  readonly #on: Connection;

  /** @internal */
  constructor(caller: Caller, on: Connection, sessionRef: string, publicKey: Uint8Array) {
    this.#caller = caller;
    this.#on = on;
    this.sessionRef = sessionRef;
    this.publicKey = publicKey;
  }

  /** @internal The connection that it lives with. */
  static connectionOf(key: SessionKey): Connection {
    return key.#on;
  }

  /** Wipes it in the daemon. */
  async destroy(options: CallOptions = {}): Promise<void> {
    await this.#caller.call('DestroySessionKey', { key: this.sessionRef }, options, this.#on);
  }
}

/**
 * Every method rejects with a QuorateError (see its `code`); besides the codes named: KEY_NOT_FOUND, KEY_STATE_DENIED,
 * KEY_USAGE_DENIED, KEY_DESTROYED, DENIED, SEALED, BUSY, DEADLINE_EXCEEDED, CONNECT_FAILED, CONNECTION_LOST.
 * Results are byte arrays of the caller's own: wipe those that are secret with fill(0).
 */
export class QuorateClient extends DaemonClient {
  readonly keys: Keys;
  readonly secrets: Secrets;
  readonly access: Access;
  readonly audit: Audit;
  /** Several hosts as one. */
  readonly region: Region;
  readonly backups: Backups;
  readonly tokens: Tokens;

  /** @internal Use connect(). */
  constructor(caller: Caller) {
    super(caller);
    this.keys = new Keys(caller);
    this.secrets = new Secrets(caller);
    this.access = new Access(caller);
    this.audit = new Audit(caller);
    this.region = new Region(caller);
    this.backups = new Backups(caller);
    this.tokens = new Tokens(caller);
  }

  /** Encrypts up to 8 MiB less 64 KiB. CONTEXT_TOO_LONG, INPUT_TOO_LONG, IV_INVALID, TAG_LENGTH_INVALID, KEY_EXHAUSTED */
  async encrypt(key: KeyRef, plaintext: Bytes, options: EncryptOptions = {}): Promise<Encrypted> {
    const { ref, on } = target(key);
    const reply = await this.caller.call('Encrypt', {
      key: ref, plaintext: bytesOf(plaintext, 'plaintext'), context: bytesOf(options.context, 'context'), iv: options.iv, tagBytes: options.tagBytes, hash: hashOf(options.hash),
    }, options, on);
    return { ciphertext: reply.ciphertext, iv: reply.iv, version: reply.version };
  }

  /**
   * The plaintext, never a part of it. Takes what encrypt() gave, or a managed ciphertext alone.
   * CIPHERTEXT_INVALID, CIPHERTEXT_WRONG_KEY, KEY_VERSION_REVOKED
   */
  async decrypt(ciphertext: Uint8Array | Pick<Encrypted, 'ciphertext' | 'iv'>, options: DecryptOptions = {}): Promise<Uint8Array> {
    const given = ciphertext instanceof Uint8Array ? { ciphertext, iv: options.iv } : { ciphertext: ciphertext.ciphertext, iv: options.iv ?? ciphertext.iv };
    const { ref, on } = options.key === undefined ? { ref: '', on: undefined } : target(options.key);
    const reply = await this.caller.call('Decrypt', {
      key: ref, ...given, context: bytesOf(options.context, 'context'), tagBytes: options.tagBytes, hash: hashOf(options.hash), version: options.version,
    }, options, on);
    return reply.plaintext;
  }

  /**
   * Encrypts any length with a managed key, in bounded memory: `for await (const piece of client.encryptStream('k', file))`.
   * `Readable.from()` and `ReadableStream.from()` make a stream of the result. A managed ciphertext of format 2 (docs/FORMAT.md).
   */
  encryptStream(key: string, source: ByteSource, options: { context?: Bytes } & CallOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    return encryptStream(this.caller, stored(key), source, bytesOf(options.context, 'context'), options);
  }

  /**
   * The mirror. Each piece it yields was verified, in its place; only when it ends without an error was it the whole: keep no
   * output of one that throws. CIPHERTEXT_INVALID, CIPHERTEXT_WRONG_KEY, STREAM_INVALID
   */
  decryptStream(source: ByteSource, options: { key?: string; context?: Bytes } & CallOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    return decryptStream(this.caller, options.key === undefined ? '' : stored(options.key), source, bytesOf(options.context, 'context'), options);
  }

  /** Signs a message of up to 8 MiB less 64 KiB, or a digest. DIGEST_INVALID, INPUT_TOO_LONG */
  async sign(key: KeyRef, message: Bytes, options: SignOptions = {}): Promise<{ signature: Uint8Array; version: number }> {
    const { ref, on } = target(key);
    const reply = await this.caller.call('Sign', { key: ref, ...signed(message, options) }, options, on);
    return { signature: reply.signature, version: reply.version };
  }

  /** Whether the signature fits. DIGEST_INVALID, KEY_VERSION_NOT_FOUND */
  async verify(key: KeyRef, message: Bytes, signature: Uint8Array, options: VerifyOptions = {}): Promise<boolean> {
    const { ref, on } = target(key);
    return valid(this.caller.call('Verify', { key: ref, ...signed(message, options), signature, version: options.version }, options, on));
  }

  /** HMAC or AES-CMAC; `macBytes` shortens it. */
  async mac(key: KeyRef, message: Bytes, options: { macBytes?: number } & CallOptions = {}): Promise<{ mac: Uint8Array; version: number }> {
    const { ref, on } = target(key);
    const reply = await this.caller.call('Mac', { key: ref, message: bytesOf(message, 'message'), macBytes: options.macBytes }, options, on);
    return { mac: reply.mac, version: reply.version };
  }

  /** Whether the MAC fits; compared in constant time, in the daemon. */
  async verifyMac(key: KeyRef, message: Bytes, mac: Uint8Array, options: { version?: number } & CallOptions = {}): Promise<boolean> {
    const { ref, on } = target(key);
    return valid(this.caller.call('VerifyMac', { key: ref, message: bytesOf(message, 'message'), mac, version: options.version }, options, on));
  }

  /** 1 to 1,048,576 random bytes. */
  async random(length: number, options: CallOptions = {}): Promise<Uint8Array> {
    return (await this.caller.call('Random', { length }, options)).random;
  }

  /**
   * A new key for the application's own use, and the same wrapped by `key`: keep the ciphertext, wipe the plaintext after use,
   * and decrypt() the ciphertext to have it again. `length`: 1 to 128 bytes, default 32.
   */
  async dataKey(key: KeyRef, options: { length?: number; context?: Bytes; withoutPlaintext?: boolean } & CallOptions = {}): Promise<{ plaintext: Uint8Array; ciphertext: Uint8Array; version: number }> {
    const { ref, on } = target(key);
    const { length = 32, withoutPlaintext } = options;
    const reply = await this.caller.call('GenerateDataKey', { key: ref, length, context: bytesOf(options.context, 'context'), withoutPlaintext }, options, on);
    return { plaintext: reply.plaintext, ciphertext: reply.ciphertext, version: reply.version };
  }

  /** The material of `target`, wrapped by `key`. KEY_NOT_EXPORTABLE */
  async wrap(key: KeyRef, wrapped: KeyRef, options: WrapOptions = {}): Promise<{ wrapped: Uint8Array; version: number }> {
    const wrapping = target(key);
    const inner = target(wrapped);
    const reply = await this.caller.call('Wrap', {
      key: wrapping.ref, target: inner.ref, context: bytesOf(options.context, 'context'), hash: hashOf(options.hash), format: formatOf(options.format),
    }, options, wrapping.on ?? inner.on);
    return { wrapped: reply.wrapped, version: reply.version };
  }

  /** What wrap() gave, as a session key. keys.importWrapped() makes a stored key of it. CIPHERTEXT_INVALID */
  unwrap(key: KeyRef, wrapped: Uint8Array, options: WrapOptions & SessionKeyAttributes & { version?: number }): Promise<SessionKey> {
    const { ref, on } = target(key);
    return this.#session(() => this.caller.call('Unwrap', {
      key: ref, wrapped, context: bytesOf(options.context, 'context'), hash: hashOf(options.hash), format: formatOf(options.format),
      type: numberOf(KEY_TYPES, options.type, 'type'), scheme: schemeOf(options), version: options.version,
    }, options, on));
  }

  /** ECDH (a peer's point or SPKI), then HKDF: 1 to 8160 bytes, default 32. KEY_INVALID when the peer's key is not on the curve */
  async derive(
    key: KeyRef,
    peerPublic: Uint8Array,
    options: { hash?: VerifyOptions['hash']; salt?: Bytes; info?: Bytes; length?: number; version?: number } & CallOptions = {},
  ): Promise<Uint8Array> {
    const { ref, on } = target(key);
    const { length = 32, version } = options;
    const request = { key: ref, peerPublic, hash: hashOf(options.hash), salt: bytesOf(options.salt, 'salt'), info: bytesOf(options.info, 'info'), length, version };
    return (await this.caller.call('Derive', request, options, on)).secret;
  }

  /** Moves up to 256 managed ciphertexts to the key's current version; the plaintexts stay in the daemon. All or none. CIPHERTEXT_INVALID */
  async rewrap(key: string, ciphertexts: Uint8Array[], options: { context?: Bytes; newContext?: Bytes } & CallOptions = {}): Promise<{ ciphertexts: Uint8Array[]; version: number }> {
    const context = bytesOf(options.context, 'context');
    const newContext = bytesOf(options.newContext, 'newContext');
    const reply = await this.caller.call('Rewrap', { key: stored(key), ciphertexts, context, newContext, keepContext: newContext === undefined }, options);
    return { ciphertexts: reply.ciphertexts, version: reply.version };
  }

  /** A key made in the daemon that lives with this connection. SESSION_KEY_QUOTA, KEY_SCHEME_INVALID */
  createSessionKey(options: SessionKeyAttributes & { length?: number } & CallOptions): Promise<SessionKey> {
    const request = { type: numberOf(KEY_TYPES, options.type, 'type'), scheme: schemeOf(options), exportable: options.exportable, length: options.length };
    return this.#session(() => this.caller.call('CreateSessionKey', request, options));
  }

  /** The same of given material. SESSION_KEY_QUOTA, KEY_INVALID */
  importSessionKey(material: Uint8Array, options: SessionKeyAttributes & { format: MaterialFormatName } & CallOptions): Promise<SessionKey> {
    const request = { type: numberOf(KEY_TYPES, options.type, 'type'), scheme: schemeOf(options), exportable: options.exportable, format: formatOf(options.format), material };
    return this.#session(() => this.caller.call('ImportSessionKey', request, options));
  }

  /** Waits for what is under way, then disconnects. */
  close(): Promise<void> {
    return this.caller.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #session(make: () => Promise<{ key: string; publicKey: Uint8Array }>): Promise<SessionKey> {
    const reply = await make();
    const on = this.caller.connection;
    if (on === null) throw new QuorateError('CONNECTION_LOST', 'the daemon closed the connection');
    return new SessionKey(this.caller, on, reply.key, reply.publicKey);
  }
}

/** Session keys are numbered within their session, so only their object says which one is meant. */
function target(key: KeyRef): { ref: string; on: Connection | undefined } {
  if (key instanceof SessionKey) return { ref: key.sessionRef, on: SessionKey.connectionOf(key) };
  return { ref: stored(key), on: undefined };
}

function stored(key: KeyRef): string {
  if (typeof key !== 'string' || key === '' || key.startsWith('session:')) throw new QuorateError('BAD_REQUEST', 'key is neither a name nor a SessionKey', { field: 'key' });
  return key;
}

function signed(message: Bytes, options: SignOptions) {
  const bytes = bytesOf(message, options.digest === true ? 'digest' : 'message');
  const format = options.format === undefined ? undefined : options.format === 'p1363' ? SignatureFormat.P1363 : SignatureFormat.DER;
  return { ...(options.digest === true ? { digest: bytes } : { message: bytes }), hash: hashOf(options.hash), format, saltBytes: options.saltBytes };
}

async function valid(reply: Promise<{ valid: boolean }>): Promise<boolean> {
  try {
    return (await reply).valid;
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'SIGNATURE_INVALID') return false;
    throw error;
  }
}

function formatOf(name: MaterialFormatName | undefined): number | undefined {
  return name === undefined ? undefined : numberOf(MATERIAL_FORMATS, name, 'format');
}

function schemeOf(options: SessionKeyAttributes): number | undefined {
  return options.scheme === undefined ? undefined : numberOf(KEY_SCHEMES, options.scheme, 'scheme');
}
