/** Tests of the service manager's protocols use its real tools; without them they say so. */
import { spawnSync } from 'node:child_process';

export function needTool(test: Mocha.Context, tool: string): void {
  if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0) return;
  process.stdout.write(`      skipped: ${tool} is not installed\n`);
  test.skip();
}
