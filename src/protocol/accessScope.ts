/**
 * What an access token may do at most. Each link of a token has one scope, and all of them must allow a request: a narrowing can only take away.
 *
 *   actions: an action's id (keys:encrypt), a group of actions (keys:use), `noun:*` or `*`
 *   keys:    a key's name, `prefix/*` (every name below that folder) or `*`
 */
import { utf8Bytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';

export interface Scope {
  /** Empty: no bound. */
  readonly actions: readonly string[];
  /** Empty: no bound. */
  readonly keys: readonly string[];
  /** '': any. */
  readonly domain: string;
  /** null: any. */
  readonly uid: number | null;
}

export const UNBOUNDED: Scope = { actions: [], keys: [], domain: '', uid: null };

/** The groups that an action or a group belongs to, over all levels; those of the form `noun:*` and `*` need not be among them. */
export type ActionGroups = (actionOrGroup: string) => readonly string[];

const ACTION = /^(?:\*|[a-z]+:(?:\*|[A-Za-z]+))$/;
const DOMAIN = /^[a-z0-9][a-z0-9-]*$/;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;
const UID_MAX = 0xffff_fffe;

export function isActionPattern(text: string): boolean {
  return ACTION.test(text);
}

/** Whether it could match a key at all: a name's exact rules are the daemon's. */
export function isKeyPattern(text: string): boolean {
  if (text === '*') return true;
  const name = text.endsWith('/*') ? text.slice(0, -2) : text;
  return name !== '' && !name.includes('*') && utf8Bytes(name).length <= LIMITS.name_bytes_max && name.normalize('NFC') === name && !UNPRINTABLE.test(name);
}

export function isScopeDomain(text: string): boolean {
  return DOMAIN.test(text) && text.length <= LIMITS.domain_name_bytes_max;
}

export function isUid(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= UID_MAX;
}

/** null, or what is wrong with it, by the name of its field. */
export function scopeFault(scope: Scope): { field: 'actions' | 'keys' | 'domain' | 'uid'; fact: string } | null {
  for (const field of ['actions', 'keys'] as const) {
    const entries = scope[field];
    if (entries.length > LIMITS.token_scope_entries_max) return { field, fact: `at most ${LIMITS.token_scope_entries_max} ${field}` };
    const bad = entries.find((e) => !(field === 'actions' ? isActionPattern(e) : isKeyPattern(e)));
    if (bad !== undefined) return { field, fact: `${bad.slice(0, 80)} is ${field === 'actions' ? 'no action' : "no key's name, prefix/* or *"}` };
  }
  if (scope.domain !== '' && !isScopeDomain(scope.domain)) return { field: 'domain', fact: `${scope.domain.slice(0, 80)} is no domain` };
  if (scope.uid !== null && !isUid(scope.uid)) return { field: 'uid', fact: `${scope.uid} is no uid` };
  return null;
}

/** Whether the pattern matches this name. Byte for byte: the daemon has checked that the name is one. */
export function keyMatches(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  return pattern.endsWith('/*') ? name.length > pattern.length - 1 && name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Whether everything that `inner` matches is matched by `outer`. */
export function keyCovers(outer: string, inner: string): boolean {
  if (outer === '*' || outer === inner) return true;
  return inner !== '*' && outer.endsWith('/*') && inner.length > outer.length - 1 && inner.startsWith(outer.slice(0, -1));
}

export function actionCovers(outer: string, inner: string, groupsOf: ActionGroups): boolean {
  if (outer === '*' || outer === inner) return true;
  if (outer.endsWith(':*') && inner.startsWith(outer.slice(0, -1))) return true;
  return groupsOf(inner).includes(outer);
}

/** The first bound of `inner` that goes beyond `outer`; null when it only narrows. */
export function widening(outer: Scope, inner: Scope, groupsOf: ActionGroups): string | null {
  if (outer.actions.length > 0) {
    const wide = inner.actions.find((a) => !outer.actions.some((o) => actionCovers(o, a, groupsOf)));
    if (wide !== undefined) return wide;
  }
  if (outer.keys.length > 0) {
    const wide = inner.keys.find((k) => !outer.keys.some((o) => keyCovers(o, k)));
    if (wide !== undefined) return wide;
  }
  if (outer.domain !== '' && inner.domain !== '' && inner.domain !== outer.domain) return inner.domain;
  if (outer.uid !== null && inner.uid !== null && inner.uid !== outer.uid) return `uid ${inner.uid}`;
  return null;
}

/** What holds after a narrowing: its own bounds, and those that it leaves as they were. */
export function narrowed(outer: Scope, inner: Scope): Scope {
  return {
    actions: inner.actions.length > 0 ? inner.actions : outer.actions,
    keys: inner.keys.length > 0 ? inner.keys : outer.keys,
    domain: inner.domain === '' ? outer.domain : inner.domain,
    uid: inner.uid ?? outer.uid,
  };
}
