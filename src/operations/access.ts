/** What the operations on principals, applications, sessions and policies need of the running daemon. */
import type { PlaneSession, Upcall } from '../crypto/addon.js';
import type { Directory } from '../iam/directory.js';
import type { Evaluator } from '../iam/evaluator.js';
import type { App } from '../protocol/gen/quorate_pb.js';
import type { StoredProposal } from '../protocol/gen/records_pb.js';
import type { Caller, OperationContext } from './context.js';
import type { Shredding } from './shredRecords.js';
import type { TokenSessions } from './tokenSessions.js';

/** What the kernel and the plane say of a connection. */
export type Peer = Pick<Upcall, 'peer' | 'uid' | 'gid' | 'groups' | 'pid' | 'session' | 'listener' | 'domain' | 'identity'> & Partial<Pick<Upcall, 'unit'>>;

export interface Access {
  /** The principal of a connection, and the domain that it speaks of. SESSION_EXPIRED, DENIED */
  callerOf(peer: Peer): Promise<{ caller: Caller; domain: string }>;
  /** The daemon's. */
  readonly ownUid: number;
  readonly directory: Directory;
  readonly policies: Evaluator;
  readonly tokens: TokenSessions;
  /** Names of the domains, `default` first. */
  readonly domains: Set<string>;
  /** Domains that are shredded or about to be, none of which is in `domains`. */
  readonly shreds: ReadonlyMap<string, Shredding>;
  /** Changes with who connections are: what was decided for a principal that was found before is void. */
  readonly epoch: number;
  /** Actions that need a second principal. */
  readonly dualControl: Set<string>;
  /** The principal has shown the recovery kit: it may repair what keeps everybody out, whatever policies say. */
  mayRepair(principal: string): boolean;
  allowRepairs(principal: string, lifeMs: number): void;
  /** What this principal may do has changed: nothing that was decided before holds. */
  principalChanged(ref: string): void;
  /** Who connections are has changed. */
  identitiesChanged(): void;
  /** ALREADY_RUNNING, SOCKET_UNUSABLE */
  openApp(app: App): void;
  closeApp(name: string): void;
  /** Where an application's socket lies unless it is said. */
  appSocket(name: string): string;
  /** Runs a proposed request as its proposer's, who must still be allowed it. DENIED, and what the method throws. */
  runApproved(proposal: StoredProposal, approver: Caller): Promise<void>;
  /**
   * Who may do what as the store has it, after a commit of which nobody knows whether it happened. Nothing is decided meanwhile, nor while the
   * store cannot be read.
   */
  reload(): Promise<void>;
  /** Domains were closed, or opened again. */
  domainsChanged(): Promise<void>;
  /** Once a minute. */
  tick(context: OperationContext): Promise<void>;
  sessions(): SessionView[];
  killSession(id: number): boolean;
}

export interface SessionView extends PlaneSession {
  readonly principal: string;
  readonly socket: string;
  /** jti of the access token, '' without one. */
  readonly token: string;
}
