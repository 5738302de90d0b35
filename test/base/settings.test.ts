import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { needRoot } from '../skip.js';
import { clientSocket, configuredStore, findSettings } from '../../src/base/settings.js';
import { refusal } from '../refusal.js';

describe('settings', () => {
  let work: string;
  let env: Record<string, string>;
  beforeEach(() => {
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-settings-'));
    env = { HOME: work, XDG_CONFIG_HOME: path.join(work, 'config'), XDG_RUNTIME_DIR: work };
  });
  afterEach(() => rmSync(work, { recursive: true, force: true }));

  const write = (text: string, file = path.join(work, 'config', 'quorate', 'quorate.toml')): string => {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  it('a client takes what was given, then QUORATE_SOCKET, then the file, then the default', () => {
    expect(clientSocket(undefined, env)).to.equal(path.join(work, 'quorate.sock'));
    write('socket = "/run/q/file.sock"\n');
    expect(clientSocket(undefined, env)).to.equal('/run/q/file.sock');
    expect(clientSocket('', env)).to.equal('/run/q/file.sock');
    const named = write('socket = "/run/q/named.sock"\n', path.join(work, 'named.toml'));
    expect(clientSocket(undefined, { ...env, QUORATE_CONFIG: named })).to.equal('/run/q/named.sock');
    env['QUORATE_SOCKET'] = '/run/q/environment.sock';
    expect(clientSocket(undefined, env)).to.equal('/run/q/environment.sock');
    expect(clientSocket('/given.sock', env)).to.equal('/given.sock');
  });

  it('a store for a daemon that is started: the same order', () => {
    expect(configuredStore(undefined, env)).to.equal(path.join(work, '.local/share/quorate'));
    write('store = "/file"\n');
    expect(configuredStore(undefined, env)).to.equal('/file');
    env['QUORATE_STORE'] = '/environment';
    expect(configuredStore(undefined, env)).to.equal('/environment');
    expect(configuredStore('/given', env)).to.equal('/given');
  });

  it('a client passes over what it does not know, and not over a socket that cannot be one', () => {
    write('socket = "/s.sock"\nof_a_later_release = [1]\nlog_level = "loud"\n[seal]\nx = 1\n');
    expect(clientSocket(undefined, env)).to.equal('/s.sock');
    for (const [text, fact] of [['socket = "q.sock"', 'absolute path'], ['socket = 5', 'must be a string'], ['socket = ""', 'not empty'], ['socket = ', 'line 1']] as const) {
      const file = write(text);
      const error = refusal(() => clientSocket(undefined, env));
      expect(error.code, text).to.equal('CONFIG_INVALID');
      expect(error.detail, text).to.contain(file).and.to.contain(fact);
    }
    // Whoever says which socket needs no file.
    expect(clientSocket('/given.sock', env)).to.equal('/given.sock');
  });

  it('a file that was named must be there; one that this user may not read is no candidate for a client, and stops the daemon', function () {
    expect(refusal(() => clientSocket(undefined, { ...env, QUORATE_CONFIG: path.join(work, 'none.toml') }))).to.include({ code: 'CONFIG_INVALID' });
    const file = write('socket = "/s.sock"\n');
    needRoot(this);
    process.seteuid!(65534);
    try {
      expect(findSettings(undefined, env, true).file).to.not.equal(file);
      expect(refusal(() => findSettings(undefined, env, false))).to.include({ code: 'CONFIG_INVALID' }).and.property('detail').contains('EACCES');
    } finally {
      process.seteuid!(0);
    }
  });

  it('keeps a client from a fallback folder that is not its own', function () {
    needRoot(this);
    const none = { XDG_CONFIG_HOME: work };
    const other = 4_000_000 + (process.pid % 100_000);
    const folder = `/tmp/quorate-${other}`;
    expect(clientSocket(undefined, none, other)).to.equal(`${folder}/quorate.sock`);
    mkdirSync(folder, { mode: 0o700 });
    try {
      expect(refusal(() => clientSocket(undefined, none, other))).to.include({ code: 'CONNECT_FAILED' });
      expect(clientSocket('/given.sock', none, other)).to.equal('/given.sock');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
