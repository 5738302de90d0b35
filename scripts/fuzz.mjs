// `npm run fuzz [-- --seconds N]`: libFuzzer on the frame reader, the decoders and the hot methods (native/fuzz), a minute unless told.
// What it found new stays in build/native/fuzz/corpus and is where the next run begins. Ends at the first crash, with exit 1.
import { spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { root, setupOrExit } from './setup.mjs';

// One line for each input that reached something new: thousands in the first minute.
const CHATTER = /^(#\d+\s+(NEW|REDUCE|RELOAD)|\s+NEW_FUNC)\b/;

/**
 * Builds the target and runs it for so many seconds. `show` gets the lines worth reading while it runs; output has them all. `line` says
 * what came out; crashed is also true when the target could not be built or run.
 */
export async function fuzz(seconds, show = () => {}) {
  const args = ['-s', '-j', '2', '-C', 'native', 'fuzz', `FUZZ_ARGS=-max_total_time=${seconds}`];
  const made = spawn('make', args, { cwd: root, stdio: ['ignore', 'inherit', 'pipe'] });
  const lines = [];
  let executions = 0, edges = 0, reproducer;
  for await (const text of createInterface({ input: made.stderr })) {
    const status = /^#(\d+)\s.*\bcov: (\d+)/.exec(text);
    if (status) [executions, edges] = [Number(status[1]), Number(status[2])];
    executions = Number(/^stat::number_of_executed_units: (\d+)/.exec(text)?.[1] ?? executions);
    reproducer = /Test unit written to (\S+)/.exec(text)?.[1] ?? reproducer;
    if (CHATTER.test(text)) continue;
    lines.push(text);
    show(text);
  }
  const exit = made.exitCode ?? await new Promise((resolve) => made.once('exit', (code, signal) => resolve(code ?? signal)));
  const crashed = exit !== 0 || reproducer !== undefined || executions === 0;
  let line = `fuzz: ${executions} executions, ${edges} coverage edges, ${reproducer ? 1 : 0} crashes`;
  if (reproducer) line += `\nThe input is ${path.relative(root, reproducer)}. Run it with: build/native/fuzz/frames_fuzz ${path.relative(root, reproducer)}`;
  else if (crashed) line += `; the run itself failed (exit ${exit})`;
  return { crashed, executions, edges, output: lines.join('\n'), line };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [option, value] = process.argv.slice(2);
  const seconds = option === undefined ? 60 : Number(value);
  if ((option !== undefined && option !== '--seconds') || !Number.isInteger(seconds) || seconds < 1) {
    process.stderr.write('usage: npm run fuzz [-- --seconds N]\n');
    process.exit(2);
  }
  setupOrExit('fuzz');
  const { crashed, line } = await fuzz(seconds, (text) => process.stderr.write(`${text}\n`));
  process.stdout.write(`\n${line}\n`);
  process.exit(crashed ? 1 : 0);
}
