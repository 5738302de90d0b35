/**
 * `npm run bench:policies [-- --policies 10000 --keys 100000 --misses 5000 --json FILE]`: what policies cost.
 *   A grant miss: one decision that nothing remembered, one at a time, and while lists run.
 *   A full LIST: pages of 1000 keys through decideMany() to the end, for a principal that sees a part of them.
 *   The event loop meanwhile: how long it was late at most, and the most processor time that one turn of it took. The first is the machine's
 *   doing too (another process had the core), the second is ours alone: it may not reach 20 ms.
 * In a quarter of the policies no principal is named, in another quarter a role: those are looked at for everybody who has it.
 */
import { closeSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
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
const TURN_MS_MAX = 20;
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

/** Processor time of the main thread, in nanoseconds, as the scheduler counts it. */
class MainThread {
  readonly #file = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
  readonly #bytes = Buffer.alloc(64);

  ns(): number {
    const length = readSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
    return Number.parseInt(this.#bytes.toString('latin1', 0, length), 10);
  }

  close(): void {
    closeSync(this.#file);
  }
}

interface Watched<T> {
  readonly result: T;
  readonly seconds: number;
  readonly loop: { readonly late_max_ms: number; readonly turn_max_ms: number };
}

let worst = 0;
/** Runs `work` and looks at the loop meanwhile. */
async function watched<T>(work: () => Promise<T>): Promise<Watched<T>> {
  const thread = new MainThread();
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  let running = true;
  let before = thread.ns();
  let turn = 0;
  const tick = (): void => {
    const now = thread.ns();
    turn = Math.max(turn, now - before);
    before = now;
    if (running) setTimeout(tick, 1);
  };
  monitor.enable();
  setTimeout(tick, 1);
  const began = performance.now();
  const result = await work();
  const seconds = (performance.now() - began) / 1000;
  running = false;
  monitor.disable();
  await new Promise((resolve) => setTimeout(resolve, 2));
  thread.close();
  worst = Math.max(worst, turn / 1e6);
  return { result, seconds, loop: { late_max_ms: monitor.max / 1e6, turn_max_ms: turn / 1e6 } };
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
    const keys = Array.from({ length: Math.min(LIMITS.page_size_max, keyCount - at) }, (_, i) => ({ kind: 'key' as const, key: keyAt(at + i) }));
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
  // Looks at the name of each key: no answer is another key's.
  documents.push({ name: 'names', text: 'forbid (principal in Role::"default/auditor", action == Action::"keys:public", resource) when { resource.name like "*9" };' });
  await evaluator.load('system', []);
  const { seconds, loop } = await watched(() => evaluator.load('default', documents));
  report(`load ${policies} policies`, { seconds, ...loop });
}

async function changes(evaluator: Evaluator): Promise<void> {
  const { result, loop } = await watched(async () => {
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
  report('check a policy', { ...quantiles(result.checks), ...loop });
  report('put it, and decide under it', quantiles(result.puts));
}

const evaluator = new Evaluator({ log: createLogger('warn'), onVoid: () => undefined });
await load(evaluator);
await oneByOne(evaluator, 1_000_000, 500, () => false);

const alone = await watched(() => oneByOne(evaluator, 0, misses, () => false));
report('grant miss', { ...quantiles(alone.result), ...alone.loop });

const keyUser = [{ role: 'key-user', domain: '' }];
const auditor = [{ role: 'auditor', domain: 'default' }];
const lists = [
  ['LIST, some keys', 'keys:list', []],
  ['LIST, all keys', 'keys:list', keyUser],
  ['LIST, by label', 'keys:encrypt', []],
  ['LIST, each key a question', 'keys:public', auditor],
] as const;
for (const [name, action, roles] of lists) {
  const { result, seconds, loop } = await watched(() => fullList(evaluator, roles, action));
  report(`${name} (${keyCount})`, { seconds, ...result, ...loop });
}

let listing = true;
const both = await watched(async () => {
  const running = Promise.all(Array.from({ length: 4 }, () => fullList(evaluator, keyUser, 'keys:encrypt'))).finally(() => {
    listing = false;
  });
  const times = await oneByOne(evaluator, 500_000, misses * 10, () => !listing);
  await running;
  return times;
});
report('grant miss while 4 lists run', { ...quantiles(both.result), decided: both.result.length, ...both.loop });

const burst = await watched(() => Promise.all(Array.from({ length: 2000 }, (_, i) => evaluator.decide(request(i * 3, keyAt(i * 17 + 5))))));
report('2000 at once', { seconds: burst.seconds, decisions_per_second: 2000 / burst.seconds, ...burst.loop });
await changes(evaluator);
await evaluator.close();

report('the longest turn of the event loop', { ms: worst, bound_ms: TURN_MS_MAX });
mkdirSync(path.dirname(options.json), { recursive: true });
writeFileSync(options.json, `${JSON.stringify({ cpu: os.cpus()[0]?.model, node: process.version, policies, keys: keyCount, load: os.loadavg()[0], figures }, null, 2)}\n`);
process.exit(worst < TURN_MS_MAX ? 0 : 1);
