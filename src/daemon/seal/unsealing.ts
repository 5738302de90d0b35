/** Which seal opens the ring, with what: a file, a passphrase, or shares that come one by one. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { StoreFolder } from '../files.js';
import type { SealDocument, SealEntry, SealName } from './document.js';
import type { OpenRing } from './ring.js';
import * as roots from './roots.js';
import type { SecretScope } from './scope.js';
import { findSeal, openWithKek } from './seals.js';
import type { ShareCollector } from './shares.js';

/** The secrets stay the caller's. `type` null: by what is given. */
export interface UnsealRequest {
  readonly uid: number;
  readonly type: SealName | null;
  readonly passphrase: Handle | null;
  readonly share: Handle | null;
  readonly reset: boolean;
}

export interface UnsealingOptions {
  readonly addon: NativeAddon;
  readonly log: Logger;
  readonly folder: StoreFolder;
  readonly credentialFile: string;
  readonly credentialsDirectory: string;
}

/** STORE_IO, UNSEAL_FAILED */
export function sealOf<N extends SealName>(document: SealDocument, name: N): Extract<SealEntry, { type: N }> {
  const seal = findSeal(document, name);
  if (seal === null) throw new QuorateError('UNSEAL_FAILED', `this store has no ${name} seal; it has ${document.seals.map((s) => s.type).join(', ')}`);
  return seal;
}

/** UNSEAL_FAILED */
export function opened(ring: OpenRing | null, fact: string): OpenRing {
  if (ring === null) throw new QuorateError('UNSEAL_FAILED', fact);
  return ring;
}

export class Unsealing {
  readonly #o: UnsealingOptions;
  readonly #shares: ShareCollector;

  constructor(options: UnsealingOptions, shares: ShareCollector) {
    this.#o = options;
    this.#shares = shares;
  }

  /** The file that a credential seal reads, null when none is configured. */
  credentialFile(): string | null {
    if (this.#o.credentialFile !== '') return this.#o.credentialFile;
    return this.#o.credentialsDirectory === '' ? null : path.join(this.#o.credentialsDirectory, 'quorate-seal');
  }

  /** null: more shares are needed. UNSEAL_FAILED, STORE_KEY_WRONG, STORE_CORRUPT, BAD_REQUEST */
  async openRing(document: SealDocument, request: UnsealRequest, scope: SecretScope): Promise<OpenRing | null> {
    const type = request.type ?? (request.share !== null ? null : request.passphrase !== null ? 'passphrase' : 'credential');
    if (type === 'development') return this.#openDevelopment(document, scope);
    if (type === 'credential') return this.#openCredential(document, scope);
    if (type === 'passphrase') return this.#openPassphrase(document, request.passphrase, scope);
    return this.#openShares(document, type, request.share, scope);
  }

  #openDevelopment(document: SealDocument, scope: SecretScope): OpenRing {
    const { addon, folder, log } = this.#o;
    const seal = sealOf(document, 'development');
    if (!folder.rootKeyIsPrivate()) log.warn('root.key can be read by others', { file: folder.rootKey });
    const kek = folder.readRootKey(addon, scope);
    const ring = kek === null ? null : openWithKek(addon, scope, document, seal, kek);
    if (ring === null) throw new QuorateError('STORE_KEY_WRONG', `${folder.rootKey} ${existsSync(folder.rootKey) ? 'is not the root key of this store' : 'is missing'}`);
    return ring;
  }

  /** UNSEAL_FAILED */
  readCredential(file: string, scope: SecretScope): Handle {
    try {
      return scope.keep(this.#o.addon.secretReadFile(file, LIMITS.secret_bytes_max));
    } catch (error) {
      throw new QuorateError('UNSEAL_FAILED', error instanceof QuorateError ? error.detail : file, { cause: error });
    }
  }

  #openCredential(document: SealDocument, scope: SecretScope): OpenRing {
    const seal = sealOf(document, 'credential');
    const file = this.credentialFile();
    if (file === null) throw new QuorateError('UNSEAL_FAILED', 'no credential file: set [seal] credential_file, or LoadCredentialEncrypted=quorate-seal in the unit');
    const credential = this.readCredential(file, scope);
    return opened(openWithKek(this.#o.addon, scope, document, seal, roots.credentialKek(this.#o.addon, scope, seal, credential)), `the credential in ${file} is not this store's`);
  }

  async #openPassphrase(document: SealDocument, passphrase: Handle | null, scope: SecretScope): Promise<OpenRing> {
    const seal = sealOf(document, 'passphrase');
    if (passphrase === null) throw new QuorateError('BAD_REQUEST', 'no passphrase was given', { field: 'passphrase' });
    if (this.#o.addon.secretSize(passphrase) > LIMITS.passphrase_bytes_max) throw new QuorateError('UNSEAL_FAILED', 'the passphrase is longer than any can be');
    const kek = await roots.passphraseKek(this.#o.addon, scope, seal, passphrase);
    return opened(openWithKek(this.#o.addon, scope, document, seal, kek), 'the passphrase is wrong');
  }

  #openShares(document: SealDocument, type: 'shamir' | 'recovery' | null, share: Handle | null, scope: SecretScope): OpenRing | null {
    const { addon } = this.#o;
    if (share === null) throw new QuorateError('BAD_REQUEST', 'no share was given', { field: 'share' });
    const { seal, given, needed } = this.#shares.give(document, type, share);
    if (given < needed) return null;
    const combined = scope.keep(this.#shares.combine(seal.set));
    const kek = seal.type === 'shamir' ? combined : roots.recoveryKek(addon, scope, seal, combined);
    return opened(openWithKek(addon, scope, document, seal, kek), `the ${needed} shares of set ${seal.set} do not fit together; all were forgotten`);
  }
}
