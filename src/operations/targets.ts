/** What a policy decides about, for each method: most from the operation table alone, and where a request touches more than one thing, all of them. */
import type { Message } from '@bufbuild/protobuf';
import type {
  CreateKeyRequest, DestroyKeyRequest, ImportKeyRequest, ImportWrappedKeyRequest, UpdateKeyRequest,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';

/** DestroyKey with `now`: an action without a method of its own. */
export const DESTROY_NOW = 'keys:destroyNow';
/** Of the key that Wrap lets out: whoever holds the wrapping key's other half has its material. Asked in grants.ts, as Wrap is hot. */
export const EXPORT = 'keys:export';

export type Target =
  | { readonly kind: 'key'; readonly action: string; readonly ref: string }
  | { readonly kind: 'newKey'; readonly action: string; readonly name: string; readonly type: number; readonly scheme: number; readonly exportable: boolean; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: 'domain' | 'host'; readonly action: string };

type NewKey = CreateKeyRequest | ImportKeyRequest | ImportWrappedKeyRequest;

function newKey(action: string, { name, type, scheme, exportable, labels }: Pick<NewKey, 'name' | 'type' | 'scheme' | 'exportable' | 'labels'>): Target {
  return { kind: 'newKey', action, name, type, scheme, exportable, labels };
}

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
  ImportWrappedKey: (request) => [{ kind: 'key', action: OPERATIONS.Unwrap.action, ref: (request as ImportWrappedKeyRequest).wrappingKey }],
};

/** All must be allowed. Empty: a method that is open to everybody. */
export function targetsOf(name: OperationName, request: Message): Target[] {
  const { action, resource } = OPERATIONS[name];
  const more = MORE[name]?.(request) ?? [];
  switch (resource) {
    case 'key': return [{ kind: 'key', action, ref: (request as unknown as { key: string }).key }, ...more];
    case 'newKey': return [newKey(action, request as NewKey), ...more];
    // The caller's own session, in its domain.
    case 'session': return [{ kind: 'domain', action }, ...more];
    case 'domain':
    case 'host': return [{ kind: resource, action }, ...more];
    default: return more;
  }
}
