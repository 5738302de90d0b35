/** ssh-agent holds a key of the daemon's, and a login to a real sshd is answered with it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import { needInstalled, needRoot, skip } from '../skip.js';
import { Clients } from './clients.js';

const SSHD = '/usr/sbin/sshd';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

describe('pkcs11: ssh-agent and sshd', function () {
  this.timeout(120_000);
  const clients = new Clients();
  const children: ChildProcess[] = [];
  let agent = '';
  let port = 0;

  before(async function () {
    needInstalled(this, 'ssh-agent');
    needRoot(this); // sshd lets nobody in but its own user otherwise
    if (!existsSync(SSHD)) skip(this, 'openssh-server is not installed');
    await clients.start();
    const client = await clients.place.connect();
    await client.keys.create('login', { type: 'ec-p256' });
    agent = clients.file('agent.sock');
    children.push(spawn('ssh-agent', ['-D', '-a', agent, '-P', clients.module], { env: clients.env, stdio: 'ignore' }));
    port = await freePort();
    clients.must('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', clients.file('host')]);
    clients.file('askpass', '#!/bin/sh\necho\n');
    chmodSync(clients.file('askpass'), 0o755);
    for (let i = 0; i < 100 && !existsSync(agent); i++) await sleep(50);
  });
  after(async () => {
    for (const child of children) child.kill();
    await clients.stop();
  });

  const withAgent = (): NodeJS.ProcessEnv => ({ SSH_AUTH_SOCK: agent, SSH_ASKPASS: clients.file('askpass'), SSH_ASKPASS_REQUIRE: 'force', DISPLAY: ':0' });

  it('ssh-add takes the module, and lists its key', () => {
    clients.must('ssh-add', ['-s', clients.module], { env: withAgent() });
    const listed = clients.must('ssh-add', ['-L'], { env: withAgent() }).out;
    assert.match(listed, /^ecdsa-sha2-nistp256 /);
    clients.file('authorized', listed);
  });

  it('a login is answered with it, and not without it', async () => {
    mkdirSync('/run/sshd', { recursive: true });
    clients.file('sshd_config', [
      `Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${clients.file('host')}`, `AuthorizedKeysFile ${clients.file('authorized')}`, 'StrictModes no', 'UsePAM no',
      'PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'PermitRootLogin yes', `PidFile ${clients.file('sshd.pid')}`, '',
    ].join('\n'));
    const sshd = spawn(SSHD, ['-D', '-e', '-f', clients.file('sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(sshd);
    let said = '';
    sshd.stderr.on('data', (data: Buffer) => { said += data.toString(); });
    for (let i = 0; i < 100 && !said.includes('listening'); i++) await sleep(50);
    const options = ['-F', '/dev/null', '-p', String(port), '-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${clients.file('known')}`, '-o', 'BatchMode=yes', '-o', 'IdentityFile=none'];
    const login = spawnSync('ssh', [...options, `${os.userInfo().username}@127.0.0.1`, 'echo', 'in'], { encoding: 'utf8', env: { ...clients.env, ...withAgent() } });
    assert.equal(login.stdout, 'in\n', `${login.stderr}\n${said}`);
    const without = spawnSync('ssh', [...options, '-o', 'IdentityAgent=none', `${os.userInfo().username}@127.0.0.1`, 'echo', 'in'], { encoding: 'utf8', env: clients.env });
    assert.notEqual(without.status, 0);
    assert.include(readFileSync(clients.file('authorized'), 'utf8'), 'ecdsa-sha2-nistp256');
  });

  it('after the daemon was stopped and started again the agent signs on', async () => {
    await clients.place.restart({ args: ['--dev'] });
    const options = ['-F', '/dev/null', '-p', String(port), '-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${clients.file('known')}`, '-o', 'BatchMode=yes', '-o', 'IdentityFile=none'];
    const login = spawnSync('ssh', [...options, `${os.userInfo().username}@127.0.0.1`, 'echo', 'in'], { encoding: 'utf8', env: { ...clients.env, ...withAgent() } });
    assert.equal(login.stdout, 'in\n', login.stderr);
  });
});
