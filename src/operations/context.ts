/** What an operation works with. Built by the daemon when it is unsealed; nothing here is global. */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import type { Generations } from '../store/generations.js';
import type { Change, Store } from '../store/store.js';
import type { Access } from './access.js';
import type { AuditDesk } from './audit.js';
import type { Journal } from './journal.js';

export { DEFAULT_DOMAIN, SYSTEM_DOMAIN } from '../iam/domain.js';

/** Who calls: what the kernel says of the connection (SO_PEERCRED), and the principal that it stands for. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly session: number;
  readonly listener: number;
  /** `user:alice`, `uid:1000`, `app:billing`, `service:ci`. */
  readonly principal: string;
  /** The one that the connection stands for by itself, whatever token or PIN it has presented. */
  readonly holder: string;
  /** The application whose socket it is, '' on the daemon's own. */
  readonly app: string;
  /** Path of the socket that it came by. */
  readonly socket: string;
  /** access.epoch when the principal was found. */
  readonly epoch: number;
  /** Of the access token, or the PIN, that the connection has presented. */
  readonly token: TokenFacts | null;
}

export interface TokenFacts {
  /** The plane's number of it: another one for another narrowing. */
  readonly identity: number;
  readonly jti: string;
  /** The one domain that it is bound to, or ''. */
  readonly domain: string;
  /** Infinity: with the session. */
  readonly expiresMs: number;
  /** Whether the token's own bounds let this through, whatever policies say. '' for what is about no key. */
  allows(action: string, key: string, domain: string): boolean;
}

/** Keys of this host's key ring, as arena handles. */
export interface Ring {
  /** 32 hexadecimal digits, random, made with the store. */
  readonly storeId: string;
  /** Wraps every key version and seals every record of the domain. */
  domainKey(domain: string): Generations;
  /** Names records that must not be readable (idempotency keys; in a region every name). */
  readonly recordNameKey: Handle;
}

/** The audit entry that travels in the write's own transaction. */
export interface AuditedWrite {
  /** Of the entry. */
  readonly id?: Uint8Array;
  write(): { readonly id: Uint8Array; readonly bytes: Uint8Array };
  /** It is durable there: whatever becomes of the log, the entry will be in it. */
  stored?(): void;
}

export interface OperationContext {
  readonly addon: NativeAddon;
  readonly store: Store;
  readonly ring: Ring;
  readonly clock: Clock;
  readonly log: Logger;
  /** The connection's. */
  readonly domain: string;
  readonly access: Access;
  /** Absent where nothing is audited. */
  readonly audit?: AuditDesk;
  /** For writes without a call of their own; absent where nothing is audited. */
  readonly journal?: Journal;
  /** The audit entry of the write under way, as it will be if it succeeds; absent for what writes nothing. */
  readonly auditEntry?: AuditedWrite;
  /** In a region: this host's name, for records that are its own. */
  readonly host?: string;
  /** In a region: up to which date what cannot be undone is due, by the clocks of two zones; null, and why: nobody may say so now. */
  readonly agreed?: () => { readonly untilMs: number | null; readonly reason: string };
  /** A key for a new domain, durable here when this resolves; what brings it to the region's other hosts, for the domain's own transaction. STORE_IO, STORE_FULL, ARENA_FULL */
  addDomain(domain: string): Promise<Change[]>;
  /** As addDomain, the keys that backups are sealed and signed with. Absent where none are written. */
  addBackupKeys?(): Promise<Change[]>;
  /**
   * A change of this key (16 bytes) has been committed, or may have been: whatever the plane holds of it is void. Called before the
   * operation answers; takes effect in the order of the plane's commands.
   */
  onKeyChanged(keyId: Uint8Array): void;
}
