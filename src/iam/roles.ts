/** The shipped roles, and which of a principal's roles count in a decision. */
import { BUILT_IN_TEXTS } from './roles.gen.js';
import { isDomainName } from './domain.js';

export const ROLES = ['administrator', 'operator', 'auditor', 'key-administrator', 'key-user', 'secret-administrator', 'secret-user'] as const;
export type Role = (typeof ROLES)[number];

export function isRole(name: string): name is Role {
  return (ROLES as readonly string[]).includes(name);
}

/** As it is stored: the domain is '' for every domain. */
export interface RoleHeld {
  readonly role: string;
  readonly domain: string;
}

export interface PolicyDocument {
  readonly name: string;
  /** Cedar: one policy or more. */
  readonly text: string;
}

/** Names of the policies that are part of the release; none that is stored begins like that. */
export const BUILT_IN_PREFIX = 'built-in/';
/** The roles' permits, what everyone may, and the forbid that separates operators from keys. In force in every domain. */
export const BUILT_IN: readonly PolicyDocument[] = Object.entries(BUILT_IN_TEXTS).map(([name, text]) => ({
  name: `${BUILT_IN_PREFIX}${name}`,
  text,
}));

/** "In any domain at all": what the separation forbid names. */
const ANYWHERE = '*/';

/** How a policy of `domain` may name a role: Role::"auditor", Role::"<domain>/auditor", Role::"*\/auditor"; of the host, of any domain. */
export function isRoleName(name: string, domain: string | null): boolean {
  const slash = name.indexOf('/');
  if (slash < 0) return isRole(name);
  const place = name.slice(0, slash);
  return isRole(name.slice(slash + 1)) && (place === '*' || (domain === null ? isDomainName(place) : place === domain));
}

/**
 * Ids of the Role entities that a principal is in, when something of `domain` is decided (null: of the host, where only roles for every
 * domain count). Every role that it holds anywhere is there as "*\/role": separation looks at that.
 */
export function roleIds(held: readonly RoleHeld[], domain: string | null): string[] {
  const ids = new Set<string>();
  for (const { role, domain: of } of held) {
    ids.add(`${ANYWHERE}${role}`);
    if (of === '') ids.add(role);
    else if (of === domain) ids.add(role).add(`${of}/${role}`);
  }
  return [...ids].sort();
}
