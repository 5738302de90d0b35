// `npm start`: everything that is missing, then a development daemon in the foreground.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { root, setupOrExit } from './setup.mjs';

setupOrExit('run');
const daemon = spawn(process.execPath, [path.join(root, 'bin', 'quorated'), '--dev', ...process.argv.slice(2)], { stdio: 'inherit' });
// The terminal sends Ctrl-C to both; this side waits, so that the daemon's last words come before the prompt.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => { if (signal !== 'SIGINT') daemon.kill(signal); });
daemon.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
