/** What a policy decides about, for each method: most from the operation table alone, and where a request touches more than one thing, all of them. */
import type { Message } from '@bufbuild/protobuf';
import { utf8Bytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import { keyNameFault } from '../base/names.js';
import { type KeyFacts, NEW_KEY } from '../iam/decision.js';
import { CKA, flagOf, labelOf } from '../keys/sheet.js';
import { schemeName, typeName } from '../keys/usage.js';
import { KeyScheme, KeyType, ObjectOrigin } from '../protocol/gen/quorate_pb.js';
import type {
  CreateKeyRequest, DestroyKeyRequest, DestroyObjectRequest, DestroySecretRequest, ImportExportedKeyRequest, ImportExportedSecretRequest, ImportKeyRequest, ImportWrappedKeyRequest, SetObjectRequest, ShredDomainRequest, StoreObjectRequest, UpdateKeyRequest,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';

/** DestroyKey with `now`: an action without a method of its own. */
export const DESTROY_NOW = 'keys:destroyNow';
/** ShredDomain with `now`, likewise. */
export const SHRED_NOW = 'domains:shredNow';
/** DestroySecret with `now`, likewise. */
export const DESTROY_SECRET_NOW = 'secrets:destroyNow';
/** Of the key that Wrap lets out: whoever holds the wrapping key's other half has its material. Asked in grants.ts, as Wrap is hot. */
export const EXPORT = 'keys:export';

/** Whether letting out takes two, of keys or of secrets: a departure is of both. */
export function exportsNeedTwo(dualControl: ReadonlySet<string>): boolean {
  return dualControl.has(EXPORT) || dualControl.has(OPERATIONS.ExportSecret.action);
}

/** Whether another principal must approve it. A departure lets out what exports let out, so that it needs two where they do. */
export function needsSecond(dualControl: ReadonlySet<string>, name: OperationName, action: string): boolean {
  return dualControl.has(action) || (name === 'BeginDeparture' && exportsNeedTwo(dualControl));
}

/** Of whom CKA_TRUSTED is set: a key that may take sensitive keys out. */
export const TRUST = 'keys:trust';

export type Target =
  | { readonly kind: 'key'; readonly action: string; readonly ref: string }
  /** A key, or a certificate or data of PKCS#11, of which another action is asked. */
  | { readonly kind: 'object'; readonly action: string; readonly plainAction: string; readonly ref: string }
  | { readonly kind: 'newKey'; readonly action: string; readonly name: string; readonly type: number; readonly scheme: number; readonly exportable: boolean; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: 'secret'; readonly action: string; readonly path: string }
  | { readonly kind: 'domain' | 'host'; readonly action: string };

type NewKeyTarget = Extract<Target, { kind: 'newKey' }>;
type NewKey = CreateKeyRequest | ImportKeyRequest | ImportWrappedKeyRequest | ImportExportedKeyRequest;

function newKey(action: string, { name, type, scheme, exportable, labels }: Pick<NewKey, 'name' | 'type' | 'scheme' | 'exportable' | 'labels'>): Target {
  return { kind: 'newKey', action, name, type, scheme, exportable, labels };
}

/** A new key as policies see it. */
export function newKeyFacts({ name, type, scheme, exportable, labels }: NewKeyTarget): KeyFacts {
  return { name, id: '', type: type === 0 ? '' : typeName(type), scheme: scheme === 0 ? '' : schemeName(scheme), state: NEW_KEY, exportable, labels };
}

/** Characters that names do not have become hyphens; what then still is no name is called this. */
const NAMELESS = 'pkcs11';

/** The name that a stored object asks for: what the caller says, else its label as far as names go. It may get a suffix. */
export function storedName({ name, attributes }: Pick<StoreObjectRequest, 'name' | 'attributes'>): string {
  if (name !== '') return name;
  const label = labelOf(attributes).normalize('NFC').replace(/[^\p{L}\p{N}\p{M}._/-]|\p{Default_Ignorable_Code_Point}/gu, '-');
  const characters = [...label.replace(/\.{2,}/g, '.').replace(/^[._/-]+|[._/-]+$/g, '').replace(/[._-]*\/[._/-]*/g, '/')];
  while (utf8Bytes(characters.join('')).length > LIMITS.name_bytes_max) characters.pop();
  const made = characters.join('').replace(/[._/-]+$/, '');
  return keyNameFault(made) === null ? made : NAMELESS;
}

/** Material that came from outside. */
export function isBrought(origin: ObjectOrigin): boolean {
  return origin === ObjectOrigin.CREATED || origin === ObjectOrigin.UNWRAPPED;
}

/** Whether it asks for CKA_TRUSTED, which takes a permission of its own. ATTRIBUTE_VALUE_INVALID, OBJECT_TOO_LARGE */
export function trusts({ attributes, publicAttributes }: Pick<SetObjectRequest, 'attributes' | 'publicAttributes'>): boolean {
  return flagOf(attributes, CKA.TRUSTED) || flagOf(publicAttributes, CKA.TRUSTED);
}

/** How an object is kept depends on where its value comes from. */
export function storeTarget(request: StoreObjectRequest, name = storedName(request)): Target {
  if (request.type === KeyType.KEY_TYPE_UNSPECIFIED) return { kind: 'domain', action: 'objects:create' };
  const { action } = isBrought(request.origin) ? OPERATIONS.ImportKey : OPERATIONS.CreateKey;
  return { kind: 'newKey', action, name, type: request.type, scheme: KeyScheme.PKCS11, exportable: flagOf(request.attributes, CKA.EXTRACTABLE), labels: {} };
}

/** In the place of the row's own target. */
const INSTEAD: Partial<Record<OperationName, (request: Message) => Target[]>> = {
  StoreObject: (request) => [storeTarget(request as StoreObjectRequest)],
  SetObject: (request) => {
    const { key } = request as SetObjectRequest;
    const update: Target = { kind: 'object', action: OPERATIONS.SetObject.action, plainAction: 'objects:update', ref: key };
    return trusts(request as SetObjectRequest) ? [update, { kind: 'key', action: TRUST, ref: key }] : [update];
  },
  DestroyObject: (request) => [{ kind: 'object', action: OPERATIONS.DestroyObject.action, plainAction: 'objects:destroy', ref: (request as DestroyObjectRequest).key }],
};

/** Beside the row's own target. */
const MORE: Partial<Record<OperationName, (request: Message) => Target[]>> = {
  // A new name is one that the caller could give to a new key; else renaming would carry a key out of what forbids it.
  UpdateKey: (request) => {
    const { newName } = request as UpdateKeyRequest;
    return newName === '' ? [] : [newKey(OPERATIONS.CreateKey.action, { name: newName, type: 0, scheme: 0, exportable: false, labels: {} })];
  },
  DestroyKey: (request) => {
    const { key, now } = request as DestroyKeyRequest;
    return now ? [{ kind: 'key', action: DESTROY_NOW, ref: key }] : [];
  },
  DestroySecret: (request) => {
    const { path, now } = request as DestroySecretRequest;
    return now ? [{ kind: 'secret', action: DESTROY_SECRET_NOW, path }] : [];
  },
  ShredDomain: (request) => ((request as ShredDomainRequest).now ? [{ kind: 'host', action: SHRED_NOW }] : []),
  ImportWrappedKey: (request) => [{ kind: 'key', action: OPERATIONS.Unwrap.action, ref: (request as ImportWrappedKeyRequest).wrappingKey }],
  ImportExportedKey: (request) => [{ kind: 'key', action: OPERATIONS.Unwrap.action, ref: (request as ImportExportedKeyRequest).wrappingKey }],
  ImportExportedSecret: (request) => [{ kind: 'key', action: OPERATIONS.Unwrap.action, ref: (request as ImportExportedSecretRequest).wrappingKey }],
};

/** All must be allowed. Empty: a method that is open to everybody. */
export function targetsOf(name: OperationName, request: Message): Target[] {
  const { action, resource } = OPERATIONS[name];
  const instead = INSTEAD[name]?.(request);
  if (instead !== undefined) return instead;
  const more = MORE[name]?.(request) ?? [];
  switch (resource) {
    case 'key': return [{ kind: 'key', action, ref: (request as unknown as { key: string }).key }, ...more];
    case 'secret': return [{ kind: 'secret', action, path: (request as unknown as { path: string }).path }, ...more];
    case 'newKey': return [newKey(action, request as NewKey), ...more];
    // The caller's own session, in its domain.
    case 'session': return [{ kind: 'domain', action }, ...more];
    case 'domain':
    case 'host': return [{ kind: resource, action }, ...more];
    default: return more;
  }
}
