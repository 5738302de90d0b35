/** `quorate key`: making keys and looking at them. */
import { type Command, Option } from 'commander';
import { LIMITS } from '../base/limits.js';
import type { KeyInfo } from '../client/index.js';
import { KEY_STATES, KEY_TYPES, type KeyStateName, type KeyTypeName } from '../protocol/names.js';
import { type AttributeOptions, attributesOf, refuseExisting, withAttributes } from './attributes.js';
import { addKeyLifeCommands } from './keylife.js';
import { addKeyMaterialCommands } from './keymaterial.js';
import { ENDED, printChange, scheduleText } from './keytext.js';
import { PagedList } from './pagedlist.js';
import { act, parseCount, parseTime, type Session, timeText } from './session.js';

export function addKeyCommands(program: Command): void {
  const key = program.command('key').description('make keys, look at them, and lead them through their life');
  addCreate(key);
  key.command('ls').description('list keys')
    .argument('[prefix]', 'only names that begin so')
    .addOption(new Option('--state <state>', 'only keys in this state').choices(Object.keys(KEY_STATES)))
    .addOption(new Option('--type <type>', 'only keys of this type').choices(Object.keys(KEY_TYPES)))
    .option('--limit <n>', 'at most so many', parseCount('--limit', 1, 1_000_000))
    .action(act(list));
  key.command('get').description('one key and its versions')
    .argument('<key>', 'name or id')
    .action(act(get));
  addKeyLifeCommands(key);
  addKeyMaterialCommands(key);
}

function addCreate(key: Command): void {
  withAttributes(key.command('create').description('make a key; its material is made in the daemon and stays there').argument('<name>', 'its name'))
    .option('--length <bytes>', 'hmac: bytes of material, default 32', parseCount('--length', LIMITS.hmac_key_bytes_min, LIMITS.hmac_key_bytes_max))
    .option('--activates <time>', 'activate it then: 2027-01-31T12:00:00Z, 12h, 7d', parseTime)
    .option('--deactivates <time>', 'deactivate it then', parseTime)
    .action(act(create));
}

async function create(session: Session, name: string, options: AttributeOptions & { length?: number; activates?: number; deactivates?: number }): Promise<void> {
  const client = await session.client();
  if (session.dryRun) {
    await refuseExisting(session, name);
    return session.wouldDo(`create ${name}, ${options.type}`, { name, type: options.type });
  }
  const { length, activates: activatesMs, deactivates: deactivatesMs } = options;
  await printChange(session, await client.keys.create(name, { ...attributesOf(options), length, activatesMs, deactivatesMs, ...session.change }));
}

const COLUMNS = ['NAME', 'TYPE', 'SCHEME', 'STATE', 'VERSION', 'CREATED', 'LABELS'] as const;

function rowOf(key: KeyInfo): string[] {
  const labels = Object.entries(key.labels).map(([k, v]) => `${k}=${v}`).join(',');
  return [key.name, key.type, key.scheme, key.state + (key.destroysMs > 0 && !ENDED.includes(key.state) ? '*' : ''), String(key.version), timeText(key.createdMs), labels];
}

async function list(session: Session, prefix: string | undefined, options: { state?: KeyStateName; type?: KeyTypeName; limit?: number }): Promise<void> {
  const client = await session.client();
  const printer = new PagedList<KeyInfo>(session.format, { columns: COLUMNS, rows: (key) => [rowOf(key)], name: ({ name }) => name, json: (key) => key, none: 'no keys' });
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let pageToken = '';
  do {
    const pageSize = Math.min(left, LIMITS.page_size_max);
    const page = await client.keys.listPage({ prefix, state: options.state, type: options.type, pageToken, pageSize });
    const keys = page.keys.slice(0, left);
    await printer.page(keys);
    left -= keys.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && left > 0);
  await printer.end();
}

async function get(session: Session, ref: string): Promise<void> {
  const key = await (await session.client()).keys.get(ref);
  const labels = Object.entries(key.labels).map(([k, v]) => `${k}=${v}`).join(', ');
  const lines: [string, string][] = [
    ['id', key.id],
    ['type', key.type],
    ['scheme', key.scheme],
    ['state', key.state + (key.state === 'deactivated' && key.reason !== null ? ` (${key.reason})` : '') + scheduleText(key)],
    ['version', String(key.version)],
    ['created', timeText(key.createdMs)],
    ['exportable', key.exportable ? 'yes, wrapped' : 'no'],
    ...(key.uses === undefined ? [] : [['uses', key.uses.join(', ') || 'none'], ['sensitive', key.sensitive === true ? 'yes' : 'no']] as [string, string][]),
    ...(labels === '' ? [] : [['labels', labels] as [string, string]]),
    ...key.versions.map((v): [string, string] => [`v${v.version}`, `${v.state}, ${v.imported ? 'imported' : 'made'} ${timeText(v.createdMs)}${v.revokedMs > 0 ? `, revoked ${timeText(v.revokedMs)}` : ''}`]),
  ];
  await session.print([key.name, ...lines.map(([k, v]) => `  ${k.padEnd(11)}${v}`)].join('\n'), key, key.name);
}
