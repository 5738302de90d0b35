/** What is wrong with a log: the first thing that was found, where it lies, and what it looks like. */

/**
 * edit: bytes are not what was written. missing: something that was there is not. reordered: something stands in another's place. cut: the
 * end is gone. fork: other leaves than those that a checkpoint was signed over. checkpoint: one that is not this log's, or not in its place.
 */
export type FaultKind = 'edit' | 'missing' | 'reordered' | 'cut' | 'fork' | 'checkpoint';

export interface Fault {
  readonly kind: FaultKind;
  /** The segment's file name, `checkpoint`, `checkpoints.log`, `frontier`; '' when it is none of one file. */
  readonly file: string;
  /** The first leaf that is not to be trusted; null when no leaf is meant. */
  readonly index: number | null;
  readonly fact: string;
}

/** One sentence for a person. */
export function faultText(fault: Fault): string {
  const where = [fault.index === null ? '' : `leaf ${fault.index}`, fault.file].filter((part) => part !== '').join(', ');
  return `${fault.kind}${where === '' ? '' : ` at ${where}`}: ${fault.fact}`;
}

/** Ends a walk. */
export class FaultFound extends Error {
  override readonly name = 'FaultFound';
  readonly fault: Fault;

  constructor(kind: FaultKind, file: string, index: number | null, fact: string) {
    super(fact);
    this.fault = { kind, file, index, fact };
  }
}
