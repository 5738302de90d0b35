/**
 * A new root key: the ring and the seals are wrapped anew, and seal.json is replaced by the one write that stands for all of it. What opens a seal stays
 * what it was, but for custodians' shares, whose KEK nobody holds. The ring's own keys stay too.
 */
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { StoreFolder } from '../files.js';
import type { Attempts } from './attempts.js';
import { formatDocument, parseDocument, saveDocument, type SealDocument, type SealEntry } from './document.js';
import { openRing, verifyDocument, type OpenRing } from './ring.js';
import * as roots from './roots.js';
import type { Wrapping } from './roots.js';
import { SecretScope } from './scope.js';
import { findSeal } from './seals.js';
import type { Unsealing } from './unsealing.js';

const ROOT_BYTES = 32;

/** The secrets stay the caller's. */
export interface RotateRootRequest {
  readonly uid: number;
  readonly passphrase: Handle | null;
  /** null: what the credential file holds. */
  readonly credential: Handle | null;
  /** Custodians get new shares, as many as before; theirs of before open nothing any more. */
  readonly newShares: boolean;
}

/** Not all of them of one type, so that the list is of any. */
type AnyWrapping = Wrapping<SealEntry>;

interface Prepared {
  readonly wrappings: readonly AnyWrapping[];
  /** Texts, the scope's. */
  readonly shares: readonly Handle[];
}

export interface RootRotationOptions { readonly addon: NativeAddon; readonly folder: StoreFolder; readonly log: Logger }

export class RootRotation {
  readonly #o: RootRotationOptions;
  readonly #unsealing: Unsealing;
  readonly #attempts: Attempts;

  constructor(options: RootRotationOptions, unsealing: Unsealing, attempts: Attempts) {
    this.#o = options;
    this.#unsealing = unsealing;
    this.#attempts = attempts;
  }

  /** Every seal's KEK, each shown to open its seal as it is; all are the scope's. BAD_REQUEST naming what is missing, UNSEAL_FAILED, LIMIT_EXCEEDED, STORE_KEY_WRONG */
  async prepare(document: SealDocument, request: RotateRootRequest, scope: SecretScope): Promise<Prepared> {
    this.#requireAll(document, request);
    this.#attempts.check(request.uid);
    const wrappings: AnyWrapping[] = [];
    const shares: Handle[] = [];
    try {
      for (const seal of document.seals) wrappings.push(await this.#wrapping(document, seal, request, scope, shares));
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code !== 'UNSEAL_FAILED') throw error;
      this.#o.log.warn('the root key was not rotated', { uid: request.uid, detail: error.detail });
      throw new QuorateError('UNSEAL_FAILED', `${error.detail}; the root key is the one of before`, { retryAfterMs: this.#attempts.failed(request.uid), cause: error });
    }
    this.#attempts.succeeded(request.uid);
    return { wrappings, shares };
  }

  /** Before anything is worked out: a person hears of all that is missing at once. */
  #requireAll(document: SealDocument, { passphrase, credential, newShares }: RotateRootRequest): void {
    const has = { passphrase: findSeal(document, 'passphrase') !== null, credential: findSeal(document, 'credential') !== null, shamir: findSeal(document, 'shamir') !== null };
    const refuse = (field: string, fact: string): never => { throw new QuorateError('BAD_REQUEST', fact, { field }); };
    if (passphrase !== null && !has.passphrase) refuse('passphrase', 'a passphrase was given, and this store has no passphrase seal');
    if (credential !== null && !has.credential) refuse('credential', 'a credential was given, and this store has no credential seal');
    if (newShares && !has.shamir) refuse('new_shares', 'this store has no custodians\' shares');
    const missing = [
      ...(has.passphrase && passphrase === null ? [['passphrase', 'the passphrase seal needs the passphrase']] : []),
      ...(has.credential && credential === null && this.#unsealing.credentialFile() === null ? [['credential', 'the credential seal needs the credential, and this daemon has no credential file']] : []),
      ...(has.shamir && !newShares ? [['new_shares', 'the custodians\' seal needs new shares, since nobody holds what theirs combine to']] : []),
    ];
    if (missing.length > 0) refuse(missing[0]![0]!, `${missing.map(([, fact]) => fact).join('; ')}: the root key is the one of before`);
  }

  async #wrapping(document: SealDocument, seal: SealEntry, request: RotateRootRequest, scope: SecretScope, shares: Handle[]): Promise<AnyWrapping> {
    const { addon, folder } = this.#o;
    const { wrappedRoot: _old, ...bare } = seal;
    const shown = (kek: Handle | null, wrong: QuorateError): AnyWrapping => {
      const root = kek === null ? null : roots.openRoot(addon, scope, document.storeId, seal, kek);
      if (kek === null || root === null) throw wrong;
      scope.drop(root);
      return { seal: bare, kek };
    };
    switch (seal.type) {
      case 'development': return shown(folder.readRootKey(addon, scope), new QuorateError('STORE_KEY_WRONG', `${folder.rootKey} is not the root key of this store`));
      case 'credential': {
        const file = this.#unsealing.credentialFile() ?? '';
        const credential = request.credential ?? this.#unsealing.readCredential(file, scope);
        return shown(roots.credentialKek(addon, scope, seal, credential), new QuorateError('UNSEAL_FAILED', `the credential ${request.credential === null ? `in ${file}` : 'that was given'} is not this store's`));
      }
      case 'passphrase': {
        if (addon.secretSize(request.passphrase!) > LIMITS.passphrase_bytes_max) throw new QuorateError('UNSEAL_FAILED', 'the passphrase is longer than any can be');
        return shown(await roots.passphraseKek(addon, scope, seal, request.passphrase!), new QuorateError('UNSEAL_FAILED', 'the passphrase is wrong'));
      }
      case 'shamir': {
        const made = roots.newShares(addon, scope, seal.count, seal.threshold);
        shares.push(...made.shares.texts);
        return made;
      }
      // Under the document's mac, so the kit's own public key: its holders are not needed.
      case 'recovery': return roots.toKit(addon, scope, seal);
    }
  }

  /** seal.json first, then memory, without a pause. Returns the document of now. STORE_IO, STORE_FULL, ARENA_FULL: nothing has changed */
  apply(document: SealDocument, ring: OpenRing, wrappings: readonly AnyWrapping[]): SealDocument {
    const { addon, folder, log } = this.#o;
    const scope = new SecretScope(addon);
    try {
      const root = scope.keep(addon.secretRandom(ROOT_BYTES));
      const seals = wrappings.map(({ seal, kek }) => roots.finish<SealEntry>(addon, document.storeId, root, kek, seal));
      const next = ring.rewrap(document, root, seals);
      this.#requireOpens(next.document, wrappings, scope);
      this.#replace(document, next.document);
      next.adopt();
      scope.release(root);
      log.info('the root key was rotated', { store: folder.path, seals: seals.map(({ type }) => type) });
      return next.document;
    } finally {
      scope.close();
    }
  }

  /** As the next start will read it, and by each seal: a file that does not open would take every key with it. */
  #requireOpens(document: SealDocument, wrappings: readonly AnyWrapping[], scope: SecretScope): void {
    const { addon, folder } = this.#o;
    const read = parseDocument(formatDocument(document), folder.sealFile);
    for (const [i, { kek }] of wrappings.entries()) {
      const root = roots.openRoot(addon, scope, read.storeId, read.seals[i]!, kek);
      if (root === null) throw new QuorateError('INTERNAL', `the new ${read.seals[i]!.type} seal does not open`);
      verifyDocument(addon, scope, root, read);
      if (i > 0) continue;
      openRing(addon, read, root).close();
      scope.release(root);
    }
  }

  /** A write that fails after the rename has left the new file behind; memory keeps the old root, so the old file goes back where it can. */
  #replace(before: SealDocument, next: SealDocument): void {
    const { sealFile } = this.#o.folder;
    try {
      saveDocument(sealFile, next);
    } catch (error) {
      try {
        saveDocument(sealFile, before);
      } catch {
        // Either file opens by what its seals say; the first failure is the one to hear of.
      }
      throw error;
    }
  }
}
