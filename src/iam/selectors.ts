/**
 * Which policies can be about a principal and a resource, by their scopes alone. A policy has one selector for each, written as its clause
 * is; a request has all the selectors that would match it. Cedar's `in` is reflexive.
 */
import type { EntityJson } from './cedar.js';
import { ACTIONS } from './actions.js';
import { type Asker, RESOURCE_TYPE, type Resource } from './decision.js';
import type { Reads } from './expression.js';
import { type EntityUid, parsePrincipal, principalEntity, templateOf, uidText } from './principal.js';
import { roleIds } from './roles.js';

/** An entity with all that it is in. */
export interface Placed {
  readonly uid: EntityUid;
  readonly ancestors: readonly EntityUid[];
  readonly selectors: readonly string[];
}

function placed(uid: EntityUid, ancestors: readonly EntityUid[]): Placed {
  const within = [uid, ...ancestors].map(uidText);
  const is = `is ${uid.type}`;
  const selectors = ['*', `== ${within[0]}`, is, ...within.flatMap((each) => [`in ${each}`, `${is} in ${each}`])];
  return { uid, ancestors, selectors };
}

/** `onHost`: what is decided is the host's, where roles of a domain do not count. */
export function placePrincipal(asker: Asker, onHost: boolean): Placed {
  const roles = roleIds(asker.roles, onHost ? null : asker.domain);
  const principal = principalEntity(parsePrincipal(asker.principal));
  const template = principal.type === 'Unit' ? templateOf(principal.id) : null;
  return placed(principal, [...(template === null ? [] : [{ type: 'Unit', id: template }]), ...roles.map((id) => ({ type: 'Role', id }))]);
}

/** Folders of a name: `a/b/c` lies in `a` and `a/b`. */
function folders(name: string): string[] {
  const out: string[] = [];
  for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) out.push(name.slice(0, at));
  return out;
}

export function placeResource(domain: string, resource: Resource): Placed {
  const type = RESOURCE_TYPE[resource.kind];
  if (resource.kind === 'host') return placed({ type, id: 'host' }, []);
  if (resource.kind === 'domain') return placed({ type, id: domain }, []);
  const [name, group] = resource.kind === 'key' ? [resource.key.name, 'KeyGroup'] : [resource.secret.path, 'SecretGroup'];
  const groups = folders(name).map((folder) => ({ type: group, id: `${domain}/${folder}` }));
  return placed({ type, id: `${domain}/${name}` }, [...groups, { type: 'Domain', id: domain }]);
}

/** The resource's attributes, as the schema names them, and its tags; null: it has none. */
export function factsOf(domain: string, resource: Resource): { readonly attributes: Record<string, string | boolean>; readonly tags: Readonly<Record<string, string>> } | null {
  if (resource.kind === 'secret') {
    const { path, exists, labels } = resource.secret;
    return { attributes: { path, domain, exists }, tags: labels };
  }
  if (resource.kind !== 'key') return null;
  const { name, id, type, scheme, state, exportable, labels } = resource.key;
  return { attributes: { name, domain, id, type, scheme, state, exportable }, tags: labels };
}

const bareEntity = ({ uid, ancestors }: Placed): EntityJson => ({ uid: { ...uid }, attrs: {}, parents: ancestors.map((a) => ({ ...a })) });

/** The named entries of a table that has them. */
export function only<V>(table: Readonly<Record<string, V>>, names: readonly string[]): Record<string, V> {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(table, name)).map((name) => [name, table[name]!]));
}

/**
 * What Cedar is told of a request's principal, action and resource: of a key or a secret, what conditions look at, since telling it costs more than deciding.
 * Ancestors are all given as parents, so nothing is between them.
 */
export function entitiesOf(asker: Asker, principal: Placed, resource: Placed, asked: Resource, reads: Reads): EntityJson[] {
  const groups = ACTIONS.get(asker.action)?.groups ?? [];
  const action = { uid: { type: 'Action', id: asker.action }, attrs: {}, parents: groups.map((id) => ({ type: 'Action', id })) };
  const entity = bareEntity(resource);
  const facts = factsOf(asker.domain, asked);
  if (facts !== null) {
    entity.attrs = reads.resource ? facts.attributes : only(facts.attributes, reads.attributes);
    entity.tags = reads.resource ? { ...facts.tags } : only(facts.tags, reads.tags);
  }
  return [bareEntity(principal), action, entity];
}
