/** Runs a piece of JavaScript in a fresh process that has the addon: for what a process does once, or must not survive. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const addonUrl = new URL('../../src/crypto/addon.js', import.meta.url).href;
export const addonFile = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'build', 'Release', 'quorate.node');

export interface Ended {
  status: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface ChildOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** A command that runs the rest of the line: ['setpriv', ...]. */
  under?: string[];
  timeoutMs?: number;
}

/** `body` sees `addon`; what it prints with `say(value)` comes back as JSON. */
export function inChild(body: string, options: ChildOptions = {}): Ended {
  const script = `import { addon } from ${JSON.stringify(addonUrl)};\nconst say = (value) => process.stdout.write(JSON.stringify(value) + '\\n');\n${body}`;
  return run([process.execPath, '--input-type=module', '-e', script], options);
}

export function run(line: string[], options: ChildOptions = {}): Ended {
  const whole = [...(options.under ?? []), ...line];
  const { NOTIFY_SOCKET: _, QUORATE_CPU: __, ...env } = process.env;
  const ended = spawnSync(whole[0]!, whole.slice(1), {
    encoding: 'utf8', timeout: options.timeoutMs ?? 15_000, env: { ...env, ...options.env }, ...(options.cwd ? { cwd: options.cwd } : {}), maxBuffer: 1 << 26,
  });
  if (ended.error && ended.status === null && ended.signal === null) throw ended.error;
  return { status: ended.status, signal: ended.signal, stdout: ended.stdout, stderr: ended.stderr };
}

export const said = (ended: Ended): unknown[] => ended.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line) as unknown);
