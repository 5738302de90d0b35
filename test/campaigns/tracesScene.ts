/** A daemon with backups at two places, and a person at a terminal who gives it secrets in every way, the wrong ones too. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { QuorateClient } from '../../src/client/index.js';
import { Terminal } from '../cli/terminal.js';
import { Place, root, type Run } from '../daemon/process.js';

const quorate = path.join(root, 'bin', 'quorate');
const PASSPHRASE = 'correct horse battery';
const TOO_MANY_BYTES = 70_000;
/** The child that is given a secret by its environment is known by these words. */
export const GIVEN_BY_ENVIRONMENT = 'sleep 3.25';
const GIVEN_BY_FILE = 'sleep 3.75';

/** Forty letters and digits, as nobody else's. */
const value = (): string => randomBytes(30).toString('base64').replace(/[+/]/g, 'x');

/** How each value comes to the store; the last four never do. */
export const VALUES = {
  file: value(), stdin: value(), typed: value(), json: value(), second: value(),
  /** Typed by hand into `printf ... | quorate secret put`. */
  printed: value(),
  /** Given where it does not belong, as an argument: on its own, as part of a path, of an option; and one as long as no name of a file is. */
  argument: value(), long: value(),
  /** Given as a path: the name of a secret that there is none of. */
  named: value(),
  /** In a file that is too long, that is no JSON, typed twice and not the same. */
  refused: value(),
};
export type ValueName = keyof typeof VALUES;

export class Scene {
  readonly #place = new Place();
  readonly folder = this.#place.folder;
  readonly store = this.#place.store;
  readonly config = this.file('quorate.toml');
  readonly backups = [this.file('one'), this.file('two')] as const;
  readonly home = this.file('home');
  readonly history = path.join(this.home, '.bash_history');
  readonly tmp = this.file('tmp');
  /** What the person has made and asked for: files with values in them. */
  readonly own = this.file('own');
  /** What wrong commands said. */
  readonly said = this.file('said.txt');
  #run: Run | null = null;
  #client: QuorateClient | null = null;
  terminal: Terminal | null = null;

  constructor() {
    for (const folder of [...this.backups, this.tmp, this.own]) mkdirSync(folder);
    writeFileSync(this.config, `log_level = "debug"\n[audit]\ndata_plane = "each"\n[backup]\nevery_s = 3600\n${this.backups.map((folder, i) => `[backup.destinations.${['one', 'two'][i]}]\nfolder = "${folder}"\n`).join('')}`);
    writeFileSync(this.file('pass'), `${PASSPHRASE}\n`);
    const { file, stdin, json, second, refused } = VALUES;
    const own: Record<string, string> = {
      'file.txt': file, 'stdin.txt': stdin, 'second.txt': second, 'json.json': JSON.stringify({ user: 'u', password: json }), 'refused.txt': refused,
      'refused-long.txt': refused.repeat(Math.ceil(TOO_MANY_BYTES / refused.length)), 'app.tmpl': 'password={{ secret "app/json#password" }}\n', 'bad.tmpl': '{{ secret "app/json#password" }} {{ secret "app/json#none" }}\n',
    };
    for (const [name, text] of Object.entries(own)) writeFileSync(path.join(this.own, name), text, { mode: 0o600 });
  }

  file(name: string): string {
    return path.join(this.#place.folder, name);
  }

  get pid(): number {
    return this.#run!.child.pid!;
  }

  get log(): string {
    return this.#run!.output;
  }

  get client(): QuorateClient {
    return this.#client!;
  }

  get env(): NodeJS.ProcessEnv {
    const PATH = `${path.dirname(quorate)}:${path.dirname(process.execPath)}:${process.env['PATH']}`;
    return { ...process.env, ...this.#place.env, PATH, TMPDIR: this.tmp, QUORATE_SOCKET: this.#place.socket, QUORATE_CONFIG: this.config, HISTFILE: this.history } as NodeJS.ProcessEnv;
  }

  async start(): Promise<void> {
    // Where it is shown to leave no core image, there could be one.
    this.#run = await this.#place.start({ args: ['--config', this.config], env: { TMPDIR: this.tmp }, wrap: ['sh', '-c', `cd ${this.tmp} && ulimit -c unlimited && exec "$@"`, 'sh'] });
    const { status, stdout, stderr } = spawnSync(process.execPath, [quorate, 'init', `--passphrase-file=${this.file('pass')}`], { encoding: 'utf8', env: this.env });
    if (status !== 0) throw new Error(`init: ${stdout}${stderr}`);
    this.#client = await this.#place.connect();
  }

  /** Everything that is typed; `between` when the secrets are there and were fetched. Ends with the shell, which then writes its history. */
  async play(canary: string, between: () => Promise<void>): Promise<void> {
    this.terminal = new Terminal({ folder: this.own, env: this.env }, `PS1='ready> ' bash --noprofile --norc -i`);
    for (const line of [`echo ${canary} # seen`, ...PUTS]) await this.#type(line);
    await this.#typeValue('quorate secret put app/typed', VALUES.typed, VALUES.typed);
    await this.#typeValue('quorate secret put app/refused 2>> ../said.txt', VALUES.refused, VALUES.file);
    for (const line of [...FETCHES, ...wrong(), ...CHANGES]) await this.#type(line);
    await this.terminal.answer('ready> ', '\r');
    await between();
    for (const line of [...ENDS, 'exit']) await this.#type(line);
    await this.terminal.exit;
  }

  #type(line: string): Promise<void> {
    return this.terminal!.answer('ready> ', `${line}\r`);
  }

  async #typeValue(line: string, first: string, again: string): Promise<void> {
    await this.#type(line);
    await this.terminal!.answer('Value: ', `${first}\r`);
    await this.terminal!.answer('The same again: ', `${again}\r`);
  }

  async backUp(): Promise<void> {
    const { places } = await this.client.backups.run({ full: true });
    if (places.length !== 2 || places.some(({ failing }) => failing !== '')) throw new Error(`backup: ${JSON.stringify(places)}`);
  }

  kill(signal: NodeJS.Signals): Promise<unknown> {
    return this.#run!.kill(signal);
  }

  remove(): Promise<void> {
    return this.#place.remove();
  }
}

const PUTS = [
  'quorate secret put app/file file.txt', 'quorate secret put app/stdin - < stdin.txt', 'cat stdin.txt | quorate secret put app/piped -', 'quorate secret put app/json json.json --json',
  `printf %s ${VALUES.printed} | quorate secret put app/printed -`, 'quorate secret put app/file second.txt --cas 1',
];
/** The two programs run while the rest is typed. */
const FETCHES = [
  'quorate secret get app/file > /dev/null', 'quorate secret get app/file --version 1 > /dev/null', 'quorate secret get app/typed -o typed.txt', 'quorate secret get app/json#password > /dev/null', 'quorate secret get app/stdin --format json > /dev/null', 'quorate secret get app/piped > /dev/null', 'quorate secret get app/printed > /dev/null',
  `quorate run --secret GIVEN=app/json#password -- ${GIVEN_BY_ENVIRONMENT} &`, `quorate run --file GIVEN=app/json -- sh -c 'cat $GIVEN > /dev/null; exec ${GIVEN_BY_FILE}' &`,
  'quorate template app.tmpl -o app.conf', 'quorate secret ls; quorate secret versions app/file; quorate inventory > /dev/null',
];
const CHANGES = ['quorate secret deactivate app/file 1', 'wait'];
const ENDS = ['quorate secret activate app/file 1', 'quorate --yes secret destroy app/file 1', 'quorate --yes secret destroy app/typed --now', 'quorate --yes secret destroy app/json --now', 'quorate audit ls > /dev/null 2>&1'];

/** What a person does wrong; every word of what is said about it is kept. */
function wrong(): string[] {
  const { argument, long, named } = VALUES;
  return [
    'quorate secret get app/json#none', 'quorate secret get app/stdin#password', 'quorate secret get "app//file"', 'quorate secret get app/nothing', 'quorate secret put app/refused refused-long.txt', 'quorate secret put app/refused refused.txt --json',
    'quorate secret put app//x refused.txt', 'quorate secret put app/refused refused.txt --cas 99', 'quorate template bad.tmpl -o bad.conf', 'quorate run --secret A=app/json#none -- true', 'quorate secret get app/file --version 99', 'quorate secret get app/file -o /nowhere/at/all',
    `quorate secret put app/argument ${argument}`, `quorate secret put app/argument ${long.repeat(20)}`, `quorate secret put app/argument --value ${argument}`, `quorate secret put app/argument --value=${argument}`, `quorate secret put app/argument - ${argument} < /dev/null`, `quorate secret put app/argument=${argument} stdin.txt`,
    `quorate secret put ${long.repeat(20)} stdin.txt`, `quorate run --secret ${argument} -- true`, `quorate run --secret A=${argument.slice(0, -1)}=${argument} -- true`, `quorate run --secret A=${named} -- true`, `quorate secret put app/argument stdin.txt/${argument}`,
  ].map((line) => `${line} 2>> ../said.txt`);
}
