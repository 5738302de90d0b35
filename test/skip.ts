/** A test that cannot run here says skipped, and why. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

/** In front of a command: it runs as the uid that nobody's files belong to. */
export const AS_NOBODY: readonly string[] = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

export function skip(test: Mocha.Context, reason: string): never {
  process.stdout.write(`      skipped: ${reason}\n`);
  return test.skip();
}

/** The real tools, where a protocol or a shell is tested with them. */
export function needTool(test: Mocha.Context, tool: string): void {
  if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).status !== 0) skip(test, `${tool} is not installed`);
}

/** For tools that know no --version. */
export function needInstalled(test: Mocha.Context, tool: string): void {
  if (spawnSync(tool, ['--help'], { stdio: 'ignore' }).error !== undefined) skip(test, `${tool} is not installed`);
}

export function needRoot(test: Mocha.Context): void {
  if (process.getuid!() !== 0) skip(test, 'only root can be somebody else');
}

/** Root, and a checkout that uid 65534 can run a daemon from. */
export function needNobody(test: Mocha.Context): void {
  needRoot(test);
  if (spawnSync(AS_NOBODY[0]!, [...AS_NOBODY.slice(1), 'test', '-r', path.join(checkout, 'package.json')]).status !== 0) skip(test, 'uid 65534 cannot read this checkout');
}
