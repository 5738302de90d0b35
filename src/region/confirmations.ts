/** Writes that the engine has committed and that wait for enough zones. */
import { QuorateError } from '../base/errors.js';
import type { Acknowledgement } from './quorum.js';

interface Waiter {
  readonly revision: number;
  readonly resolve: (acknowledgement: Acknowledgement) => void;
}

export class Confirmations {
  readonly #waiting = new Set<Waiter>();
  readonly #ask: (revision: number) => Acknowledgement;

  /** `ask`: how a revision stands now. */
  constructor(ask: (revision: number) => Acknowledgement) {
    this.#ask = ask;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Some word has changed. */
  look(): void {
    for (const waiter of this.#waiting) {
      const acknowledgement = this.#ask(waiter.revision);
      if (acknowledgement.acknowledged) waiter.resolve(acknowledgement);
    }
  }

  /** OUTCOME_UNKNOWN: it is in the engine, and not (yet) in enough zones. */
  async wait(revision: number, timeoutMs: number): Promise<Acknowledgement> {
    const now = this.#ask(revision);
    if (now.acknowledged) return now;
    let timer: NodeJS.Timeout | undefined;
    let waiter: Waiter | undefined;
    try {
      return await new Promise<Acknowledgement>((resolve, reject) => {
        waiter = { revision, resolve };
        this.#waiting.add(waiter);
        timer = setTimeout(() => {
          const { zones, needed } = this.#ask(revision);
          reject(new QuorateError('OUTCOME_UNKNOWN', `revision ${revision} is in the engine; ${zones.length === 0 ? 'no zone has' : `of ${needed} zones only ${zones.join(', ')} have`} confirmed it in time`));
        }, Math.max(0, timeoutMs));
      });
    } finally {
      clearTimeout(timer);
      if (waiter !== undefined) this.#waiting.delete(waiter);
    }
  }
}
