/** What is asked of the policies, and what they answer. */
import { QuorateError } from '../base/errors.js';
import { ACTIONS } from './actions.js';
import { isDomainName } from './domain.js';
import { readPrincipal } from './principal.js';
import type { RoleHeld } from './roles.js';
import type { ResourceType } from './schema.js';

/** A key as policies see it. */
export interface KeyFacts {
  readonly name: string;
  /** 32 hexadecimal digits; '' for a key that is being made. */
  readonly id: string;
  /** `aes-256`, as people write it. */
  readonly type: string;
  readonly scheme: string;
  /** `active`, as people write it; NEW_KEY for one that is being made. */
  readonly state: string;
  readonly exportable: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** The state of a key that does not exist yet. */
export const NEW_KEY = 'new';

/** A secret as policies see it. */
export interface SecretFacts {
  readonly path: string;
  /** False for one that is being made, or asked for in vain. */
  readonly exists: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** `domain`: the request's own, and the caller's own session in it. */
export type Resource = { readonly kind: 'key'; readonly key: KeyFacts } | { readonly kind: 'secret'; readonly secret: SecretFacts } | { readonly kind: 'domain' } | { readonly kind: 'host' };
/** Of lists, whose entries are asked about together. */
export type Listed = Extract<Resource, { kind: 'key' | 'secret' }>;

export const RESOURCE_TYPE: Readonly<Record<Resource['kind'], ResourceType>> = { key: 'Key', secret: 'Secret', domain: 'Domain', host: 'Host' };

export interface RequestContext {
  readonly uid: number;
  readonly gid: number;
  readonly pid?: number;
  /** Path of the socket that the connection came by. */
  readonly socket: string;
  /** The application whose socket that is. */
  readonly app?: string;
  /** Whether the connection acts by an access token. */
  readonly token: boolean;
  readonly source: string;
  /** Unix milliseconds. */
  readonly timeMs: number;
}

/** What a connection's life does not change: a grant may outlive one request on these alone. */
export const CONSTANT_CONTEXT: ReadonlySet<string> = new Set(['uid', 'gid', 'socket', 'app', 'token', 'source']);

/** Who asks to do what; of which resource is said beside it. */
export interface Asker {
  /** The connection's. */
  readonly domain: string;
  /** A reference, such as `app:billing`. */
  readonly principal: string;
  /** Every role that is stored for the principal, whatever its domain: separation looks at all of them. */
  readonly roles: readonly RoleHeld[];
  readonly action: string;
  readonly context: RequestContext;
}

export interface DecisionRequest extends Asker {
  readonly resource: Resource;
}

/** The policies' answer. */
export interface Outcome {
  readonly allowed: boolean;
  /** Names of the policies that decided, sorted; none for the default denial. */
  readonly determining: readonly string[];
  /** Policies that could not be evaluated, each with why. There being one is a denial. */
  readonly errors: readonly string[];
  /** In words, for the log and for can-i. */
  readonly reason: string;
  /** Whether the same connection gets the same answer again, until `expiresMs` or a change of key, principal or policies. */
  readonly cacheable: boolean;
  /** Unix milliseconds at which a policy that looks at the clock may decide otherwise; null: never. */
  readonly expiresMs: number | null;
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

/** What a policy could not compare rightly. */
function contextFault({ uid, gid, pid, socket, app, token, source, timeMs }: RequestContext): string | null {
  if (!isCount(uid) || !isCount(gid) || !(pid === undefined || isCount(pid)) || !isCount(timeMs)) return 'a number of the context is none';
  if (
    typeof socket !== 'string' ||
    typeof source !== 'string' ||
    !(app === undefined || typeof app === 'string') ||
    typeof token !== 'boolean'
  )
    return 'the context is not whole';
  return null;
}

function fault({ action, principal, domain, context }: Asker, kinds: readonly Resource['kind'][]): string | null {
  const row = ACTIONS.get(action);
  if (row === undefined) return `no policy decides about ${action}`;
  const wrong = kinds.find((kind) => !row.resources.includes(RESOURCE_TYPE[kind]));
  if (wrong !== undefined) return `${action} is not about a ${wrong}`;
  if (readPrincipal(principal) === null) return `${principal} is no principal`;
  if (!isDomainName(domain)) return `${domain} is no domain`;
  return contextFault(context);
}

/** Whether an action is asked of the kind of thing that the schema says. INTERNAL: that is the daemon's own mistake, and never an allow. */
export function requireSound(asker: Asker, kinds: readonly Resource['kind'][]): void {
  const found = fault(asker, kinds);
  if (found !== null) throw new QuorateError('INTERNAL', `no decision: ${found}`);
}
