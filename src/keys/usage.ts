/**
 * Which type has which schemes, and what each scheme does. A scheme is fixed when the key is made and never mixes with another:
 * raw CTR or CBC on a managed key's material would give away the keys of its messages.
 */
import { QuorateError } from '../base/errors.js';
import { KeyScheme, KeyType } from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';

/** The methods that use a key's material. */
export const CRYPTO_METHODS = [
  'Encrypt',
  'Decrypt',
  'Sign',
  'Verify',
  'Mac',
  'VerifyMac',
  'GenerateDataKey',
  'Wrap',
  'Unwrap',
  'Derive',
  'Rewrap',
  'EncryptStream',
  'DecryptStream',
  'MechanismEncrypt',
  'MechanismDecrypt',
  'MechanismSign',
  'MechanismVerify',
  'WrapObject',
  'UnwrapObject',
  'DeriveObject',
  'CopyObject',
  'GetObjectValue',
] as const satisfies readonly OperationName[];
export type CryptoMethod = (typeof CRYPTO_METHODS)[number];

export function isCryptoMethod(name: string): name is CryptoMethod {
  return (CRYPTO_METHODS as readonly string[]).includes(name);
}

/** By mechanism: what the plane then does is up to the key's attributes, or to what its scheme amounts to. */
const BY_MECHANISM: ReadonlySet<CryptoMethod> = new Set([
  'MechanismEncrypt',
  'MechanismDecrypt',
  'MechanismSign',
  'MechanismVerify',
  'WrapObject',
  'UnwrapObject',
  'DeriveObject',
  'CopyObject',
  'GetObjectValue',
]);

export function isByMechanism(method: CryptoMethod): boolean {
  return BY_MECHANISM.has(method);
}

const RAW_AES = [KeyScheme.AES_GCM, KeyScheme.AES_CBC, KeyScheme.AES_CTR, KeyScheme.AES_KW, KeyScheme.AES_CMAC, KeyScheme.PKCS11];
const EC = [KeyScheme.ECDSA, KeyScheme.ECDH, KeyScheme.PKCS11];
const RSA = [KeyScheme.RSA_PSS, KeyScheme.RSA_PKCS1, KeyScheme.RSA_OAEP, KeyScheme.PKCS11];

/** The type's default comes first; PKCS11 is nobody's default. Managed encryption is XAES-256-GCM, so it exists for AES-256 alone. */
const SCHEMES: Record<KeyType, readonly KeyScheme[]> = {
  [KeyType.KEY_TYPE_UNSPECIFIED]: [],
  [KeyType.AES_128]: RAW_AES,
  [KeyType.AES_192]: RAW_AES,
  [KeyType.AES_256]: [KeyScheme.MANAGED, ...RAW_AES],
  [KeyType.HMAC]: [KeyScheme.HMAC_SHA256, KeyScheme.HMAC_SHA384, KeyScheme.HMAC_SHA512, KeyScheme.PKCS11],
  [KeyType.EC_P256]: EC,
  [KeyType.EC_P384]: EC,
  [KeyType.EC_P521]: EC,
  [KeyType.ED25519]: [KeyScheme.EDDSA, KeyScheme.PKCS11],
  [KeyType.X25519]: [KeyScheme.ECDH, KeyScheme.PKCS11],
  [KeyType.RSA_2048]: RSA,
  [KeyType.RSA_3072]: RSA,
  [KeyType.RSA_4096]: RSA,
};

const METHODS: Record<KeyScheme, readonly CryptoMethod[]> = {
  [KeyScheme.KEY_SCHEME_UNSPECIFIED]: [],
  [KeyScheme.MANAGED]: ['Encrypt', 'Decrypt', 'GenerateDataKey', 'Wrap', 'Unwrap', 'Rewrap', 'EncryptStream', 'DecryptStream'],
  [KeyScheme.AES_GCM]: ['Encrypt', 'Decrypt', 'MechanismEncrypt', 'MechanismDecrypt'],
  [KeyScheme.AES_CBC]: ['Encrypt', 'Decrypt', 'MechanismEncrypt', 'MechanismDecrypt'],
  [KeyScheme.AES_CTR]: ['Encrypt', 'Decrypt', 'MechanismEncrypt', 'MechanismDecrypt'],
  [KeyScheme.AES_KW]: ['Wrap', 'Unwrap', 'WrapObject', 'UnwrapObject'],
  [KeyScheme.AES_CMAC]: ['Mac', 'VerifyMac', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.HMAC_SHA256]: ['Mac', 'VerifyMac', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.HMAC_SHA384]: ['Mac', 'VerifyMac', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.HMAC_SHA512]: ['Mac', 'VerifyMac', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.ECDSA]: ['Sign', 'Verify', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.EDDSA]: ['Sign', 'Verify', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.ECDH]: ['Derive', 'DeriveObject'],
  [KeyScheme.RSA_PSS]: ['Sign', 'Verify', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.RSA_PKCS1]: ['Sign', 'Verify', 'MechanismSign', 'MechanismVerify'],
  [KeyScheme.RSA_OAEP]: ['Encrypt', 'Decrypt', 'Wrap', 'Unwrap', 'MechanismEncrypt', 'MechanismDecrypt'],
  [KeyScheme.PKCS11]: [...BY_MECHANISM],
};

/** What an asymmetric key does with its private half: refused on a key that was imported without one. */
const NEEDS_PRIVATE: ReadonlySet<CryptoMethod> = new Set([
  'Sign', 'Decrypt', 'Unwrap', 'Derive', 'MechanismSign', 'MechanismDecrypt', 'UnwrapObject', 'DeriveObject', 'GetObjectValue',
]);

export function isAsymmetric(type: KeyType): boolean {
  return type >= KeyType.EC_P256 && type <= KeyType.RSA_4096;
}

export function hasScheme(type: KeyType, scheme: KeyScheme): boolean {
  return (SCHEMES[type] ?? []).includes(scheme);
}

/** How people and the command line name a type: aes-256, ec-p256. */
export function typeName(type: KeyType): string {
  return KeyType[type]?.toLowerCase().replaceAll('_', '-') ?? `type ${type}`;
}

export function schemeName(scheme: KeyScheme): string {
  return KeyScheme[scheme]?.toLowerCase().replaceAll('_', '-') ?? `scheme ${scheme}`;
}

/**
 * The scheme asked for, or the type's default. A key of scheme PKCS11 is made with attributes, as an object, and in no other way.
 * BAD_REQUEST (no such type), KEY_SCHEME_INVALID
 */
export function resolveScheme(type: KeyType, scheme: KeyScheme): KeyScheme {
  const schemes = SCHEMES[type] ?? [];
  if (schemes[0] === undefined) throw new QuorateError('BAD_REQUEST', 'type: no such key type', { field: 'type' });
  if (scheme === KeyScheme.KEY_SCHEME_UNSPECIFIED) return schemes[0];
  if (scheme === KeyScheme.PKCS11)
    throw new QuorateError('KEY_SCHEME_INVALID', 'a key of scheme pkcs11 is made through PKCS#11: it has attributes', { field: 'scheme' });
  if (!schemes.includes(scheme))
    throw new QuorateError('KEY_SCHEME_INVALID', `${typeName(type)} has no scheme ${schemeName(scheme)}`, { field: 'scheme' });
  return scheme;
}

export function usageAllows(type: KeyType, scheme: KeyScheme, method: CryptoMethod): boolean {
  return hasScheme(type, scheme) && (METHODS[scheme] ?? []).includes(method);
}

export function needsPrivate(type: KeyType, method: CryptoMethod): boolean {
  return isAsymmetric(type) && NEEDS_PRIVATE.has(method);
}
