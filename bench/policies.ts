/**
 * `npm run bench:policies [-- --policies 10000 --keys 100000 --misses 5000 --json FILE]`: what policies cost.
 *   A grant miss: one decision that nothing remembered, one at a time, and while lists run.
 *   A full LIST: pages of 1000 keys through decideMany() to the end, for a principal that sees a part of them.
 *   The event loop's longest delay while each runs: nothing of this may hold it for 20 ms.
 * In a quarter of the policies no principal is named, in another quarter a role: those are looked at for everybody who has it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createLogger } from '../src/base/logger.js';
import { LIMITS } from '../src/base/limits.js';
import type { DecisionRequest, KeyFacts } from '../src/iam/decision.js';
import { Evaluator } from '../src/iam/evaluator.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values: options } = parseArgs({
  options: {
    policies: { type: 'string', default: '10000' }, keys: { type: 'string', default: '100000' }, misses: { type: 'string', default: '5000' },
    json: { type: 'string', default: path.join(root, 'build', 'bench-policies.json') },
  },
});
const policies = Number(options.policies);
const keyCount = Number(options.keys);
const misses = Number(options.misses);

const FOLDERS = 500;
const APPS = 2000;
const DELAY_MS_MAX = 20;
const folder = (i: number): string => `team${i % 50}/service${i % FOLDERS}`;

/** A quarter each: one application on a folder, one application with a condition, a role on a folder, anybody by label. */
function policyText(i: number): string {
  const use = 'action in Action::"keys:use"';
  const app = `principal == App::"app${i % APPS}"`;
  switch (i % 4) {
    case 0:
      return `permit (${app}, action in [Action::"keys:use", Action::"keys:read"], resource in KeyGroup::"default/${folder(i >> 2)}");`;
    case 1:
      return `permit (${app}, ${use}, resource) when { resource is Key && resource.hasTag("env") && resource.getTag("env") == "test" && context.uid != 0 };`;
    case 2:
      return `permit (principal in Role::"${i % 8 === 2 ? 'key-user' : 'auditor'}", action == Action::"keys:get", resource in KeyGroup::"default/${folder(i)}") when { resource.state == "active" };`;
    default:
      return `forbid (principal, ${use}, resource in KeyGroup::"default/${folder(i)}") when { resource.hasTag("owner") && resource.getTag("owner") == "team${i}" };`;
  }
}

function keyAt(i: number): KeyFacts {
  const id = i.toString(16).padStart(32, '0');
  return { name: `${folder(i)}/key${i}`, id, type: 'aes-256', scheme: 'managed', state: i % 10 === 0 ? 'deactivated' : 'active', exportable: false, labels: { env: i % 3 === 0 ? 'test' : 'prod', owner: `team${i % 100}` } };
}

const context = { uid: 1000, gid: 1000, socket: '/run/quorate/quorate.sock', token: false, source: 'local', timeMs: Date.now() };
function request(app: number, key: KeyFacts): DecisionRequest {
  return { domain: 'default', principal: `app:app${app % APPS}`, roles: [], action: 'keys:encrypt', resource: { kind: 'key', key }, context };
}

interface Figures {
  readonly name: string;
  readonly [figure: string]: number | string;
}
const figures: Figures[] = [];

function report(name: string, values: Record<string, number>): void {
  const rounded = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, Number(v.toPrecision(4))]));
  figures.push({ name, ...rounded });
  process.stdout.write(`${name.padEnd(38)} ${Object.entries(rounded).map(([k, v]) => `${k} ${v}`).join('   ')}\n`);
}

function quantiles(ms: number[]): Record<string, number> {
  const sorted = [...ms].sort((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;
  return { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
}

let worst = 0;
/** Runs `work` and says the loop's longest delay meanwhile. */
async function watched<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number; loop_max_ms: number }> {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  const began = performance.now();
  const result = await work();
  const seconds = (performance.now() - began) / 1000;
  monitor.disable();
  const loop_max_ms = monitor.max / 1e6;
  worst = Math.max(worst, loop_max_ms);
  return { result, seconds, loop_max_ms };
}

async function oneByOne(evaluator: Evaluator, first: number, count: number, until: () => boolean): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count && !until(); i++) {
    // Another application, another folder: nothing of it was asked before.
    const asked = request(first + i * 7, keyAt((first + i) * 13));
    const began = performance.now();
    await evaluator.decide(asked);
    times.push(performance.now() - began);
  }
  return times;
}

/** Pages as the operation makes them: keys read (here: made), decided, the next page from where the budget ended. */
async function fullList(evaluator: Evaluator, roles: DecisionRequest['roles'], action: string): Promise<{ shown: number; pages: number; page_max_ms: number }> {
  let shown = 0;
  let pages = 0;
  let page_max_ms = 0;
  for (let at = 0; at < keyCount; ) {
    const began = performance.now();
    const keys = Array.from({ length: Math.min(LIMITS.page_size_max, keyCount - at) }, (_, i) => keyAt(at + i));
    const { allowed } = await evaluator.decideMany({ domain: 'default', principal: 'app:app4', roles, action, context }, keys);
    shown += allowed.filter(Boolean).length;
    at += allowed.length;
    pages++;
    page_max_ms = Math.max(page_max_ms, performance.now() - began);
  }
  return { shown, pages, page_max_ms };
}

async function load(evaluator: Evaluator): Promise<void> {
  const documents = Array.from({ length: policies }, (_, i) => ({ name: `p${i}`, text: policyText(i) }));
  await evaluator.load('system', []);
  const { seconds, loop_max_ms } = await watched(() => evaluator.load('default', documents));
  report(`load ${policies} policies`, { seconds, loop_max_ms });
}

async function changes(evaluator: Evaluator): Promise<void> {
  const { result, loop_max_ms } = await watched(async () => {
    const checks: number[] = [];
    const puts: number[] = [];
    for (let i = 0; i < 50; i++) {
      const began = performance.now();
      const checked = await evaluator.check('default', `p${i * 4}`, policyText(i * 4 + 4));
      const between = performance.now();
      evaluator.put(checked);
      await evaluator.decide(request(i, keyAt(i)));
      checks.push(between - began);
      puts.push(performance.now() - between);
    }
    return { checks, puts };
  });
  report('check a policy', { ...quantiles(result.checks), loop_max_ms });
  report('put it, and decide under it', quantiles(result.puts));
}

const evaluator = new Evaluator({ log: createLogger('warn'), onVoid: () => undefined });
await load(evaluator);
await oneByOne(evaluator, 1_000_000, 500, () => false);

const alone = await watched(() => oneByOne(evaluator, 0, misses, () => false));
report('grant miss', { ...quantiles(alone.result), loop_max_ms: alone.loop_max_ms });

const keyUser = [{ role: 'key-user', domain: '' }];
for (const [name, action, roles] of [['LIST, some keys', 'keys:list', []], ['LIST, all keys', 'keys:list', keyUser], ['LIST, by state and label', 'keys:encrypt', []]] as const) {
  const { result, seconds, loop_max_ms } = await watched(() => fullList(evaluator, roles, action));
  report(`${name} (${keyCount})`, { seconds, ...result, loop_max_ms });
}

let listing = true;
const both = await watched(async () => {
  const lists = Promise.all(Array.from({ length: 4 }, () => fullList(evaluator, keyUser, 'keys:encrypt'))).finally(() => {
    listing = false;
  });
  const times = await oneByOne(evaluator, 500_000, misses * 10, () => !listing);
  await lists;
  return times;
});
report('grant miss while 4 lists run', { ...quantiles(both.result), decided: both.result.length, loop_max_ms: both.loop_max_ms });

const burst = await watched(() => Promise.all(Array.from({ length: 2000 }, (_, i) => evaluator.decide(request(i * 3, keyAt(i * 17 + 5))))));
report('2000 at once', { seconds: burst.seconds, decisions_per_second: 2000 / burst.seconds, loop_max_ms: burst.loop_max_ms });
await changes(evaluator);
await evaluator.close();

report('the event loop, longest delay', { ms: worst, bound_ms: DELAY_MS_MAX });
mkdirSync(path.dirname(options.json), { recursive: true });
writeFileSync(options.json, `${JSON.stringify({ cpu: os.cpus()[0]?.model, node: process.version, policies, keys: keyCount, load: os.loadavg()[0], figures }, null, 2)}\n`);
process.exit(worst < DELAY_MS_MAX ? 0 : 1);
