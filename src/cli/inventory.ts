/** `quorate inventory`: every key and every secret of a domain with its versions: state, age, last use, owner and what opens it. */
import { type Command, Option } from 'commander';
import { LIMITS } from '../base/limits.js';
import type { InventoryKeyInfo, InventorySecretInfo, QuorateClient } from '../client/index.js';
import { KEY_STATES, type KeyStateName } from '../protocol/names.js';
import { csvLine } from './csv.js';
import { PagedList } from './pagedlist.js';
import { act, type Session, timeText, writeOut } from './session.js';
import { ageText } from './table.js';

const DAY_MS = 86_400_000;
const BUILT_IN = 'built-in/';
const NAMED = 3;
const KINDS = ['key', 'secret'] as const;
type Kind = (typeof KINDS)[number];

interface Version {
  readonly version: number;
  readonly state: string;
  readonly createdMs: number;
  readonly lastUsedMs: number;
  /** KMIP 2.1, 11.38. */
  readonly objectType: 'SymmetricKey' | 'PrivateKey' | 'PublicKey' | 'SecretData';
  readonly imported: boolean | null;
  readonly revokedMs: number;
  readonly destroysMs: number;
  /** Of a secret's value. */
  readonly bytes: number | null;
}

/** A key or a secret, as all forms tell it. */
interface Item {
  readonly kind: Kind;
  readonly domain: string;
  readonly id: string;
  readonly name: string;
  /** '' of secrets. */
  readonly type: string;
  readonly scheme: string;
  /** Of a secret: that of its current version. */
  readonly state: string;
  readonly currentVersion: number;
  readonly versions: readonly Version[];
  readonly exportable: boolean;
  readonly owner: string;
  readonly policies: InventoryKeyInfo['policies'];
  readonly policiesMore: number;
  readonly json: object;
}

interface Page {
  readonly items: readonly Item[];
  readonly usesSinceMs: number;
  readonly revision: number;
  readonly nowMs: number;
}

interface Wanted { state?: string; kind?: Kind }

export function addInventory(program: Command): void {
  program.command('inventory').description('every key, every secret and their versions: state, age, last use, owner, what opens it')
    .addOption(new Option('--kind <kind>', 'only keys, or only secrets').choices(KINDS))
    .addOption(new Option('--state <state>', 'only those in this state; a secret has that of its current version').choices([...Object.keys(KEY_STATES), 'deleted']))
    .addHelpText('after', '\nAlso --format csv: a line for each version, RFC 4180. Last use is told by the audit log of the host that is asked, since the time that is said.')
    .action(act(inventory, ['csv']));
}

const usesOf = (uses: InventoryKeyInfo['uses']): ReadonlyMap<number, number> => new Map(uses.map(({ version, lastMs }) => [version, lastMs]));

function keyItem({ key, owner, uses, policies, policiesMore }: InventoryKeyInfo): Item {
  const used = usesOf(uses);
  const symmetric = key.type.startsWith('aes-') || key.type === 'hmac';
  const versions = key.versions.map((v): Version => ({
    ...v, lastUsedMs: used.get(v.version) ?? 0, destroysMs: key.destroysMs, bytes: null, objectType: symmetric ? 'SymmetricKey' : v.publicOnly ? 'PublicKey' : 'PrivateKey',
  }));
  const { domain, id, name, type, scheme, state, exportable } = key;
  const json = { kind: 'key', ...key, versions: key.versions.map((v, i) => ({ ...v, lastUsedMs: versions[i]!.lastUsedMs, objectType: versions[i]!.objectType })), owner, openedBy: policies, openedByMore: policiesMore };
  return { kind: 'key', domain, id, name, type, scheme, state, currentVersion: key.version, versions, exportable, owner, policies, policiesMore, json };
}

function secretItem({ secret, id, owner, uses, policies, policiesMore }: InventorySecretInfo): Item {
  const used = usesOf(uses);
  const versions = secret.versions.map((v): Version => ({
    version: v.version, state: v.state === 'deleted' && v.destroysMs === 0 ? 'destroyed' : v.state, createdMs: v.createdMs, lastUsedMs: used.get(v.version) ?? 0, objectType: 'SecretData', imported: null, revokedMs: 0,
    destroysMs: v.destroysMs, bytes: v.bytes,
  }));
  const state = versions.at(-1)?.state ?? 'destroyed';
  const { path, ...rest } = secret;
  const json = { kind: 'secret', id, name: path, state, ...rest, versions: secret.versions.map((v, i) => ({ ...v, state: versions[i]!.state, lastUsedMs: versions[i]!.lastUsedMs, objectType: 'SecretData' })), owner, openedBy: policies, openedByMore: policiesMore };
  return { kind: 'secret', domain: secret.domain, id, name: path, type: '', scheme: '', state, currentVersion: secret.version, versions, exportable: true, owner, policies, policiesMore, json };
}

async function* keyPages(client: QuorateClient, state: string | undefined): AsyncGenerator<Page> {
  let pageToken = '';
  do {
    const page = await client.keys.inventoryPage({ state: state as KeyStateName | undefined, pageToken, pageSize: LIMITS.page_size_max });
    yield { ...page, items: page.keys.map(keyItem) };
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

async function* secretPages(client: QuorateClient, state: string | undefined): AsyncGenerator<Page> {
  let pageToken = '';
  do {
    const page = await client.secrets.inventoryPage({ pageToken, pageSize: LIMITS.page_size_max });
    yield { ...page, items: page.secrets.map(secretItem).filter((item) => state === undefined || item.state === state) };
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

/** Keys by id, then secrets by path. */
async function* pages(client: QuorateClient, { state, kind }: Wanted): AsyncGenerator<Page> {
  if (kind !== 'secret' && state !== 'deleted') yield* keyPages(client, state);
  if (kind !== 'key') yield* secretPages(client, state);
}

async function inventory(session: Session, wanted: Wanted): Promise<void> {
  const all = pages(await session.client(), wanted);
  if (session.materialFormat === 'csv') return printCsv(all);
  if (session.format === 'json') return printJson(all);
  await printText(session, all);
}

const timeOrNone = (ms: number): string => (ms === 0 ? '' : timeText(ms));

/** New ones come at the end: programs count them. */
const CSV_COLUMNS = [
  'kind', 'domain', 'id', 'name', 'type', 'scheme', 'state', 'version', 'version_state', 'imported', 'created', 'age_days', 'revoked', 'destroys', 'last_used', 'used_since', 'owner', 'exportable', 'opened_by', 'opened_by_more', 'object_type', 'bytes',
];

async function printCsv(all: AsyncGenerator<Page>): Promise<void> {
  await writeOut(csvLine(CSV_COLUMNS));
  for await (const { items, usesSinceMs, nowMs } of all) {
    const lines = items.flatMap((item) => item.versions.map((v) => csvLine([
      item.kind, item.domain, item.id, item.name, item.type, item.scheme, item.state, String(v.version), v.state, String(v.imported ?? ''), timeText(v.createdMs), String(Math.floor(Math.max(0, nowMs - v.createdMs) / DAY_MS)), timeOrNone(v.revokedMs),
      timeOrNone(v.destroysMs), timeOrNone(v.lastUsedMs), timeOrNone(usesSinceMs), item.owner, String(item.exportable), item.policies.map(policyText).join(' '), String(item.policiesMore), v.objectType, String(v.bytes ?? ''),
    ])));
    await writeOut(lines.join(''));
  }
}

/** `{"keys": [...], "secrets": [...], "usedSinceMs": ..., "revisions": [first, last]}`; written while it comes. */
async function printJson(all: AsyncGenerator<Page>): Promise<void> {
  let first: Page | null = null;
  let last: Page | null = null;
  let count = 0;
  let list: Kind = 'key';
  const endList = (): string => (count === 0 ? '],\n' : '\n  ],\n');
  await writeOut('{\n  "keys": [');
  for await (const page of all) {
    first ??= page;
    last = page;
    for (const { kind, json } of page.items) {
      if (kind !== list) {
        await writeOut(`${endList()}  "secrets": [`);
        [list, count] = [kind, 0];
      }
      await writeOut(`${count++ === 0 ? '' : ','}\n${JSON.stringify(json, null, 2).replace(/^/gm, '    ')}`);
    }
  }
  const tail = { ...(list === 'key' ? { secrets: [] } : {}), usedSinceMs: last?.usesSinceMs ?? 0, revisions: [first?.revision ?? 0, last?.revision ?? 0], timeMs: first?.nowMs ?? 0 };
  await writeOut(`${endList()}${JSON.stringify(tail, null, 2).slice(2)}\n`);
}

const policyText = ({ name, conditional }: Item['policies'][number]): string => (conditional ? `${name}?` : name);

/** The roles that open everything of their domains are said once, below. */
function openersText({ policies, policiesMore }: Item): string {
  const stored = policies.filter(({ name }) => !name.startsWith(BUILT_IN));
  const more = stored.length - NAMED + policiesMore;
  return stored.length === 0 ? '-' : stored.slice(0, NAMED).map(policyText).join(', ') + (more > 0 ? `, and ${more} more` : '');
}

async function printText(session: Session, all: AsyncGenerator<Page>): Promise<void> {
  let nowMs = 0;
  let known: Page | null = null;
  const counts = { key: 0, secret: 0, versions: 0 };
  const roles = { key: new Set<string>(), secret: new Set<string>() };
  const agoText = (ms: number): string => (ms === 0 ? '-' : `${ageText(Math.max(0, nowMs - ms))} ago`);
  const list = new PagedList<Item>(session.format, {
    columns: ['NAME', 'VERSION', 'TYPE', 'STATE', 'AGE', 'LAST USE', 'OWNER', 'OPENED BY'],
    rows: (item) => item.versions.map((v) => {
      const isKeys = item.kind === 'key' && (v.version === item.currentVersion || v.state === item.state);
      return [item.name, String(v.version), item.kind === 'secret' ? 'secret' : item.type, isKeys ? item.state : v.state, ageText(Math.max(0, nowMs - v.createdMs)), agoText(v.lastUsedMs), item.owner || '-', openersText(item)];
    }),
    name: ({ name }) => name, json: ({ json }) => json, none: 'no keys and no secrets',
  });
  for await (const page of all) {
    known = page;
    nowMs = page.nowMs;
    for (const item of page.items) {
      counts[item.kind]++;
      counts.versions += item.versions.length;
      for (const { name } of item.policies) if (name.startsWith(BUILT_IN)) roles[item.kind].add(name.slice(BUILT_IN.length));
    }
    // Pages come by id; the first one has everything for most people.
    await list.page([...page.items].sort((a, b) => (a.name < b.name ? -1 : 1)));
  }
  await list.end();
  if (session.format !== 'text' || known === null || counts.versions === 0) return;
  const since = known.usesSinceMs === 0 ? 'uses are not known: the audit log tells none' : `uses since ${timeText(known.usesSinceMs)}, by the audit log of this host`;
  const also = KINDS.filter((kind) => roles[kind].size > 0).map((kind) => `; whoever is ${[...roles[kind]].sort().join(' or ')} opens the ${kind}s too`).join('');
  await writeOut(`${counts.key} keys, ${counts.secret} secrets, ${counts.versions} versions; ${since}${also}\n`);
}
