/** Secrets: paths with versions. Values are fetched from the daemon's locked memory; what arrives here is the caller's to wipe. */
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { checkSecretPath } from '../base/names.js';
import { SecretState, type InventorySecret, type Secret, type SecretVersion } from '../protocol/gen/quorate_pb.js';
import { leftVersions, parseSecretExport } from '../protocol/secretDocument.js';
import type { Caller, CallOptions } from './caller.js';
import { type Bytes, bytesOf, type Durability, durabilityOf } from './types.js';

export type SecretStateName = 'active' | 'deactivated' | 'deleted';
const STATES: Readonly<Record<number, SecretStateName>> = { [SecretState.ACTIVE]: 'active', [SecretState.DEACTIVATED]: 'deactivated', [SecretState.DELETED]: 'deleted' };

export interface SecretVersionInfo {
  version: number;
  state: SecretStateName;
  /** Unix time in milliseconds, as all fields that end so. */
  createdMs: number;
  /** 0: never. */
  deactivatesMs: number;
  /** Deleted and not 0: its value is there until then, and can be undeleted. */
  destroysMs: number;
  /** Of the value. */
  bytes: number;
  json: boolean;
  principal: string;
}

export interface SecretInfo {
  path: string;
  domain: string;
  /** The last that was put. */
  version: number;
  versions: SecretVersionInfo[];
  labels: Record<string, string>;
  maxVersions: number;
  /** 0: never. */
  deactivateAfterMs: number;
  createdMs: number;
  updatedMs: number;
  generation: number;
}

export interface SecretChange extends SecretInfo {
  durability: Durability;
}

export interface PutSecretOptions extends CallOptions {
  /** The current version that is known, 0: there is none. Without it the last one that puts wins. */
  cas?: number;
  /** The value is checked to be JSON. */
  json?: boolean;
  labels?: Record<string, string>;
}

export interface ConfigureSecretOptions extends CallOptions {
  maxVersions?: number;
  deactivateAfterMs?: number;
  setLabels?: Record<string, string>;
  removeLabels?: string[];
  ifGeneration?: number;
}

export interface ExportedSecret {
  /** docs/FORMAT.md, quorate-secret-export, as UTF-8. */
  document: Uint8Array;
  /** Those that left, ascending. */
  versions: number[];
  /** Of each of them: a file beside the document. */
  wrapped: Uint8Array[];
  durability: Durability;
}

export interface ImportExportedSecretOptions extends CallOptions {
  /** Whose public half was the recipient. */
  wrappingKey: string;
  /** Instead of the one that the document has. */
  path?: string;
  labels?: Record<string, string>;
}

export interface InventorySecretInfo {
  secret: SecretInfo;
  /** Of domain and path, 32 hexadecimal digits: what the audit log and a departure call it. */
  id: string;
  /** Its label `owner`, else who put the current version. */
  owner: string;
  /** Of each version that was fetched, as this host's audit log tells it; Unix milliseconds. */
  uses: { version: number; lastMs: number }[];
  /** Whose scopes let somebody fetch or export it; `conditional`: each request decides. */
  policies: { name: string; conditional: boolean }[];
  /** Beyond those. */
  policiesMore: number;
}

export interface SecretInventoryPage {
  secrets: InventorySecretInfo[];
  /** For the next page; '' at the end. */
  nextPageToken: string;
  /** Uses before it were not looked at; 0: nothing is known of uses. */
  usesSinceMs: number;
  revision: number;
  nowMs: number;
}

export interface FetchedSecret {
  /** The caller's own: wipe it with fill(0). */
  value: Uint8Array;
  version: number;
}

function versionOf({ version, state, createdMs, deactivatesMs, destroysMs, bytes, json, principal }: SecretVersion): SecretVersionInfo {
  return { version, state: STATES[state] ?? 'deleted', createdMs: Number(createdMs), deactivatesMs: Number(deactivatesMs), destroysMs: Number(destroysMs), bytes, json, principal };
}

function infoOf(secret: Secret | undefined): SecretInfo {
  if (secret === undefined) throw new QuorateError('INTERNAL', 'the daemon answered without the secret');
  const { path, domain, currentVersion: version, versions, labels, maxVersions, deactivateAfterMs, createdMs, updatedMs, generation } = secret;
  return { path, domain, version, versions: versions.map(versionOf), labels, maxVersions, deactivateAfterMs: Number(deactivateAfterMs), createdMs: Number(createdMs), updatedMs: Number(updatedMs), generation: Number(generation) };
}

/** As JSON.parse takes it, duplicate keys and numbers beyond 2^53 as it does. BAD_REQUEST, without a word of the content */
function requireJson(value: Uint8Array): void {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value));
  } catch {
    throw new QuorateError('BAD_REQUEST', 'the value is no JSON', { field: 'value' });
  }
}

/**
 * `client.secrets`. Every method rejects with a QuorateError; besides the codes named: NAME_INVALID (it is not sent), SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND, DENIED, SEALED,
 * BUSY, DEADLINE_EXCEEDED, CONNECT_FAILED, CONNECTION_LOST. Version 0 is the current one.
 */
export class Secrets {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** SECRET_STATE_DENIED */
  async fetch(path: string, { version = 0, ...options }: CallOptions & { version?: number } = {}): Promise<FetchedSecret> {
    const answer = await this.#caller.call('FetchSecret', { key: checkSecretPath(path, 'key'), version }, options);
    return { value: answer.value, version: answer.version };
  }

  /** A new version. INPUT_TOO_LONG, SECRET_CAS_MISMATCH, LABEL_INVALID, BAD_REQUEST (json), LIMIT_EXCEEDED */
  async put(path: string, value: Bytes, { cas, json = false, labels = {}, ...options }: PutSecretOptions = {}): Promise<SecretChange> {
    const bytes = bytesOf(value, 'value') ?? new Uint8Array(0);
    if (json) requireJson(bytes);
    const { secret, durability } = await this.#caller.call('PutSecret', { path: checkSecretPath(path), value: bytes, json, cas, setLabels: labels }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  async get(path: string, options: CallOptions = {}): Promise<SecretInfo> {
    return infoOf((await this.#caller.call('GetSecret', { path: checkSecretPath(path) }, options)).secret);
  }

  /** A page of those that may be seen, by path. */
  async page({ prefix = '', pageSize = 0, pageToken = '', ...options }: CallOptions & { prefix?: string; pageSize?: number; pageToken?: string } = {}): Promise<{ secrets: SecretInfo[]; nextPageToken: string }> {
    const { secrets, nextPageToken } = await this.#caller.call('ListSecrets', { prefix, pageSize, pageToken }, options);
    return { secrets: secrets.map(infoOf), nextPageToken };
  }

  /** All that may be seen, a page at a time. */
  async *list(options: CallOptions & { prefix?: string; pageSize?: number } = {}): AsyncGenerator<SecretInfo> {
    for (let pageToken = ''; ; ) {
      const page = await this.page({ ...options, pageToken });
      yield* page.secrets;
      pageToken = page.nextPageToken;
      if (pageToken === '') return;
    }
  }

  /** CONFLICT, LABEL_INVALID, BAD_REQUEST */
  async configure(path: string, { maxVersions, deactivateAfterMs, setLabels = {}, removeLabels = [], ifGeneration = 0, ...options }: ConfigureSecretOptions): Promise<SecretChange> {
    const after = deactivateAfterMs === undefined ? undefined : BigInt(deactivateAfterMs);
    const { secret, durability } = await this.#caller.call('UpdateSecret', { path: checkSecretPath(path), maxVersions, deactivateAfterMs: after, setLabels, removeLabels, ifGeneration: BigInt(ifGeneration) }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  /** SECRET_STATE_DENIED */
  async activate(path: string, version = 0, options: CallOptions = {}): Promise<SecretChange> {
    const { secret, durability } = await this.#caller.call('ActivateSecret', { path: checkSecretPath(path), version }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  /** SECRET_STATE_DENIED */
  async deactivate(path: string, version = 0, options: CallOptions = {}): Promise<SecretChange> {
    const { secret, durability } = await this.#caller.call('DeactivateSecret', { path: checkSecretPath(path), version }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  /** None: all versions. Unreadable at once, gone after `pendingDays` (0: 30) or `now`. SECRET_STATE_DENIED, SCHEDULE_INVALID */
  async destroy(path: string, versions: number[] = [], { now = false, pendingDays = 0, ...options }: CallOptions & { now?: boolean; pendingDays?: number } = {}): Promise<SecretChange> {
    const { secret, durability } = await this.#caller.call('DestroySecret', { path: checkSecretPath(path), versions, now, pendingDays }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  /** None: all that wait. SECRET_STATE_DENIED */
  async undelete(path: string, versions: number[] = [], options: CallOptions = {}): Promise<SecretChange> {
    const { secret, durability } = await this.#caller.call('UndeleteSecret', { path: checkSecretPath(path), versions }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  /**
   * Its active and deactivated versions, wrapped to `recipient` (SubjectPublicKeyInfo, DER: RSA of 2048 bits and more, or X25519). Under dual control: once it is approved,
   * the same call with the same idempotency key. SECRET_STATE_DENIED: every version is deleted. KEY_INVALID (the recipient), APPROVAL_REQUIRED
   */
  async export(path: string, recipient: Uint8Array, { departure, ...options }: CallOptions & { departure?: string } = {}): Promise<ExportedSecret> {
    const { document, versions, wrapped, durability } = await this.#caller.call('ExportSecret', { path: checkSecretPath(path), recipient, departure }, options);
    return { document, versions, wrapped, durability: durabilityOf(durability) };
  }

  /**
   * What export() gave, here or in another store, wrapped to `wrappingKey`: its versions with their numbers, states and times, its labels and settings. `wrapped`: of each
   * version that left, ascending. KEY_INVALID (the document), CIPHERTEXT_INVALID, SECRET_EXISTS
   */
  async importExported(document: Uint8Array, wrapped: readonly Uint8Array[], { path, labels, wrappingKey, ...options }: ImportExportedSecretOptions): Promise<SecretChange> {
    const from = parseSecretExport(document);
    const left = leftVersions(from);
    if (left.length !== wrapped.length) throw new QuorateError('KEY_INVALID', `the document says that ${left.length} versions left, and ${wrapped.length} are given`);
    const bytes = new Map(left.map(({ version }, i) => [version, wrapped[i]!]));
    const states = { active: SecretState.ACTIVE, deactivated: SecretState.DEACTIVATED, deleted: SecretState.DELETED, destroyed: SecretState.DELETED };
    const { secret, durability } = await this.#caller.call('ImportExportedSecret', {
      path: checkSecretPath(path ?? from.path), wrappingKey, domain: from.domain, id: Buffer.from(from.id, 'hex'), lastVersion: from.lastVersion, labels: labels ?? { ...from.labels },
      maxVersions: from.maxVersions, deactivateAfterMs: BigInt(from.deactivateAfterMs),
      versions: from.versions.map((v) => ({ version: v.version, state: states[v.state], createdMs: BigInt(v.createdMs), bytes: v.bytes, json: v.json, wrapped: bytes.get(v.version) ?? new Uint8Array(0) })),
    }, options);
    return { ...infoOf(secret), durability: durabilityOf(durability) };
  }

  /** Every secret of the domain that the caller may take stock of, those of which nothing is left among them, by path, a page at a time. */
  async inventoryPage({ pageSize, pageToken, ...options }: CallOptions & { pageSize?: number; pageToken?: string } = {}): Promise<SecretInventoryPage> {
    const { secrets, nextPageToken, usesSinceMs, revision, nowMs } = await this.#caller.call('SecretInventory', { pageSize, pageToken }, options);
    return { secrets: secrets.map(stockOf), nextPageToken, usesSinceMs: Number(usesSinceMs), revision: Number(revision), nowMs: Number(nowMs) };
  }
}

function stockOf({ secret, id, owner, uses, policies, policiesMore }: InventorySecret): InventorySecretInfo {
  return {
    secret: infoOf(secret), id: toHex(id), owner, uses: uses.map(({ version, lastMs }) => ({ version, lastMs: Number(lastMs) })), policies: policies.map(({ name, conditional }) => ({ name, conditional })), policiesMore,
  };
}
