/** The audit log as operations see it. src/audit/folder.ts is the one on disk. */
import type { VerifyProgress, VerifyResult } from './verify.js';

export interface Leaf {
  readonly index: number;
  /** AuditEntry bytes: what the tree hashes. */
  readonly entry: Uint8Array;
}

export interface Proof {
  readonly leaf: Leaf;
  /** 32 bytes each, from the leaf's sibling upwards: RFC 6962, section 2.1.1. */
  readonly proof: readonly Uint8Array[];
  /** Leaves of the tree that the proof leads to, and the signed checkpoint of that tree. */
  readonly size: number;
  readonly checkpoint: string;
}

export interface VerifyRequest {
  /** Checkpoints kept elsewhere, as text; '': none. */
  readonly pinned: string;
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

/** Throws AUDIT_UNAVAILABLE when a file cannot be read, AUDIT_CORRUPT when it is not what was written. */
export interface AuditLog {
  /** As C2SP writes it: `<origin>+<key id>+<base64>`. */
  readonly verifierKey: string;
  /** Leaves that are durable. */
  size(): number;
  /** What was done before this call is durable when it resolves, unless the log cannot be written: then it ends all the same. */
  flush(): Promise<void>;
  /** The latest signed one; '' before the first. */
  checkpoint(): Promise<string>;
  /** Leaves from `from` on, as far as they are durable; at most `limit`, and fewer when they are long. What was accepted as lost is left out. */
  read(from: number, limit: number): Promise<Leaf[]>;
  /** The roots of the complete subtrees of the first `size` leaves, the largest first. */
  tree(size: number): Promise<readonly Uint8Array[]>;
  /** Resolves when there are more than `size` leaves, or after `waitMs`. */
  waitBeyond(size: number, waitMs: number): Promise<void>;
  /** All faults are in the result. */
  verify(request: VerifyRequest): Promise<VerifyResult>;
  /** `size` 0: the latest checkpoint's. BAD_REQUEST: no checkpoint of that size, or the leaf is not in it */
  prove(index: number, size: number): Promise<Proof>;
  /** Cuts away what cannot be repaired, and says in the log that something is missing. What was lost, in words. */
  repair(): Promise<{ size: number; detail: string }>;
}
