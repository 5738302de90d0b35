import { expect } from 'chai';
import { ERRORS, QuorateError } from '../../src/base/errors.js';
import { parseFlags } from '../../src/daemon/flags.js';
import { asQuorateError, errorLine } from '../../src/daemon/report.js';

describe('the command line of quorated', () => {
  it('reads every flag', () => {
    const none = { config: undefined, socket: undefined, store: undefined, logLevel: undefined, logFormat: undefined, dev: false };
    expect(parseFlags([])).to.deep.equal({ kind: 'run', flags: none });
    expect(parseFlags(['--config', 'a', '--socket=b', '--store', 'c', '--dev', '--log-level', 'debug', '--log-format', 'json']))
      .to.deep.equal({ kind: 'run', flags: { config: 'a', socket: 'b', store: 'c', dev: true, logLevel: 'debug', logFormat: 'json' } });
    expect(parseFlags(['--help', '--dev'])).to.deep.equal({ kind: 'help' });
    expect(parseFlags(['--version'])).to.deep.equal({ kind: 'version' });
  });

  it('refuses what it does not understand', () => {
    for (const argv of [['--sotre', 'x'], ['start'], ['--socket'], ['--store='], ['--dev=yes'], ['-x']]) {
      expect(() => parseFlags(argv), argv.join(' ')).to.throw(QuorateError).with.property('code', 'USAGE');
    }
  });

  it('ends with code, fact, fate and next step', () => {
    expect(errorLine(new QuorateError('STORE_KEY_WRONG', 'root.key is missing'))).to.equal(
      'error STORE_KEY_WRONG: root.key is missing. The store was not changed. Put back the root key or seal.json that belongs to this store.');
    expect(errorLine(new QuorateError('SEALED'))).to.equal('error SEALED: the daemon is sealed. Keys are safe and cannot be used. Run: quorate unseal');
    expect(asQuorateError(new TypeError('x'))).to.include({ code: 'INTERNAL', detail: 'x' });
    expect(asQuorateError(new QuorateError('BUSY')).row).to.equal(ERRORS.BUSY);
  });
});
