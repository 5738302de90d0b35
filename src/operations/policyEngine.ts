/** What decides: policies of each domain, asked one question at a time. Fails closed: whatever goes wrong is a denial or an error, never a permission. */

import type { RoleHeld } from '../iam/directory.js';

/** A key as policies see it. One that does not exist, or not yet, has state `absent` or `new` and no labels. */
export interface KeyFacts {
  readonly kind: 'key';
  readonly name: string;
  /** 32 hexadecimal digits, '' when there is none. */
  readonly id: string;
  readonly type: string;
  readonly scheme: string;
  readonly state: string;
  readonly exportable: boolean;
  readonly labels: Readonly<Record<string, string>>;
}
export type Resource = KeyFacts | { readonly kind: 'domain' } | { readonly kind: 'host' };

export interface Asker {
  readonly principal: string;
  readonly roles: readonly RoleHeld[];
  readonly context: { readonly uid: number; readonly gid: number; readonly app: string; readonly token: boolean; readonly timeMs: number };
}

export interface Decision {
  readonly allowed: boolean;
  /** Names of the policies that decided. */
  readonly determining: readonly string[];
  readonly errors: readonly string[];
  /** false: policies looked at what changes from request to request. */
  readonly cacheable: boolean;
  /** Of the slice when it was decided: a change since makes it void. */
  readonly generation: number;
}

export interface NamedPolicy {
  readonly name: string;
  readonly text: string;
}

/** A slice is what one principal may do in one domain: the unit in which grants are void. */
export interface Slice {
  readonly number: number;
  readonly generation: number;
}

export interface PolicyEngine {
  /** Replaces all policies of a domain. */
  load(domain: string, policies: readonly NamedPolicy[]): Promise<void>;
  /** The domain's policy of that name is now this, or gone. What was decided with the old one is void when this returns. */
  replace(domain: string, name: string, policy: NamedPolicy | null): void;
  /** POLICY_INVALID, which says where. */
  validate(domain: string, policy: NamedPolicy): Promise<void>;
  decide(domain: string, asker: Asker, action: string, resource: Resource): Promise<Decision>;
  /** In the order of `resources`. */
  decideMany(domain: string, asker: Asker, action: string, resources: readonly Resource[]): Promise<boolean[]>;
  /** As if `policy` were stored. */
  tryPolicy(domain: string, policy: NamedPolicy | null, questions: readonly { asker: Asker; action: string; resource: Resource }[]): Promise<Decision[]>;
  slice(domain: string, principal: string): Slice;
  /** What this principal may do anywhere has changed. */
  voidPrincipal(principal: string): void;
  /** What anybody may do has changed. */
  voidAll(): void;
  builtIn(domain: string): NamedPolicy[];
  close(): Promise<void>;
}
