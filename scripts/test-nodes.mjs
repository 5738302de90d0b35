// `npm run test:nodes [-- MAJOR...]`: the whole test command in a fresh clone of what is committed, under each other supported Node, with
// an empty HOME. The binaries come from the npm packages node-linux-<arch>@MAJOR, kept in .cache/; these bring the headers that the
// addon and the database are built against (include/node), as set-up wants them.
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
  must('npm', ['pack', '--silent', '--pack-destination', folder, `node-linux-${process.arch}@${major}`]);
  const archive = readdirSync(folder).find((f) => f.endsWith('.tgz'));
  must('tar', ['xzf', path.join(folder, archive), '-C', folder]);
  rmSync(path.join(folder, archive));
  return node;
}

const versionOf = (node) => spawnSync(node, ['-p', 'process.versions.node + ", OpenSSL " + process.versions.openssl'], { encoding: 'utf8' }).stdout.trim();

let failed = 0;
const outcomes = [];
for (const major of wanted) {
  const node = nodeOf(major);
  const work = mkdtempSync(path.join(tmpdir(), `quorate-node-${major}-`));
  try {
    must('git', ['clone', '--quiet', root, path.join(work, 'quorate')]);
    const home = path.join(work, 'home');
    mkdirSync(home);
    const env = { ...process.env, HOME: home, PATH: `${path.dirname(node)}:${process.env.PATH}`, QUORATE_SHARED: process.env.QUORATE_SHARED ?? path.join(root, '..', 'shared') };
    process.stdout.write(`\n== node ${versionOf(node)}\n`);
    const result = spawnSync(node, ['scripts/test.mjs'], { cwd: path.join(work, 'quorate'), stdio: 'inherit', env });
    outcomes.push(`node ${versionOf(node)}: ${result.status === 0 ? 'passed' : 'FAILED'}`);
    if (result.status !== 0) failed++;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
process.stdout.write(`\n${outcomes.join('\n')}\n`);
process.exit(failed === 0 ? 0 : 1);
