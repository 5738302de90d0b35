/**
 * Random policies, principals, keys and requests, from a seed. Small pools of names, so that policies and requests meet. Reused by
 * test/campaigns/grants.ts.
 */
import { ACTION_GROUPS, ACTIONS } from '../../src/iam/actions.js';
import type { DecisionRequest, KeyFacts, Resource } from '../../src/iam/decision.js';
import { type RoleHeld, ROLES } from '../../src/iam/roles.js';
import { NOW_MS } from './requests.js';

/** mulberry32: small, seeded, good enough to choose with. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  some<T>(from: readonly T[], most: number): T[] {
    return Array.from({ length: 1 + this.below(most) }, () => this.pick(from));
  }
}

export const DOMAINS = ['default', 'payments'];
export const PRINCIPALS = ['user:alice', 'user:bob', 'uid:1000', 'uid:0', 'app:billing', 'app:shop', 'service:ci', 'unit:w@1.service'];
const ENTITIES: Record<string, string> = {
  'user:alice': 'User::"alice"', 'user:bob': 'User::"bob"', 'uid:1000': 'User::"uid:1000"', 'uid:0': 'User::"uid:0"',
  'app:billing': 'App::"billing"', 'app:shop': 'App::"shop"', 'service:ci': 'Service::"ci"', 'unit:w@1.service': 'Unit::"w@1.service"',
};
const FOLDERS = ['orders', 'orders/eu', 'orders/us', 'größe'];
const NAMES = ['a', 'b', 'orders', 'orders/a', 'orders/b', 'orders/eu/a', 'orders/eu/card', 'orders/us/card', 'größe/ß', 'ordersx'];
const STATES = ['new', 'preActive', 'active', 'deactivated', 'compromised'];
const TYPES = ['aes-256', 'ec-p256', 'hmac'];
export const ENVS = ['prod', 'test', 'dev'];
const DAY = 86_400_000;

const actions = [...ACTIONS.keys()];
const groups = [...ACTION_GROUPS.keys()];
const onKeys = actions.filter((a) => ACTIONS.get(a)!.resources.includes('Key'));

function principalClause(r: Random, domain: string): string {
  const who = ENTITIES[r.pick(PRINCIPALS)]!;
  const role = `Role::"${r.pick(['', '', `${domain === 'system' ? 'default' : domain}/`, '*/'])}${r.pick(ROLES)}"`;
  return r.pick(['principal', `principal == ${who}`, `principal == ${who}`, `principal == ${who}`, `principal in ${role}`, `principal in ${who}`, 'principal in Unit::"w@.service"', `principal is ${r.pick(['User', 'App', 'Service', 'Unit'])}`, `principal is ${r.pick(['User', 'App', 'Unit'])} in ${role}`]);
}

function actionClause(r: Random): string {
  const name = (): string => `Action::"${r.chance(0.5) ? r.pick(onKeys) : r.chance(0.5) ? r.pick(groups) : r.pick(actions)}"`;
  return r.pick(['action', 'action', `action == Action::"${r.pick(onKeys)}"`, `action in ${name()}`, `action in [${Array.from({ length: 1 + r.below(3) }, name).join(', ')}]`]);
}

function resourceClause(r: Random, domain: string): string {
  const of = domain === 'system' ? r.pick(DOMAINS) : domain;
  const noun = r.pick(['Key', 'Key', 'Key', 'Secret']);
  const group = `${noun}Group::"${of}/${r.pick(FOLDERS)}"`;
  const key = `${noun}::"${of}/${r.pick(NAMES)}"`;
  return r.pick(['resource', 'resource', `resource == ${key}`, `resource in ${key}`, `resource in ${group}`, `resource in ${group}`, `resource in Domain::"${of}"`, `resource is ${noun}`, `resource is ${noun} in ${group}`, `resource == Domain::"${of}"`, ...(domain === 'system' ? ['resource == Host::"host"'] : [])]);
}

/** Conditions that are about keys come with a test that it is one. */
function keyCondition(r: Random, domain: string): string {
  const of = domain === 'system' ? r.pick(DOMAINS) : domain;
  const env = r.pick(ENVS);
  return r.pick([
    `resource.state == "${r.pick(STATES)}"`,
    `["${r.pick(TYPES)}", "${r.pick(TYPES)}"].contains(resource.type)`,
    'resource.exportable',
    `resource.name like "*${r.pick(['card', 'a', 'ß', '/'])}*"`,
    `resource.hasTag("env") && resource.getTag("env") == "${env}"`,
    `!(resource.hasTag("env")) || resource.getTag("env") != "${env}"`,
    'resource.hasTag(resource.name)',
    `resource in KeyGroup::"${of}/${r.pick(FOLDERS)}"`,
    `resource == Key::"${of}/${r.pick(NAMES)}"`,
    `(if resource.exportable then resource.state == "active" else resource.domain == "${of}")`,
  ]);
}

const at = (r: Random): string => new Date(NOW_MS + (r.below(5) - 2) * DAY).toISOString();

function anyCondition(r: Random, domain: string): string {
  return r.pick([
    `context.uid < ${r.pick([1, 1000, 5000])}`,
    'context.token',
    `context has app && context.app == "${r.pick(['billing', 'shop'])}"`,
    `context has pid && context.pid > ${r.below(3)}`,
    `context.time < datetime("${at(r)}")`,
    `datetime("${at(r)}") <= context.time`,
    `context.time != datetime("${at(r)}")`,
    `context.time.toTime() > duration("${r.below(24)}h")`,
    `context.time.offset(duration("1d")) > datetime("${at(r)}")`,
    `principal in Role::"${r.pick(['', `${domain === 'system' ? 'default' : domain}/`])}${r.pick(ROLES)}"`,
    `[${ENTITIES[r.pick(PRINCIPALS)]}, ${ENTITIES[r.pick(PRINCIPALS)]}].contains(principal)`,
    `action in [Action::"keys:use", Action::"${r.pick(actions)}"]`,
    `{ a: context.uid, Var: "principal" } == { a: ${r.pick([0, 1000])}, Var: "principal" }`,
    // Overflows for some uids: such a policy cannot be evaluated.
    'context.uid * 9223372036854775 > 0',
  ]);
}

function condition(r: Random, domain: string): string {
  const one = (): string => (r.chance(0.5) ? `(resource is Key && ${keyCondition(r, domain)})` : `(${anyCondition(r, domain)})`);
  return r.pick([one(), one(), `${one()} && ${one()}`, `${one()} || ${one()}`, `!${one()}`]);
}

export function randomPolicy(r: Random, domain: string): string {
  const clauses = `${principalClause(r, domain)}, ${actionClause(r)}, ${resourceClause(r, domain)}`;
  const when = r.chance(0.5) ? '' : ` ${r.pick(['when', 'when', 'unless'])} { ${condition(r, domain)} }`;
  return `${r.chance(0.75) ? 'permit' : 'forbid'} (${clauses})${when};`;
}

/** One to three policies. */
export function randomDocument(r: Random, domain: string): string {
  return Array.from({ length: 1 + r.below(3) }, (_, i) => `// ${i}: a "comment"; with everything\n${randomPolicy(r, domain)}\n`).join('');
}

export function randomRoles(r: Random): RoleHeld[] {
  if (r.chance(0.5)) return [];
  return r.some(ROLES, 2).map((role) => ({ role, domain: r.pick(['', ...DOMAINS]) }));
}

export function randomKey(r: Random): KeyFacts {
  const labels: Record<string, string> = {};
  if (r.chance(0.6)) labels['env'] = r.pick(ENVS);
  if (r.chance(0.2)) labels[r.pick(NAMES)] = 'x';
  return { name: r.pick(NAMES), id: r.below(2 ** 30).toString(16).padStart(32, '0'), type: r.pick(TYPES), scheme: 'managed', state: r.pick(STATES), exportable: r.chance(0.5), labels };
}

function randomResource(r: Random, action: string): Resource {
  const type = r.pick(ACTIONS.get(action)!.resources);
  if (type === 'Host') return { kind: 'host' };
  if (type === 'Domain') return { kind: 'domain' };
  const key = randomKey(r);
  return type === 'Key' ? { kind: 'key', key } : { kind: 'secret', secret: { path: key.name, exists: key.state !== 'new', labels: key.labels } };
}

export function randomRequest(r: Random): DecisionRequest {
  const action = r.chance(0.7) ? r.pick(onKeys) : r.pick(actions);
  const context = {
    uid: r.pick([0, 1, 1000, 4000, 10_000]),
    gid: r.below(3),
    socket: r.pick(['/run/a', '/run/b']),
    token: r.chance(0.3),
    source: 'local',
    timeMs: NOW_MS + r.pick([0, 1, -1, DAY, DAY + 1, -DAY, r.below(5 * DAY) - 2 * DAY]),
    ...(r.chance(0.5) ? { pid: r.below(4) } : {}),
    ...(r.chance(0.5) ? { app: r.pick(['billing', 'shop']) } : {}),
  };
  return { domain: r.pick(DOMAINS), principal: r.pick(PRINCIPALS), roles: randomRoles(r), action, resource: randomResource(r, action), context };
}
