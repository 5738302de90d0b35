/** Logs to read: written by the twin, opened with its keys, as the native half would. */
import { createDecipheriv } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { parseVerifierKey, type VerifierKey } from '../../src/base/note.js';
import type { OpenEntries } from '../../src/audit/segment.js';
import { verifyLog, type VerifyOptions, type VerifyResult } from '../../src/audit/verify.js';
import { AuditEntrySchema, AuditKind } from '../../src/protocol/gen/quorate_pb.js';
import { type LogKeys, LogTwin, logKeys, segmentKey, verifierKeyText } from './twin.js';

/** mulberry32: the same sequence on every machine. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomBytesOf(random: () => number): (n: number) => Buffer {
  return (n) => Buffer.from(Array.from({ length: n }, () => Math.floor(random() * 256)));
}

export const KEYS: LogKeys = logKeys(Buffer.alloc(16, 0x11), Buffer.alloc(32, 0x22), Buffer.alloc(32, 0x33));

/** Opens entries with the key itself; what the native half does with a handle. */
export function openerOf(keys: LogKeys): OpenEntries {
  const cached: { header: string; key: Buffer } = { header: '', key: Buffer.alloc(0) };
  return (header, index, entries) => {
    const id = Buffer.from(header).toString('latin1');
    if (cached.header !== id) {
      cached.key = segmentKey(keys.sealKey, Buffer.from(header.subarray(22, 38)));
      cached.header = id;
    }
    const bytes = Buffer.from(entries.buffer, entries.byteOffset, entries.byteLength);
    const leaves: Uint8Array[] = [];
    const iv = Buffer.alloc(12);
    for (let at = 0; at < bytes.length; ) {
      const end = at + 4 + bytes.readUInt32LE(at);
      iv.writeBigUInt64LE(BigInt(index + leaves.length), 4);
      const decipher = createDecipheriv('aes-256-gcm', cached.key, iv, { authTagLength: 16 });
      decipher.setAAD(header);
      decipher.setAuthTag(bytes.subarray(end - 16, end));
      try {
        leaves.push(Buffer.concat([decipher.update(bytes.subarray(at + 4, end - 16)), decipher.final()]));
      } catch {
        return leaves;
      }
      at = end;
    }
    return leaves;
  };
}

export function keysOf(keys: LogKeys): VerifierKey[] {
  return [parseVerifierKey(verifierKeyText(keys))];
}

/** Entries as a daemon writes them, of many lengths. */
export function leafOf(index: number, random: () => number): Buffer {
  const counts = Array.from({ length: Math.floor(random() * 4) }, () => ({ session: 7n, keyId: new Uint8Array(16).fill(index), version: 1, method: 64, status: 0, count: BigInt(Math.floor(random() * 1000)) }));
  const hot = random() < 0.3;
  return Buffer.from(toBinary(AuditEntrySchema, create(AuditEntrySchema, {
    kind: hot ? AuditKind.AUDIT_COUNTS : AuditKind.AUDIT_CALL,
    timeMs: BigInt(1_790_000_000_000 + index * 37),
    principal: hot ? '' : `user:person${Math.floor(random() * 5)}`,
    uid: hot ? 0 : 1000,
    session: BigInt(index % 9),
    domain: hot ? '' : 'default',
    method: hot ? 0 : 34,
    action: hot ? '' : 'keys:get',
    resource: hot ? '' : `key-${Math.floor(random() * 1000)}`,
    counts: hot ? counts : [],
    detail: random() < 0.02 ? 'x'.repeat(Math.floor(random() * 8000)) : '',
  })));
}

export interface MadeLog {
  readonly twin: LogTwin;
  readonly folder: string;
  verify(more?: Partial<VerifyOptions>): Promise<VerifyResult>;
  remove(): void;
}

export interface Shape {
  readonly leaves: number;
  readonly seed?: number;
  /** Leaves between checkpoints, and of a segment, at most. */
  readonly checkpointEvery?: number;
  readonly segmentLeaves?: number;
  readonly keys?: LogKeys;
}

/** A log that ends with a checkpoint. */
export function makeLog(shape: Shape): MadeLog {
  const { leaves, seed = 1, checkpointEvery = 20, segmentLeaves = 50, keys = KEYS } = shape;
  const random = seeded(seed);
  const folder = path.join(mkdtempSync(path.join(os.tmpdir(), 'quorate-audit-')), 'audit');
  const twin = new LogTwin(folder, keys, { rotate: () => 1 + Math.floor(random() * segmentLeaves), random: randomBytesOf(random) });
  while (twin.size < leaves) {
    const n = Math.min(1 + Math.floor(random() * checkpointEvery), leaves - twin.size);
    const from = twin.size;
    twin.append(...Array.from({ length: n }, (_, i) => leafOf(from + i, random)));
    twin.checkpoint();
  }
  return {
    twin,
    folder,
    verify: (more = {}) => verifyLog({ folder, storeId: keys.storeId, keys: keysOf(keys), open: openerOf(keys), ...more }),
    remove: () => rmSync(path.dirname(folder), { recursive: true, force: true }),
  };
}
