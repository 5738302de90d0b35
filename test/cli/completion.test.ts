/** Completion, in a real bash; for zsh and fish what every command of the tree must have left in the script. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { assert } from 'chai';
import { buildProgram } from '../../src/cli/main.js';
import { needTool } from '../skip.js';
import { makePlace, type Place, type RunningDaemon, startDaemon, stopProcess } from './shell.js';

function everyCommand(command: Command, words: string[] = []): string[][] {
  return command.commands.filter((c) => c.name() !== 'help').flatMap((c) => [[...words, c.name()], ...everyCommand(c, [...words, c.name()])]);
}

describe('completion', function () {
  this.timeout(30_000);
  let place: Place;
  let daemon: RunningDaemon;
  const scripts = new Map<string, string>();
  before(async () => {
    place = makePlace();
    daemon = await startDaemon(place);
    for (const name of ['invoices', 'ledger']) execFileSync('quorate', ['key', 'create', name, '--type', 'aes-256'], { env: place.env });
    for (const shell of ['bash', 'zsh', 'fish']) scripts.set(shell, execFileSync('quorate', ['completion', shell], { env: place.env, encoding: 'utf8' }));
    writeFileSync(path.join(place.folder, 'completion.bash'), scripts.get('bash')!);
    writeFileSync(path.join(place.folder, 'a file'), '');
  });
  after(async () => {
    await stopProcess(daemon.process);
    place.remove();
  });

  /** What Tab gives behind these words; the last one is what is being typed. */
  function tab(...words: string[]): string[] {
    const program = `source completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _quorate; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const out = execFileSync('bash', ['--noprofile', '--norc', '-c', program, 'bash', 'quorate', ...words], { cwd: place.folder, env: place.env, encoding: 'utf8' });
    return out.split('\n').filter(Boolean).sort();
  }

  it('knows commands, subcommands and options', () => {
    assert.includeMembers(tab(''), ['key', 'encrypt', 'status', 'completion']);
    assert.deepEqual(tab('enc'), ['encrypt']);
    assert.includeMembers(tab('key', ''), ['create', 'ls', 'rewrap']);
    assert.includeMembers(tab('key', 'create', 'x', '--'), ['--type', '--scheme', '--format', '--dry-run']);
    assert.deepEqual(tab('--format', 'json', 'key', 'crea'), ['create']);
  });

  it('knows the choices of options and arguments', () => {
    assert.deepEqual(tab('key', 'create', 'x', '--type', 'aes'), ['aes-128', 'aes-192', 'aes-256']);
    assert.deepEqual(tab('completion', ''), ['bash', 'fish', 'zsh']);
    assert.deepEqual(tab('key', 'ls', '--format', ''), ['json', 'name', 'text']);
  });

  it('asks the daemon for names of keys', () => {
    assert.deepEqual(tab('key', 'get', ''), ['invoices', 'ledger']);
    assert.deepEqual(tab('encrypt', '-k', 'inv'), ['invoices']);
    assert.deepEqual(tab('encrypt', '--key', ''), ['invoices', 'ledger']);
    assert.deepEqual(tab('wrap', 'led'), ['ledger']);
  });

  it('gives files where files go', () => {
    assert.includeMembers(tab('encrypt', '-k', 'invoices', 'comp'), ['completion.bash']);
    assert.includeMembers(tab('encrypt', '-o', 'comp'), ['completion.bash']);
  });

  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`has every command in ${shell}`, () => {
      const script = scripts.get(shell)!;
      for (const words of everyCommand(buildProgram())) {
        const mark = { bash: `'${words.join(' ')}')`, zsh: `_quorate_${words.join('_').replaceAll('-', '_')}() {`, fish: `-f -a ${words.at(-1)!} -d` }[shell]!;
        assert.include(script, mark, words.join(' '));
      }
    });

    it(`is valid ${shell}`, function () {
      needTool(this, shell);
      const file = path.join(place.folder, `syntax.${shell}`);
      writeFileSync(file, scripts.get(shell)!);
      execFileSync(shell, ['-n', file]);
    });
  }
});
