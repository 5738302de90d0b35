/** The life cycle of keys. */
import { QuorateError } from '../base/errors.js';
import type { KeyStateName, KeyTypeName, MaterialFormatName, PublicFormatName, ReasonName } from '../protocol/names.js';
import { KEY_SCHEMES, KEY_STATES, KEY_TYPES, MATERIAL_FORMATS, numberOf, PUBLIC_FORMATS, REASONS } from '../protocol/names.js';
import type { Caller, CallOptions } from './caller.js';
import { type Bytes, bytesOf, type ChangeOptions, changeOf, type KeyAttributes, type KeyChange, type KeyInfo, keyInfoOf, keyOf } from './types.js';

export interface CreateKeyOptions extends KeyAttributes, CallOptions {
  /** HMAC only: bytes of material, 16 to 256. Default 32. */
  length?: number;
  /** Unix time in milliseconds of its scheduled activation and deactivation. */
  activatesMs?: number;
  deactivatesMs?: number;
}

export interface ListKeysOptions extends CallOptions {
  /** Of the name. */
  prefix?: string;
  state?: KeyStateName;
  type?: KeyTypeName;
  /** Keys fetched at once, up to 1000. Default 100. */
  pageSize?: number;
}

export interface KeyPage {
  keys: KeyInfo[];
  /** For the next page; '' at the end. */
  nextPageToken: string;
}

/**
 * `client.keys`. Every method rejects with a QuorateError; besides the codes named: DENIED, SEALED, BUSY, DEADLINE_EXCEEDED,
 * CONNECT_FAILED, CONNECTION_LOST. A key is named by its name or its id. Changes carry an idempotency key, so that one that is
 * repeated after a lost connection happens once.
 */
export class Keys {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Makes a key; its material is made in the daemon. KEY_EXISTS, NAME_INVALID, KEY_SCHEME_INVALID, LABEL_INVALID, SCHEDULE_INVALID */
  async create(name: string, options: CreateKeyOptions): Promise<KeyChange> {
    const { length, activatesMs, deactivatesMs } = options;
    const request = { ...attributesOf(name, options), length, activatesMs: timeOf(activatesMs), deactivatesMs: timeOf(deactivatesMs) };
    return changeOf(await this.#caller.call('CreateKey', request, options));
  }

  /**
   * Imports material: raw, or DER as PKCS#8 or SPKI (a public key, which verifies or encrypts only). The bytes are copied during
   * the call; wiping the original is the caller's. KEY_INVALID, KEY_EXISTS, NAME_INVALID, KEY_SCHEME_INVALID
   */
  async import(name: string, material: Uint8Array, options: KeyAttributes & CallOptions & { format: MaterialFormatName }): Promise<KeyChange> {
    const request = { ...attributesOf(name, options), material, format: numberOf(MATERIAL_FORMATS, options.format, 'format') };
    return changeOf(await this.#caller.call('ImportKey', request, options));
  }

  /** Imports material that `wrappingKey` wrapped; it is opened in the daemon. CIPHERTEXT_INVALID, and those of import() */
  async importWrapped(
    name: string,
    wrapped: Uint8Array,
    options: KeyAttributes & CallOptions & { wrappingKey: string; format?: MaterialFormatName; context?: Bytes },
  ): Promise<KeyChange> {
    const format = options.format === undefined ? undefined : numberOf(MATERIAL_FORMATS, options.format, 'format');
    const context = bytesOf(options.context, 'context');
    const request = { ...attributesOf(name, options), wrapped, wrappingKey: options.wrappingKey, format, context };
    return changeOf(await this.#caller.call('ImportWrappedKey', request, options));
  }

  /** KEY_NOT_FOUND */
  async get(key: string, options: CallOptions = {}): Promise<KeyInfo> {
    return keyOf(await this.#caller.call('GetKey', { key }, options));
  }

  /** All keys that the caller may see, by name, a page at a time. */
  async *list(options: ListKeysOptions = {}): AsyncGenerator<KeyInfo, void, undefined> {
    let pageToken = '';
    do {
      const page = await this.listPage({ ...options, pageToken });
      yield* page.keys;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /** One page of list(). */
  async listPage(options: ListKeysOptions & { pageToken?: string } = {}): Promise<KeyPage> {
    const { prefix, pageSize, pageToken } = options;
    const state = options.state === undefined ? undefined : numberOf(KEY_STATES, options.state, 'state');
    const type = options.type === undefined ? undefined : numberOf(KEY_TYPES, options.type, 'type');
    const reply = await this.#caller.call('ListKeys', { prefix, pageSize, pageToken, state, type }, options);
    return { keys: reply.keys.map(keyInfoOf), nextPageToken: reply.nextPageToken };
  }

  /** Name and labels. KEY_NOT_FOUND, KEY_EXISTS, NAME_INVALID, LABEL_INVALID, CONFLICT */
  async update(key: string, change: { newName?: string; setLabels?: Record<string, string>; removeLabels?: string[] }, options: ChangeOptions = {}): Promise<KeyChange> {
    return changeOf(await this.#caller.call('UpdateKey', { key, ...change, ...generationOf(options) }, options));
  }

  /** What the old name wrapped or encrypted stays readable: ciphertexts name the id. */
  rename(key: string, newName: string, options: ChangeOptions = {}): Promise<KeyChange> {
    return this.update(key, { newName }, options);
  }

  /** preActive -> active, now or `atMs`. KEY_STATE_DENIED, SCHEDULE_INVALID */
  async activate(key: string, options: ChangeOptions & { atMs?: number } = {}): Promise<KeyChange> {
    return changeOf(await this.#caller.call('ActivateKey', { key, atMs: timeOf(options.atMs), ...generationOf(options) }, options));
  }

  /** active -> deactivated: it still decrypts and verifies. Now or `atMs`. KEY_STATE_DENIED, SCHEDULE_INVALID */
  async deactivate(key: string, options: ChangeOptions & { reason?: ReasonName; atMs?: number } = {}): Promise<KeyChange> {
    const reason = options.reason === undefined ? undefined : numberOf(REASONS, options.reason, 'reason');
    return changeOf(await this.#caller.call('DeactivateKey', { key, reason, atMs: timeOf(options.atMs), ...generationOf(options) }, options));
  }

  /** Marks it compromised, for good: it only decrypts and verifies what exists. KEY_STATE_DENIED */
  async compromise(key: string, options: ChangeOptions = {}): Promise<KeyChange> {
    return changeOf(await this.#caller.call('CompromiseKey', { key, ...generationOf(options) }, options));
  }

  /**
   * Schedules its destruction in 7 to 30 days (default 30), or destroys it `now`. Until then it decrypts and verifies, no more, and
   * undelete() takes it back; then what it encrypted cannot be read again. KEY_STATE_DENIED, SCHEDULE_INVALID
   */
  async destroy(key: string, options: ChangeOptions & { pendingDays?: number; now?: boolean } = {}): Promise<KeyChange> {
    const { pendingDays, now } = options;
    return changeOf(await this.#caller.call('DestroyKey', { key, pendingDays, now, ...generationOf(options) }, options));
  }

  /** Cancels a scheduled destruction. KEY_STATE_DENIED */
  async undelete(key: string, options: ChangeOptions = {}): Promise<KeyChange> {
    return changeOf(await this.#caller.call('UndeleteKey', { key, ...generationOf(options) }, options));
  }

  /** Adds a version, which is current from now on; older ones still decrypt and verify. KEY_STATE_DENIED, LIMIT_EXCEEDED */
  async rotate(key: string, options: ChangeOptions = {}): Promise<KeyChange> {
    return changeOf(await this.#caller.call('RotateKey', { key, ...generationOf(options) }, options));
  }

  /** One version may not be used any more. KEY_VERSION_NOT_FOUND, KEY_STATE_DENIED */
  async revokeVersion(key: string, version: number, options: ChangeOptions = {}): Promise<KeyChange> {
    return changeOf(await this.#caller.call('RevokeKeyVersion', { key, version, ...generationOf(options) }, options));
  }

  /** The public half: PEM or JWK as UTF-8 text, or SPKI as DER. KEY_USAGE_DENIED for symmetric keys, KEY_VERSION_NOT_FOUND */
  async public(key: string, options: CallOptions & { version?: number; format?: PublicFormatName } = {}): Promise<{ publicKey: Uint8Array; version: number }> {
    const format = numberOf(PUBLIC_FORMATS, options.format ?? 'pem', 'format');
    const reply = await this.#caller.call('ExportPublicKey', { key, version: options.version, format }, options);
    return { publicKey: reply.publicKey, version: reply.version };
  }
}

function attributesOf(name: string, options: KeyAttributes) {
  return {
    name,
    type: numberOf(KEY_TYPES, options.type, 'type'),
    scheme: options.scheme === undefined ? undefined : numberOf(KEY_SCHEMES, options.scheme, 'scheme'),
    labels: options.labels,
    exportable: options.exportable,
    preActive: options.preActive,
  };
}

function timeOf(ms: number | undefined): bigint | undefined {
  if (ms === undefined) return undefined;
  if (!Number.isSafeInteger(ms) || ms < 0) throw new QuorateError('BAD_REQUEST', `${ms} is no time in milliseconds`);
  return BigInt(ms);
}

function generationOf(options: ChangeOptions): { ifGeneration?: bigint } {
  return options.ifGeneration === undefined ? {} : { ifGeneration: BigInt(options.ifGeneration) };
}
