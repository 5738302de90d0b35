import { expect } from 'chai';
import { activatedSockets, watchdogMs } from '../../src/daemon/notify.js';

describe('the service manager\'s environment', () => {
  it('hands sockets only to the process that it names', () => {
    const env = { LISTEN_FDS: '2', LISTEN_PID: '42', LISTEN_FDNAMES: 'a:b' };
    expect(activatedSockets(() => '', env, 42).map(({ fd, name }) => [fd, name])).to.deep.equal([[3, 'a'], [4, 'b']]);
    expect(activatedSockets(() => '', env, 43)).to.deep.equal([]);
    expect(activatedSockets(() => '', {}, 42)).to.deep.equal([]);
    for (const count of ['0', '-1', '1.5', 'x', '', '100000']) expect(activatedSockets(() => '', { ...env, LISTEN_FDS: count }, 42), count).to.deep.equal([]);
  });

  it('has a watchdog only when one is asked of this process', () => {
    expect(watchdogMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '42' }, 42)).to.equal(30_000);
    expect(watchdogMs({ WATCHDOG_USEC: '30000000' }, 42)).to.equal(30_000);
    expect(watchdogMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '43' }, 42)).to.equal(0);
    for (const us of ['0', '-5', 'x', '']) expect(watchdogMs({ WATCHDOG_USEC: us }, 42), us).to.equal(0);
  });
});
