/**
 * `npm run test:backup`: thirty days of backups under a clock that is moved by hand, an interval every five minutes, two folders, and restores at
 * random points that must equal the store as it was then. `--days`, `--restores`, `--every` seconds, `--seed`.
 */
import { parseArgs } from 'node:util';
import { addon } from '../../src/crypto/addon.js';
import { liveThroughDays } from '../backup/days.js';

const { values } = parseArgs({ options: { days: { type: 'string', default: '30' }, keep: { type: 'string', default: '30' }, restores: { type: 'string', default: '100' }, every: { type: 'string', default: '300' }, seed: { type: 'string', default: String(Date.now() % 1e9) } } });
const [days, keepDays, restores, everyS, seed] = [values.days, values.keep, values.restores, values.every, values.seed].map(Number) as [number, number, number, number, number];

addon.openArena(8 * 1024 * 1024);
const beganMs = performance.now();
process.stdout.write(`seed ${seed}\n`);
const report = await liveThroughDays(addon, { days, keepDays, restores, everyMs: everyS * 1000, seed, onDay: (day) => process.stderr.write(`day ${day}, ${Math.round((performance.now() - beganMs) / 1000)} s\n`) });
process.stdout.write(`${JSON.stringify({ ...report, seconds: Math.round((performance.now() - beganMs) / 1000) }, null, 1)}\n`);
process.exit(report.differences.length === 0 && report.greatestGapMs <= everyS * 1000 ? 0 : 1);
