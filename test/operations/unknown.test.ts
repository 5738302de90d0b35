/** A commit of which nobody knows whether it happened: afterwards who may do what is what the store says. */
import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { QuorateError } from '../../src/base/errors.js';
import type { Caller } from '../../src/operations/context.js';
import { KeyType } from '../../src/protocol/gen/quorate_pb.js';
import type { SqliteStore } from '../../src/store/sqlite.js';
import { needTool } from '../skip.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { dataSheet, Objects, secretSheet } from './objectsFixture.js';

const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'unknownChild.js');
const mocha = path.resolve(path.dirname(child), '..', '..', '..', 'node_modules', 'mocha', 'bin', 'mocha.js');
const billing: Caller = caller(2000, { principal: 'app:billing', app: 'billing' });

describe('operations: after OUTCOME_UNKNOWN', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  /** The half that a failed fsync does not show while the daemon runs: the commit has happened, and nobody was told. */
  const unanswered = (then: () => Promise<void> = async () => undefined): void => {
    const commit: SqliteStore['commit'] = async (changes, once) => {
      await o.opened.commit(changes, once);
      await then();
      throw new QuorateError('OUTCOME_UNKNOWN', 'the test says so');
    };
    const store = new Proxy(o.opened, {
      get: (target, name) => {
        const value: unknown = name === 'commit' ? commit : Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    o.context = Object.defineProperties({} as typeof o.context, { ...Object.getOwnPropertyDescriptors(o.context), store: { value: store, enumerable: true } });
  };
  const uses = (): Promise<string> => codeOf(o.grantAs({ ...billing, epoch: o.access.epoch }, 'Encrypt', 'k'));
  const allow = (deny: boolean): Promise<string> => o.code('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k', deny, idempotencyKey: o.key() });
  beforeEach(async () => { await o.create({ name: 'k', type: KeyType.AES_256 }); });

  it('a policy that was stored holds', async () => {
    expect(await uses()).to.equal('DENIED');
    unanswered();
    expect(await allow(false)).to.equal('OUTCOME_UNKNOWN');
    expect(await uses()).to.equal('OK');
    expect(await allow(true)).to.equal('OUTCOME_UNKNOWN');
    expect(await uses()).to.equal('DENIED');
    expect(await o.code('RemovePolicy', { name: 'deny/app:billing/keys:encrypt/k', idempotencyKey: o.key() })).to.equal('OUTCOME_UNKNOWN');
    expect(await o.code('PutPolicy', { name: 'p', text: 'permit (principal == App::"billing", action, resource);', idempotencyKey: o.key() })).to.equal('OUTCOME_UNKNOWN');
    expect(await uses()).to.equal('OK');
  });

  it('an object that was stored is there, and the plane forgot what it held; the same request again gets it', async () => {
    const objects = new Objects(o);
    const { context } = o;
    const material = randomBytes(32);
    const request = { idempotencyKey: o.key(), attributes: secretSheet() };
    unanswered();
    expect(await codeOf(objects.store({ ...request, material: o.secret(material) }))).to.equal('OUTCOME_UNKNOWN');
    const data = { idempotencyKey: o.key(), type: KeyType.KEY_TYPE_UNSPECIFIED, attributes: dataSheet() };
    expect(await codeOf(objects.store(data))).to.equal('OUTCOME_UNKNOWN');
    expect(o.voided).to.have.lengthOf(3);
    o.context = context;
    const { object } = await objects.store({ ...request, material: o.secret(material) });
    expect([object!.name, Buffer.from(object!.id).toString('hex')]).to.deep.equal(['card', o.voided[1]]);
    expect(Buffer.from((await objects.store(data)).object!.id).toString('hex')).to.equal(o.voided[2]);
    expect((await objects.ask('SyncObjects', {})).objects).to.have.lengthOf(2);
  });

  it('so does a role, a mapping, and what needs two', async () => {
    unanswered();
    const principal = (init: object): Promise<string> => o.code('PutPrincipal', { ref: 'app:billing', ...init, idempotencyKey: o.key() });
    expect(await principal({ addRoles: [{ role: 'key-user' }] })).to.equal('OUTCOME_UNKNOWN');
    expect(await uses()).to.equal('OK');
    expect(await principal({ addRoles: [{ role: 'operator' }] })).to.equal('OUTCOME_UNKNOWN');
    expect(await uses()).to.equal('DENIED');
    const { epoch } = o.access;
    expect(await o.code('PutPrincipal', { ref: 'user:carol', addMappings: ['uid:5'], idempotencyKey: o.key() })).to.equal('OUTCOME_UNKNOWN');
    expect([o.access.directory.holderOf('uid:5'), o.access.epoch > epoch]).to.deep.equal(['user:carol', true]);
    expect(await o.code('RemovePrincipal', { ref: 'app:billing', idempotencyKey: o.key() })).to.equal('OUTCOME_UNKNOWN');
    expect(o.access.directory.principals().map((p) => p.ref)).to.deep.equal(['user:carol']);
    expect(await o.code('SetDualControl', { actions: ['keys:destroy'], idempotencyKey: o.key() })).to.equal('OUTCOME_UNKNOWN');
    expect([...o.access.dualControl].sort()).to.deep.equal(['iam:setDualControl', 'keys:destroy']);
  });

  it('nothing is decided when the store cannot be read', async () => {
    expect(await allow(false)).to.equal('OK');
    unanswered(() => o.opened.close());
    expect(await allow(true)).to.equal('OUTCOME_UNKNOWN');
    const facts = { name: 'k', id: '', type: '', scheme: '', state: 'active', exportable: false, labels: {} };
    const context = { uid: 2000, gid: 2000, socket: '', token: false, source: 'local', timeMs: 0 };
    for (const domain of ['default', 'system']) {
      expect(await codeOf(o.access.policies.decide({ domain, principal: 'app:billing', roles: [], action: 'keys:encrypt', context, resource: { kind: 'key', key: facts } })), domain).to.equal('INTERNAL');
    }
  });

  it('a real fsync that fails: the answers are the store\'s, and what was granted before is asked anew', function () {
    this.timeout(60_000);
    needTool(this, 'cc');
    const tools = mkdtempSync(path.join(tmpdir(), 'quorate-fault-'));
    try {
      const source = path.resolve(path.dirname(child), '..', '..', '..', 'test', 'store', 'fsync_fault.c');
      const [shim, now] = [path.join(tools, 'fault.so'), path.join(tools, 'now')];
      execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source], { stdio: 'pipe' });
      const run = spawnSync(process.execPath, [mocha, '--no-config', '--exit', '--timeout', '30000', child], { encoding: 'utf8', env: { ...process.env, LD_PRELOAD: shim, QUORATE_FSYNC_FAULT: now } });
      expect(run.status, run.stdout + run.stderr).to.equal(0);
      expect(run.stdout).to.contain('1 passing');
    } finally {
      rmSync(tools, { recursive: true, force: true });
    }
  });
});
