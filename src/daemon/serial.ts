/** One thing at a time, in the order asked for, with a bound on how many wait. */
import { QuorateError } from '../base/errors.js';

export class Serial {
  readonly #waitingMax: number;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  /** BUSY when too many wait already. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#waitingMax) return Promise.reject(new QuorateError('BUSY', 'too many ask to init, unseal or seal at once', { retryAfterMs: 1000 }));
    this.#waiting += 1;
    const result = this.#tail.then(work);
    this.#tail = result.then(() => { this.#waiting -= 1; }, () => { this.#waiting -= 1; });
    return result;
  }
}
