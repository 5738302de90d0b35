/**
 * The Cedar schema of Quorate's entities and actions, derived from the operation table. It is data about tables alone: the generator writes
 * docs/quorate.cedarschema with it, for people and their editors.
 */
import type { Place } from './places.js';

export type ResourceType = 'Key' | 'Secret' | 'Domain' | 'Host';

/** What a policy decides about, as the operation table says it, as an entity type. */
const RESOURCE_TYPES: Readonly<Record<string, ResourceType>> = {
  key: 'Key',
  newKey: 'Key',
  keys: 'Key',
  secret: 'Secret',
  secrets: 'Secret',
  domain: 'Domain',
  session: 'Domain',
  host: 'Host',
};

export interface ActionRow {
  readonly action: string;
  /** As in the operation table; '' where there is nothing to decide. */
  readonly resource: string;
}

export interface SchemaAction {
  readonly resources: readonly ResourceType[];
  /** Groups that it is in, the narrower first. */
  readonly groups: readonly string[];
}

export const nounOf = (action: string): string => action.slice(0, action.indexOf(':'));

/** Throws on a row without a place: no method escapes the groups. */
export function schemaActions(rows: readonly ActionRow[], places: Readonly<Record<string, Place>>): Map<string, SchemaAction> {
  const actions = new Map<string, SchemaAction>();
  for (const { action, resource } of rows) {
    if (resource === '') continue;
    const type = RESOURCE_TYPES[resource];
    if (type === undefined) throw new Error(`${action}: no entity stands for a resource of the kind ${resource}`);
    const place = places[action];
    if (place === undefined) throw new Error(`${action} has no place among the action groups (src/iam/places.ts)`);
    const noun = nounOf(action);
    const groups = [...(place === 'alone' ? [] : [`${noun}:${place}`]), `${noun}:*`];
    const resources = new Set([...(actions.get(action)?.resources ?? []), type]);
    actions.set(action, { resources: [...resources].sort(), groups });
  }
  return actions;
}

/** Group to the groups that it is in. */
export function schemaGroups(actions: ReadonlyMap<string, SchemaAction>): Map<string, readonly string[]> {
  const groups = new Map<string, readonly string[]>();
  for (const { groups: own } of actions.values()) {
    for (const [i, group] of own.entries()) groups.set(group, own.slice(i + 1));
  }
  for (const group of groups.keys()) {
    if (actions.has(group)) throw new Error(`${group} is the name of an action and of a group`);
  }
  return groups;
}

const ENTITIES = `// What policies speak of. Generated from the operation table and src/iam/places.ts. Do not edit.

// Role::"operator" (every domain), Role::"payments/operator" (one domain), Role::"*/operator" (whoever has it in any domain at all).
entity Role in [Role];
// User::"alice", User::"uid:1000" (a local user without a mapping), App::"billing", Service::"ci".
entity User, App, Service in [Role];
// Unit::"billing.service", of systemd, which asks for its credentials. Unit::"worker@1.service" is in Unit::"worker@.service".
entity Unit in [Unit, Role];

// This host, whatever the domain.
entity Host enum ["host"];
// Domain::"default"
entity Domain;
// KeyGroup::"default/orders" has every key whose name begins with orders/
entity KeyGroup in [KeyGroup, Domain];
// Key::"default/orders/card". A key's labels are its tags: resource.hasTag("env") && resource.getTag("env") == "prod"
entity Key in [KeyGroup, Domain] {
  name: String,
  domain: String,
  id: String,          // 32 hexadecimal digits; empty for a key that is being made
  type: String,        // aes-256, ec-p256 ...
  scheme: String,      // managed, aes-gcm ...
  state: String,       // new, preActive, active, deactivated, compromised, destroyed, destroyedCompromised
  exportable: Bool,    // may leave, wrapped
} tags String;

// SecretGroup::"default/app" has every secret whose path begins with app/
entity SecretGroup in [SecretGroup, Domain];
// Secret::"default/app/db". A secret's labels are its tags.
entity Secret in [SecretGroup, Domain] {
  path: String,
  domain: String,
  exists: Bool,        // false for one that is being made
} tags String;

type RequestContext = {
  uid: Long,           // of the connection, as the kernel says it
  gid: Long,
  pid?: Long,
  socket: String,      // path of the socket that it came by
  app?: String,        // whose socket that is
  token: Bool,         // by an access token
  source: String,      // local
  time: datetime,      // UTC
};
`;

/** In Cedar's schema syntax. */
export function schemaText(rows: readonly ActionRow[], places: Readonly<Record<string, Place>>): string {
  const actions = schemaActions(rows, places);
  const list = (names: readonly string[]): string => `[${names.map((name) => JSON.stringify(name)).join(', ')}]`;
  const nested = (names: readonly string[]): string => (names.length === 0 ? '' : ` in ${list(names)}`);
  const groups = [...schemaGroups(actions)].map(([group, own]) => `action ${JSON.stringify(group)}${nested(own)};`);
  const leaves = [...actions].map(
    ([action, { resources, groups: own }]) =>
      `action ${JSON.stringify(action)} in ${list(own.slice(0, 1))} appliesTo { principal: [User, App, Service, Unit], resource: [${resources.join(', ')}], context: RequestContext };`,
  );
  return `${[ENTITIES, ...groups.sort(), '', ...leaves.sort()].join('\n')}\n`;
}
