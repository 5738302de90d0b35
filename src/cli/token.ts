/** `quorate token`: access tokens, from their issue to their end; and `quorate whoami`. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Narrowing, TokenDescription, TokenInfo } from '../client/index.js';
import { openSource, readWhole, writeWhole } from './files.js';
import { act, parseCount, parseTime, type Session, timeText } from './session.js';
import { printTable } from './table.js';

const UID_MAX = 0xffff_fffe;
const collect = (value: string, all: string[] | undefined): string[] => [...(all ?? []), value];

function withBounds(command: Command): Command {
  return command
    .option('--life <duration>', 'how long it is valid: 30m, 1h, 7d', parseLife)
    .option('--not-before <time>', 'from then on: 2027-01-31T12:00:00Z, 12h, 7d', parseTime)
    .option('--action <action>', 'only this: encrypt, keys:use, keys:*; more than once for more', collect)
    .option('--key <pattern>', 'only this key: NAME or PREFIX/*; more than once for more', collect)
    .option('--uid <uid>', 'only when this user presents it', parseCount('--uid', 0, UID_MAX))
    .option('-o, --output <file>', 'else standard output; a file is for its owner alone (mode 600)');
}

export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('access tokens: a service shows one and is that principal');
  withBounds(token.command('create').description('issue an access token').argument('<principal>', 'service:NAME, user:NAME, app:NAME'))
    .addHelpText('after', '\nBounds come on top of policies: both must allow. With --domain it is good in that domain alone. Default life: 1h.')
    .action(act(createToken));
  token.command('ls').description('list access tokens').action(act(listTokens));
  token.command('revoke').description('end an access token and all that were narrowed from it, at once').argument('<id>', 'its id').action(act(revokeToken));
  withBounds(token.command('narrow').description('make a token that may do less of one, without the daemon').argument('[token-file]', 'the token; - or nothing: standard input'))
    .addHelpText('after', '\nThe given token stays valid; revoking it ends both.')
    .action(act(narrow));
  token.command('show').description('what a token says, without its secret').argument('<token-file>', '- for standard input').action(act(show));
  token.command('rotate-key').description('sign with a new key from now on; tokens that were issued stay valid').action(act(rotateKey));
  program.command('whoami').description('who this command is to the daemon').action(act(whoAmI));
}

/** `90s`, `30m`, `12h`, `7d`. Milliseconds. USAGE */
function parseLife(text: string): number {
  const m = /^(\d+)([smhd])$/.exec(text);
  const ms = m === null ? Number.NaN : Number(m[1]) * { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[m[2] as 's' | 'm' | 'h' | 'd'];
  if (!(ms >= 1000 && ms <= LIMITS.token_life_ms_max)) throw new QuorateError('USAGE', `${text} is no life: 90s, 30m, 12h, up to ${LIMITS.token_life_ms_max / 86_400_000}d`);
  return ms;
}

interface BoundOptions {
  life?: number;
  notBefore?: number;
  action?: string[];
  key?: string[];
  uid?: number;
  output?: string;
}

/** The token and a line end, for whoever reads it with a program or with their eyes. Wiped. */
async function writeToken(session: Session, text: Uint8Array, output: string | undefined, json: Record<string, unknown>, said: string): Promise<void> {
  const line = Buffer.concat([text, Buffer.from('\n')]);
  try {
    if (output === undefined && session.format === 'json') return await session.print('', { ...json, token: Buffer.from(text).toString() });
    await writeWhole(output, line, true);
    if (output !== undefined && output !== '-') await session.print(said, { ...json, output });
  } finally {
    line.fill(0);
    text.fill(0);
  }
}

const until = (ms: number): string => `valid until ${timeText(ms)}`;

async function createToken(session: Session, principal: string, options: BoundOptions): Promise<void> {
  const client = await session.client();
  const { life: lifeMs, notBefore: notBeforeMs, action: actions, key: keys, uid, output } = options;
  if (session.dryRun) return session.wouldDo(`issue an access token to ${principal}`, { principal });
  const { text, info } = await client.tokens.create(principal, { lifeMs, notBeforeMs, actions, keys, domain: session.domain, uid, ...session.change });
  await writeToken(session, text, output, { ...info }, `access token ${info.id} of ${principal}, ${until(info.expiresMs)}`);
}

function stateOf(token: TokenInfo): string {
  if (token.revokedMs > 0) return 'revoked';
  const now = Date.now();
  return now >= token.expiresMs ? 'ended' : now < token.notBeforeMs ? 'waiting' : 'valid';
}

type Bounds = { actions: readonly string[]; keys: readonly string[]; domain: string; uid?: number | null };

function boundsText(scope: Bounds | undefined): string {
  if (scope === undefined) return '-';
  const parts = [...scope.actions, ...scope.keys, ...(scope.domain === '' ? [] : [`domain ${scope.domain}`]), ...(scope.uid === undefined || scope.uid === null ? [] : [`uid ${scope.uid}`])];
  return parts.join(', ') || '-';
}

async function listTokens(session: Session): Promise<void> {
  const tokens: TokenInfo[] = [];
  for await (const token of (await session.client()).tokens.list()) tokens.push(token);
  tokens.sort((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
  await printTable(session, tokens, ['ID', 'PRINCIPAL', 'STATE', 'UNTIL', 'BOUNDS', 'BY'],
    (t) => [t.id, t.principal, stateOf(t), timeText(t.expiresMs), boundsText(t.scope), t.createdBy], 'no access tokens');
}

async function revokeToken(session: Session, id: string): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`revoke the access token ${id}`, { id });
  const info = await client.tokens.revoke(id, session.change);
  await session.print(`access token ${info.id} of ${info.principal} revoked; who acted under it no longer does`, info, info.id);
}

async function readToken(file: string | undefined): Promise<Buffer> {
  return readWhole(openSource(file), LIMITS.token_bytes_max + 64);
}

async function narrow(session: Session, file: string | undefined, options: BoundOptions): Promise<void> {
  const { describeToken, narrowToken } = await import('../client/index.js');
  const narrowing: Narrowing = {
    actions: options.action,
    keys: options.key,
    domain: session.domain,
    uid: options.uid,
    notBeforeMs: options.notBefore,
    expiresMs: options.life === undefined ? undefined : Date.now() + options.life,
  };
  if (Object.values(narrowing).every((bound) => bound === undefined)) throw new QuorateError('USAGE', 'say what it may do at most: --life, --not-before, --action, --key, --domain, --uid');
  const given = await readToken(file);
  try {
    const text = narrowToken(given, narrowing);
    const told = describeToken(text);
    await writeToken(session, text, options.output, { ...told }, `${told.principal}: ${boundsText(told.scope)}; ${until(told.expiresMs)}`);
  } finally {
    given.fill(0);
  }
}

function describe(token: TokenDescription): string {
  const lines: [string, string][] = [
    ['principal', token.principal],
    ['store', token.store],
    ['key', token.keyId],
    ['issued', timeText(token.issuedMs)],
    ['valid', `${timeText(token.notBeforeMs)} to ${timeText(token.expiresMs)}`],
    ['bounds', boundsText(token.scope)],
    ['narrowed', token.narrowings === 0 ? 'no' : `${token.narrowings} times`],
  ];
  return [token.id, ...lines.map(([k, v]) => `  ${k.padEnd(11)}${v}`)].join('\n');
}

async function show(session: Session, file: string): Promise<void> {
  const { describeToken } = await import('../client/index.js');
  const given = await readToken(file);
  try {
    const told = describeToken(given);
    await session.print(`${describe(told)}\n(as it says; only the daemon can tell whether it is accepted)`, told, told.id);
  } finally {
    given.fill(0);
  }
}

async function rotateKey(session: Session): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo('sign access tokens with a new key', {});
  const { keyId, previousEndsMs } = await client.tokens.rotateKey(session.change);
  const before = previousEndsMs === 0 ? '' : `; the last token of the key before ends ${timeText(previousEndsMs)}`;
  await session.print(`access tokens are signed by ${keyId}${before}`, { keyId, previousEndsMs }, keyId);
}

async function whoAmI(session: Session): Promise<void> {
  const me = await (await session.client()).access.whoAmI();
  const roles = me.roles.length === 0 ? '' : `: ${me.roles.join(', ')}`;
  const token = me.expiresMs === 0 ? '' : `, by an access token that is ${until(me.expiresMs)}`;
  await session.print(`${me.principal} in ${me.domain}${roles}${token}`, me, me.principal);
}
