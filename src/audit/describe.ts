/**
 * What of a request reaches the audit log: for each method the one field that names what it is about, and the fields that tell what was
 * asked. Everything else stays out, so that no plaintext, context, label's value, policy's text or share can get in by a new field: a field
 * is in the log because it stands here. Bytes never do, but for the SHA-256 of a public key that something is wrapped to.
 */
import { createHash } from 'node:crypto';
import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { assert } from '../base/assert.js';
import { pathFault } from '../base/names.js';
import { HASHES, KEY_SCHEMES, KEY_STATES, KEY_TYPES, MATERIAL_FORMATS, nameOf, OBJECT_ORIGINS, PUBLIC_FORMATS, REASONS, SEAL_TYPES, WRAP_MECHANISMS } from '../protocol/names.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';
import type { RoleAssignment, TokenScope } from '../protocol/gen/quorate_pb.js';

interface Described {
  /** The field whose text becomes `resource`. */
  readonly resource?: string;
  /** Fields that become `detail`, as `field=value`; those at their defaults are left out. Of a map only its keys. */
  readonly detail?: readonly string[];
}

const ATTRIBUTES = ['type', 'scheme', 'labels', 'exportable', 'pre_active'];
const KEY: Described = { resource: 'key' };
const BY_MECHANISM: Described = { resource: 'key', detail: ['mechanism'] };
const NOTHING: Described = {};

export const DESCRIBED: Readonly<Record<OperationName, Described>> = {
  Hello: NOTHING, Ping: NOTHING, Status: NOTHING, Health: NOTHING,
  Init: { detail: ['seals', 'share_count', 'share_threshold', 'recovery_count', 'recovery_threshold'] },
  Unseal: { detail: ['type', 'reset'] },
  Seal: NOTHING,
  RotateRoot: { detail: ['new_shares'] },

  OpenSession: NOTHING, WhoAmI: NOTHING, ListSessions: NOTHING,
  KillSession: { resource: 'id' },
  CreateDomain: { resource: 'name' },
  ListDomains: NOTHING,
  ShredDomain: { resource: 'name', detail: ['now', 'pending_days'] },
  CancelShred: { resource: 'name' }, GetShred: { resource: 'name' },
  PutPrincipal: { resource: 'ref', detail: ['add_mappings', 'remove_mappings', 'add_roles', 'remove_roles'] },
  ListPrincipals: NOTHING,
  RemovePrincipal: { resource: 'ref' },
  AddApp: { resource: 'name', detail: ['domain', 'socket', 'mode', 'owner', 'group'] },
  ListApps: NOTHING,
  RemoveApp: { resource: 'name' },
  CreateToken: { resource: 'principal', detail: ['life_ms', 'not_before_ms', 'scope'] },
  ListTokens: NOTHING,
  RevokeToken: { resource: 'id' },
  RotateTokenKey: NOTHING,
  SetDualControl: { detail: ['actions'] },
  ListProposals: NOTHING,
  DecideProposal: { resource: 'id', detail: ['approve'] },
  BreakGlass: { detail: ['reset'] },

  PutPolicy: { resource: 'name', detail: ['dry_run', 'if_generation'] },
  GetPolicy: { resource: 'name' },
  ListPolicies: { detail: ['principal', 'built_in'] },
  RemovePolicy: { resource: 'name' },
  TestPolicy: { resource: 'name' },
  Allow: { resource: 'key', detail: ['principal', 'action', 'deny'] },
  CanI: { resource: 'key', detail: ['principal', 'action'] },

  FetchSecret: { resource: 'key', detail: ['version'] },
  PutSecret: { resource: 'path', detail: ['json', 'cas', 'set_labels'] }, GetSecret: { resource: 'path' }, ListSecrets: { resource: 'prefix' },
  UpdateSecret: { resource: 'path', detail: ['max_versions', 'deactivate_after_ms', 'set_labels', 'remove_labels'] },
  ActivateSecret: { resource: 'path', detail: ['version'] }, DeactivateSecret: { resource: 'path', detail: ['version'] },
  DestroySecret: { resource: 'path', detail: ['versions', 'now', 'pending_days'] }, UndeleteSecret: { resource: 'path', detail: ['versions'] },
  ExportSecret: { resource: 'path', detail: ['recipient', 'departure'] },
  ImportExportedSecret: { resource: 'path', detail: ['wrapping_key', 'domain', 'last_version', 'labels'] },
  SecretInventory: NOTHING,
  ReadAudit: { detail: ['from', 'limit', 'newest'] },
  VerifyAudit: { detail: ['job'] },
  ProveAudit: { resource: 'index', detail: ['size'] },
  RepairAudit: { detail: ['accept_loss'] },

  InitRegion: { resource: 'region', detail: ['host', 'zone'] },
  InviteHost: { resource: 'host', detail: ['zone', 'role', 'life_ms'] },
  // Not the invitation: it holds a secret.
  JoinRegion: { detail: ['seals', 'share_count', 'share_threshold'] },
  RegionStatus: NOTHING,
  RemoveHost: { resource: 'host', detail: ['keep_keys'] },
  DrainHost: { resource: 'host', detail: ['undo'] },
  ClearAlarms: NOTHING,
  GetReceipt: { detail: ['revision'] },
  RebuildRegion: { detail: ['from', 'old_hosts_are_off', 'plan_only'] },
  RegionQuarantine: NOTHING,
  RotateRing: NOTHING,
  RotationStatus: NOTHING,

  RunBackup: { detail: ['full'] },
  BackupStatus: NOTHING,
  Metrics: NOTHING,
  ListBackups: NOTHING,
  VerifyBackup: { resource: 'place', detail: ['quick'] },
  RestoreBackup: { resource: 'place', detail: ['store', 'at_ms', 'accept_damaged', 'seals', 'plan_only'] },
  ProveBackup: { resource: 'place' },
  BackupProgress: NOTHING,

  CreateKey: { resource: 'name', detail: [...ATTRIBUTES, 'activates_ms', 'deactivates_ms', 'length'] },
  ListKeys: { detail: ['prefix', 'state', 'type'] },
  GetKey: KEY,
  UpdateKey: { resource: 'key', detail: ['new_name', 'set_labels', 'remove_labels', 'if_generation'] },
  ActivateKey: { resource: 'key', detail: ['at_ms', 'if_generation'] },
  DeactivateKey: { resource: 'key', detail: ['reason', 'at_ms', 'if_generation'] },
  CompromiseKey: { resource: 'key', detail: ['if_generation'] },
  DestroyKey: { resource: 'key', detail: ['pending_days', 'now', 'if_generation'] },
  UndeleteKey: { resource: 'key', detail: ['if_generation'] },
  RotateKey: { resource: 'key', detail: ['if_generation'] },
  RevokeKeyVersion: { resource: 'key', detail: ['version', 'if_generation'] },
  ExportPublicKey: { resource: 'key', detail: ['version', 'format'] },
  ImportKey: { resource: 'name', detail: [...ATTRIBUTES, 'format'] },
  ImportWrappedKey: { resource: 'name', detail: [...ATTRIBUTES, 'format', 'wrapping_key', 'mechanism'] },
  ExportKey: { resource: 'key', detail: ['recipient', 'version', 'departure'] },
  ImportExportedKey: { resource: 'name', detail: ['type', 'scheme', 'labels', 'exportable', 'new_id', 'wrapping_key'] },
  BeginDeparture: { detail: ['recipient'] },
  ListDeparture: { resource: 'departure' },
  Inventory: { detail: ['state'] },

  Encrypt: KEY,
  Decrypt: { resource: 'key', detail: ['version'] },
  Sign: { resource: 'key', detail: ['hash'] },
  Verify: { resource: 'key', detail: ['hash', 'version'] },
  Mac: KEY,
  VerifyMac: { resource: 'key', detail: ['version'] },
  Random: NOTHING,
  GenerateDataKey: { resource: 'key', detail: ['length', 'without_plaintext'] },
  Wrap: { resource: 'key', detail: ['target', 'format'] },
  Unwrap: { resource: 'key', detail: ['type', 'scheme', 'format', 'version'] },
  Derive: { resource: 'key', detail: ['hash', 'length', 'version'] },
  Rewrap: KEY,
  EncryptStream: KEY,
  DecryptStream: KEY,
  StreamChunk: NOTHING, StreamClose: NOTHING,
  CreateSessionKey: { detail: ['type', 'scheme', 'exportable', 'length'] },
  ImportSessionKey: { detail: ['type', 'scheme', 'exportable', 'format'] },
  DestroySessionKey: KEY,

  MechanismEncrypt: BY_MECHANISM, MechanismDecrypt: BY_MECHANISM, MechanismSign: BY_MECHANISM, MechanismVerify: BY_MECHANISM,
  MechanismDigest: { detail: ['mechanism'] },
  MechanismUpdate: NOTHING, MechanismCancel: NOTHING,
  WrapObject: { resource: 'key', detail: ['mechanism', 'target'] },
  GenerateObject: { detail: ['mechanism'] },
  CreateObject: NOTHING,
  CopyObject: KEY,
  UnwrapObject: BY_MECHANISM, DeriveObject: BY_MECHANISM,
  SetSessionObject: KEY,
  GetObjectValue: KEY,
  ObjectsEpoch: NOTHING,
  // The name is the one that the object got (operations/objectStore.ts).
  StoreObject: { resource: 'name', detail: ['type', 'origin'] },
  SetObject: KEY,
  DestroyObject: { resource: 'key', detail: ['public_half'] },
  SyncObjects: NOTHING,
  OpenPinSession: NOTHING, ChangePin: NOTHING,
  PutPin: { resource: 'holder', detail: ['principal', 'domain'] },
  ListPins: NOTHING,
  RemovePin: { resource: 'holder', detail: ['domain'] },
  AuthenticateUse: KEY,
};

/** Characters of one value; a request that was refused may have any. */
const VALUE_CHARACTERS_MAX = 256;
/** Of a list, or a map. */
const ITEMS_MAX = 64;
const TIMES: ReadonlySet<string> = new Set(['at_ms', 'activates_ms', 'deactivates_ms', 'not_before_ms']);
const OCTAL: ReadonlySet<string> = new Set(['mode']);
/** Public keys. */
const FINGERPRINTS: ReadonlySet<string> = new Set(['recipient']);
/** CKM_ numbers, as the standard writes them. */
const HEXADECIMAL: ReadonlySet<string> = new Set(['mechanism']);
const TIME_MAX_MS = 8_640_000_000_000_000n;
const ENUMS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  KeyType: KEY_TYPES, KeyScheme: KEY_SCHEMES, KeyState: KEY_STATES, DeactivationReason: REASONS,
  Hash: HASHES, MaterialFormat: MATERIAL_FORMATS, PublicFormat: PUBLIC_FORMATS, SealType: SEAL_TYPES, ObjectOrigin: OBJECT_ORIGINS, WrapMechanism: WRAP_MECHANISMS,
};

type Format = (value: unknown) => string;
interface FieldFormat {
  readonly name: string;
  readonly localName: string;
  readonly format: Format;
  /** An `optional` field: 0 is something that was said. */
  readonly isOptional: boolean;
}
interface RequestFormat {
  readonly resource: FieldFormat | null;
  readonly detail: readonly FieldFormat[];
}

const shorten = (text: string): string => (text.length <= VALUE_CHARACTERS_MAX ? text : `${text.slice(0, VALUE_CHARACTERS_MAX)}...`);
/** What could be taken for something else is written in quotes. */
const plain = (text: string): string => (/^[\w./:@*+-]+$/.test(text) ? shorten(text) : JSON.stringify(shorten(text)));
const some = (items: readonly string[]): string => [...items.slice(0, ITEMS_MAX), ...(items.length > ITEMS_MAX ? [`... ${items.length} in all`] : [])].join(',');

function scopeText(scope: TokenScope): string {
  const parts = [['actions', some(scope.actions.map(plain))], ['keys', some(scope.keys.map(plain))], ['domain', scope.domain === '' ? '' : plain(scope.domain)], ['uid', scope.uid === undefined ? '' : String(scope.uid)]];
  return `{${parts.filter(([, value]) => value !== '').map(([name, value]) => `${name}=${value}`).join(' ')}}`;
}

const MESSAGES: Readonly<Record<string, Format>> = {
  RoleAssignment: (value) => {
    const { role, domain } = value as RoleAssignment;
    return domain === '' ? plain(role) : `${plain(domain)}/${plain(role)}`;
  },
  TokenScope: (value) => scopeText(value as TokenScope),
};

function oneOf(field: DescField): Format {
  const { name } = field;
  const { enum: en, message, scalar } = field as { enum?: { name: string }; message?: DescMessage; scalar?: ScalarType };
  if (en !== undefined) return (value) => nameOf(ENUMS[en.name]!, value as number, String(value));
  if (message !== undefined) return MESSAGES[message.name]!;
  if (FINGERPRINTS.has(name)) return (value) => `sha256:${createHash('sha256').update(value as Uint8Array).digest('hex')}`;
  assert(scalar !== ScalarType.BYTES, `${field.toString()}: bytes never reach the audit log`);
  if (TIMES.has(name)) return (value) => ((value as bigint) <= TIME_MAX_MS ? new Date(Number(value)).toISOString() : String(value));
  if (OCTAL.has(name)) return (value) => (value as number).toString(8).padStart(4, '0');
  if (HEXADECIMAL.has(name)) return (value) => `0x${(value as number).toString(16)}`;
  return scalar === ScalarType.STRING ? (value) => plain(value as string) : String;
}

function formatOf(field: DescField): Format {
  if (field.fieldKind === 'map') return (value) => some(Object.keys(value as object).map(plain));
  const one = oneOf(field);
  return field.fieldKind === 'list' ? (value) => some((value as unknown[]).map((item) => one(item))) : one;
}

/** Elsewhere than in `optional` fields the default says nothing. */
function isSaid(value: unknown, isOptional: boolean): boolean {
  if (isOptional) return value !== undefined;
  if (value === undefined || value === '' || value === 0 || value === 0n || value === false) return false;
  return Array.isArray(value) ? value.length > 0 : typeof value !== 'object' || Object.keys(value as object).length > 0;
}

function fieldFormat(input: DescMessage, name: string): FieldFormat {
  const field = input.fields.find((f) => f.name === name);
  assert(field !== undefined, `${input.name} has a field ${name}`);
  const isOptional = field.fieldKind === 'scalar' && field.presence === FeatureSet_FieldPresence.EXPLICIT;
  return { name, localName: field.localName, format: formatOf(field), isOptional };
}

function requestFormat(method: OperationName): RequestFormat {
  const { input } = OPERATIONS[method];
  const { resource, detail = [] } = DESCRIBED[method];
  return { resource: resource === undefined ? null : fieldFormat(input, resource), detail: detail.map((name) => fieldFormat(input, name)) };
}

const FORMATS = Object.fromEntries(Object.keys(OPERATIONS).map((method) => [method, requestFormat(method as OperationName)])) as Record<OperationName, RequestFormat>;

export interface Description {
  /** As it was asked for. */
  readonly resource: string;
  /** `field=value` with a space between them. */
  readonly detail: string;
}

/** What is no secret's path may be the secret itself, in the wrong place. */
const named = (method: OperationName, text: string): string => (method.endsWith('Secret') && pathFault(text) !== null ? '' : shorten(text));

/** null: the request is not at hand, or could not be decoded. */
export function describe(method: OperationName, request: Message | null): Description {
  if (request === null) return { resource: '', detail: '' };
  const { resource, detail } = FORMATS[method];
  const values = request as unknown as Record<string, unknown>;
  const said = detail.filter((field) => isSaid(values[field.localName], field.isOptional));
  return {
    resource: resource === null ? '' : named(method, String(values[resource.localName])),
    detail: said.map((field) => `${field.name}=${field.format(values[field.localName])}`).join(' '),
  };
}
