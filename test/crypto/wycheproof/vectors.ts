/** Wycheproof's files: where they are, how they look, and the count of what became of each test. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';

export interface Vector {
  tcId: number;
  comment: string;
  flags: string[];
  result: 'valid' | 'invalid' | 'acceptable';
  [field: string]: unknown;
}
export interface Group {
  type: string;
  tests: Vector[];
  [field: string]: unknown;
}
export interface VectorFile {
  numberOfTests: number;
  schema: string;
  testGroups: Group[];
}

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');
export const folder = path.join(process.env['QUORATE_SHARED'] ?? path.join(checkout, '..', 'shared'), 'wycheproof');
export const present = existsSync(folder);
export const names = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
export const load = (name: string): VectorFile => JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as VectorFile;

/** A field that must be there: a typing error in a runner must not read as an empty string. */
export function text(from: Vector | Group, field: string): string {
  const value = from[field];
  assert.isString(value, `${field} of ${JSON.stringify(from).slice(0, 100)}`);
  return value as string;
}
export function number(from: Vector | Group, field: string): number {
  const value = from[field];
  assert.isNumber(value, `${field} of ${JSON.stringify(from).slice(0, 100)}`);
  return value as number;
}
export function data(from: Vector | Group, field: string): Uint8Array {
  const value = text(from, field);
  assert.match(value, /^([0-9a-f]{2})*$/, field);
  return new Uint8Array(Buffer.from(value, 'hex'));
}

/** What an implementation does with a vector whose result is `acceptable`; a flag's decision, with its reason beside it. */
export type Decision = 'accept' | 'reject';
export type Decisions = Record<string, (group: Group) => Decision>;

export class Tally {
  valid = 0;
  invalid = 0;
  acceptedByChoice = 0;
  rejectedByChoice = 0;
  readonly notApplicable = new Map<string, number>();

  constructor(readonly decisions: Decisions = {}) {}

  /** accepted: the implementation took it and gave the very result of the file. */
  judge(group: Group, vector: Vector, accepted: boolean): void {
    const expected = this.expected(group, vector);
    assert.equal(accepted, expected, `tcId ${vector.tcId} (${vector.result}; ${vector.comment}; ${vector.flags.join(' ')}) ${accepted ? 'was accepted' : 'was rejected'}`);
    if (vector.result === 'acceptable') {
      if (accepted) this.acceptedByChoice++;
      else this.rejectedByChoice++;
    } else if (vector.result === 'valid') this.valid++;
    else this.invalid++;
  }

  private expected(group: Group, vector: Vector): boolean {
    if (vector.result !== 'acceptable') return vector.result === 'valid';
    const decided = vector.flags.map((flag) => {
      const decide = this.decisions[flag];
      assert.isDefined(decide, `no decision for the flag ${flag} of the acceptable tcId ${vector.tcId}`);
      return decide!(group);
    });
    assert.isNotEmpty(decided, `tcId ${vector.tcId} is acceptable without a flag`);
    return !decided.includes('reject');
  }

  skip(reason: string, count: number): void {
    this.notApplicable.set(reason, (this.notApplicable.get(reason) ?? 0) + count);
  }

  get ran(): number {
    return this.valid + this.invalid + this.acceptedByChoice + this.rejectedByChoice;
  }

  /** Every test of the file ran or was left out for a reason; and some ran. */
  close(file: VectorFile, times = 1): string {
    const left = [...this.notApplicable.values()].reduce((a, b) => a + b, 0);
    assert.equal(this.ran + left, file.numberOfTests * times, 'a test was neither run nor left out for a reason');
    assert.isAbove(this.ran, 0);
    const parts = [`${this.ran} run: ${this.valid} valid, ${this.invalid} invalid`];
    if (this.acceptedByChoice + this.rejectedByChoice > 0) parts.push(`${this.acceptedByChoice} + ${this.rejectedByChoice} acceptable (taken + refused)`);
    for (const [reason, count] of this.notApplicable) parts.push(`${count} not applicable (${reason})`);
    return parts.join(', ');
  }
}

export type Runner = (file: VectorFile) => string;
