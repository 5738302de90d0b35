/** `quorate inventory`: every key and version of a domain, with state, age, last use, owner and what opens it. */
import { type Command, Option } from 'commander';
import { LIMITS } from '../base/limits.js';
import type { InventoryPage, QuorateClient } from '../client/index.js';
import { KEY_STATES, type KeyStateName } from '../protocol/names.js';
import { csvLine } from './csv.js';
import { PagedList } from './pagedlist.js';
import { act, type Session, timeText, writeOut } from './session.js';
import { ageText } from './table.js';

type Item = InventoryPage['keys'][number];

const DAY_MS = 86_400_000;
const BUILT_IN = 'built-in/';
const NAMED = 3;
/** What a row is of; others will have rows of their own. */
const KIND = 'key';

export function addInventory(program: Command): void {
  program.command('inventory').description('every key and version of a domain: state, age, last use, owner, what opens it')
    .addOption(new Option('--state <state>', 'only keys in this state').choices(Object.keys(KEY_STATES)))
    .addHelpText('after', '\nAlso --format csv: a line for each version, RFC 4180. Last use is told by the audit log of the host that is asked, since the time that is said.')
    .action(act(inventory, ['csv']));
}

async function* pages(client: QuorateClient, state: KeyStateName | undefined): AsyncGenerator<InventoryPage> {
  let pageToken = '';
  do {
    const page = await client.keys.inventoryPage({ state, pageToken, pageSize: LIMITS.page_size_max });
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

async function inventory(session: Session, options: { state?: KeyStateName }): Promise<void> {
  const all = pages(await session.client(), options.state);
  if (session.materialFormat === 'csv') return printCsv(all);
  if (session.format === 'json') return printJson(all);
  await printText(session, all);
}

/** One object for each version of a key, as all forms tell it. */
function versionsOf({ key, uses }: Item) {
  const used = new Map(uses.map(({ version, lastMs }) => [version, lastMs]));
  return key.versions.map((version) => ({ ...version, lastUsedMs: used.get(version.version) ?? 0 }));
}

const timeOrNone = (ms: number): string => (ms === 0 ? '' : timeText(ms));

const CSV_COLUMNS = [
  'kind', 'domain', 'id', 'name', 'type', 'scheme', 'state', 'version', 'version_state', 'imported', 'created', 'age_days', 'revoked', 'destroys', 'last_used', 'used_since', 'owner', 'exportable', 'opened_by', 'opened_by_more',
];

async function printCsv(all: AsyncGenerator<InventoryPage>): Promise<void> {
  await writeOut(csvLine(CSV_COLUMNS));
  for await (const { keys, usesSinceMs, nowMs } of all) {
    const lines = keys.flatMap((item) => versionsOf(item).map((v) => {
      const { key, owner, policies, policiesMore } = item;
      return csvLine([
        KIND, key.domain, key.id, key.name, key.type, key.scheme, key.state, String(v.version), v.state, String(v.imported), timeText(v.createdMs), String(Math.floor(Math.max(0, nowMs - v.createdMs) / DAY_MS)), timeOrNone(v.revokedMs),
        timeOrNone(key.destroysMs), timeOrNone(v.lastUsedMs), timeOrNone(usesSinceMs), owner, String(key.exportable), policies.map(policyText).join(' '), String(policiesMore),
      ]);
    }));
    await writeOut(lines.join(''));
  }
}

/** `{"keys": [...], "usedSince": ..., "revisions": [first, last]}`; written while it comes. */
async function printJson(all: AsyncGenerator<InventoryPage>): Promise<void> {
  let first: InventoryPage | null = null;
  let last: InventoryPage | null = null;
  let count = 0;
  await writeOut('{\n  "keys": [');
  for await (const page of all) {
    first ??= page;
    last = page;
    for (const item of page.keys) {
      const { key, owner, policies, policiesMore } = item;
      const json = { kind: KIND, ...key, versions: versionsOf(item), owner, openedBy: policies, openedByMore: policiesMore };
      await writeOut(`${count++ === 0 ? '' : ','}\n${JSON.stringify(json, null, 2).replace(/^/gm, '    ')}`);
    }
  }
  const tail = { usedSinceMs: last?.usesSinceMs ?? 0, revisions: [first?.revision ?? 0, last?.revision ?? 0], timeMs: first?.nowMs ?? 0 };
  await writeOut(`${count === 0 ? '' : '\n  '}],\n${JSON.stringify(tail, null, 2).slice(2)}\n`);
}

const policyText = ({ name, conditional }: Item['policies'][number]): string => (conditional ? `${name}?` : name);

/** The roles that open every key of their domains are said once, below. */
function openersText({ policies, policiesMore }: Item): string {
  const stored = policies.filter(({ name }) => !name.startsWith(BUILT_IN));
  const more = stored.length - NAMED + policiesMore;
  return stored.length === 0 ? '-' : stored.slice(0, NAMED).map(policyText).join(', ') + (more > 0 ? `, and ${more} more` : '');
}

async function printText(session: Session, all: AsyncGenerator<InventoryPage>): Promise<void> {
  let nowMs = 0;
  let known: InventoryPage | null = null;
  let [keys, versions] = [0, 0];
  const roles = new Set<string>();
  const agoText = (ms: number): string => (ms === 0 ? '-' : `${ageText(Math.max(0, nowMs - ms))} ago`);
  const list = new PagedList<Item>(session.format, {
    columns: ['NAME', 'VERSION', 'TYPE', 'STATE', 'AGE', 'LAST USE', 'OWNER', 'OPENED BY'],
    rows: (item) => versionsOf(item).map((v) => [
      item.key.name, String(v.version), item.key.type, v.version === item.key.version || v.state === item.key.state ? item.key.state : v.state, ageText(Math.max(0, nowMs - v.createdMs)), agoText(v.lastUsedMs), item.owner || '-', openersText(item),
    ]),
    name: ({ key }) => key.name, json: ({ key }) => key, none: 'no keys',
  });
  for await (const page of all) {
    known = page;
    nowMs = page.nowMs;
    keys += page.keys.length;
    for (const item of page.keys) {
      versions += item.key.versions.length;
      for (const { name } of item.policies) if (name.startsWith(BUILT_IN)) roles.add(name.slice(BUILT_IN.length));
    }
    // Pages come by id; the first one has everything for most people.
    await list.page([...page.keys].sort((a, b) => (a.key.name < b.key.name ? -1 : 1)));
  }
  await list.end();
  if (session.format !== 'text' || known === null || keys === 0) return;
  const since = known.usesSinceMs === 0 ? 'uses are not known: the audit log tells none' : `uses since ${timeText(known.usesSinceMs)}, by the audit log of this host`;
  const also = roles.size === 0 ? '' : `; whoever is ${[...roles].sort().join(' or ')} opens them too`;
  await writeOut(`${keys} keys, ${versions} versions; ${since}${also}\n`);
}
