/**
 * `quorate drill`: a region of its own in a temporary folder, under load, and one disaster after the other. All that it has started ends with it, and its folder goes,
 * whichever way it ends.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { QuorateError } from '../../base/errors.js';
import { provideEngine } from '../../region/engine/program.js';
import { BACKUP_S } from '../devHost.js';
import { DevRegion } from '../devRegion.js';
import { planRegion } from '../plan.js';
import { Ledger } from './ledger.js';
import { Load } from './load.js';
import { judge, resultOf, type ScenarioResult } from './promises.js';
import { LIMITS, type Limits, ORDER, type Scenario, SCENARIOS, SHORT_LIMITS } from './scenarios.js';
import { type Pace, Stage } from './stage.js';

export interface DrillOptions {
  /** Names of SCENARIOS; all of them when empty. */
  readonly names: readonly string[];
  readonly isShort: boolean;
  /** Writes begun in a second; reads and crypto at each host as many. */
  readonly load: number;
  /** The folder stays. */
  readonly keep: boolean;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
  /** What is promised, where it is something else than the service promises. */
  readonly limits?: Limits;
  /** What is known at the beginning, where that is not nothing. */
  readonly ledger?: Ledger;
}

export interface DrillReport {
  /** In the order of SCENARIOS. */
  readonly scenarios: readonly ScenarioResult[];
  readonly kept: boolean;
  readonly seconds: number;
  /** Between two backups. */
  readonly backupS: number;
  readonly writes: number;
  readonly answers: number;
}

/** The least that there is. */
const SHORT_BACKUP_S = 10;
const ZONES = 3;
const FULL: Pace = { calmMs: 3000, lossMs: 10_000, opened: 400, isShort: false };
/** A loss is watched for longer than writes may stop: else nothing that is promised could be broken. */
const SHORT: Pace = { calmMs: 800, lossMs: 9000, opened: 60, isShort: true };

export function chosen(names: readonly string[]): readonly Scenario[] {
  return names.length === 0 ? SCENARIOS : SCENARIOS.filter(({ name }) => names.includes(name));
}

export const backupSecondsOf = (isShort: boolean): number => (isShort ? SHORT_BACKUP_S : BACKUP_S);

/** ENGINE_UNUSABLE, CONFIG_INVALID; the signal's reason */
export async function runDrill(options: DrillOptions): Promise<DrillReport> {
  const { signal, say, keep } = options;
  const program = provideEngine();
  signal.throwIfAborted();
  const folder = mkdtempSync(path.join(tmpdir(), 'qd-'));
  let region: DevRegion | null = null;
  const remove = (): void => {
    if (!keep) rmSync(folder, { recursive: true, force: true });
  };
  // Where not even a `finally` is reached.
  const atExit = (): void => {
    region?.killNow();
    remove();
  };
  process.once('exit', atExit);
  try {
    const plan = await planRegion(path.join(folder, 'r'), { zones: ZONES, replica: true, app: true, namespaces: false });
    const made = new DevRegion(path.join(folder, 'r'), plan, program, null, () => undefined, backupSecondsOf(options.isShort));
    region = made;
    return await aborted(signal, runIn(made, options));
  } finally {
    await region?.stop();
    process.removeListener('exit', atExit);
    remove();
    if (keep) say(`kept: ${folder}`);
  }
}

/** Rejects when the signal comes; what was under way ends by itself, since its region does. */
function aborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    if (signal.aborted) reject(signal.reason as Error);
    work.then(resolve, reject);
  });
}

async function runIn(region: DevRegion, options: DrillOptions): Promise<DrillReport> {
  const { names, isShort, load: perSecond, limits = isShort ? SHORT_LIMITS : LIMITS, ledger = new Ledger(), signal } = options;
  const beganMs = performance.now();
  const say = (line: string): void => options.say(`${String(Math.round((performance.now() - beganMs) / 1000)).padStart(4)} s  ${line}`);
  const backupS = backupSecondsOf(isShort);
  say('a region of three zones, an application host and a remote replica comes up');
  await region.up();
  const hosts = region.hosts.map(({ plan }) => plan.name);
  const load = new Load(ledger, new Map(region.hosts.map(({ plan }) => [plan.name, plan.socket])), perSecond);
  const stage = new Stage(region, load, isShort ? SHORT : FULL, backupS * 1000, hosts, say);
  const results = new Map<string, ScenarioResult>();
  try {
    await load.readers.prepare(hosts[0]!);
    const scenarios = [...chosen(names)].sort((a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name));
    for (const [i, scenario] of scenarios.entries()) {
      signal.throwIfAborted();
      say(`${i + 1}/${scenarios.length} ${scenario.title}: ${scenario.about}`);
      const result = await play(stage, scenario, limits, backupS * 1000);
      results.set(scenario.name, result);
      say(`${i + 1}/${scenarios.length} ${scenario.title}: ${result.kept ? 'kept' : `BROKEN${result.fault === '' ? '' : `: ${result.fault}`}`}`);
      for (const note of stage.notes) say(`     ${note}`);
      // What follows would be measured on a region that is not whole.
      if (result.fault !== '') break;
    }
  } finally {
    await load.stop();
  }
  const left = (scenario: Scenario): ScenarioResult => resultOf(scenario.name, judge(scenario.promises(limits, backupS * 1000), new Map()), 'not begun: an earlier one could not be carried through');
  const told = chosen(names).map((scenario) => results.get(scenario.name) ?? left(scenario));
  const answers = [...load.readers.seen.values()].reduce((sum, { compared }) => sum + compared, 0);
  return { scenarios: told, kept: told.every(({ kept }) => kept), seconds: Math.round((performance.now() - beganMs) / 1000), backupS, writes: load.writes.filter(({ code }) => code === 'OK').length, answers };
}

async function play(stage: Stage, scenario: Scenario, limits: Limits, backupMs: number): Promise<ScenarioResult> {
  let fault = '';
  try {
    await stage.begin();
    await scenario.run(stage);
    stage.load.check();
  } catch (error) {
    fault = error instanceof QuorateError ? error.message : String(error);
  }
  return resultOf(scenario.name, judge(scenario.promises(limits, backupMs), stage.measured), fault);
}
