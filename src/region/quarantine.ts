/** Whether this host's incarnation was followed by a later one: then it is out of office, for good. What it is told is judged by the daemon. */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { Lineage } from '../store/lineage.js';

export interface SuccessionSide {
  /** Signed, as it was taken; null: none. */
  current(): Uint8Array | null;
  /** Somebody said so: verified, and written down before it returns, when it is to be believed. False: it is not, or is known. */
  take(signed: Uint8Array): boolean;
}

const WORD = 'QUARANTINED: its incarnation was followed by a later one';

export class Quarantine {
  readonly #side: SuccessionSide | undefined;
  readonly #log: Logger;
  readonly #foreigners = new Set<string>();

  /** `side`: absent where nothing is ever heard of. */
  constructor(side: SuccessionSide | undefined, log: Logger) {
    this.#side = side;
    this.#log = log;
  }

  /** What has put this host out of office, to be passed on; null: it is in office. */
  get signed(): Uint8Array | null {
    return this.#side?.current() ?? null;
  }

  /** Why nothing is confirmed; '' in office. */
  get withheld(): string {
    return this.signed === null ? '' : WORD;
  }

  /** QUARANTINED */
  require(): void {
    if (this.signed !== null) throw new QuorateError('QUARANTINED');
  }

  /** True: from now on it is. */
  begins(host: string, signed: Uint8Array): boolean {
    if (this.#side?.take(signed) !== true) return false;
    this.#log.error('this host is quarantined: its incarnation of the region was followed by a later one', { by: host });
    return true;
  }

  /** A host of another incarnation comes again each second: each is told of once. */
  foreign(host: string, { counter, id }: Lineage, own: number): void {
    const who = `${host} ${id}`;
    if (this.#foreigners.has(who) || this.#foreigners.size > LIMITS.region_hosts_max) return;
    this.#foreigners.add(who);
    this.#log.error('a host of another incarnation', { host, counter, own });
  }
}
