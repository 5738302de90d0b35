/**
 * `quorate allow PRINCIPAL ACTION KEY` and `deny`: the policy that each is, and the one that it takes away. Pure: what is stored is the
 * operation's.
 */
import { QuorateError } from '../base/errors.js';
import { keyNameFault, pathFault } from '../base/names.js';
import { ACTION_GROUPS, actionsOf, ACTIONS, parseAction } from './actions.js';
import { formatPrincipal, isTemplate, parsePrincipal, principalEntity } from './principal.js';
import { entityText } from './source.js';
import type { ResourceType } from './schema.js';

export interface AllowRequest {
  /** The connection's. */
  readonly domain: string;
  readonly principal: string;
  /** An action, a group, or a short name such as `encrypt`. */
  readonly action: string;
  /** A key's name or a secret's path, `folder/*`, or `*` for the domain with everything in it. */
  readonly key: string;
}

export interface AllowPolicy {
  readonly name: string;
  readonly text: string;
  /** Its opposite, which goes when this is stored. */
  readonly opposite: string;
}

/** Which keys: one, a folder's, or all of the domain. */
export type KeyPattern =
  | { readonly kind: 'all' }
  | { readonly kind: 'folder'; readonly folder: string }
  | { readonly kind: 'key'; readonly name: string };

/** NAME_INVALID. A pattern that no key could match is refused: it would look like a rule. */
export function parseKeyPattern(text: string, field = 'key'): KeyPattern {
  if (text === '*') return { kind: 'all' };
  const isFolder = text.endsWith('/*');
  const name = isFolder ? text.slice(0, -2) : text;
  const fault = isFolder ? pathFault(name) : keyNameFault(name);
  if (fault !== null) {
    throw new QuorateError('NAME_INVALID', `${JSON.stringify(text.slice(0, 160))} is no key's name, folder/* or *: ${fault}`, { field });
  }
  return isFolder ? { kind: 'folder', folder: name } : { kind: 'key', name };
}

/** `noun`: of what the names are. */
function resourceClause(domain: string, pattern: KeyPattern, noun: 'Key' | 'Secret'): string {
  switch (pattern.kind) {
    case 'all':
      return `resource in ${entityText({ type: 'Domain', id: domain })}`;
    case 'folder':
      return `resource in ${entityText({ type: `${noun}Group`, id: `${domain}/${pattern.folder}` })}`;
    case 'key':
      return `resource == ${entityText({ type: noun, id: `${domain}/${pattern.name}` })}`;
  }
}

/** BAD_REQUEST: the action is not about such a thing, and the policy would decide nothing. */
function requireFit(action: string, pattern: KeyPattern): 'Key' | 'Secret' {
  const types = new Set<ResourceType>([...actionsOf(action)!].flatMap((each) => ACTIONS.get(each)!.resources));
  const noun = types.has('Secret') ? 'Secret' : 'Key';
  if (!types.has(noun) && !types.has('Domain')) {
    throw new QuorateError('BAD_REQUEST', `${action} is about the host, not about a domain's keys: a role gives it`, { field: 'action' });
  }
  if (pattern.kind !== 'all' && !types.has(noun)) {
    throw new QuorateError('BAD_REQUEST', `${action} is about the domain, not about single keys: write *`, { field: 'key' });
  }
  return noun;
}

/** PRINCIPAL_INVALID, BAD_REQUEST, NAME_INVALID */
export function allowPolicy(request: AllowRequest, effect: 'allow' | 'deny'): AllowPolicy {
  const principal = parsePrincipal(request.principal);
  const action = parseAction(request.action);
  const pattern = parseKeyPattern(request.key);
  const noun = requireFit(action, pattern);
  const what = `${formatPrincipal(principal)}/${action}/${request.key}`;
  const actionClause = `action ${ACTION_GROUPS.has(action) ? 'in' : '=='} ${entityText({ type: 'Action', id: action })}`;
  const text = [
    `// quorate ${effect} ${formatPrincipal(principal)} ${action} ${request.key}`,
    `${effect === 'allow' ? 'permit' : 'forbid'} (`,
    `  principal ${isTemplate(principal) ? 'in' : '=='} ${entityText(principalEntity(principal))},`,
    `  ${actionClause},`,
    `  ${resourceClause(request.domain, pattern, noun)}`,
    ');',
    '',
  ].join('\n');
  const [name, opposite] = effect === 'allow' ? [`allow/${what}`, `deny/${what}`] : [`deny/${what}`, `allow/${what}`];
  return { name, text, opposite };
}
