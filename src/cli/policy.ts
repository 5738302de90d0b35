/** `quorate allow`, `deny`, `can-i`, `policy`: what principals may do. */
import path from 'node:path';
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Expectation } from '../client/index.js';
import { Answered } from './failure.js';
import { openSource, readWhole } from './files.js';
import { act, type Session, writeOut } from './session.js';
import { printTable } from './table.js';

const EXPECTATIONS_BYTES_MAX = 1024 * 1024;
/** can-i: no. */
const EXIT_NO = 1;

export function addPolicyCommands(program: Command): void {
  const three = (command: Command): Command => command
    .argument('<principal>', 'user:NAME, uid:N, app:NAME, service:NAME or unit:NAME')
    .argument('<action>', 'encrypt, decrypt, sign ..., or a group: use, read, manage')
    .argument('<key>', 'a name, prefix/* or *');
  three(program.command('allow').description('let a principal do something with a key')).action(act(allow));
  three(program.command('deny').description('forbid it; a denial is stronger than any permission')).action(act(deny));
  program.command('can-i').description('whether the caller may do something, and which policy says so; exit 1 for no')
    .argument('<action>', 'encrypt, keys:create ...')
    .argument('[key]', 'a name; left out for actions without a key', '')
    .option('--as <principal>', 'another principal')
    .action(act(canI));

  const policy = program.command('policy').description('policies in Cedar');
  policy.command('put').description('store a policy; an invalid one changes nothing').argument('<name>').argument('[file]', 'else standard input').action(act(put));
  policy.command('get').description('a policy\'s text').argument('<name>').action(act(get));
  policy.command('ls').description('list policies').option('--principal <principal>', 'only those that name it').option('--built-in', 'those that every domain has').action(act(list));
  policy.command('rm').description('remove a policy').argument('<name>').action(act(remove));
  policy.command('test').description('try a policy against expected decisions before it is stored; exit 1 when one differs')
    .argument('<file>', 'JSON: { "policy": "file.cedar" or "text", "name", "expect": [ { "principal", "action", "key", "allowed" } ] }')
    .option('--policy <file>', 'the policy\'s text')
    .option('--name <name>', 'the stored policy that it would replace')
    .action(act(test));
}

const decide = (deny: boolean) => async (session: Session, principal: string, action: string, key: string): Promise<void> => {
  const client = await session.client();
  const verb = deny ? 'deny' : 'allow';
  if (session.dryRun) return session.wouldDo(`${verb} ${principal} ${action} ${key}`, { principal, action, key });
  const { policy, removed } = await client.access[verb](principal, action, key, session.change);
  const gone = removed.length === 0 ? '' : `; removed ${removed.join(', ')}`;
  await session.print(`${principal} may ${deny ? 'not ' : ''}${action} ${key} (policy ${policy.name}${gone})`, { policy, removed }, policy.name);
};
const allow = decide(false);
const deny = decide(true);

async function canI(session: Session, action: string, key: string, options: { as?: string }): Promise<void> {
  const answer = await (await session.client()).access.canI(action, key, options.as);
  const why = answer.reason !== '' ? answer.reason : answer.determining.join(', ');
  await session.print(`${answer.allowed ? 'yes' : 'no'}${why === '' ? '' : `: ${why}`}`, answer, answer.allowed ? 'yes' : 'no');
  if (!answer.allowed) throw new Answered(EXIT_NO);
}

async function readText(file: string | undefined): Promise<string> {
  const bytes = await readWhole(openSource(file), LIMITS.policy_bytes_max);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new QuorateError('POLICY_INVALID', `${file ?? 'standard input'} is not UTF-8`, { cause });
  }
}

async function put(session: Session, name: string, file: string | undefined): Promise<void> {
  const client = await session.client();
  const text = await readText(file);
  const policy = await client.access.putPolicy(name, text, { dryRun: session.dryRun, ...session.change });
  if (session.dryRun) return session.wouldDo(`store the policy ${name}, which is valid`, { name });
  await session.print(`policy ${policy.name} stored`, policy, policy.name);
}

async function get(session: Session, name: string): Promise<void> {
  const policy = await (await session.client()).access.policy(name);
  if (session.format === 'text') return writeOut(policy.text.endsWith('\n') ? policy.text : `${policy.text}\n`);
  await session.print('', policy, policy.name);
}

async function list(session: Session, options: { principal?: string; builtIn?: boolean }): Promise<void> {
  const client = await session.client();
  const policies = [];
  for await (const policy of client.access.policies(options)) policies.push(policy);
  const summary = (text: string): string => text.replace(/\/\/.*$/gm, '').replace(/\s+/g, ' ').trim().slice(0, 100);
  await printTable(session, policies, ['NAME', 'TEXT'], (p) => [p.builtIn ? `${p.name} (built in)` : p.name, summary(p.text)], 'no policies: only administrators may do anything');
}

async function remove(session: Session, name: string): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`remove the policy ${name}`, { name });
  await client.access.removePolicy(name, session.change);
  await session.print(`policy ${name} removed`, { name }, name);
}

async function readExpectations(file: string): Promise<{ policy?: string; name?: string; expect: Expectation[] }> {
  const bytes = await readWhole(openSource(file), EXPECTATIONS_BYTES_MAX);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new QuorateError('BAD_REQUEST', `${file} is not JSON`, { cause });
  }
  const given = (Array.isArray(value) ? { expect: value } : value) as { policy?: string; name?: string; expect?: unknown };
  const isExpectation = (e: unknown): boolean => {
    const o = e as Record<string, unknown> | null;
    return typeof o === 'object' && o !== null && typeof o['principal'] === 'string' && typeof o['action'] === 'string' && typeof o['allowed'] === 'boolean';
  };
  if (!Array.isArray(given?.expect) || !given.expect.every(isExpectation)) {
    throw new QuorateError('BAD_REQUEST', `${file}: "expect" is a list of { "principal", "action", "key", "allowed" }`);
  }
  return given as { policy?: string; name?: string; expect: Expectation[] };
}

/** A policy's text, or the name of its file beside the expectations: no text of a policy ends so. */
async function policyOf(file: string, policy: string): Promise<string> {
  if (!/^[^()\n]+\.cedar$/.test(policy)) return policy;
  return readText(file === '-' ? policy : path.resolve(path.dirname(file), policy));
}

async function test(session: Session, file: string, options: { policy?: string; name?: string }): Promise<void> {
  const client = await session.client();
  const { policy, name, expect } = await readExpectations(file);
  const text = options.policy !== undefined ? await readText(options.policy) : await policyOf(file, policy ?? '');
  const { outcomes, passed } = await client.access.testPolicy(options.name ?? name ?? '', text, expect);
  const lines = outcomes.map((o, i) => {
    const e = expect[i]!;
    return `${o.allowed === o.expected ? 'ok  ' : 'FAIL'}  ${e.principal} ${e.action} ${e.key ?? ''}: ${o.allowed ? 'allowed' : 'denied'}${o.allowed === o.expected ? '' : `, expected ${o.expected ? 'allowed' : 'denied'}`}${o.errors.length > 0 ? ` (${o.errors.join('; ')})` : ''}`;
  });
  await session.print([...lines, `${outcomes.filter((o) => o.allowed === o.expected).length} of ${outcomes.length} as expected`].join('\n'), { passed, outcomes }, String(passed));
  if (!passed) throw new Answered(EXIT_NO);
}
