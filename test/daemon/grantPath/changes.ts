/** What an administrator may change while applications work: each change is made in the daemon, and then in the model. */
import { QuorateError } from '../../../src/base/errors.js';
import { DOMAINS, ENVS, PRINCIPALS, type Random, randomDocument, randomRoles } from '../../iam/random.js';
import { type ModelKey, SECOND_MS } from './model.js';
import { KEYS, type Scene } from './scene.js';

export interface Change {
  readonly title: string;
  /** Its model half, to be done once it is known what was answered before. Rejects when the daemon refuses the change. */
  make(): Promise<() => void>;
}

const DOCUMENTS = 5;
const BAN = 'ban';
const BANNED = 'forbid (principal, action, resource);\n';

const CONNECTION = [
  'context.socket like "*/apps/shop.sock"', 'context.socket like "*/q.sock"', 'context.uid == 1000', 'context.uid > 0', 'context.token', '!context.token',
  'context.source == "local"', 'context.source == "remote"', 'context.gid == 0', 'context has app', 'context has pid && context.pid > 1',
  // Any moment: settled() has the real one.
  'context.time < datetime("2026-01-01")', 'context.time < datetime("2026-01-01")', 'datetime("2026-01-01") <= context.time', 'context.time.toTime() > duration("1h")',
];
const USES = ['keys:use', 'keys:use', 'keys:use', 'keys:use', 'keys:*', 'keys:encrypt', 'keys:decrypt', 'keys:wrap', 'keys:mac', 'keys:export', 'crypto:random'];

/** About what a connection is: some of it stays as it is for a connection's life, some does not. */
function connectionPolicy(r: Random): string {
  const effect = r.chance(0.8) ? 'permit' : 'forbid';
  return `${effect} (principal, action in Action::"${r.pick(USES)}", resource) ${r.pick(['when', 'when', 'unless'])} { ${r.pick(CONNECTION)} };\n`;
}

/** Whole seconds around now, in the place of those of the generator; and whoever makes the changes is kept out of all of it. */
function settled(r: Random, text: string): string {
  const nowMs = Math.ceil(Date.now() / SECOND_MS) * SECOND_MS;
  return text
    // The generator's forbids would leave little that is allowed, and a grant is what can be out of date.
    .replace(/^forbid /gm, (effect) => (text !== BANNED && r.chance(0.6) ? 'permit ' : effect))
    .replace(/datetime\("[^"]*"\)/g, () => `datetime("${new Date(nowMs + (r.below(5) - 1) * SECOND_MS).toISOString()}")`)
    .replace(/^(?:permit|forbid) \([^)]*\)/gm, '$& unless { principal == Service::"warden" }');
}

function policyChange(r: Random, { model }: Scene, warden: Scene['warden']): Change {
  const domain = r.pick(DOMAINS);
  const texts = model.texts.get(domain)!;
  // A ban ends what was allowed until now, for whoever is asking meanwhile; it does not stay.
  const name = texts.has(BAN) || r.chance(0.4) ? BAN : `p${r.below(DOCUMENTS)}`;
  if (texts.has(name) && (name === BAN || r.chance(0.35))) {
    return {
      title: `policy ${name} of ${domain} removed: ${texts.get(name)!}`,
      make: async () => {
        await warden(domain).access.removePolicy(name);
        return () => { texts.delete(name); model.policiesChanged(); };
      },
    };
  }
  const text = settled(r, name === BAN ? BANNED : r.chance(0.5) ? connectionPolicy(r) : randomDocument(r, domain));
  return {
    title: `policy ${name} of ${domain}: ${text}`,
    make: async () => {
      await warden(domain).access.putPolicy(name, text);
      return () => { texts.set(name, text); model.policiesChanged(); };
    },
  };
}

function labelChange(r: Random, key: ModelKey, warden: Scene['warden']): Change {
  const env = r.pick(ENVS);
  const isRemoval = r.chance(0.3);
  return {
    title: `${key.domain}: ${key.name} ${isRemoval ? 'loses its label env' : `is labelled env=${env}`}`,
    make: async () => {
      await warden(key.domain).keys.update(key.id, isRemoval ? { removeLabels: ['env'] } : { setLabels: { env } });
      return () => { key.labels = isRemoval ? {} : { env }; };
    },
  };
}

function stateChange(r: Random, key: ModelKey, scene: Scene): Change {
  const { keys } = scene.warden(key.domain);
  const named = (what: string, ask: () => Promise<unknown>, then: () => void): Change => ({ title: `${key.domain}: ${key.name} ${what}`, make: async () => { await ask(); return then; } });
  if (key.pending) return named('is not to be destroyed', () => keys.undelete(key.id), () => { key.pending = false; });
  if (key.state === 'preActive') return named('activated', async () => { await keys.activate(key.id); await scene.fill(key); }, () => { key.state = 'active'; });
  const atMs = Math.ceil(Date.now() / SECOND_MS) * SECOND_MS + SECOND_MS;
  const settle = (): void => { key.state = scene.model.stateAt({ ...key, pending: false }, Date.now()); };
  return r.pick([
    () => named('is to be destroyed', () => keys.destroy(key.id), () => { settle(); key.pending = true; }),
    () => named('is to be destroyed', () => keys.destroy(key.id), () => { settle(); key.pending = true; }),
    () => named('deactivated', () => keys.deactivate(key.id), () => { key.state = 'deactivated'; }),
    () => named(`is deactivated at ${atMs}`, () => keys.deactivate(key.id, { atMs }), () => { key.deactivatesMs = atMs; }),
    () => named('compromised', () => keys.compromise(key.id), () => { key.state = 'compromised'; }),
  ])();
}

/** Keys of this name were renamed so often; a name is free for a while, then another key has it. */
let retired = 0;

function nameChange(r: Random, scene: Scene): Change {
  const { model } = scene;
  const domain = r.pick(DOMAINS);
  const free = KEYS.filter(([name]) => model.find(domain, name) === undefined);
  const row = free.length > 0 && r.chance(0.7) ? r.pick(free) : r.pick(KEYS);
  const key = model.find(domain, row[0]);
  if (key === undefined) {
    const more = { exportable: r.chance(0.5), preActive: r.chance(0.2), labels: r.chance(0.6) ? { env: r.pick(ENVS) } : ({} as Record<string, string>) };
    return {
      title: `${domain}: a new ${row[0]}, ${JSON.stringify(more)}`,
      make: async () => {
        const made = await scene.createKey(domain, row, more);
        return () => { model.keys.push(made); };
      },
    };
  }
  const newName = `${r.pick(['', 'orders/', 'retired/'])}old-${retired++}`;
  return {
    title: `${domain}: ${key.name} renamed to ${newName}`,
    make: async () => {
      await scene.warden(domain).keys.rename(key.id, newName);
      return () => { key.name = newName; };
    },
  };
}

function peopleChange(r: Random, { model }: Scene, warden: Scene['warden']): Change {
  const { access } = warden('default');
  if (r.chance(0.4)) {
    const mapping = `uid:${r.pick([process.getuid!(), 1000, 4000])}`;
    const holder = model.mappings.get(mapping);
    const ref = holder ?? r.pick(['user:alice', 'user:bob']);
    return {
      title: `${mapping} ${holder === undefined ? 'becomes' : 'is no longer'} ${ref}`,
      make: async () => {
        await access.putPrincipal(ref, holder === undefined ? { addMappings: [mapping] } : { removeMappings: [mapping] });
        return () => { if (holder === undefined) model.mappings.set(mapping, ref); else model.mappings.delete(mapping); };
      },
    };
  }
  const ref = r.pick(PRINCIPALS);
  const roles = randomRoles(r).filter((one, i, all) => all.findIndex((o) => o.role === one.role && o.domain === one.domain) === i);
  const had = (model.roles.get(ref) ?? []).filter((o) => !roles.some((n) => n.role === o.role && n.domain === o.domain));
  return {
    title: `${ref} is ${JSON.stringify(roles)}`,
    make: async () => {
      await access.putPrincipal(ref, { addRoles: roles, removeRoles: had.map((o) => ({ ...o })) });
      return () => { model.roles.set(ref, roles); };
    },
  };
}

/** Changes of one round are thought out on the model as it was when the round began: policies alone may meet, and then one is refused or replaces the other. */
export const KINDS = ['policy', 'policy', 'policy', 'key', 'name', 'people'] as const;
export type Kind = (typeof KINDS)[number];

export function randomChange(r: Random, scene: Scene, kind: Kind): Change {
  const warden = (domain: string): ReturnType<Scene['warden']> => scene.warden(domain);
  const named = scene.model.keys.filter((key) => KEYS.some(([name]) => name === key.name));
  if (kind === 'key' && named.length > 0) return r.chance(0.5) ? labelChange(r, r.pick(named), warden) : stateChange(r, r.pick(named), scene);
  if (kind === 'name') return nameChange(r, scene);
  if (kind === 'people') return peopleChange(r, scene, warden);
  return policyChange(r, scene, warden);
}

/** Refusals that a random change may meet; anything else is a fault of the campaign. */
export function isRefusal(error: unknown): error is QuorateError {
  return error instanceof QuorateError && ['POLICY_INVALID', 'POLICY_NOT_FOUND', 'KEY_STATE_DENIED', 'PRINCIPAL_INVALID', 'BAD_REQUEST'].includes(error.code);
}
