/** A small log to break in a test, and to see what the verifier says of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { type FaultKind, faultText } from '../../src/audit/fault.js';
import type { VerifyOptions, VerifyResult } from '../../src/audit/verify.js';
import { KEYS, leafOf, type MadeLog, makeLog, randomBytesOf, seeded } from './fixture.js';
import { LogTwin } from './twin.js';

export const SEGMENT = (first: number): string => `${String(first).padStart(20, '0')}.log`;

/** 40 leaves in segments of 10, with checkpoints of 10, 20, 25 and 40. */
export class Scene {
  readonly folder: string;
  readonly twin: LogTwin;
  readonly #made: MadeLog;

  constructor() {
    this.#made = makeLog({ leaves: 0 });
    this.folder = this.#made.folder;
    const random = seeded(5);
    this.twin = new LogTwin(this.folder, KEYS, { rotate: () => 10, random: randomBytesOf(random) });
    for (const upTo of [10, 20, 25, 40]) {
      this.twin.append(...Array.from({ length: upTo - this.twin.size }, (_, i) => leafOf(this.twin.size + i, random)));
      this.twin.checkpoint();
    }
  }

  remove(): void {
    this.#made.remove();
  }

  at(name: string): string {
    return path.join(this.folder, name);
  }

  verify(more: Partial<VerifyOptions> = {}): Promise<VerifyResult> {
    return this.#made.verify(more);
  }

  /** Entries of a segment as they stand, the header apart. */
  entriesOf(first: number): { header: Buffer; entries: Buffer[] } {
    const bytes = readFileSync(this.at(SEGMENT(first)));
    const entries: Buffer[] = [];
    for (let i = 46; i < bytes.length; i += 4 + bytes.readUInt32LE(i)) entries.push(bytes.subarray(i, i + 4 + bytes.readUInt32LE(i)));
    return { header: bytes.subarray(0, 46), entries };
  }

  rewrite(first: number, change: (entries: Buffer[]) => Buffer[]): void {
    const { header, entries } = this.entriesOf(first);
    writeFileSync(this.at(SEGMENT(first)), Buffer.concat([header, ...change(entries)]));
  }

  flip(name: string, offset: number): void {
    const bytes = readFileSync(this.at(name));
    bytes[offset]! ^= 1;
    writeFileSync(this.at(name), bytes);
  }

  async finds(kind: FaultKind, index: number | null, file: string, fact: RegExp, more: Partial<VerifyOptions> = {}): Promise<VerifyResult> {
    const result = await this.verify(more);
    assert.isFalse(result.valid, 'no fault was found');
    const fault = result.fault!;
    assert.deepEqual({ kind: fault.kind, index: fault.index, file: fault.file }, { kind, index, file }, faultText(fault));
    assert.match(fault.fact, fact);
    return result;
  }
}
