import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { QuorateError } from '../../../src/base/errors.js';
import { mirrorsOf } from '../../../src/region/engine/debian.js';
import { engineArguments } from '../../../src/region/engine/flags.js';
import type { EngineMember } from '../../../src/region/engine/flags.js';
import { findEngine, provideEngine } from '../../../src/region/engine/program.js';
import { isTrusted, parseVersion, requireTrusted } from '../../../src/region/engine/version.js';
import { needEngine, temporaryFolder } from './cluster.js';

describe('which etcd', () => {
  let folder: string;
  beforeEach(() => { folder = temporaryFolder('program'); });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function fake(where: string, version: string): string {
    mkdirSync(where, { recursive: true });
    const file = path.join(where, 'etcd');
    writeFileSync(file, `#!/bin/sh\necho "etcd Version: ${version}"\necho "Go Version: go1.24.0"\n`);
    chmodSync(file, 0o755);
    return file;
  }

  it('is trusted from 3.4.31 and 3.5.13 on', () => {
    const trusted = ['3.4.31', '3.4.40', '3.5.13', '3.5.16', '3.6.0', '3.7.1'];
    const refused = ['3.4.30', '3.4.23', '3.5.12', '3.5.0', '3.3.27', '2.3.8', '4.0.0'];
    assert.deepEqual([...trusted, ...refused].filter((text) => isTrusted(parseVersion(text)!)), trusted);
    assert.isNull(parseVersion('etcd Version: unknown'));
    assert.isNull(parseVersion('Go Version: go1.24.0'));
    assert.throws(() => requireTrusted('3.5.12', 'm1'), /ENGINE_UNUSABLE: m1 is etcd 3\.5\.12/);
    assert.throws(() => requireTrusted('', 'm1'), /ENGINE_UNUSABLE: m1 does not tell/);
  });

  it('is the first one on PATH when that is new enough', () => {
    const etcd = fake(path.join(folder, 'bin'), '3.5.21');
    fake(path.join(folder, 'cache', 'etcd-3.6.1', 'usr', 'bin'), '3.6.1');
    const found = findEngine({ env: { PATH: `${folder}/none:${folder}/bin` }, cache: path.join(folder, 'cache') });
    assert.deepEqual(found, { etcd, version: { major: 3, minor: 5, patch: 21 }, source: 'path' });
  });

  it('is the cached one when that on PATH is too old, or does not run', () => {
    fake(path.join(folder, 'bin'), '3.4.23');
    const etcd = fake(path.join(folder, 'cache', 'etcd-3.5.16', 'usr', 'bin'), '3.5.16');
    const cache = path.join(folder, 'cache');
    assert.deepEqual(findEngine({ env: { PATH: `${folder}/bin` }, cache }), { etcd, version: { major: 3, minor: 5, patch: 16 }, source: 'cache' });
    writeFileSync(path.join(folder, 'bin', 'etcd'), 'no program');
    assert.equal(findEngine({ env: { PATH: `${folder}/bin` }, cache })?.etcd, etcd);
    writeFileSync(etcd, 'no program');
    assert.isNull(findEngine({ env: { PATH: `${folder}/bin` }, cache }));
  });

  it('says what was tried and what to do when there is none', () => {
    fake(path.join(folder, 'bin'), '3.4.23');
    writeFileSync(path.join(folder, 'cache'), 'a file where the cache would be');
    try {
      provideEngine({ env: { PATH: `${folder}/bin` }, cache: path.join(folder, 'cache') });
      assert.fail('provided');
    } catch (error) {
      assert.instanceOf(error, QuorateError);
      assert.equal((error as QuorateError).code, 'ENGINE_UNUSABLE');
      assert.match((error as QuorateError).detail, /etcd is etcd 3\.4\.23, too old, and none could be unpacked: .*cache cannot be written \(EEXIST\)\. Put etcd 3\.5\.13 or later on PATH/);
    }
  });

  it('came from the machine\'s mirror whole, with nothing left over', function () {
    const program = needEngine(this);
    if (program.source !== 'cache') return;
    const place = path.dirname(path.dirname(path.dirname(program.etcd)));
    assert.includeMembers(readdirSync(path.join(place, 'usr', 'bin')), ['etcd', 'etcdctl', 'etcdutl']);
    assert.deepEqual(readdirSync(path.dirname(place)).filter((name) => name.startsWith('unpack-')), []);
  });

  it('comes from mirrors of the main archive only, each once', () => {
    const lines = [
      ['http://mirror.example/debian/', 'bookworm'], ['http://mirror.example/debian/', 'bookworm-updates'], ['http://mirror.example/debian-security/', 'bookworm-security'],
      ['https://packages.example/apt/', 'cloud-sdk'], ['mirror+file:/etc/apt/mirrors/list/', 'stable'], ['https://mirror.example/debian/', 'trixie'], ['http://x] [trusted=yes]/', 'bookworm'],
    ].flatMap(([address, suite]) => [`'${address}dists/${suite}/InRelease' name 0 `, `'${address}dists/${suite}/main/binary-amd64/Packages.xz' name 0 `]);
    assert.deepEqual(mirrorsOf(lines.join('\n')), ['http://mirror.example/debian/', 'mirror+file:/etc/apt/mirrors/list/', 'https://mirror.example/debian/']);
    assert.deepEqual(mirrorsOf(''), []);
  });
});

describe('a member\'s arguments', () => {
  const member: EngineMember = {
    name: 'm0', dataFolder: '/data/m0', peerAddress: '127.0.0.1:1', clientAddresses: ['127.0.0.1:2', '[::1]:2'], state: 'new', clusterToken: 'abc',
    initialCluster: [{ name: 'm0', peerAddress: '127.0.0.1:1' }, { name: 'm1', peerAddress: 'host.example:1' }],
    certificates: { ca: '/c/ca.pem', certificate: '/c/m.pem', privateKey: '/c/m.key' },
  };
  const v35 = { major: 3, minor: 5, patch: 16 };

  it('ask for a certificate on every connection', () => {
    const args = engineArguments(member, v35);
    assert.includeMembers(args, ['--client-cert-auth=true', '--peer-client-cert-auth=true', '--trusted-ca-file=/c/ca.pem', '--peer-trusted-ca-file=/c/ca.pem', '--tls-min-version=TLS1.3']);
    assert.deepEqual(args.filter((arg) => arg.includes('http://') || arg.includes('auto-tls') || arg.includes('skip')), []);
    assert.includeMembers(engineArguments({ ...member, certificates: { ...member.certificates, revocations: '/c/crl' } }, v35), ['--client-crl-file=/c/crl', '--peer-crl-file=/c/crl']);
  });

  it('are what the design asks for', () => {
    assert.includeMembers(engineArguments(member, v35), [
      '--pre-vote=true', '--auto-compaction-mode=periodic', '--auto-compaction-retention=1h', '--quota-backend-bytes=4294967296', '--max-txn-ops=512',
      '--heartbeat-interval=100', '--election-timeout=1000', '--experimental-initial-corrupt-check=true', '--experimental-corrupt-check-time=4h',
      '--experimental-compact-hash-check-enabled=true', '--enable-v2=false', '--initial-cluster=m0=https://127.0.0.1:1,m1=https://host.example:1',
      '--listen-client-urls=https://127.0.0.1:2,https://[::1]:2', '--initial-cluster-state=new', '--initial-cluster-token=abc',
    ]);
  });

  it('name the checks as each version does', () => {
    const checks = (minor: number): string[] => engineArguments(member, { major: 3, minor, patch: 40 }).filter((arg) => /corrupt|hash|gates|v2|log-format/i.test(arg));
    assert.deepEqual(checks(4), ['--experimental-initial-corrupt-check=true', '--experimental-corrupt-check-time=4h', '--enable-v2=false']);
    assert.deepEqual(checks(6), ['--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true', '--corrupt-check-time=4h', '--compact-hash-check-time=1m', '--log-format=json']);
  });

  it('are all known to the etcd that is here', function () {
    const program = needEngine(this);
    const help = execFileSync(program.etcd, ['--help'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    const unknown = engineArguments(member, program.version).map((arg) => arg.split('=')[0]!).filter((flag) => !help.includes(`${flag} `) && !help.includes(`${flag}\n`));
    assert.deepEqual(unknown, []);
  });

  it('are refused for settings that would say something else to etcd', () => {
    const wrong: Partial<EngineMember>[] = [
      { name: 'm0,m1' }, { clusterToken: '' }, { peerAddress: '127.0.0.1' }, { clientAddresses: [] }, { clientAddresses: ['127.0.0.1:2,http://0.0.0.0:2'] },
      { dataFolder: 'relative' }, { initialCluster: [{ name: 'm1', peerAddress: '127.0.0.1:1' }] },
    ];
    for (const change of wrong) assert.throws(() => engineArguments({ ...member, ...change }, v35), undefined, undefined, JSON.stringify(change));
    assert.throws(() => engineArguments(member, { major: 3, minor: 5, patch: 12 }), /trusted/);
  });
});
