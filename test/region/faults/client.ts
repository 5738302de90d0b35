/** What a campaign asks of one host, be it a bare store in a process or a whole daemon. */
import type { Answer, Outcome } from './history.js';

export interface Write {
  /** The same for all attempts of one request: its idempotency key is made of it. */
  readonly request: string;
  readonly attempt: string;
  readonly key: string;
  readonly value: string;
  readonly ifGeneration: number;
}

export interface Value {
  readonly value: string;
  readonly generation: number;
}

export interface Client {
  write(write: Write, timeoutMs: number): Promise<Answer>;
  read(key: string, timeoutMs: number): Promise<Value | null>;
  destroy(write: Omit<Write, 'value'>, timeoutMs: number): Promise<Answer>;
}

/** What a host has answered. */
export class Refusal extends Error {
  constructor(readonly code: string, readonly detail: string) {
    super(`${code}: ${detail}`);
  }

  /** INTERNAL: the host does not know what it did. */
  get outcome(): Outcome {
    return this.code === 'OUTCOME_UNKNOWN' || this.code === 'INTERNAL' ? 'unknown' : 'failed';
  }
}

/** It has not answered: it died, it hangs, or it was not there. */
export class Lost extends Error {
  constructor(readonly why: 'died' | 'silent' | 'down') {
    super(why);
  }

  get outcome(): Outcome {
    return this.why === 'down' ? 'failed' : 'unknown';
  }
}
