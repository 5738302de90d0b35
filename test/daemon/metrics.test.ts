/** Metrics of a real daemon: read by a strict reader, and compared with what its other methods say. */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { QuorateClient } from '../../src/client/index.js';
import { type Family, parseExposition } from '../exposition.js';
import { Place, root } from './process.js';

const run = promisify(execFile);

describe('metrics', function () {
  this.timeout(60_000);
  let place: Place;
  let client: QuorateClient;
  before(async () => {
    place = new Place();
    for (const name of ['one', 'two']) mkdirSync(path.join(place.folder, name));
    const config = path.join(place.folder, 'quorate.toml');
    const folders = ['one', 'two'].map((name) => `[backup.destinations.${name}]\nfolder = ${JSON.stringify(path.join(place.folder, name))}\n`);
    writeFileSync(config, `[backup]\nevery_s = 86400\n${folders.join('')}`);
    await place.start({ args: ['--dev', '--config', config] });
    client = await place.connect();
  });
  after(() => place?.remove());

  const value = (families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number | undefined =>
    families.get(name)?.samples.find((sample) => Object.entries(labels).every(([label, text]) => sample.labels[label] === text))?.value;

  const quorate = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const env = { ...process.env, ...place.env, QUORATE_SOCKET: place.socket } as NodeJS.ProcessEnv;
    return run(process.execPath, [path.join(root, 'bin', 'quorate'), ...args], { env }).then((out) => ({ code: 0, ...out }), (error: { code: number; stdout: string; stderr: string }) => error);
  };

  it('agree with status, the audit log and the backups, and name neither keys nor principals', async () => {
    await client.keys.create('secret-name', { type: 'aes-256' });
    // The daemon's greeting is a round trip of its own.
    const before = parseExposition(await client.metrics());
    const { ciphertext } = await client.encrypt('secret-name', Buffer.from('x'));
    for (let i = 0; i < 9; i++) await client.encrypt('secret-name', Buffer.from('x'));
    await client.decrypt(ciphertext);
    await client.encrypt('no-such-key', Buffer.from('x')).then(() => expect.fail(), () => undefined);
    await client.backups.run({ full: true });
    const text = await client.metrics();
    const families = parseExposition(text);
    const status = await client.status();
    expect(text).not.to.match(/secret-name|no-such-key|uid:|user:/);
    expect(value(families, 'quorate_sealed')).to.equal(0);
    expect(value(families, 'quorate_ready')).to.equal(1);
    expect(value(families, 'quorate_store_revision')).to.equal(status.revision);
    expect(value(families, 'quorate_store_keys')).to.equal(1);
    expect(value(families, 'quorate_arena_size_bytes')).to.equal(status.arena.bytesMax);
    expect(families.get('quorate_build_info')!.samples[0]!.labels['version']).to.equal(status.versions.quorate);
    const answered = (method: string, outcome: string): number => (value(families, 'quorate_requests_total', { method, outcome }) ?? 0) - (value(before, 'quorate_requests_total', { method, outcome }) ?? 0);
    expect([answered('Encrypt', 'ok'), answered('Encrypt', 'refused'), answered('Decrypt', 'ok')]).to.deep.equal([10, 1, 1]);
    expect(value(families, 'quorate_requests_total', { method: 'CreateKey', outcome: 'ok' })).to.equal(1);
    expect(value(families, 'quorate_audit_fault')).to.equal(0);
    expect(value(families, 'quorate_audit_leaves')).to.be.above(2);
    const backups = await client.backups.status();
    expect(value(families, 'quorate_backup_writer')).to.equal(1);
    for (const { name, segments, bytes } of backups.places) {
      expect(value(families, 'quorate_backup_segments', { destination: name })).to.equal(Number(segments));
      expect(value(families, 'quorate_backup_size_bytes', { destination: name })).to.equal(Number(bytes));
      expect(value(families, 'quorate_backup_failing', { destination: name, code: '' })).to.equal(0);
      expect(value(families, 'quorate_backup_last_segment_age_seconds', { destination: name })).to.be.within(0, 60);
    }
    expect(families.has('quorate_backup_proof_success')).to.equal(false);
    parseExposition((await quorate('metrics', '--openmetrics')).stdout, true);
  });

  it('show a proof, and a destination that is taken away, as quorate status does', async () => {
    await client.backups.prove({ place: 'one' });
    const away = path.join(place.folder, 'away');
    renameSync(path.join(place.folder, 'two'), away);
    await client.backups.run();
    const families = parseExposition(await client.metrics());
    expect(value(families, 'quorate_backup_proof_success', { destination: 'one' })).to.equal(1);
    expect(value(families, 'quorate_backup_proof_last_success_timestamp_seconds')).to.be.closeTo(Date.now() / 1000, 60);
    expect(value(families, 'quorate_backup_proof_records')).to.be.above(0);
    expect(value(families, 'quorate_backup_failing', { destination: 'two', code: 'BACKUP_UNAVAILABLE' })).to.equal(1);
    expect(value(families, 'quorate_backup_failing', { destination: 'one' })).to.equal(0);
    expect(value(families, 'quorate_backup_greatest_gap_seconds', { destination: 'one' })).to.be.within(0, 60);
    const { code, stdout } = await quorate('status');
    expect(code).to.equal(0);
    expect(stdout).to.match(/^BACKUP: two fails since \d+ s \(BACKUP_UNAVAILABLE\)/m);
    renameSync(away, path.join(place.folder, 'two'));
    await client.backups.run();
    const after = parseExposition(await client.metrics());
    expect(value(after, 'quorate_backup_failing', { destination: 'two' })).to.equal(0);
    expect(value(after, 'quorate_backup_backlog_segments', { destination: 'two' })).to.equal(0);
    expect((await quorate('status')).stdout).not.to.include('BACKUP: two');
  });

  it('go whole into a file, and tell a daemon that is sealed or away', async () => {
    const file = path.join(place.folder, 'quorate.prom');
    expect((await quorate('metrics', '-o', file)).code).to.equal(0);
    expect(value(parseExposition(readFileSync(file, 'utf8')), 'quorate_up')).to.equal(1);
    await client.seal();
    const sealed = parseExposition((await quorate('metrics')).stdout);
    expect([value(sealed, 'quorate_up'), value(sealed, 'quorate_sealed'), value(sealed, 'quorate_ready')]).to.deep.equal([1, 1, 0]);
    await client.metrics().then(() => expect.fail(), (error: { code: string }) => expect(error.code).to.equal('SEALED'));
    await place.remove();
    mkdirSync(place.folder);
    const { code } = await quorate('metrics', '-o', file);
    expect(code).to.equal(69);
    expect(value(parseExposition(readFileSync(file, 'utf8')), 'quorate_up')).to.equal(0);
    expect(readdirSync(place.folder)).to.deep.equal(['quorate.prom']);
  });
});
