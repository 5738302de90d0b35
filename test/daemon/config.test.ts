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
      credentialFile: '', arenaBytes: LIMITS.arena_bytes_default, logLevel: 'info', logFormat: 'text', dev: false, auditMode: 'counts', warnStalenessMs: 60_000, credentials: { socket: '', domain: '', entries: [] },
      backup: { everyS: 300, fullEveryS: 86_400, keepDays: 30, destinations: [] },
    });
  });

  it('reads every setting', () => {
    const config = write('socket = "/run/q/q.sock"\nstore = "/var/lib/q"\narena_bytes = 8388608\nlog_level = "debug"\nlog_format = "json"\n[seal]\ncredential_file = "/etc/q/seal"\n[audit]\ndata_plane = "each"\n[region]\nwarn_staleness_s = 90\n'
      + '[credentials]\nsocket = "/run/q/c.sock"\ndomain = "payments"\n[credentials.units."billing.service"]\ndb = "app/db#user.name"\n"a b" = "app/x"\n[credentials.units."worker@.service"]\nt = "t"\n'
      + '[backup]\nevery_s = 60\nfull_every_s = 43200\nkeep_days = 35\n[backup.destinations.rbx]\nfolder = "/srv/backup"\n[backup.destinations.sbg]\ns3 = "https://s3.example:8443/bucket/a/b"\ns3_region = "sbg"\ncredentials_file = "/etc/q/s3.toml"\nca_file = "/etc/q/ca.pem"\n');
    expect(loadConfig({ config }, env)).to.deep.equal({
      file: config, socket: { path: '/run/q/q.sock', source: 'given' }, store: '/var/lib/q', credentialFile: '/etc/q/seal', arenaBytes: 8388608,
      logLevel: 'debug', logFormat: 'json', dev: false, auditMode: 'each', warnStalenessMs: 90_000,
      credentials: { socket: '/run/q/c.sock', domain: 'payments', entries: ['billing.service', 'db', 'app/db', 'user.name', 'billing.service', 'a b', 'app/x', '', 'worker@.service', 't', 't', ''] },
      backup: {
        everyS: 60, fullEveryS: 43_200, keepDays: 35, destinations: [
          { name: 'rbx', table: { folder: '/srv/backup' } },
          { name: 'sbg', table: { s3: 'https://s3.example:8443/bucket/a/b', s3_region: 'sbg', credentials_file: '/etc/q/s3.toml', ca_file: '/etc/q/ca.pem' } },
        ],
      },
    });
  });

  it('takes no unit, credential or secret that there cannot be', () => {
    for (const text of [
      'socket = "c.sock"', 'domain = "A"', 'units = 1', 'units.a = 1', 'units.billing.x = "a"', 'units."a.target".x = "a"', 'units."a/b.service".x = "a"', 'units."a.service" = "x"', 'units."a.service".x = 1', 'units."a.service".x = ""',
      'units."a.service".x = "../a"', 'units."a.service".x = "/a"', 'units."a.service".x = "a#"', 'units."a.service"."x:y" = "a"', 'units."a.service"."x/y" = "a"', 'units."a.service".".." = "a"', 'units."a.service"."" = "a"', 'units."a.service"."é" = "a"',
    ]) expect(refused({ config: write(`[credentials]\n${text}\n`) }).code, text).to.equal('CONFIG_INVALID');
    expect(refused({ config: write('[credentials]\nunits."a.service".x = "a b"\n') }).detail).to.contain('credentials.units of a.service: x names what can be no secret');
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

  it('refuses backups that could not be made, naming setting and fault', () => {
    const s3 = (rest: string): string => `[backup.destinations.a]\ns3 = "${rest}"`;
    const bad: [string, string, string][] = [
      ['[backup]\nevery_s = 9', 'backup.every_s', 'seconds from 10 to 86400'],
      ['[backup]\nevery_s = 86401', 'backup.every_s', 'seconds from 10 to 86400'],
      ['[backup]\nfull_every_s = 3599', 'backup.full_every_s', 'seconds from 3600'],
      ['[backup]\nkeep_days = 0', 'backup.keep_days', 'days from 1 to 365'],
      ['[backup]\nkeep_days = 366', 'backup.keep_days', 'days from 1 to 365'],
      ['[backup]\nkeep_days = 1.5', 'backup.keep_days', 'whole number'],
      ['[backup]\nevery_s = 7200\nfull_every_s = 3600', 'backup.full_every_s', 'at least backup.every_s, which is 7200'],
      ['[backup]\nfull_every_s = 172800\nkeep_days = 1', 'backup.full_every_s', 'at most backup.keep_days, which is 1'],
      ['[backup]\nevery = 300', 'backup.every', 'there are backup.every_s, backup.full_every_s'],
      ['[backup]\ndestinations = 5', 'backup.destinations', 'must be a table'],
      ['[backup.destinations]\na = 5', 'backup.destinations.a', 'must be a table: [backup.destinations.a]'],
      ['[backup.destinations.A]\nfolder = "/x"', 'backup.destinations.A', 'lower-case letters'],
      ['[backup.destinations."a.b"]\nfolder = "/x"', 'backup.destinations.a.b', 'lower-case letters'],
      [`[backup.destinations.${'a'.repeat(33)}]\nfolder = "/x"`, `backup.destinations.${'a'.repeat(33)}`, '1 to 32'],
      ['[backup.destinations.a]', 'backup.destinations.a', 'either folder or s3'],
      ['[backup.destinations.a]\nfolder = "/x"\ns3 = "https://h/bucket"', 'backup.destinations.a', 'either folder or s3'],
      ['[backup.destinations.a]\nfolder = "/x"\ns3_region = "r"', 'backup.destinations.a', 'has s3_region, which is nothing to a folder'],
      ['[backup.destinations.a]\nfolder = "x"', 'backup.destinations.a.folder', 'absolute path'],
      ['[backup.destinations.a]\nfolder = "/x"\n[backup.destinations.b]\nfolder = "/x"', 'backup.destinations.b', 'is the same place as backup.destinations.a'],
      [`${s3('https://h/bucket')}\nsecret_access_key = "x"`, 'backup.destinations.a.secret_access_key', 'there is no setting'],
      [`${s3('https://h/bucket')}\ns3_region = "a b"`, 'backup.destinations.a.s3_region', 'name of a region'],
      [`${s3('https://h/bucket')}\nca_file = "ca.pem"`, 'backup.destinations.a.ca_file', 'absolute path'],
      [s3('bucket'), 'backup.destinations.a.s3', 'must be a URL'],
      [s3('s3://bucket/x'), 'backup.destinations.a.s3', 'must be a URL'],
      [s3('http://storage.example/bucket'), 'backup.destinations.a.s3', 'must be https'],
      [s3('http://127.0.0.1.example/bucket'), 'backup.destinations.a.s3', 'must be https'],
      [s3('https://user:word@h/bucket'), 'backup.destinations.a.s3', 'no credentials'],
      [s3('https://h/bucket?x=1'), 'backup.destinations.a.s3', 'nothing after'],
      [s3('https://h'), 'backup.destinations.a.s3', 'must name a bucket'],
      [s3('https://h/Bucket'), 'backup.destinations.a.s3', 'must name a bucket'],
      [s3('https://h/bucket/'), 'backup.destinations.a.s3', 'prefix'],
      [s3('https://h/bucket/a/'), 'backup.destinations.a.s3', 'prefix'],
      [s3('https://h/bucket/A'), 'backup.destinations.a.s3', 'prefix'],
    ];
    for (const [text, field, fact] of bad) {
      const config = write(text);
      const error = refused({ config });
      expect(error, text).to.include({ code: 'CONFIG_INVALID', field });
      expect(error.detail, text).to.contain(config).and.to.contain(fact).and.not.to.contain('word');
    }
    for (const text of [s3('http://127.0.0.1:8080/bucket'), s3('http://[::1]:1/bucket/p'), s3('http://localhost/bucket'), s3('https://h/b.c-d/a_b/c.d')]) {
      expect(loadConfig({ config: write(text) }, env).backup.destinations, text).to.have.length(1);
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
