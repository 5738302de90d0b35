/** The life cycle of keys. */
import { QuorateError } from '../base/errors.js';
import { parseExport } from '../protocol/exportDocument.js';
import type { HashName, KeyStateName, KeyTypeName, MaterialFormatName, PublicFormatName, ReasonName, WrapMechanismName } from '../protocol/names.js';
import { HASHES, KEY_SCHEMES, KEY_STATES, KEY_TYPES, MATERIAL_FORMATS, numberOf, PUBLIC_FORMATS, REASONS, WRAP_MECHANISMS } from '../protocol/names.js';
import type { Caller, CallOptions } from './caller.js';
import { type Bytes, bytesOf, type ChangeOptions, changeOf, type Durability, durabilityOf, type KeyAttributes, type KeyChange, type KeyInfo, keyInfoOf, keyOf } from './types.js';

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

export interface ImportExportedOptions extends CallOptions {
  /** An RSA key of scheme rsa-oaep, or an X25519 key, whose public half was the recipient. */
  wrappingKey: string;
  /** Default: the document's. */
  name?: string;
  labels?: Record<string, string>;
  /** Default: it may leave again. */
  exportable?: boolean;
  /** It gets another id: what its managed versions have encrypted is not read with it. */
  newId?: boolean;
}

export interface DeparturePage {
  /** Each with its line end. */
  lines: string;
  /** For the next page; '' at the end. */
  nextPageToken: string;
  /** A signed note, at the end of a departure's; else ''. */
  note: string;
  verifierKey: string;
}

export interface InventoryKeyInfo {
  key: KeyInfo;
  /** Its label `owner`, else the principal that made it; '' where neither is known. */
  owner: string;
  /** Of each version that was used, as this host's audit log tells it; Unix milliseconds. */
  uses: { version: number; lastMs: number }[];
  /** Whose scopes permit some use of the key to somebody; `conditional`: each request decides. */
  policies: { name: string; conditional: boolean }[];
  /** Beyond those. */
  policiesMore: number;
}

export interface InventoryPage {
  keys: InventoryKeyInfo[];
  /** For the next page; '' at the end. */
  nextPageToken: string;
  /** Uses before it were not looked at; 0: nothing is known of uses. */
  usesSinceMs: number;
  revision: number;
  nowMs: number;
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

  /**
   * Imports material that `wrappingKey` wrapped, or that was wrapped outside to its public half; it is opened in the daemon. Without a mechanism it is what the
   * wrapping key's scheme does. `hash` is RSA-OAEP's and its MGF1's, default sha-256; `context` is a managed key's, or the label of OAEP. CIPHERTEXT_INVALID, and those of import()
   */
  async importWrapped(
    name: string,
    wrapped: Uint8Array,
    options: KeyAttributes & CallOptions & { wrappingKey: string; format?: MaterialFormatName; context?: Bytes; mechanism?: WrapMechanismName; hash?: HashName },
  ): Promise<KeyChange> {
    const format = options.format === undefined ? undefined : numberOf(MATERIAL_FORMATS, options.format, 'format');
    const context = bytesOf(options.context, 'context');
    const mechanism = options.mechanism === undefined ? undefined : numberOf(WRAP_MECHANISMS, options.mechanism, 'mechanism');
    const hash = options.hash === undefined ? undefined : numberOf(HASHES, options.hash, 'hash');
    const request = { ...attributesOf(name, options), wrapped, wrappingKey: options.wrappingKey, format, context, mechanism, hash };
    return changeOf(await this.#caller.call('ImportWrappedKey', request, options));
  }

  /**
   * The key wrapped to `recipient` (SubjectPublicKeyInfo, DER: RSA of 2048 bits and more, or X25519): the document of docs/FORMAT.md, quorate-export, as UTF-8.
   * Without a version: all that are not revoked. Under dual control: once it is approved, the same call with the same idempotency key.
   * KEY_NOT_EXPORTABLE, KEY_INVALID (the recipient), KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, APPROVAL_REQUIRED
   */
  async export(key: string, recipient: Uint8Array, options: CallOptions & { version?: number; departure?: string } = {}): Promise<{ document: Uint8Array; versions: number[]; durability: Durability }> {
    const { version, departure } = options;
    const reply = await this.#caller.call('ExportKey', { key, recipient, version, departure }, options);
    return { document: reply.document, versions: reply.versions, durability: durabilityOf(reply.durability) };
  }

  /**
   * What export() gave, here or in another store, wrapped to `wrappingKey`: all its versions, and its id, unless it shall have a new one. `name` and what else stands
   * in the options take the place of what the document says. KEY_INVALID, CIPHERTEXT_INVALID, KEY_EXISTS, KEY_DESTROYED
   */
  async importExported(
    document: Uint8Array,
    { name, labels, exportable, newId, wrappingKey, ...options }: ImportExportedOptions,
  ): Promise<KeyChange> {
    const from = parseExport(document);
    const spelt = <T extends number>(table: Readonly<Record<string, T>>, text: string, field: string): T => {
      try {
        return numberOf(table, text, field);
      } catch (cause) {
        throw new QuorateError('KEY_INVALID', `the document has a ${field} that is none: ${JSON.stringify(text.slice(0, 64))}`, { cause });
      }
    };
    return changeOf(await this.#caller.call('ImportExportedKey', {
      name: name ?? from.name, labels: labels ?? from.labels, exportable: exportable ?? true, id: Buffer.from(from.id, 'hex'), newId, wrappingKey, domain: from.domain,
      type: spelt(KEY_TYPES, from.type, 'type'), scheme: spelt(KEY_SCHEMES, from.scheme, 'scheme'), state: spelt(KEY_STATES, from.state, 'state'),
      reason: from.reason === '' ? undefined : spelt(REASONS, from.reason, 'reason'), mechanism: spelt(WRAP_MECHANISMS, from.mechanism, 'mechanism'),
      activatesMs: BigInt(from.activatesMs), deactivatesMs: BigInt(from.deactivatesMs),
      versions: from.versions.map(({ version, createdMs, revokedMs, imported, publicKey, wrapped }) => ({ version, createdMs: BigInt(createdMs), revokedMs: BigInt(revokedMs), imported, spki: publicKey, wrapped })),
    }, options));
  }

  /** To leave a domain with all keys that may, and all secrets; a second principal approves it once where exporting needs two. KEY_INVALID (the recipient), APPROVAL_REQUIRED */
  async beginDeparture(recipient: Uint8Array, options: CallOptions = {}): Promise<{ departure: string; expiresMs: number }> {
    const { departure, expiresMs } = await this.#caller.call('BeginDeparture', { recipient }, options);
    return { departure, expiresMs: Number(expiresMs) };
  }

  /**
   * Every key and every secret of the domain, and what has become of it (docs/FORMAT.md, departure), a page at a time; with the last one of a departure what the host signs of all of it.
   * By a recipient alone: what a departure to it would find.
   */
  async listDeparture(of: { departure: string } | { recipient: Uint8Array }, options: CallOptions & { pageSize?: number; pageToken?: string } = {}): Promise<DeparturePage> {
    const { pageSize, pageToken } = options;
    const { lines, nextPageToken, note, verifierKey } = await this.#caller.call('ListDeparture', { ...of, pageSize, pageToken }, options);
    return { lines, nextPageToken, note, verifierKey };
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

  /** Every key of the domain that the caller may take stock of, destroyed ones among them, by id, a page at a time. */
  async inventoryPage({ pageSize, pageToken, state, ...options }: CallOptions & { pageSize?: number; pageToken?: string; state?: KeyStateName } = {}): Promise<InventoryPage> {
    const wanted = state === undefined ? undefined : numberOf(KEY_STATES, state, 'state');
    const { keys, nextPageToken, usesSinceMs, revision, nowMs } = await this.#caller.call('Inventory', { pageSize, pageToken, state: wanted }, options);
    return {
      keys: keys.map(({ key, owner, uses, policies, policiesMore }) => ({
        key: keyInfoOf(key!), owner, policiesMore,
        uses: uses.map(({ version, lastMs }) => ({ version, lastMs: Number(lastMs) })), policies: policies.map(({ name, conditional }) => ({ name, conditional })),
      })),
      nextPageToken, usesSinceMs: Number(usesSinceMs), revision: Number(revision), nowMs: Number(nowMs),
    };
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
