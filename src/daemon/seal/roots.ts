/** One pair of functions for each type of seal: wrap the root key under its KEK, and find the KEK again. docs/FORMAT.md, "seal.json". */
import { randomBytes } from 'node:crypto';
import { concatBytes, fromHex, toHex, utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import { KeyType } from '../../protocol/gen/quorate_pb.js';
import { rootAad } from './document.js';
import type { CredentialSeal, DevelopmentSeal, PassphraseSeal, RecoverySeal, SealEntry, ShamirSeal } from './document.js';
import type { SecretScope } from './scope.js';

const KEK_BYTES = 32;
const SALT_BYTES = 32;
export const CREDENTIAL_BYTES_MIN = 32;

const CREDENTIAL_INFO = utf8Bytes('quorate/seal/credential');
const RECOVERY_INFO = utf8Bytes('quorate/seal/recovery');

/** The shares of one split, in the arena: as `shareEncode` writes them, to be handed out and never kept. */
export interface Split {
  readonly texts: Handle[];
  readonly set: string;
}

export type Unwrapped<T extends SealEntry> = Omit<T, 'wrappedRoot'>;
/** A seal before the root is under it; the KEK is the scope's. */
export interface Wrapping<T extends SealEntry> { readonly seal: Unwrapped<T>; readonly kek: Handle }

/** A seal's parameters with the root under its KEK. */
export function finish<T extends SealEntry>(addon: NativeAddon, storeId: string, root: Handle, kek: Handle, seal: Unwrapped<T>): T {
  const wrappedRoot = toHex(addon.sealSecret(kek, rootAad(storeId, seal as Unwrapped<SealEntry>), root));
  return { ...seal, wrappedRoot } as unknown as T;
}

function split(addon: NativeAddon, scope: SecretScope, secret: Handle, count: number, threshold: number): Split {
  const shares = addon.shamirSplit(secret, count, threshold).map((share) => scope.keep(share));
  const texts = shares.map((share) => scope.keep(addon.shareEncode(share)));
  // The set's name is read back from a text: what the custodian will see is what is compared later.
  const { share, set } = addon.shareDecode(texts[0]!);
  addon.secretDrop(share);
  for (const one of shares) scope.drop(one);
  return { texts, set };
}

export function makeDevelopment(addon: NativeAddon, storeId: string, root: Handle, kek: Handle): DevelopmentSeal {
  return finish<DevelopmentSeal>(addon, storeId, root, kek, { type: 'development' });
}

/** `credential`: at least 32 bytes that cannot be guessed; HKDF does not slow a guess down. */
export function makeCredential(addon: NativeAddon, scope: SecretScope, storeId: string, root: Handle, credential: Handle): CredentialSeal {
  const salt = randomBytes(SALT_BYTES);
  const kek = scope.keep(addon.hkdf(credential, salt, CREDENTIAL_INFO, KEK_BYTES));
  return finish<CredentialSeal>(addon, storeId, root, kek, { type: 'credential', salt: toHex(salt) });
}

export function credentialKek(addon: NativeAddon, scope: SecretScope, seal: CredentialSeal, credential: Handle): Handle {
  return scope.keep(addon.hkdf(credential, fromHex(seal.salt)!, CREDENTIAL_INFO, KEK_BYTES));
}

export async function makePassphrase(addon: NativeAddon, scope: SecretScope, storeId: string, root: Handle, passphrase: Handle): Promise<PassphraseSeal> {
  const salt = randomBytes(SALT_BYTES);
  const cost = { log2n: LIMITS.scrypt_log2_n, r: LIMITS.scrypt_r, p: LIMITS.scrypt_p };
  const kek = scope.keep(await addon.scrypt(passphrase, salt, cost.log2n, cost.r, cost.p, KEK_BYTES));
  return finish<PassphraseSeal>(addon, storeId, root, kek, { type: 'passphrase', salt: toHex(salt), ...cost });
}

export async function passphraseKek(addon: NativeAddon, scope: SecretScope, seal: PassphraseSeal, passphrase: Handle): Promise<Handle> {
  return scope.keep(await addon.scrypt(passphrase, fromHex(seal.salt)!, seal.log2n, seal.r, seal.p, KEK_BYTES));
}

export function newShares(addon: NativeAddon, scope: SecretScope, count: number, threshold: number): Wrapping<ShamirSeal> & { shares: Split } {
  const kek = scope.keep(addon.secretRandom(KEK_BYTES));
  const shares = split(addon, scope, kek, count, threshold);
  return { seal: { type: 'shamir', set: shares.set, count, threshold }, kek, shares };
}

export function makeShamir(addon: NativeAddon, scope: SecretScope, storeId: string, root: Handle, count: number, threshold: number): { seal: ShamirSeal; shares: Split } {
  const { seal, kek, shares } = newShares(addon, scope, count, threshold);
  return { seal: finish<ShamirSeal>(addon, storeId, root, kek, seal), shares };
}

/**
 * The recovery key pair's private half leaves only as the kit; its public half stays, so that later ring files can be sealed
 * to the same kit. ECIES in the small: X25519 with a fresh key, HKDF over both public keys, AES-256-GCM.
 */
export async function makeRecovery(addon: NativeAddon, scope: SecretScope, storeId: string, root: Handle, count: number, threshold: number): Promise<{ seal: RecoverySeal; kit: Split }> {
  const pair = await addon.generateKey(KeyType.X25519, 0);
  scope.keep(pair.handle);
  const kit = split(addon, scope, pair.handle, count, threshold);
  const { seal, kek } = await toKit(addon, scope, { type: 'recovery', set: kit.set, count, threshold, publicKey: toHex(pair.spki) });
  return { seal: finish<RecoverySeal>(addon, storeId, root, kek, seal), kit };
}

/** For the kit that this public key belongs to, whoever holds it: a fresh ephemeral key, so a fresh KEK. */
export async function toKit(addon: NativeAddon, scope: SecretScope, kit: Omit<RecoverySeal, 'wrappedRoot' | 'ephemeral'>): Promise<Wrapping<RecoverySeal>> {
  const once = await addon.generateKey(KeyType.X25519, 0);
  scope.keep(once.handle);
  const publicKey = fromHex(kit.publicKey)!;
  const kek = recoveryKekFrom(addon, scope, once.handle, publicKey, once.spki, publicKey);
  const { type, set, count, threshold } = kit;
  return { seal: { type, set, count, threshold, publicKey: kit.publicKey, ephemeral: toHex(once.spki) }, kek };
}

function recoveryKekFrom(addon: NativeAddon, scope: SecretScope, privateKey: Handle, peer: Uint8Array, ephemeral: Uint8Array, recovery: Uint8Array): Handle {
  const agreed = scope.keep(addon.agree(KeyType.X25519, privateKey, peer));
  return scope.keep(addon.hkdf(agreed, concatBytes(ephemeral, recovery), RECOVERY_INFO, KEK_BYTES));
}

/** `privateKey`: what the kit's shares combined to. */
export function recoveryKek(addon: NativeAddon, scope: SecretScope, seal: RecoverySeal, privateKey: Handle): Handle {
  const ephemeral = fromHex(seal.ephemeral)!;
  return recoveryKekFrom(addon, scope, privateKey, ephemeral, ephemeral, fromHex(seal.publicKey)!);
}

/** The root key, owned by the scope; null when this KEK does not open it. */
export function openRoot(addon: NativeAddon, scope: SecretScope, storeId: string, seal: SealEntry, kek: Handle): Handle | null {
  if (addon.secretSize(kek) !== KEK_BYTES) return null;
  try {
    return scope.keep(addon.openSecret(kek, rootAad(storeId, seal), fromHex(seal.wrappedRoot)!));
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'STORE_CORRUPT') return null;
    throw error;
  }
}
