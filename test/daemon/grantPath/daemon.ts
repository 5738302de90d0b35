/**
 * The daemon as it is, but for one bound: a campaign is refused far more often than `denials_per_uid_burst` lets a uid be, and would hear BUSY
 * in the place of what it compares. test/daemon/denials.test.ts has that bound for itself.
 */
import { LIMITS } from '../../../src/base/limits.js';

Object.assign(LIMITS, { denials_per_uid_burst: 2 ** 40 });
const { main } = await import('../../../src/daemon/main.js');
await main(process.argv.slice(2));
