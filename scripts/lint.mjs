// Biome's own binary for this machine. The package @biomejs/biome only picks it, and lists platforms that a registry may lack.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './setup.mjs';

const binary = path.join(root, 'node_modules', '@biomejs', `cli-linux-${process.arch}`, 'biome');

/** Exit status of biome, or null when there is none for this machine. */
export function biome(args) {
  return existsSync(binary) ? (spawnSync(binary, args, { cwd: root, stdio: 'inherit' }).status ?? 1) : null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(biome(process.argv.slice(2)) ?? 1);
