/** `quorate drill`: every disaster on one machine, what is promised and what was measured side by side. */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { DrillReport } from '../dev/drill/drill.js';
import type { Judged, ScenarioResult } from '../dev/drill/promises.js';
import { ERRORS } from '../base/errors.js';
import { Answered } from './failure.js';
import { act, parseCount, type Session, writeOut } from './session.js';

interface DrillCommandOptions {
  readonly scenario?: string[];
  readonly short?: boolean;
  readonly load: number;
  readonly keep?: boolean;
}

/** Here and not where they are played: a completion script and the help do not load a region. A test compares the two. */
export const SCENARIO_NAMES = ['host', 'zone', 'two-hosts', 'region', 'all', 'destination', 'copy'] as const;
const LOAD_DEFAULT = 10;
const LOAD_MAX = 500;
/** The service does not do what it says: as an internal error's. */
const BROKEN_EXIT = ERRORS.INTERNAL.exit;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export function addDrill(program: Command): void {
  program.command('drill').description('every disaster, on a region of its own on this machine, under load: what is promised, and what was measured')
    .addOption(new Option('--scenario <scenario...>', 'this one alone; may be given more than once').choices(SCENARIO_NAMES))
    .option('--short', 'less time for each, the backups\' shortest interval, and limits for a machine that does other things as well')
    .option('--load <n>', 'writes begun in a second, 1 to 500; reads and crypto at each host as many', parseCount('--load', 1, LOAD_MAX), LOAD_DEFAULT)
    .option('--keep', 'leave its folder, with every host\'s log, where it is')
    .action(act(drill));
}

async function drill(session: Session, options: DrillCommandOptions): Promise<void> {
  const { chosen, runDrill, backupSecondsOf } = await import('../dev/drill/drill.js');
  const { scenario: names = [], short: isShort = false, load, keep = false } = options;
  if (session.dryRun) {
    const wanted = chosen(names).map(({ name, title, about }) => ({ name, title, about }));
    const lines = wanted.map(({ name, title, about }) => `  ${name.padEnd(12)} ${title}: ${about}`);
    return session.print([`would found a region of its own in a temporary folder, put ${load} writes a second on it (backups every ${backupSecondsOf(isShort)} s), and carry through:`, ...lines].join('\n'), { dryRun: true, scenarios: wanted });
  }
  const stopping = new AbortController();
  const listeners = Object.entries(SIGNALS).map(([signal, exit]) => {
    const listener = (): void => stopping.abort(new Answered(exit));
    process.once(signal, listener);
    return [signal, listener] as const;
  });
  try {
    const report = await runDrill({ names, isShort, load, keep, signal: stopping.signal, say: (line) => { process.stderr.write(`${line}\n`); } });
    await print(session, report);
    if (!report.kept) throw new Answered(BROKEN_EXIT);
  } finally {
    for (const [signal, listener] of listeners) process.removeListener(signal, listener);
  }
}

const byName = (promises: readonly Judged[], value: (promise: Judged) => Judged['value']): Record<string, Judged['value']> => Object.fromEntries(promises.map((promise) => [promise.name, value(promise)]));

/** `{scenarios: [{name, promised, measured, kept}]}`: both by the promise's name; milliseconds where that ends in Ms. */
export function jsonOf({ scenarios, ...rest }: DrillReport): object {
  return {
    scenarios: scenarios.map(({ name, promises, fault, kept }) => ({
      name, promised: byName(promises, ({ value }) => value), measured: byName(promises, ({ measured }) => measured), kept, broken: promises.filter((one) => !one.kept).map((one) => one.name), fault,
    })),
    ...rest,
  };
}

function valueText({ unit }: Judged, value: Judged['value'], none: string): string {
  if (value === null) return none;
  if (unit !== 'ms' || typeof value === 'string') return String(value);
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

export function rowsOf({ name, promises, fault }: ScenarioResult, title: string): string[][] {
  const rows = promises.map((promise) => {
    const limit = promise.unit === 'ms' && promise.value !== null ? 'at most ' : promise.atLeast === true ? 'at least ' : '';
    const of = promise.of === null || promise.unit !== 'count' ? '' : ` of ${promise.of}`;
    return [promise.about, `${limit}${valueText(promise, promise.value, 'told')}`, `${valueText(promise, promise.measured, 'nothing')}${of}`, promise.kept ? 'yes' : 'NO'];
  });
  return [[`${title} (${name})`, '', '', ''], ...rows.map(([about, ...cells]) => [`  ${about}`, ...cells]), ...(fault === '' ? [] : [[`  not carried through: ${fault}`, '', '', 'NO']])];
}

async function print(session: Session, report: DrillReport): Promise<void> {
  if (session.format === 'json') return writeOut(`${JSON.stringify(jsonOf(report), null, 2)}\n`);
  if (session.format === 'name') return writeOut(report.scenarios.map(({ name, kept }) => `${name} ${kept ? 'kept' : 'broken'}\n`).join(''));
  const { chosen } = await import('../dev/drill/drill.js');
  const titles = new Map(chosen([]).map(({ name, title }) => [name, title]));
  const rows = [['SCENARIO', 'PROMISED', 'MEASURED', 'KEPT'], ...report.scenarios.flatMap((scenario) => rowsOf(scenario, titles.get(scenario.name)!))];
  const widths = [0, 1, 2].map((i) => Math.max(...rows.filter((row) => row[1] !== '').map((row) => row[i]!.length)));
  const lines = rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd());
  const broken = report.scenarios.filter(({ kept }) => !kept);
  const verdict = broken.length === 0 ? 'every promise is kept' : `BROKEN: ${broken.map(({ name }) => name).join(', ')}`;
  await writeOut(`${lines.join('\n')}\n${verdict}; ${report.writes} writes acknowledged, ${report.answers} answers compared in ${report.seconds} s; a backup every ${report.backupS} s (a service's: every 300 s)\n`);
}
