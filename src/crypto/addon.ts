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

export type UpcallKind = 'call' | 'grant' | 'reserve' | 'refused';
/**
 * Who is on the other end of a connection, and in whose name it speaks. Connections that agree in all of it (and in their groups) have one
 * peer number, and share grants; a number is never used again while the plane runs. There is no word when a peer ends: keep what you remember of
 * peers in a bounded cache. uid, gid, groups and listener are the kernel's word, as of connect(2).
 */
export interface PlanePeer {
  peer: number;
  uid: number;
  gid: number;
  /** Which socket: planeListen's number. One that was unlistened, or is not known (yet), is nobody's: DENIED. */
  listener: number;
  /** As in Hello: well formed, and not known to exist ("system" is well formed too). '' when the client named none: the socket's. */
  domain: string;
  /** planeSetIdentity's; 0: none, which after an identity's end is seen with OpenSession, Status and Health alone. */
  identity: number;
  /** Of systemd, for which uid 0 asks on a socket for credentials; '' on every other one. */
  unit: string;
}

export interface Upcall extends PlanePeer {
  kind: UpcallKind;
  token: number;
  /** Supplementary groups, ascending; gid need not be among them. */
  groups: number[];
  session: number;
  pid: number;
  method: number;
  /** refused: the error's number. `keyRef` is the credential's name then, `body` a Failure, `token` 0: nobody waits for an answer. */
  status: number;
  /** call: the request; sensitive fields hold 8-byte little-endian handles. */
  body: Uint8Array;
  /** grant: of the key that Wrap lets out. */
  target: boolean;
  keyRef: string;
  version: number;
  /** 16 bytes, all zero when not set. */
  keyId: Uint8Array;
}

export interface InstalledVersion {
  keyId: Uint8Array;
  domain: string;
  /** With scheme 0: a version of a secret, bytes that FetchSecret hands out and nothing else uses: not exportable, no spki, no IVs, no sheets, else it fails with KEY_INVALID. */
  type: number;
  scheme: number;
  exportable: boolean;
  version: number;
  current: boolean;
  /** 0 for a public-only key, and for a value without bytes. The handle is consumed. */
  handle: Handle;
  spki: Uint8Array;
  /** AES_GCM, and AES keys of scheme PKCS11: random IVs reserved and not yet used. */
  ivs: number;
  /** Not PKCS11: its material came from outside. Default true: such a key takes no sensitive key out. */
  imported?: boolean;
  /** Scheme PKCS11: the sheets of its record. One that is not a sheet, or not of a key of this type, makes the version fail with KEY_INVALID. */
  attributes?: Uint8Array;
  publicAttributes?: Uint8Array;
}

/** An object's sheet and its public half's; empty: there is no such object. */
export interface ObjectSheets { attributes: Uint8Array; publicAttributes: Uint8Array }
/** What a sheet says, for names and policies. Numbers: CKO_ and CKK_; -1 when there is none. Flags that are absent are false. */
export interface SheetInfo {
  objectClass: number; keyType: number; label: string; id: Uint8Array;
  token: boolean; private: boolean; modifiable: boolean; copyable: boolean; destroyable: boolean; sensitive: boolean; extractable: boolean;
  trusted: boolean; wrapWithTrusted: boolean; alwaysAuthenticate: boolean; local: boolean;
}

export interface PlaneStats {
  requests: number; upcalls: number; refusedBusy: number; malformed: number; grants: number; keys: number;
  sessionKeys: number; streams: number; connections: number; sessions: number; credentialsGiven: number; credentialsRefused: number;
  /** Of the methods that were called, by number: how many were answered with OK, and with anything else. */
  answers: { method: number; ok: number; refused: number }[];
}

/** One session: one connection, for now. */
export interface PlaneSession extends PlanePeer {
  session: number;
  pid: number;
  /** Unix time. */
  openedMs: number;
  /** Since its last request came. */
  idleMs: number;
  requests: number;
  sessionKeys: number;
  streams: number;
}

export interface PlaneStartOptions {
  release: string;
  /** Without a request, and in all; the defaults are session_idle_ms and session_life_ms. Then the session's objects are wiped and it is closed. */
  sessionIdleMs?: number;
  sessionLifeMs?: number;
}

export type AuditMode = 'off' | 'counts' | 'each';
/** `fault` '': none; else sealed, absent, missing, replaced, changed, corrupt, full, io, stalled. */
export interface AuditFault { fault: string; detail: string }
export interface AuditStats extends AuditFault {
  available: boolean; locked: boolean;
  /** Leaves that are fsynced; that are in the ring alone; that were found in the ring when it was opened. */
  size: number; waiting: number; recovered: number;
  segment: string; segments: number; ringBytes: number; ringUsed: number; ringDamaged: boolean; cutBytes: number;
  /** Leaves for which the ring had no room: they are nowhere. */
  refused: number;
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
  /**
   * A file in memory with these bytes (0 to 2^32; still the caller's to wipe), sealed: nobody changes it any more, root included. Mode 0400. A descriptor for reading, at offset 0,
   * close-on-exec, that the caller closes. OUTPUT_UNWRITABLE: no memory, no descriptor, or memfd_create(2) is refused here.
   */
  sealedFile(content: Uint8Array): number;
  /** Where a Unix socket is bound; '' for an abstract address and for what is no such socket. */
  socketPath(fd: number): string;

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
  /** Up to secret_value_bytes_max, as openSecret(). */
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
  /** The public key (32 bytes, raw) of an Ed25519 seed (32 bytes), RFC 8032 5.1.5. */
  ed25519Public(seed: Handle): Uint8Array;
  /** Pure Ed25519 (RFC 8032 5.1.6) over at most 64 KiB: 64 bytes. For what the daemon itself signs: access tokens, checkpoints. */
  ed25519Sign(seed: Handle, data: Uint8Array): Uint8Array;

  /**
   * HPKE (RFC 9180), base mode, single-shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Public keys have 32 bytes, info and aad at
   * most 64 KiB each. It says nothing of who sealed. SELF_TEST_FAILED, ARENA_FULL
   */
  hpkeKeyPair(): { handle: Handle; publicKey: Uint8Array };
  hpkePublic(privateKey: Handle): Uint8Array;
  /** enc (32 bytes), ciphertext, tag (16): 48 bytes longer than the secret. KEY_INVALID: a point of small order */
  hpkeSeal(publicKey: Uint8Array, info: Uint8Array, aad: Uint8Array, secret: Handle): Uint8Array;
  /** CIPHERTEXT_INVALID whatever does not open, ARENA_FULL */
  hpkeOpen(privateKey: Handle, info: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Handle;

  /** Whom material may be wrapped to, by a SubjectPublicKeyInfo, DER: pb.KeyType (RSA of 2048 bits and more, X25519) and pb.WrapMechanism. KEY_INVALID, and why */
  transportRecipient(spki: Uint8Array): { type: number; mechanism: number };
  /** A version's material (RAW of symmetric keys, PKCS#8 of private ones), wrapped to `recipient` (native/core/transport.h). aad: what HPKE binds beside it. KEY_INVALID, ARENA_FULL */
  wrapTransport(recipient: Uint8Array, aad: Uint8Array, type: number, material: Handle, spki: Uint8Array): Uint8Array;
  /** pb.WrapMechanism's WRAP_RSA_OAEP (context: the label), WRAP_RSA_AES_KEY_WRAP or WRAP_HPKE (context: the aad); `hash` is RSA's. CIPHERTEXT_INVALID, ARENA_FULL */
  unwrapTransport(type: number, privateKey: Handle, mechanism: number, hash: number, context: Uint8Array, wrapped: Uint8Array): Handle;
  /** A secret's value (handle 0: no bytes) of at most 64 KiB, wrapped to `recipient` (native/core/transport.h): RSA: key, nonce, ciphertext, tag; X25519: HPKE, which binds aad. KEY_INVALID, ARENA_FULL */
  wrapValue(recipient: Uint8Array, aad: Uint8Array, value: Handle): Uint8Array;
  /** 0: no bytes. CIPHERTEXT_INVALID, ARENA_FULL */
  unwrapValue(type: number, privateKey: Handle, aad: Uint8Array, wrapped: Uint8Array): Handle;

  publicPem(spki: Uint8Array): string;
  publicJwk(type: number, spki: Uint8Array): string;

  /**
   * The rules of attributes (native/core/object_rules.h) over sheets. C_SetAttributeValue: `wanted` empty: unchanged. Every ATTRIBUTE_ code, TEMPLATE_INCONSISTENT,
   * OBJECT_TOO_LARGE; OBJECT_NOT_FOUND: the public half is not there. The error's detail names the attribute.
   */
  objectSet(attributes: Uint8Array, publicAttributes: Uint8Array, wanted: Uint8Array, wantedPublic: Uint8Array, mayTrust: boolean): ObjectSheets;
  /** What a raw key (AES_GCM to RSA_OAEP, not MANAGED, not PKCS11) shows as its attributes. `id`: the key's 16 bytes. */
  sheetOfKey(type: number, scheme: number, exportable: boolean, imported: boolean, publicOnly: boolean, name: string, id: Uint8Array): ObjectSheets;
  sheetInfo(attributes: Uint8Array): SheetInfo;

  /**
   * onUpcalls: called (coalesced) on the event loop when upcalls wait: drain until none is left. One plane for a process at a time;
   * it keeps the process alive. After planeStop the calls below do nothing (an answer may come late); before planeStart: BAD_REQUEST.
   */
  planeStart(options: PlaneStartOptions, onUpcalls: () => void): void;
  /**
   * A listening Unix socket of that mode, uid and gid (-1: the daemon's own), at any time while the plane runs. The first connection may
   * come before this returns' caller has noted the number: upcalls are drained on the event loop, so a note made in the same turn is in time.
   * ALREADY_RUNNING: somebody answers there. SOCKET_UNUSABLE: also when the owner cannot be set; no file is left behind.
   */
  planeListen(path: string, mode: number, uid?: number, gid?: number): number;
  /**
   * Removes the socket file (if it is still the one that planeListen made; the path is free when this returns), closes the socket, and ends the
   * sessions that came by it as planeKillSession does. Upcalls of that listener may still be drained: refuse them.
   */
  planeUnlisten(listener: number): void;
  /** A socket made by somebody else (systemd activation). BAD_REQUEST: not a listening Unix socket */
  planeListenFd(fd: number): number;
  /**
   * A socket on which systemd asks for credentials: no frames (native/plane/credentials.h). `entries`: four strings each: unit or template, credential, path,
   * field ('': all of the value); `domain` '': the default one. ALREADY_RUNNING, SOCKET_UNUSABLE
   */
  planeListenForCredentials(path: string, mode: number, domain: string, entries: readonly string[]): number;
  /** As planeListenFd. */
  planeListenForCredentialsFd(fd: number, domain: string, entries: readonly string[]): number;
  planeDrain(max: number): Upcall[];
  /**
   * `leaf`: an AuditEntry that the log has, fsynced, before the answer goes out. `isStored`: the entry is durable elsewhere, from where the next start
   * appends it; that the leaf is in the log's ring is enough then.
   */
  planeReply(token: number, status: number, body: Uint8Array, leaf?: Uint8Array, isStored?: boolean): void;
  /**
   * This peer may call this method under the reference it used, for lifeMs (0: this request alone). `slice`: what planeVoidSlice ends; use
   * one for each (domain, principal), 0 for none.
   *
   * Whose duty: the plane cannot know on which state of policies and keys an answer was decided. A planeVoidSlice or planeVoidKey given after
   * this ends the grant; one given before does not. So note the generations of key, principal and policies before you decide, and compare
   * them in the same turn of the event loop in which you call this; when they differ, decide anew.
   */
  planeGrant(token: number, keyId: Uint8Array, lifeMs: number, slice: number, leaf?: Uint8Array): void;
  /** A refusal, remembered for lifeMs; the rule above holds for it too. */
  planeRefuse(token: number, status: number, detail: string, lifeMs: number, slice: number, leaf?: Uint8Array): void;
  planeResume(token: number): void;
  planeInstall(version: InstalledVersion): void;
  planeAddIvs(keyId: Uint8Array, version: number, count: number): void;
  planeVoidKey(keyId: Uint8Array): void;
  /** Grants and refusals of this slice; every stream of a stored key needs a live grant for its next chunk. 0: nothing. */
  planeVoidSlice(slice: number): void;
  /** All grants and refusals, not the prepared keys; streams as above. */
  planeVoidGrants(): void;
  /**
   * The connection of that session acts under `identity` (from 1) from now on: call it before the planeReply to OpenSession. What the session
   * had made under another identity is wiped, and what waits for a grant gets SESSION_EXPIRED. After lifeMs (at most token_life_ms_max; of a clock
   * that nobody sets back) its requests get SESSION_EXPIRED until another identity is set, but for Hello, Ping, Status, Health and OpenSession.
   * Whose duty: a planeEndIdentity that came before ends nothing that comes after, so look at revocations in the turn in which you call this.
   * The same identity again: a new life, nothing wiped. Nothing happens when the session is gone or the plane is sealed; sealing ends identities.
   */
  planeSetIdentity(session: number, identity: number, lifeMs: number): void;
  /** As at the end of its life, at once, for every connection: revoked. */
  planeEndIdentity(identity: number): void;
  /** In the order in which they were opened. */
  planeSessions(): PlaneSession[];
  /**
   * Wipes its session keys and streams; what waits for a grant or was not drained yet gets SESSION_EXPIRED, what was is still answered; then it is
   * told SESSION_EXPIRED and closed. False when there is no such session.
   */
  planeKillSession(session: number): boolean;
  planeSetMode(mode: PlaneMode): void;
  /** `sessions`: those that are open; as long as each connection has one of its own, as many as `connections`. */
  planeStats(): PlaneStats;
  planeStop(graceMs: number): void;

  /**
   * NSS, on a thread of its own: a directory server that hangs delays other look-ups, and nothing else. There is no time-out here. null: no such
   * user or group, or a name that is not UTF-8. BUSY: the name service failed, which is not the same as "no such user", or 1024 look-ups wait.
   */
  userName(uid: number): Promise<string | null>;
  groupName(gid: number): Promise<string | null>;
  userId(name: string): Promise<number | null>;
  groupId(name: string): Promise<number | null>;

  /**
   * Opens the ring (a file on tmpfs) and has the plane log everything from here on; the folder is opened with the keys. One log for a process,
   * after planeStart. `off` is for bench alone. AUDIT_UNAVAILABLE: the ring
   */
  auditOpen(options: { ring: string; folder: string; mode: AuditMode }): void;
  /**
   * With the keys: what waits in the ring is written. `create`: a log that is not there begins; otherwise it is missing. A fault is tried again by
   * itself, and until it is gone nothing is served. The secrets stay the caller's.
   */
  auditUnlock(options: { seal: Handle; sign: Handle; origin: string; storeId: Uint8Array; create: boolean }): Promise<AuditFault>;
  /** Writes what waits and forgets the keys: leaves stay in the ring from here on. */
  auditLock(): Promise<AuditFault>;
  /** `acceptLoss`: what cannot be read is cut away, and a leaf says so. `detail` without a fault: what was done. */
  auditRepair(acceptLoss: boolean): Promise<AuditFault>;
  /** Its index, when it is fsynced. AUDIT_UNAVAILABLE */
  auditAppend(leaf: Uint8Array): Promise<number>;
  /** Resolves when every leaf that was in the ring at the call is fsynced. AUDIT_UNAVAILABLE: the log does not follow */
  auditFlush(): Promise<unknown>;
  auditStats(): AuditStats;
  /** Leaves of whole entries that stand one after the other, up to the first that does not open. AUDIT_CORRUPT, AUDIT_UNAVAILABLE (sealed) */
  auditOpenEntries(header: Uint8Array, index: number, entries: Uint8Array): Uint8Array[];
  /** After planeStop. False: the disk did not answer in time. */
  auditClose(graceMs: number): boolean;

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
  /** What `#field` finds in a secret that is JSON, as text; `value` is empty unless it was found. */
  jsonField(json: Uint8Array, field: string): { outcome: 'found' | 'notJson' | 'absent' | 'compound'; value: Uint8Array };
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
