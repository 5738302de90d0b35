/**
 * The face of the C++ addon, and its only loader. Secrets are named by handles: numbers for blocks of the locked arena.
 * Every function throws a QuorateError with the code that its comment names, BAD_REQUEST for arguments of the wrong type or range
 * and for handles that do not exist; none changes anything when it throws.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ErrorCode } from '../base/errors.js';
import { QuorateError } from '../base/errors.js';

/** A block of the secure arena. Never reused; dropped with secretDrop. */
export type Handle = number;

export type UpcallKind = 'call' | 'grant' | 'reserve';
export interface Upcall {
  kind: UpcallKind;
  token: number;
  listener: number;
  session: number;
  uid: number;
  gid: number;
  pid: number;
  method: number;
  /** call: the request; sensitive fields hold 8-byte little-endian handles. */
  body: Uint8Array;
  keyRef: string;
  version: number;
  /** 16 bytes, all zero when not set. */
  keyId: Uint8Array;
}

export interface InstalledVersion {
  keyId: Uint8Array;
  domain: string;
  type: number;
  scheme: number;
  exportable: boolean;
  version: number;
  current: boolean;
  /** 0 for a public-only key. The handle is consumed. */
  handle: Handle;
  spki: Uint8Array;
  ivs: number;
}

export interface PlaneStats {
  requests: number; upcalls: number; refusedBusy: number; malformed: number; grants: number; keys: number;
  sessionKeys: number; streams: number; connections: number; sessions: number;
}

export type PlaneMode = 'uninitialised' | 'sealed' | 'ready';

/** What the compiled addon exports. `primitives` is for tests and bench only: the daemon never calls it. */
export interface NativeAddon {
  kernels(): { selected: string; runnable: string[]; forced: string };
  /** ARENA_LOCK_FAILED */
  openArena(bytes: number): void;
  arenaStats(): { bytesMax: number; bytesUsed: number; blocks: number; locked: boolean };
  arenaRanges(): { start: bigint; bytes: number }[];
  selfTest(): { passed: string[]; failed: string[] };
  /** No core dumps, no ptrace by the same uid: prctl(PR_SET_DUMPABLE, 0), RLIMIT_CORE 0. */
  hardenProcess(): void;
  /** sd_notify(3) over the datagram socket in NOTIFY_SOCKET ("@" for abstract); false when it is not set. INTERNAL: nobody takes it. */
  notify(message: string): boolean;
  /** flock(LOCK_EX | LOCK_NB) on a file made with mode 0600; the descriptor. ALREADY_RUNNING, STORE_IO */
  lockFile(path: string): number;

  /** n random bytes, 1 to secret_bytes_max. ARENA_FULL */
  secretRandom(n: number): Handle;
  /** Copies, then wipes the given bytes. */
  secretFromBytes(bytes: Uint8Array): Handle;
  /** A handle that is gone already is no error: a clean-up must not hide the failure that it follows. */
  secretDrop(handle: Handle): void;
  secretSize(handle: Handle): number;
  secretCount(): number;
  /** Reads a whole regular file into the arena. STORE_IO (missing, unreadable, empty or longer than maxBytes), ARENA_FULL */
  secretReadFile(path: string, maxBytes: number): Handle;
  /** Makes a new 0600 file, fsyncs it and its folder. STORE_IO */
  secretWriteFile(path: string, handle: Handle): void;
  /** For SQLCipher's page key alone: 32 bytes as lower-case hexadecimal. A documented exception. */
  secretPageKeyHex(handle: Handle): string;

  /** HKDF-SHA-256. INPUT_TOO_LONG past 8160 bytes. */
  hkdf(handle: Handle, salt: Uint8Array, info: Uint8Array, n: number): Handle;
  /** On a worker thread. BAD_REQUEST for parameters that need over 256 MiB (r at most 32, p at most 16). */
  scrypt(handle: Handle, salt: Uint8Array, log2n: number, r: number, p: number, n: number): Promise<Handle>;
  /** HMAC-SHA-256. */
  hmac(handle: Handle, data: Uint8Array): Uint8Array;
  /** Bytes that are not secret from JavaScript (metadata), sealed for the store: record.h. */
  sealRecord(kek: Handle, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** STORE_CORRUPT */
  openRecord(kek: Handle, aad: Uint8Array, sealed: Uint8Array): Uint8Array;
  sealSecret(kek: Handle, aad: Uint8Array, secret: Handle): Uint8Array;
  /** STORE_CORRUPT */
  openSecret(kek: Handle, aad: Uint8Array, sealed: Uint8Array): Handle;
  shamirSplit(secret: Handle, count: number, threshold: number): Handle[];
  /** UNSEAL_FAILED */
  shamirCombine(shares: Handle[]): Handle;
  /** Binary share to its text (ASCII, in the arena), and back. UNSEAL_FAILED */
  shareEncode(share: Handle): Handle;
  shareDecode(text: Handle): { share: Handle; x: number; threshold: number; set: string };

  /** On a worker thread. `type` is pb.KeyType; spki is empty for symmetric types. SELF_TEST_FAILED, ARENA_FULL */
  generateKey(type: number, length: number): Promise<{ handle: Handle; spki: Uint8Array }>;
  /** On a worker thread. `format` is pb.MaterialFormat; handle 0 for a public key. The given handle is consumed, also when the promise is rejected. KEY_INVALID */
  importKey(type: number, format: number, material: Handle): Promise<{ handle: Handle; spki: Uint8Array }>;
  /** Opens a wrapped key with a prepared scheme (MANAGED, AES_KW, RSA_OAEP), for ImportWrappedKey. CIPHERTEXT_INVALID */
  unwrapMaterial(kek: { type: number; scheme: number; handle: Handle; domain: string; keyId: Uint8Array; version: number }, context: Uint8Array, wrapped: Uint8Array, padded: boolean): Handle;
  agree(type: number, privateKey: Handle, peer: Uint8Array): Handle;
  publicPem(spki: Uint8Array): string;
  publicJwk(type: number, spki: Uint8Array): string;

  /**
   * onUpcalls: called (coalesced) on the event loop when upcalls wait: drain until none is left. One plane for a process at a time;
   * it keeps the process alive. After planeStop the calls below do nothing (an answer may come late); before planeStart: BAD_REQUEST.
   */
  planeStart(options: { release: string }, onUpcalls: () => void): void;
  /** A listening Unix socket of that mode. ALREADY_RUNNING, SOCKET_UNUSABLE */
  planeListen(path: string, mode: number): number;
  /** A socket made by somebody else (systemd activation). BAD_REQUEST: not a listening Unix socket */
  planeListenFd(fd: number): number;
  planeDrain(max: number): Upcall[];
  planeReply(token: number, status: number, body: Uint8Array): void;
  planeGrant(token: number, keyId: Uint8Array, lifeMs: number): void;
  planeRefuse(token: number, status: number, detail: string, lifeMs: number): void;
  planeResume(token: number): void;
  planeInstall(version: InstalledVersion): void;
  planeAddIvs(keyId: Uint8Array, version: number, count: number): void;
  planeVoidKey(keyId: Uint8Array): void;
  planeVoidPrincipal(uid: number): void;
  planeSetMode(mode: PlaneMode): void;
  planeStats(): PlaneStats;
  planeStop(graceMs: number): void;

  readonly primitives: Primitives;
}

/** Raw primitives over plain bytes, for vectors and bench. Failures of data return null or false. */
export interface Primitives {
  /** A prepared AES-GCM key of the named kernel ('' for the selected one), kept until dropped. */
  gcmPrepare(kernel: string, keyMaterial: Uint8Array): number;
  gcmDrop(prepared: number): void;
  /** out: plaintext, then 16 bytes of tag. Returns the bytes written. */
  gcmSeal(prepared: number, iv: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, out: Uint8Array): number;
  /** Returns the plaintext's length, or -1. */
  gcmOpen(prepared: number, iv: Uint8Array, aad: Uint8Array, sealed: Uint8Array, tagBytes: number, out: Uint8Array): number;
  managedPrepare(keyMaterial: Uint8Array, domain: string, keyId: Uint8Array, version: number): number;
  managedSeal(prepared: number, context: Uint8Array, plaintext: Uint8Array, out: Uint8Array): number;
  managedOpen(prepared: number, context: Uint8Array, sealed: Uint8Array, out: Uint8Array): number;
  managedDrop(prepared: number): void;
  xaesSeal(keyMaterial: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  xaesOpen(keyMaterial: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null;
  hmac(hash: number, keyMaterial: Uint8Array, data: Uint8Array): Uint8Array;
  hkdf(hash: number, keyMaterial: Uint8Array, salt: Uint8Array, info: Uint8Array, n: number): Uint8Array;
  cmac(keyMaterial: Uint8Array, data: Uint8Array): Uint8Array;
  keyWrap(kek: Uint8Array, padded: boolean, data: Uint8Array): Uint8Array | null;
  keyUnwrap(kek: Uint8Array, padded: boolean, wrapped: Uint8Array): Uint8Array | null;
  cbcEncrypt(keyMaterial: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
  cbcDecrypt(keyMaterial: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array | null;
  ctr(keyMaterial: Uint8Array, counter: Uint8Array, data: Uint8Array): Uint8Array;
  /** null when the material fails its checks; `stored` is the stored form. */
  importKey(type: number, format: number, material: Uint8Array): { stored: Uint8Array; spki: Uint8Array } | null;
  exportMaterial(type: number, format: number, stored: Uint8Array, spki: Uint8Array): Uint8Array | null;
  sign(type: number, scheme: number, hash: number, prehashed: boolean, format: number, saltBytes: number, stored: Uint8Array, input: Uint8Array): Uint8Array | null;
  verify(type: number, scheme: number, hash: number, prehashed: boolean, format: number, saltBytes: number, spki: Uint8Array, input: Uint8Array, signature: Uint8Array): boolean;
  oaepEncrypt(spki: Uint8Array, hash: number, label: Uint8Array, data: Uint8Array): Uint8Array | null;
  oaepDecrypt(stored: Uint8Array, hash: number, label: Uint8Array, data: Uint8Array): Uint8Array | null;
  agree(type: number, stored: Uint8Array, peer: Uint8Array): Uint8Array | null;
}

/** The addon throws plain errors with `code` and `detail`; this gives them the project's type. */
function typed(native: Record<string, unknown>): NativeAddon {
  const wrapped: Record<string, unknown> = { primitives: native['primitives'] };
  for (const [name, value] of Object.entries(native)) {
    if (typeof value !== 'function') continue;
    const call = value as (...args: unknown[]) => unknown;
    wrapped[name] = (...args: unknown[]): unknown => {
      try {
        const result = call(...args);
        return result instanceof Promise ? result.catch((error: unknown) => { throw asQuorateError(error); }) : result;
      } catch (error) {
        throw asQuorateError(error);
      }
    };
  }
  return wrapped as unknown as NativeAddon;
}

function asQuorateError(error: unknown): unknown {
  const e = error as { code?: string; detail?: string; quorate?: boolean };
  return e?.quorate === true ? new QuorateError(e.code as ErrorCode, e.detail ?? '', { cause: error }) : error;
}

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const native = createRequire(import.meta.url)(path.join(root, 'build', 'Release', 'quorate.node')) as Record<string, unknown>;

/** dist/src/crypto/addon.js sits three folders below the checkout. */
export const addon: NativeAddon = typed(native);
