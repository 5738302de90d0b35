/** The socket for systemd's credentials, of a real daemon: who gets a value, and everybody who gets none. systemd itself: pid1.test.ts. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import type { QuorateClient } from '../../src/client/index.js';
import { Place, type Run } from '../daemon/process.js';
import { bodyOf, Wire } from '../daemon/wire.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { parseExposition } from '../exposition.js';
import { AS_NOBODY, needRoot, needTool, skip } from '../skip.js';
import { addressOf, ask, askAll, refusalOf } from './asker.js';

const SECRET = 'hunter2 hunter2 hunter2';

describe('credentials for systemd', function () {
  this.timeout(120_000);
  let place: Place;
  let run: Run;
  let client: QuorateClient;
  let socket: string;

  before(async function () {
    needRoot(this);
    needTool(this, '/usr/bin/python3');
    place = new Place();
    socket = path.join(place.folder, 'credentials.sock');
    const config = path.join(place.folder, 'quorate.toml');
    writeFileSync(config, `[credentials]\nsocket = ${JSON.stringify(socket)}\n[credentials.units."billing.service"]\npw = "app/db#password"\nall = "app/db"\nport = "app/db#port"\nnone = "app/db#none"\n[credentials.units."worker@.service"]\npw = "app/worker"\n`);
    run = await place.start({ args: ['--dev', '--config', config, '--log-level', 'info'] });
    client = await place.connect();
    await client.secrets.put('app/db', Buffer.from(JSON.stringify({ password: SECRET, port: 5432 })), { json: true });
    await client.secrets.put('app/worker', Buffer.from('of all workers'));
    await client.access.allow('unit:billing.service', 'secrets:fetch', 'app/db');
    await client.access.allow('unit:worker@.service', 'secrets:fetch', 'app/worker');
    await client.access.allow('unit:plain.service', 'secrets:fetch', 'systemd/plain.service/*');
  });
  after(() => place?.remove());

  const text = async (unit: string, credential: string): Promise<string> => {
    const given = await ask(socket, unit, credential);
    return refusalOf(given) ?? given.bytes.toString();
  };
  const codes = async (...asked: Parameters<typeof askAll>): Promise<(string | null)[]> => (await askAll(...asked)).map(refusalOf);

  it('gives exactly the bytes, or the field, of what the configuration or the convention names', async () => {
    expect(await text('billing.service', 'pw')).to.equal(SECRET);
    expect(await text('billing.service', 'port')).to.equal('5432');
    expect(await text('billing.service', 'all')).to.equal(JSON.stringify({ password: SECRET, port: 5432 }));
    expect(await text('worker@1.service', 'pw')).to.equal('of all workers');
    for (const n of [0, 1, 4096, LIMITS.secret_value_bytes_max]) {
      const value = randomBytes(n);
      await client.secrets.put('systemd/plain.service/v', value);
      const given = await ask(socket, 'plain.service', 'v');
      expect(given.length).to.equal(n);
      expect(given.bytes.equals(value), `${n} bytes`).to.equal(true);
    }
  });

  it('gives nothing by default, nothing to others, nothing that is not there: by a refusal that no credential can be', async () => {
    for (const [unit, credential, code] of [
      ['other.service', 'pw', 'DENIED'], ['billing.socket', 'pw', 'DENIED'], ['worker@1.socket', 'pw', 'DENIED'], ['billing.service', 'unknown', 'DENIED'], ['plain.service', 'unknown', 'SECRET_NOT_FOUND'],
      ['billing.service', 'none', 'SECRET_NOT_FOUND'], ['a.service', 'no path at all', 'NAME_INVALID'],
    ] as const) expect(await text(unit, credential), `${unit} ${credential}`).to.equal(code);
    await run.until(() => run.stderr.includes('a credential was refused: its unit does not start unit=other.service credential=pw code=DENIED'), 'the log says it');
  });

  it('follows a new version, a state, a policy and a seal at once', async () => {
    await client.secrets.put('systemd/plain.service/r', Buffer.from('one'));
    expect(await text('plain.service', 'r')).to.equal('one');
    await client.secrets.put('systemd/plain.service/r', Buffer.from('two'));
    expect(await text('plain.service', 'r')).to.equal('two');
    await client.secrets.deactivate('systemd/plain.service/r');
    expect(await text('plain.service', 'r')).to.equal('SECRET_STATE_DENIED');
    await client.access.deny('unit:worker@7.service', 'secrets:fetch', 'app/worker');
    expect(await text('worker@7.service', 'pw')).to.equal('DENIED');
    expect(await text('worker@8.service', 'pw')).to.equal('of all workers');
  });

  it('counts each fetch in the audit log, under its unit', async () => {
    const first = (await client.audit.read({ newest: true, limit: 1 })).size;
    for (let i = 0; i < 3; i++) expect(await text('billing.service', 'pw')).to.equal(SECRET);
    expect(await text('unasked.service', 'pw')).to.equal('DENIED');
    await client.audit.verify();
    const { entries } = await client.audit.read({ from: first, limit: 1000 });
    const sessions = entries.filter(({ kind, principal }) => kind === 'session' && principal === 'unit:billing.service').map(({ session }) => session);
    expect(new Set(sessions).size).to.equal(3);
    const counted = entries.flatMap(({ counts }) => counts).filter(({ method, status }) => method === 'FetchSecret' && status === 'OK');
    for (const session of sessions) expect(counted.filter((one) => one.session === session).map(({ count }) => count), String(session)).to.deep.equal([1]);
    expect(entries.some(({ kind, principal, status }) => kind === 'denied' && principal === 'unit:unasked.service' && status === 'DENIED')).to.equal(true);
  });

  it('refuses whoever is not root, with a name that is perfect: a real process of another uid, and root in a namespace of its own', async function () {
    chmodSync(place.folder, 0o755);
    chmodSync(socket, 0o666);
    const first = (await client.audit.read({ newest: true, limit: 1 })).size;
    const asked = () => [addressOf('billing.service', 'pw'), addressOf('plain.service', 'v'), addressOf('worker@1.service', 'pw')];
    expect(await codes(socket, asked(), { as: AS_NOBODY })).to.deep.equal(['DENIED', 'DENIED', 'DENIED']);
    const given = await askAll(socket, Array.from({ length: 200 }, () => addressOf('billing.service', 'pw')), { as: AS_NOBODY, mode: 'together' });
    for (const { bytes } of given) expect(bytes.includes(SECRET)).to.equal(false);
    await run.until(() => run.stderr.includes('unit= credential=pw code=DENIED detail=uid 65534 is not root, and may not ask for billing.service uid=65534'), 'the log says it');
    await client.audit.verify();
    const { entries } = await client.audit.read({ from: first, limit: 1000 });
    expect(entries.some(({ principal, status, uid, reason }) => principal === 'uid:65534' && status === 'DENIED' && uid === 65534 && reason.includes('may not ask for billing.service: credential pw'))).to.equal(true);
    const asRoot = [...AS_NOBODY, 'unshare', '--user', '--map-root-user'];
    if (spawnSync(asRoot[0]!, [...asRoot.slice(1), 'true']).status !== 0) skip(this, 'nobody may make a user namespace here: root in one was not tried');
    expect(spawnSync(asRoot[0]!, [...asRoot.slice(1), 'id', '-u'], { encoding: 'utf8' }).stdout).to.equal('0\n');
    expect(await codes(socket, asked(), { as: asRoot })).to.deep.equal(['DENIED', 'DENIED', 'DENIED']);
  });

  it('refuses root that is not systemd: no address, a file\'s, every other form; bytes that it sends are nothing', async () => {
    const forms = ['', '/unit/billing.service/pw', '12345678123456780/unit/billing.service/pw', 'x/unit/billing.service/pw', '1/user/billing.service/pw', '1/unit/billing.service/../pw', '1/unit/../billing.service/pw', '1/unit/billing.service/', '1/unit/billing.service',
      '1/unit/billing.service/..', '1/unit/billing.service/pw\n', '1/unit/billing.service\0/pw', '1/unit/billing/pw', '1/unit//pw', `1/unit/${'a'.repeat(90)}.service/x`, '1/unit/@.service/pw', '1/unit/worker@.service/pw'];
    const addresses = forms.map((form, i) => Buffer.from(i === 0 ? '\0nothing' : `\0${form}`, 'latin1'));
    const files = [path.join(place.folder, 'own'), path.join(place.folder, '1')].map((file) => Buffer.from(file));
    for (const code of await codes(socket, ['', ...addresses, ...files])) expect(code).to.equal('BAD_REQUEST');
    const [sent] = await askAll(socket, [addressOf('other.service', 'pw')], { mode: 'sends' });
    expect(sent!.bytes.includes(SECRET)).to.equal(false);
    expect(sent!.length).to.be.above(0);
  });

  it('hundreds at once, those that hang up at once, and a client of the other protocol: it serves on', async () => {
    const many = await askAll(socket, Array.from({ length: 300 }, () => addressOf('billing.service', 'pw')), { mode: 'together' });
    expect(many.map(({ bytes }) => bytes.toString())).to.deep.equal(Array.from({ length: 300 }, () => SECRET));
    const refused = await askAll(socket, Array.from({ length: 2 * LIMITS.denials_per_uid_burst }, (_, i) => addressOf(`other-${i}.service`, 'pw')), { mode: 'together' });
    for (const one of refused) expect(refusalOf(one)).to.equal('DENIED');
    // The refusals of units are not root's, who would be told to wait.
    const wire = await Wire.open(place.socket);
    expect((await wire.ask(OPERATIONS.GetSecret.id, bodyOf('GetSecret', { path: 'app/db' }))).code).to.equal('OK');
    wire.destroy();
    expect(await askAll(socket, Array.from({ length: 300 }, () => addressOf('billing.service', 'pw')), { mode: 'hangs-up' })).to.deep.equal([]);
    const { connect } = await import('../../src/client/index.js');
    const wrong = await connect({ socket, timeoutMs: 10_000 }).then(() => 'connected', (error: unknown) => String(error));
    expect(wrong).to.not.equal('connected');
    expect(await text('billing.service', 'pw')).to.equal(SECRET);
    const families = parseExposition(await client.metrics());
    const total = (outcome: string): number => families.get('quorate_credentials_total')!.samples.find(({ labels }) => labels['outcome'] === outcome)!.value;
    expect(total('given')).to.be.at.least(300);
    expect(total('refused')).to.be.at.least(100);
  });

  it('refuses while it is sealed; where no daemon is nobody answers', async () => {
    await client.seal();
    expect(await text('billing.service', 'pw')).to.equal('SEALED');
    expect((await run.kill('SIGTERM')).code).to.equal(0);
    // Nobody is there: connect() fails, and so does systemd.
    await askAll(socket, [addressOf('billing.service', 'pw')]).then(() => expect.fail('somebody answered'), (error: unknown) => expect(String(error)).to.match(/FileNotFound|ConnectionRefused/));
  });
});
