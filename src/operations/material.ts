/** Versions of keys as they are made: material in the arena, its sealed form and public half for the record. */
import { QuorateError } from '../base/errors.js';
import type { Handle } from '../crypto/addon.js';
import { idText } from '../keys/names.js';
import type { VersionRecord } from '../keys/record.js';
import { isAsymmetric } from '../keys/usage.js';
import { KeyType, MaterialFormat } from '../protocol/gen/quorate_pb.js';
import { openSecretUnder, sealSecretUnder } from '../store/generations.js';
import { materialAad } from '../store/identity.js';
import type { OperationContext } from './context.js';

/** handle 0: the public half alone. Owned by whoever made it. */
export interface Material {
  readonly handle: Handle;
  readonly spki: Uint8Array;
  readonly imported: boolean;
}

/** Seals for one place: another version or key needs another sealing. */
export function sealVersion(context: OperationContext, id: Uint8Array, version: number, material: Material): VersionRecord {
  const { addon, ring, clock, domain } = context;
  const sealed =
    material.handle === 0
      ? new Uint8Array(0)
      : sealSecretUnder(addon, ring.domainKey(domain), materialAad(domain, idText(id), version), material.handle);
  return { version, createdMs: clock.nowMs(), revokedMs: 0, imported: material.imported, sealed, spki: material.spki };
}

/** A handle of the version's material, the caller's to drop; 0 for the public half alone. STORE_CORRUPT, ARENA_FULL */
export function openVersion(context: OperationContext, id: Uint8Array, version: VersionRecord): Handle {
  const { addon, ring, domain } = context;
  return version.sealed.length === 0
    ? 0
    : openSecretUnder(addon, ring.domainKey(domain), materialAad(domain, idText(id), version.version), version.sealed);
}

/** What an import that names no format means: RAW for symmetric types, PKCS#8 for private keys. BAD_REQUEST */
export function materialFormat(type: KeyType, format: MaterialFormat): MaterialFormat {
  if (MaterialFormat[format] === undefined) throw new QuorateError('BAD_REQUEST', 'format: no such format', { field: 'format' });
  if (format !== MaterialFormat.MATERIAL_FORMAT_UNSPECIFIED) return format;
  return isAsymmetric(type) ? MaterialFormat.PKCS8 : MaterialFormat.RAW;
}

/** Consumes `material`. KEY_INVALID, ARENA_FULL */
export async function importMaterial(
  context: OperationContext,
  type: KeyType,
  format: MaterialFormat,
  material: Handle,
): Promise<Material> {
  const { handle, spki } = await context.addon.importKey(type, format, material);
  return { handle, spki, imported: true };
}

/** How long the next version's material is to be: HMAC keys keep their length. */
export function materialLength(context: OperationContext, type: KeyType, material: Material): number {
  return type === KeyType.HMAC && material.handle !== 0 ? context.addon.secretSize(material.handle) : 0;
}
