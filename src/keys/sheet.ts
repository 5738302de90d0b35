/**
 * Sheets of attributes (docs/FORMAT.md), as far as names, policies and lists look into them. What may be made, changed and used is decided by
 * native/core/object_rules.h alone.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';

/** Of PKCS #11 3.0. */
export const CKA = {
  CLASS: 0x0, LABEL: 0x3, TRUSTED: 0x86, SENSITIVE: 0x103, ENCRYPT: 0x104, DECRYPT: 0x105, WRAP: 0x106, UNWRAP: 0x107, SIGN: 0x108, VERIFY: 0x10a,
  DERIVE: 0x10c, EXTRACTABLE: 0x162, LOCAL: 0x163, DESTROYABLE: 0x172,
} as const;
const USES = { encrypt: CKA.ENCRYPT, decrypt: CKA.DECRYPT, sign: CKA.SIGN, verify: CKA.VERIFY, wrap: CKA.WRAP, unwrap: CKA.UNWRAP, derive: CKA.DERIVE } as const;
const HEAD_BYTES = 8;

/** null: it is not in the sheet. ATTRIBUTE_VALUE_INVALID, OBJECT_TOO_LARGE: no sheet */
export function attributeOf(sheet: Uint8Array, type: number): Uint8Array | null {
  if (sheet.length > LIMITS.object_sheet_bytes_max) throw new QuorateError('OBJECT_TOO_LARGE', `${sheet.length} bytes of attributes`);
  const view = new DataView(sheet.buffer, sheet.byteOffset, sheet.byteLength);
  let found: Uint8Array | null = null;
  for (let at = 0; at < sheet.length; ) {
    const rest = sheet.length - at - HEAD_BYTES;
    const length = rest < 0 ? Infinity : view.getUint32(at + 4, true);
    if (length > rest) throw new QuorateError('ATTRIBUTE_VALUE_INVALID', 'the attributes are cut short');
    const begin = at + HEAD_BYTES;
    if (view.getUint32(at, true) === type) found = sheet.subarray(begin, begin + length);
    at = begin + length;
  }
  return found;
}

/** False when it is absent. */
export function flagOf(sheet: Uint8Array, type: number): boolean {
  return attributeOf(sheet, type)?.[0] === 1;
}

/** '' without one, and for bytes that are no UTF-8. */
export function labelOf(sheet: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(attributeOf(sheet, CKA.LABEL) ?? new Uint8Array(0));
  } catch (error) {
    if (error instanceof QuorateError) throw error;
    return '';
  }
}

/** What either half may do. */
export function usesOf(...sheets: readonly Uint8Array[]): string[] {
  return Object.entries(USES).filter(([, type]) => sheets.some((sheet) => flagOf(sheet, type))).map(([use]) => use);
}
