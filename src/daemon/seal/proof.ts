/** Whoever brings enough shares of the recovery kit to an open store shows that they hold it: for what only they may do. */
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { Attempts } from './attempts.js';
import type { SealDocument } from './document.js';
import * as roots from './roots.js';
import type { SecretScope } from './scope.js';
import { findSeal, openWithKek } from './seals.js';
import { ShareCollector } from './shares.js';
import { opened, sealOf } from './unsealing.js';

export interface ProofRequest {
  readonly uid: number;
  /** null: none, with `reset`. */
  readonly share: Handle | null;
  readonly reset: boolean;
}

export class RecoveryProof {
  readonly #addon: NativeAddon;
  readonly #attempts: Attempts;
  readonly #shares: ShareCollector;

  constructor(addon: NativeAddon, clock: Clock, attempts: Attempts) {
    this.#addon = addon;
    this.#attempts = attempts;
    this.#shares = new ShareCollector(addon, clock);
  }

  /** UNSEAL_FAILED, BUSY */
  prove(document: SealDocument, scope: SecretScope, { uid, share, reset }: ProofRequest): { given: number; needed: number; proven: boolean } {
    this.#shares.expire();
    if (reset) this.#shares.reset();
    if (share === null) return { given: 0, needed: 0, proven: false };
    this.#attempts.check(uid);
    try {
      sealOf(document, 'recovery');
      const { seal, given, needed } = this.#shares.give(document, 'recovery', share);
      if (given < needed) return { given, needed, proven: false };
      const kek = roots.recoveryKek(this.#addon, scope, findSeal(document, 'recovery')!, scope.keep(this.#shares.combine(seal.set)));
      opened(openWithKek(this.#addon, scope, document, seal, kek), `the ${needed} shares do not fit together; all were forgotten`).close();
      this.#attempts.succeeded(uid);
      return { given, needed, proven: true };
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code !== 'UNSEAL_FAILED') throw error;
      throw new QuorateError('UNSEAL_FAILED', error.detail, { retryAfterMs: this.#attempts.failed(uid), cause: error });
    }
  }

  reset(): void {
    this.#shares.reset();
  }

  expire(): void {
    this.#shares.expire();
  }
}
