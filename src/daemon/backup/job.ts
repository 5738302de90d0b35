/** One long piece of work with backups at a time, and how far it is. */
import { QuorateError } from '../../base/errors.js';

export class Job {
  #state = { what: '', done: 0, total: 0 };

  get state(): { readonly what: string; readonly done: number; readonly total: number } {
    return this.#state;
  }

  /** BUSY: another one is under way */
  async run<T>(what: string, total: number, work: (onProgress: (bytes: number) => void) => Promise<T>): Promise<T> {
    if (this.#state.what !== '') throw new QuorateError('BUSY', `a ${this.#state.what} of backups is under way`, { retryAfterMs: 1000 });
    const state = { what, done: 0, total };
    this.#state = state;
    try {
      return await work((bytes) => { state.done += bytes; });
    } finally {
      this.#state = { what: '', done: 0, total: 0 };
    }
  }
}
