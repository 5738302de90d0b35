/** The module and the programs that use it, built where the tests run: plain, and with the sanitizers. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { assert } from 'chai';
import { type Place, root } from '../daemon/process.js';

export const native = path.join(root, 'build', 'native');
export const modulePath = path.join(native, 'libquorate-pkcs11.so');
const sources = path.join(root, 'test', 'pkcs11');

export type Variant = 'plain' | 'asan';
// Not optimised: it would take longer than it saves, and the sanitizers look at the same.
const SANITIZE = ['-O0', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];

function must(command: string, args: string[]): void {
  const done = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  assert.equal(done.status, 0, `${command} ${args.join(' ')}\n${done.stdout}${done.stderr}`);
}

export function buildModule(variant: Variant): string {
  must('make', ['-s', '-C', 'native', variant === 'asan' ? 'pkcs11-asan' : 'pkcs11']);
  return variant === 'asan' ? path.join(native, 'libquorate-pkcs11-asan.so') : modulePath;
}

const SOURCES = {
  edges: ['edges.cc', 'edges_objects.cc', 'edges_sign.cc', 'edges_process.cc', 'edges_cipher.cc', 'edges_make.cc'],
  steps: ['steps.cc'],
  sequences: ['sequences.cc', 'sequences_calls.cc'],
} as const;

/** By this process. */
const built = new Set<string>();

export function buildProgram(name: keyof typeof SOURCES, variant: Variant): string {
  const folder = path.join(native, 'pkcs11-programs');
  mkdirSync(folder, { recursive: true });
  const program = path.join(folder, `${name}-${variant}`);
  if (built.has(program)) return program;
  const files = SOURCES[name].map((file) => path.join(sources, file));
  const flags = variant === 'asan' ? SANITIZE : ['-O0'];
  must('g++', ['-std=c++20', '-Wall', '-Wextra', '-Werror', '-g1', ...flags, `-I${path.join(root, 'native')}`, ...files, '-o', program, '-ldl', '-lpthread']);
  built.add(program);
  return program;
}

export function environment(place: Place | { socket: string }, module: string): NodeJS.ProcessEnv {
  return { ...process.env, ...('env' in place ? place.env : {}), QUORATE_SOCKET: place.socket, MODULE: module, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' };
}

/** The program `steps`, asked one step after the other. */
export class Steps {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #said = '';

  constructor(program: string, env: NodeJS.ProcessEnv) {
    this.#child = spawn(program, [], { env });
    this.#lines = readline.createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.on('data', (data: Buffer) => { this.#said += data.toString(); });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What the call returned, as hexadecimal digits, and how long it took. */
  async step(word: string): Promise<{ rv: string; ms: number }> {
    this.#child.stdin.write(`${word}\n`);
    const { value, done } = await this.#lines.next();
    assert.notEqual(done, true, `${word}: the program is gone. ${this.#said}`);
    const [rv, ms] = (value as string).split(' ');
    return { rv: rv!, ms: Number(ms) };
  }

  /** Ends it; what it leaked or broke is an error. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    const code = await new Promise((resolve) => { this.#child.once('close', resolve); });
    assert.equal(code, 0, this.#said);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
