import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { QuorateError } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { loadConfig } from '../../src/daemon/config.js';
import type { Flags } from '../../src/daemon/config.js';
import { refusal } from '../refusal.js';

describe('configuration', () => {
  let work: string;
  let env: Record<string, string>;
  beforeEach(() => {
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-config-'));
    env = { HOME: work, XDG_CONFIG_HOME: path.join(work, 'config') };
  });
  afterEach(() => rmSync(work, { recursive: true, force: true }));

  const write = (text: string, file = path.join(work, 'quorate.toml')): string => {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  const refused = (flags: Flags): QuorateError => refusal(() => loadConfig(flags, env));

  it('has a default for everything', () => {
    expect(loadConfig({}, env)).to.deep.equal({
      file: '', socket: { path: `/tmp/quorate-${process.getuid!()}/quorate.sock`, source: 'temporary' }, store: path.join(work, '.local/share/quorate'),
      credentialFile: '', arenaBytes: LIMITS.arena_bytes_default, logLevel: 'info', logFormat: 'text', dev: false, auditMode: 'counts', warnStalenessMs: 60_000,
    });
  });

  it('reads every setting', () => {
    const config = write('socket = "/run/q/q.sock"\nstore = "/var/lib/q"\narena_bytes = 8388608\nlog_level = "debug"\nlog_format = "json"\n[seal]\ncredential_file = "/etc/q/seal"\n[audit]\ndata_plane = "each"\n[region]\nwarn_staleness_s = 90\n');
    expect(loadConfig({ config }, env)).to.deep.equal({
      file: config, socket: { path: '/run/q/q.sock', source: 'given' }, store: '/var/lib/q', credentialFile: '/etc/q/seal', arenaBytes: 8388608,
      logLevel: 'debug', logFormat: 'json', dev: false, auditMode: 'each', warnStalenessMs: 90_000,
    });
  });

  it('lets flags outrank the environment, and the environment the file', () => {
    const config = write('socket = "/file.sock"\nstore = "/file"\nlog_level = "warn"\n');
    env['QUORATE_SOCKET'] = '/environment.sock';
    env['QUORATE_STORE'] = '/environment';
    expect(loadConfig({ config }, env)).to.deep.include({ store: '/environment', socket: { path: '/environment.sock', source: 'environment' }, logLevel: 'warn' });
    expect(loadConfig({ config, socket: '/flag.sock', store: '/flag', logLevel: 'error' }, env))
      .to.deep.include({ store: '/flag', socket: { path: '/flag.sock', source: 'given' }, logLevel: 'error' });
  });

  it('finds the file by flag, QUORATE_CONFIG, then the user\'s folder', () => {
    const user = write('log_level = "warn"\n', path.join(work, 'config/quorate/quorate.toml'));
    const named = write('log_level = "error"\n', path.join(work, 'named.toml'));
    expect(loadConfig({}, env)).to.include({ file: user, logLevel: 'warn' });
    env['QUORATE_CONFIG'] = named;
    expect(loadConfig({}, env)).to.include({ file: named, logLevel: 'error' });
    expect(loadConfig({ config: user }, env)).to.include({ file: user });
  });

  it('refuses what it does not know, naming setting and file', () => {
    const bad: [string, string, string][] = [
      ['stroe = "/x"', 'stroe', 'there is no setting stroe'],
      ['constructor = "/x"', 'constructor', 'there is no setting constructor'],
      ['store = 5', 'store', 'store must be a string'],
      ['store = ""', 'store', 'not empty'],
      ['socket = "q.sock"', 'socket', 'absolute path'],
      ['arena_bytes = "4 MiB"', 'arena_bytes', 'whole number of bytes'],
      ['arena_bytes = 1.5', 'arena_bytes', 'whole number of bytes'],
      ['arena_bytes = 4096', 'arena_bytes', 'whole number of bytes from 1048576'],
      ['log_level = "loud"', 'log_level', 'one of debug, info, warn, error'],
      ['log_format = "xml"', 'log_format', 'one of text, json'],
      ['seal = "x"', 'seal', 'must be a table'],
      ['[[seal]]\ncredential_file = "/x"', 'seal', 'must be a table'],
      ['[seal]\ncredential = "/x"', 'seal.credential', 'there is no setting seal.credential'],
      ['[seal]\ncredential_file = true', 'seal.credential_file', 'must be a string'],
    ];
    for (const [text, field, fact] of bad) {
      const config = write(text);
      const error = refused({ config });
      expect(error, text).to.include({ code: 'CONFIG_INVALID', field });
      expect(error.detail, text).to.contain(config).and.to.contain(fact);
    }
  });

  it('says the line of a syntax error, and that a named file cannot be read', () => {
    const config = write('store = "/x"\nlog_level = \n');
    expect(refused({ config }).detail).to.contain(`${config}: line 2`);
    expect(refused({ config: path.join(work, 'none.toml') })).to.include({ code: 'CONFIG_INVALID' }).and.property('detail').contains('ENOENT');
    expect(refused({ logLevel: 'loud' })).to.include({ code: 'USAGE' });
    expect(refused({ logFormat: 'xml' })).to.include({ code: 'USAGE' });
  });
});
