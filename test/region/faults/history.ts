/**
 * What clients saw of a region, and how it is recorded: requests with their attempts, reads, looks at all hosts. Times are milliseconds of the one
 * monotonic clock of the process that records. Values are unique: no two attempts write the same one, so that a value names its attempt.
 */
export type Outcome = 'ok' | 'failed' | 'unknown';

/** What a host answers to a write. `key` and `value` are the remembered result's: those of the attempt that was done, which may be an earlier one. */
export interface Answer {
  readonly revision: number;
  /** Who confirmed, as it says. */
  readonly hosts: readonly string[];
  readonly needed: number;
  readonly key: string;
  /** null: it was removed. */
  readonly value: string | null;
  /** Of the attempt that was done; it tells removals apart too. */
  readonly attempt: string;
}

export interface Attempt {
  /** Unique. */
  readonly id: string;
  readonly host: string;
  readonly key: string;
  readonly value: string | null;
  readonly ifGeneration: number;
  readonly beganMs: number;
  readonly endedMs: number;
  /** `failed`: certainly not done, now or later. */
  readonly outcome: Outcome;
  readonly answer: Answer | null;
  /** Error code, for those who read a violation. */
  readonly code: string;
}

/** One idempotency key: at most one of its attempts may be done. */
export interface Request {
  readonly id: string;
  readonly attempts: readonly Attempt[];
}

export interface Read {
  readonly host: string;
  readonly key: string;
  readonly beganMs: number;
  readonly endedMs: number;
  readonly value: string | null;
  readonly generation: number;
}

/** All watermarks at one time, with the engine off: what only the copies hold. */
export interface Survey {
  readonly atMs: number;
  /** By host; a host that is not there holds nothing. */
  readonly revisions: ReadonlyMap<string, number>;
}

/** An old copy was put back at this host, between these times; it may show less from then on, and what it shows meanwhile counts for nothing. */
export interface Break {
  readonly host: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Place {
  readonly name: string;
  readonly zone: string;
  readonly role: 'voter' | 'app' | 'replica';
}

export interface History {
  readonly places: readonly Place[];
  readonly writeQuorumZones: number;
  readonly requests: readonly Request[];
  readonly reads: readonly Read[];
  readonly surveys: readonly Survey[];
  readonly breaks: readonly Break[];
  /** At the end, nothing under way: by host, every key that it has. */
  readonly final: ReadonlyMap<string, ReadonlyMap<string, { readonly value: string; readonly generation: number }>>;
}

export interface Violation {
  readonly check: 'linearizable' | 'revisions' | 'receipt' | 'reads' | 'present' | 'once' | 'failed' | 'survey' | 'invented';
  readonly detail: string;
}
