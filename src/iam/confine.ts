/**
 * A policy stays inside the domain that it is stored in: it names that domain's keys, groups and roles, no other's, and nothing of the host.
 * Evaluation keeps to that anyway, since a domain's policies are asked about that domain alone; this says so when a text is stored, where a
 * name that can never match would otherwise look like a rule. Names that no principal or key can have are refused for the same reason.
 */
import type { PolicyJson } from './cedar.js';
import { keyNameFault, pathFault } from '../base/names.js';
import { ACTIONS, actionsOf } from './actions.js';
import { isDomainName, SYSTEM_DOMAIN } from './domain.js';
import { type EntityUid, principalOfEntity } from './principal.js';
import { isRoleName, ROLES } from './roles.js';
import { entityAt, entityText, type Statement } from './source.js';

export interface Fault {
  /** In UTF-16 units of the document. */
  readonly offset: number;
  readonly message: string;
}

/** Every entity that a policy names, in its scope or its conditions, and entity types that it asks for. */
function* named(node: unknown): Generator<EntityUid | string> {
  if (typeof node !== 'object' || node === null) return;
  if ('type' in node && 'id' in node && typeof node.type === 'string' && typeof node.id === 'string')
    yield { type: node.type, id: node.id };
  else if ('entity_type' in node && typeof node.entity_type === 'string') yield node.entity_type;
  for (const value of Object.values(node)) yield* named(value);
}

/** The domain that an id of the form `<domain>/<name>` begins with; null when it is none. */
function pathInDomain(id: string): { domain: string; name: string } | null {
  const slash = id.indexOf('/');
  const domain = id.slice(0, slash);
  return slash > 0 && isDomainName(domain) ? { domain, name: id.slice(slash + 1) } : null;
}

const NAMED: Readonly<Record<string, string>> = { Key: 'key\'s name', KeyGroup: 'folder of keys', Secret: 'secret\'s path', SecretGroup: 'folder of secrets' };

function keyFault(uid: EntityUid, domain: string): string | null {
  const path = pathInDomain(uid.id);
  const own = domain === SYSTEM_DOMAIN ? 'a domain' : `${domain}/`;
  if (path === null) return `${entityText(uid)} begins with no domain: ${uid.type}::"${domain === SYSTEM_DOMAIN ? 'default' : domain}/..."`;
  if (domain !== SYSTEM_DOMAIN && path.domain !== domain)
    return `${entityText(uid)} lies outside ${own}, and this policy is of domain ${domain}`;
  const fault = uid.type === 'Key' ? keyNameFault(path.name) : pathFault(path.name);
  return fault === null ? null : `${entityText(uid)} can be no ${NAMED[uid.type]}: ${fault}`;
}

function domainFault(uid: EntityUid, domain: string): string | null {
  if (domain === SYSTEM_DOMAIN) return isDomainName(uid.id) ? null : `${entityText(uid)} can be no domain`;
  return uid.id === domain ? null : `${entityText(uid)} is another domain, and this policy is of domain ${domain}`;
}

function roleFault(uid: EntityUid, domain: string): string | null {
  if (isRoleName(uid.id, domain === SYSTEM_DOMAIN ? null : domain)) return null;
  const inDomain = domain === SYSTEM_DOMAIN ? '<domain>' : domain;
  return `${entityText(uid)} is no role here: one of ${ROLES.join(', ')}, alone, as ${inDomain}/ROLE or as */ROLE`;
}

function uidFault(uid: EntityUid, domain: string): string | null {
  switch (uid.type) {
    case 'Key':
    case 'KeyGroup':
    case 'Secret':
    case 'SecretGroup':
      return keyFault(uid, domain);
    case 'Domain':
      return domainFault(uid, domain);
    case 'Role':
      return roleFault(uid, domain);
    case 'User':
    case 'App':
    case 'Service':
    case 'Unit':
      return principalOfEntity(uid) === null ? `${entityText(uid)} can be no principal` : null;
    case 'Host':
      return domain === SYSTEM_DOMAIN ? null : `${entityText(uid)} is the host, and this policy is of domain ${domain}`;
    case 'Action':
      return actionFault(uid, domain);
    default:
      return null; // Cedar's validator knows the types
  }
}

function actionFault(uid: EntityUid, domain: string): string | null {
  const actions = actionsOf(uid.id);
  if (domain === SYSTEM_DOMAIN || actions === null) return null;
  const ofHost = [...actions].every((action) => ACTIONS.get(action)!.resources.every((type) => type === 'Host'));
  return ofHost ? `${entityText(uid)} is about the host, and this policy is of domain ${domain}: roles give it` : null;
}

export function confinementFaults(
  domain: string,
  { statement, json }: { readonly statement: Statement; readonly json: PolicyJson },
): Fault[] {
  const faults: Fault[] = [];
  const seen = new Set<string>();
  // Annotations are the author's own words.
  const { principal, action, resource, conditions } = json;
  for (const each of named([principal, action, resource, conditions])) {
    const isType = typeof each === 'string';
    const message = isType
      ? each === 'Host' && domain !== SYSTEM_DOMAIN
        ? `Host is not of domain ${domain}`
        : null
      : uidFault(each, domain);
    if (message === null || seen.has(message)) continue;
    seen.add(message);
    faults.push({ offset: isType ? statement.begins : entityAt(statement, each), message });
  }
  return faults;
}
