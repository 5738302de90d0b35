/** What the operations on principals, applications, sessions and policies need of the running daemon. */
import type { PlaneSession } from '../crypto/addon.js';
import type { Directory } from '../iam/directory.js';
import type { App } from '../protocol/gen/quorate_pb.js';
import type { StoredProposal } from '../protocol/gen/records_pb.js';
import type { PolicyEngine } from './policyEngine.js';

export interface Access {
  readonly directory: Directory;
  readonly policies: PolicyEngine;
  /** Names of the domains, `default` first. */
  readonly domains: Set<string>;
  /** Changes with who connections are: what was decided for a principal that was found before is void. */
  readonly epoch: number;
  /** Actions that need a second principal. */
  readonly dualControl: Set<string>;
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
  runApproved(proposal: StoredProposal): Promise<void>;
  sessions(): SessionView[];
  killSession(id: number): boolean;
}

export interface SessionView extends PlaneSession {
  readonly principal: string;
  readonly socket: string;
  /** jti of the access token, '' without one. */
  readonly token: string;
}
