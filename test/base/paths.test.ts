import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { chooseSocket, chooseStore, configCandidates, requirePrivateFolder } from '../../src/base/paths.js';
import { refusal } from '../refusal.js';

const uid = process.getuid!();

describe('paths', () => {
  let work: string;
  beforeEach(() => { work = mkdtempSync(path.join(os.tmpdir(), 'quorate-paths-')); });
  afterEach(() => rmSync(work, { recursive: true, force: true }));

  it('chooses the socket: given, QUORATE_SOCKET, the runtime folder, /tmp', () => {
    const env = { QUORATE_SOCKET: '/run/q.sock', XDG_RUNTIME_DIR: work };
    expect(chooseSocket('/a/b.sock', env)).to.deep.equal({ path: '/a/b.sock', source: 'given' });
    expect(chooseSocket('b.sock', env).path).to.equal(path.resolve('b.sock'));
    expect(chooseSocket(undefined, env)).to.deep.equal({ path: '/run/q.sock', source: 'environment' });
    expect(chooseSocket(undefined, { XDG_RUNTIME_DIR: work })).to.deep.equal({ path: path.join(work, 'quorate.sock'), source: 'runtime' });
    expect(chooseSocket('', { QUORATE_SOCKET: '' }, 1234)).to.deep.equal({ path: '/tmp/quorate-1234/quorate.sock', source: 'temporary' });
  });

  it('ignores a runtime folder that is relative, missing or another user\'s', () => {
    expect(chooseSocket(undefined, { XDG_RUNTIME_DIR: 'run' }).source).to.equal('temporary');
    expect(chooseSocket(undefined, { XDG_RUNTIME_DIR: path.join(work, 'none') }).source).to.equal('temporary');
    expect(chooseSocket(undefined, { XDG_RUNTIME_DIR: work }, uid + 1)).to.deep.equal({ path: `/tmp/quorate-${uid + 1}/quorate.sock`, source: 'temporary' });
  });

  it('chooses the store: given, QUORATE_STORE, XDG_DATA_HOME, the home folder', () => {
    const env = { QUORATE_STORE: '/srv/q', XDG_DATA_HOME: '/data', HOME: '/home/x' };
    expect(chooseStore('/a', env)).to.equal('/a');
    expect(chooseStore(undefined, env)).to.equal('/srv/q');
    expect(chooseStore(undefined, { ...env, QUORATE_STORE: '' })).to.equal('/data/quorate');
    expect(chooseStore(undefined, { HOME: '/home/x', XDG_DATA_HOME: 'relative' })).to.equal('/home/x/.local/share/quorate');
    expect(configCandidates({ HOME: '/home/x' })).to.deep.equal(['/home/x/.config/quorate/quorate.toml', '/etc/quorate/quorate.toml']);
    expect(configCandidates({ HOME: '/home/x', XDG_CONFIG_HOME: '/c' })[0]).to.equal('/c/quorate/quorate.toml');
  });

  it('makes the private folder, takes it again, and refuses one that others reach into', () => {
    const folder = path.join(work, 'run');
    requirePrivateFolder(folder);
    requirePrivateFolder(folder);
    chmodSync(folder, 0o750);
    expect(refusal(() => requirePrivateFolder(folder))).to.include({ code: 'SOCKET_UNUSABLE' }).and.property('detail').contains('open to others');
    chmodSync(folder, 0o700);
    expect(refusal(() => requirePrivateFolder(folder, uid + 1)).detail).to.contain(`belongs to uid ${uid}`);
    symlinkSync(folder, path.join(work, 'link'));
    expect(refusal(() => requirePrivateFolder(path.join(work, 'link'))).detail).to.contain('symbolic link');
    writeFileSync(path.join(work, 'file'), '');
    expect(refusal(() => requirePrivateFolder(path.join(work, 'file'))).detail).to.contain('not a folder');
    expect(refusal(() => requirePrivateFolder(path.join(work, 'none', 'run'))).detail).to.contain('ENOENT');
  });
});
