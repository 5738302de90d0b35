/** The units, rendered for this checkout, as systemd's own tools judge them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { CREDENTIALS_FD_NAME } from '../../src/daemon/credentials.js';
import { RegionFiles } from '../../src/daemon/region/files.js';
import { root } from '../daemon/process.js';
import { needTool } from '../skip.js';

/** systemd calls up to 2.0 "OK": what is left here is what the daemon needs, said in the unit. */
const EXPOSURE_MAX = 2.0;

describe('systemd units', () => {
  let work: string;
  let service: string;
  before(() => {
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-units-'));
    const rendered = spawnSync(process.execPath, [path.join(root, 'scripts', 'render-units.mjs'), work], { encoding: 'utf8' });
    expect(rendered.status, rendered.stderr).to.equal(0);
    service = readFileSync(path.join(work, 'quorate.service'), 'utf8');
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  it('systemd-analyze verify finds nothing', function () {
    needTool(this, 'systemd-analyze');
    const result = spawnSync('systemd-analyze', ['verify', path.join(work, 'quorate.service'), path.join(work, 'quorate.socket'), path.join(work, 'quorate-credentials.socket'), path.join(work, 'quorate-etcd.path')], { encoding: 'utf8' });
    expect(result.stdout + result.stderr).to.equal('');
    expect(result.status).to.equal(0);
  });

  it(`systemd-analyze security gives at most ${EXPOSURE_MAX}`, function () {
    needTool(this, 'systemd-analyze');
    const result = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', path.join(work, 'quorate.service')], { encoding: 'utf8' });
    const level = /Overall exposure level for quorate\.service: ([0-9.]+) (\w+)/.exec(result.stdout);
    expect(level, result.stdout + result.stderr).to.not.equal(null);
    process.stdout.write(`      exposure level ${level![1]} ${level![2]}\n`);
    expect(Number(level![1])).to.be.at.most(EXPOSURE_MAX);
  });

  it('starts the engine as the daemon\'s own uid, from the file that the daemon writes', () => {
    const engine = readFileSync(path.join(work, 'quorate-etcd.service'), 'utf8');
    const starts = readFileSync(path.join(work, 'quorate-etcd.path'), 'utf8');
    for (const setting of ['User=quorate', 'DynamicUser=yes', 'StateDirectory=quorate', 'StateDirectoryMode=0700']) {
      expect(engine).to.contain(`\n${setting}\n`);
      expect(service).to.contain(`\n${setting}\n`);
    }
    const file = path.join('/var/lib/quorate', path.relative('/', new RegionFiles('/').engineSettings));
    expect(engine).to.contain(`\nEnvironmentFile=${file}\n`);
    expect(starts).to.contain(`\nPathExists=${file}\n`);
  });

  it('lets applications\' sockets be made where the daemon puts them, and keeps the manager\'s socket when the service stops', () => {
    const listens = /^ListenStream=(.+)$/m.exec(readFileSync(path.join(root, 'systemd', 'quorate.socket'), 'utf8'))![1]!;
    expect(service).to.contain(`\nRuntimeDirectory=${path.relative('/run', path.join(path.dirname(listens), 'apps'))}\n`);
    expect(service).to.contain('\nRuntimeDirectoryMode=0711\n');
    expect(service, 'else it would lie where nobody reaches it').to.not.contain('RuntimeDirectoryPreserve=');
  });

  it('hands the socket for credentials over by the name that the daemon knows, to root alone', () => {
    const socket = readFileSync(path.join(work, 'quorate-credentials.socket'), 'utf8');
    for (const line of [`FileDescriptorName=${CREDENTIALS_FD_NAME}`, 'SocketMode=0600', 'Service=quorate.service', 'ListenStream=/run/quorate/credentials.sock']) expect(socket).to.contain(`\n${line}\n`);
    expect(socket).to.not.match(/^Socket(User|Group)=/m);
    expect(service).to.match(/^Wants=quorate-credentials\.socket$/m);
  });

  it('filters no call that giving a socket to a group needs', () => {
    const lines = [...service.matchAll(/^SystemCallFilter=(.+)$/gm)].map((line) => line[1]);
    expect(lines.indexOf('@chown')).to.be.above(lines.findIndex((line) => line!.includes('~@privileged')));
  });

  it('points at this checkout, and leaves no placeholder', () => {
    const settings = service.split('\n').filter((line) => !line.startsWith('#')).join('\n');
    expect(settings).to.contain(`ExecStart=${process.execPath} ${root}/bin/quorated`);
    expect(settings).to.not.match(/@[A-Z]+@/);
  });

  it('gives every hardening line its reason', () => {
    const template = readFileSync(path.join(root, 'systemd', 'quorate.service'), 'utf8').split('\n');
    const from = template.findIndex((line) => line.includes('Secrets stay in memory'));
    // A comment stands for the lines below it, down to the next empty one; each group begins with one.
    let hasReason = false;
    for (const line of template.slice(from)) {
      if (line === '') hasReason = false;
      else if (line.startsWith('#')) hasReason = true;
      else if (!line.startsWith('[') && !/^(WantedBy|Also)=/.test(line)) expect(hasReason, line).to.equal(true);
    }
    expect(template.filter((line) => line.startsWith('MemoryDenyWriteExecute=') || line.startsWith('PrivateUsers='))).to.deep.equal([]);
  });
});
