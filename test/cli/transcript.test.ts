/**
 * Transcripts: what is typed and what is printed, in *.txt beside this file's source. `$ ` begins a command; what follows is its
 * whole output, on both streams. In expected output `<time>`, `<id>` (32 hexadecimal digits), `<n>` and `<any>` stand for what
 * changes from run to run, and a line `...` for any lines. `# daemon: none` at the top: the transcript starts its own; `# long`: not in CI.
 */
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { makePlace, type Place, type RunningDaemon, root, Shell, startDaemon, stopProcess } from './shell.js';

interface Step {
  readonly command: string;
  readonly line: number;
  readonly expected: string[];
}

interface Transcript {
  readonly daemon: boolean;
  readonly steps: readonly Step[];
}

function parse(text: string): Transcript {
  const steps: Step[] = [];
  let daemon = true;
  for (const [i, line] of text.replace(/\n$/, '').split('\n').entries()) {
    if (line.startsWith('$ ')) steps.push({ command: line.slice(2), line: i + 1, expected: [] });
    else if (steps.length > 0) steps.at(-1)!.expected.push(line);
    else if (line === '# daemon: none') daemon = false;
    else if (line !== '' && !line.startsWith('#')) throw new Error(`line ${i + 1}: output before any command`);
  }
  return { daemon, steps };
}

const HOLES: Readonly<Record<string, string>> = {
  '<time>': '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ', '<id>': '[0-9a-f]{32}', '<n>': '\\d+', '<any>': '[^\\n]*',
};

function patternOf(lines: readonly string[]): RegExp {
  const body = lines.map((line) => {
    if (line === '...') return '(?:[^\\n]*\\n)*?';
    return `${line.split(/(<(?:time|id|n|any)>)/).map((part) => HOLES[part] ?? part.replaceAll(/[.*+?^${}()|[\]\\/-]/g, '\\$&')).join('')}\\n`;
  });
  return new RegExp(`^${body.join('')}$`);
}

async function play(file: string, transcript: Transcript): Promise<void> {
  const place: Place = makePlace();
  let daemon: RunningDaemon | undefined;
  let shell: Shell | undefined;
  try {
    if (transcript.daemon) daemon = await startDaemon(place);
    shell = new Shell(place);
    for (const step of transcript.steps) {
      const output: string = (await shell.run(step.command)).replaceAll(place.folder, '~');
      const whole: string = output === '' || output.endsWith('\n') ? output : `${output}\n`;
      if (patternOf(step.expected).test(whole)) continue;
      assert.fail(`${file}:${step.line}: $ ${step.command}\n--- expected\n${step.expected.join('\n')}\n--- printed\n${whole}--- the daemon\n${daemon?.said() ?? ''}`);
    }
  } finally {
    await shell?.end();
    if (daemon !== undefined) await stopProcess(daemon.process);
    place.remove();
  }
}

/** A transcript mostly waits for programs to start, so as many run at once as there are processors. */
function playAll(files: readonly string[], folder: string): Map<string, Promise<void>> {
  const lanes = Array.from({ length: os.availableParallelism() }, () => Promise.resolve());
  return new Map(files.map((file, i) => {
    const lane = i % lanes.length;
    const played = lanes[lane]!.then(() => {
      const transcript = parse(readFileSync(path.join(folder, file), 'utf8'));
      assert.isAbove(transcript.steps.length, 0);
      return play(file, transcript);
    });
    lanes[lane] = played.catch(() => {});
    return [file, played];
  }));
}

/** Those that take long and whose parts have tests of their own are played by `npm run test:dev`. */
const isLong = (file: string): boolean => readFileSync(file, 'utf8').startsWith('# long\n');

describe('transcripts', function () {
  // All of them together; a busy machine takes many times an idle one's 40 s.
  this.timeout(900_000);
  const folder = path.join(root, 'test', 'cli');
  const files = readdirSync(folder).filter((f) => f.endsWith('.txt') && isLong(path.join(folder, f)) === (process.env['QUORATE_TRANSCRIPTS'] === 'long')).sort();
  let played = new Map<string, Promise<void>>();
  before(() => {
    played = playAll(files, folder);
    for (const one of played.values()) one.catch(() => {});
  });
  for (const file of files) it(file, () => played.get(file));

  it('fails on output that differs', () => {
    assert.isTrue(patternOf(['v<n> at <time>', '...', 'end']).test('v12 at 2026-01-01T00:00:00Z\nx\ny\nend\n'));
    assert.isTrue(patternOf([]).test(''));
    for (const other of ['v at 2026-01-01T00:00:00Z\nend\n', 'v1 at 2026-01-01T00:00:00Z\n', 'v1 at 2026-01-01T00:00:00Z\nend\nmore\n', '']) {
      assert.isFalse(patternOf(['v<n> at <time>', '...', 'end']).test(other), other);
    }
    assert.isFalse(patternOf([]).test('x\n'));
    assert.isFalse(patternOf(['a.q']).test('aXq\n'));
  });
});
