/** What goes wrong between a host and its bucket, with real Swift behind a link that fails. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createServer } from 'node:tls';
import { assert } from 'chai';
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, PutBucketVersioningCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import { CredentialSource } from '../../../src/backup/destinations/credentials.js';
import { S3Destination } from '../../../src/backup/destinations/s3.js';
import type { S3Times } from '../../../src/backup/destinations/s3Requests.js';
import type { QuorateError } from '../../../src/base/errors.js';
import type { Swift } from '../../../src/dev/swift/swift.js';
import { codeOf } from '../../refusal.js';
import { TestAuthority } from '../../region/engine/cluster.js';
import { FaultyLink } from '../faultyLink.js';
import { askSwift, credentialsOf, destinationOn, needSwift, temporaryFolder } from '../swift.js';
import { content, listed, sourceOf, whole } from './objects.js';

const MIB = 1024 * 1024;
/** Where a test shows that it is given up. */
const SHORT: S3Times = { connectMs: 500, silenceMs: 200, triesMs: 300, pauseMsMin: 20, pauseMsMax: 80 };
/** Where it succeeds in the end: on a busy machine too. */
const PATIENT: S3Times = { ...SHORT, silenceMs: 700, triesMs: 10_000 };

describe('a bucket', () => {
  let swift: Swift;
  let link: FaultyLink;
  let far: S3Destination;
  let hasty: S3Destination;
  let near: S3Destination;
  let work: string;
  let places = 0;
  before(async function () {
    swift = await needSwift(this);
    link = await FaultyLink.to(Number(new URL(swift.endpoint).port));
    work = temporaryFolder();
  });
  after(async () => {
    await link?.stop();
    await swift?.stop();
    if (work !== undefined) rmSync(work, { recursive: true, force: true });
  });
  beforeEach(() => {
    link.set({});
    const prefix = `fault-${places++}`;
    near = destinationOn(swift, prefix);
    far = destinationOn(swift, prefix, { times: PATIENT }, { endpoint: `http://127.0.0.1:${link.port}` });
    hasty = destinationOn(swift, prefix, { times: SHORT }, { endpoint: `http://127.0.0.1:${link.port}` });
  });
  afterEach(() => {
    near.close();
    far.close();
    hasty.close();
  });

  const failure = async (promise: Promise<unknown>): Promise<QuorateError> => {
    const error = await promise.then(() => null, (e: unknown) => e as QuorateError);
    assert.isNotNull(error, 'it did not fail');
    assert.notInclude(`${error!.stack} ${JSON.stringify(error)} ${JSON.stringify(error!.cause)}`, swift.secretKey);
    return error!;
  };
  const client = (): S3Client => new S3Client({ endpoint: swift.endpoint, region: swift.region, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED', credentials: { accessKeyId: swift.accessKey, secretAccessKey: swift.secretKey } });

  it('is written to in the end when connections break, are silent, or change a bit', async () => {
    const faults = [{ closed: true, times: 2 }, { cutAfterSent: 100_000, times: 2 }, { cutAfterReceived: 20, times: 2 }, { silent: true, times: 1 }, { flipAt: 150_000, times: 1 }];
    for (const [i, fault] of faults.entries()) {
      link.set(fault);
      const sent = content(300_000, i);
      await far.put(`a${i}`, sourceOf(sent));
      assert.isAbove(link.connections + link.flips, fault.times);
      assert.isAbove(link.digests, 0);
      assert.isTrue(sent.equals((await near.read(`a${i}`, MIB))!), JSON.stringify(fault));
    }
  });

  it('is read in the end when answers are cut short', async () => {
    const sent = content(8 * MIB + 100_000, 1);
    await near.put('a', sourceOf(sent));
    for (const fault of [{ cutAfterReceived: MIB, times: 2 }, { closed: true, times: 1 }]) {
      link.set(fault);
      assert.isTrue(sent.equals((await far.read('a', sent.length))!));
      assert.isAbove(link.connections, fault.times);
    }
    // Each connection lasts for the first request, and not for all of the second.
    link.set({ cutAfterReceived: 8 * MIB + 50_000, times: 1 });
    assert.isTrue(sent.equals((await whole(far, 'a'))!));
    assert.equal(link.connections, 2);
    link.set({ cutAfterReceived: MIB });
    const error = await failure(hasty.read('a', sent.length));
    assert.equal(error.code, 'BACKUP_UNAVAILABLE');
    assert.match(error.detail, /swift \(s3 http:\/\/127.0.0.1:\d+\/backup\/fault-\d+\): a cannot be read: \w+ \(tried \d+ times\)/);
  });

  it('is given up in time when it does not answer, and written to when it does again', async () => {
    await Promise.all([{ silent: true }, { closed: true }, { delayMs: 400 }].map(async (fault, i) => {
      const other = await FaultyLink.to(Number(new URL(swift.endpoint).port));
      other.set(fault);
      const destination = destinationOn(swift, `dead-${i}`, { times: SHORT }, { endpoint: `http://127.0.0.1:${other.port}` });
      const began = performance.now();
      const error = await failure(destination.put('a', sourceOf(content(1000, 1))));
      assert.equal(error.code, 'BACKUP_UNAVAILABLE', JSON.stringify(fault));
      assert.isBelow(performance.now() - began, SHORT.triesMs + 2 * SHORT.silenceMs + 2000);
      assert.isAbove(other.connections, 1);
      other.set({});
      await destination.put('a', sourceOf(content(1000, 1)));
      assert.deepEqual(await listed(destination), ['a 1000']);
      destination.close();
      await other.stop();
    }));
  });

  it('is written to in parts over a link that breaks, and shows nothing of what fails', async function () {
    this.timeout(30_000);
    const sent = content(17 * MIB, 2);
    // Connections that break in the middle of the first part, one or two of them.
    link.set({ cutAfterSent: 5 * MIB, times: 2 });
    await far.put('big', sourceOf(sent));
    assert.isAbove(link.connections, 1);
    assert.isAtLeast(link.digests, 3);
    assert.isTrue(sent.equals((await whole(near, 'big'))!));
    link.set({ cutAfterSent: 5 * MIB });
    assert.equal((await failure(hasty.put('bigger', sourceOf(sent)))).code, 'BACKUP_UNAVAILABLE');
    assert.equal((await failure(near.put('wrong', { ...sourceOf(sent), sha256: Buffer.alloc(32) }))).code, 'BACKUP_CORRUPT');
    assert.deepEqual(await listed(near), [`big ${sent.length}`]);
    const { Uploads } = await client().send(new ListMultipartUploadsCommand({ Bucket: swift.bucket, Prefix: near.where.split('/').at(-1)! }));
    assert.deepEqual(Uploads ?? [], []);
  });

  it('loses uploads that began over a day ago, and no younger ones', async function () {
    this.timeout(30_000);
    const prefix = near.where.split('/').at(-1)!;
    const upload = async (name: string): Promise<string> => {
      const { UploadId } = await client().send(new CreateMultipartUploadCommand({ Bucket: swift.bucket, Key: `${prefix}/${name}` }));
      await client().send(new UploadPartCommand({ Bucket: swift.bucket, Key: `${prefix}/${name}`, UploadId, PartNumber: 1, Body: 'x' }));
      return UploadId!;
    };
    const seen = async (): Promise<string[]> => ((await client().send(new ListMultipartUploadsCommand({ Bucket: swift.bucket, Prefix: `${prefix}/` }))).Uploads ?? []).map(({ UploadId }) => UploadId!);
    const left = await upload('left');
    const place = { endpoint: `http://127.0.0.1:${link.port}` };
    const hour = 3_600_000;
    const cases: [number, string[]][] = [[23 * hour, [left]], [25 * hour, []]];
    for (const [agoMs, expected] of cases) {
      link.set({ rewrite: (text) => text.replace(/(?<=<Initiated>)[^<]+/g, (time) => new Date(Date.parse(time) - agoMs).toISOString()) });
      const fresh = destinationOn(swift, prefix, {}, place);
      await fresh.put('big', sourceOf(content(16 * MIB + 1, 1)));
      assert.deepEqual(await seen(), expected, `${agoMs / hour} hours later`);
      fresh.close();
    }
  });

  it('refuses wrong credentials at once, without a word of them', async () => {
    const wrong: Record<string, string>[] = [{ AWS_SECRET_ACCESS_KEY: 'not-the-secret' }, { AWS_ACCESS_KEY_ID: 'quorate:nobody' }, { AWS_SECRET_ACCESS_KEY: '' }];
    for (const changes of wrong) {
      const other = new S3Destination('swift', { endpoint: `http://127.0.0.1:${link.port}`, bucket: swift.bucket, prefix: '', region: swift.region, caFile: '' }, credentialsOf(swift, changes));
      for (const work of [() => other.put('a', sourceOf(content(10, 1))), () => other.read('a', 10), () => listed(other), () => other.remove('a'), () => other.requireForgetting()]) {
        const error = await failure(work());
        assert.equal(error.code, 'BACKUP_REFUSED');
        assert.notMatch(JSON.stringify(error) + error.stack, /not-the-secret/);
        assert.match(error.detail, /SignatureDoesNotMatch, HTTP 403|HTTP 403|InvalidAccessKeyId|no credentials/);
      }
      other.close();
    }
  });

  it('refuses a bucket that does not exist, and a region that is another', async () => {
    const none = destinationOn(swift, '', {}, { bucket: 'no-such-bucket' });
    for (const work of [() => none.put('a', sourceOf(content(10, 1))), () => none.read('a', 10), () => none.open('a'), () => listed(none), () => none.requireForgetting()]) {
      const error = await failure(work());
      assert.equal(error.code, 'BACKUP_REFUSED');
      assert.match(error.detail, /NoSuchBucket/);
    }
    const elsewhere = destinationOn(swift, '', {}, { region: 'elsewhere' });
    const error = await failure(elsewhere.read('a', 10));
    assert.equal(error.code, 'BACKUP_REFUSED');
    assert.match(error.detail, /AuthorizationHeaderMalformed/);
  });

  it('says that it is full, at once', async () => {
    assert.equal(await askSwift(swift, 'POST', { 'x-container-meta-quota-bytes': '1' }), 204);
    try {
      const error = await failure(near.put('a', sourceOf(content(1000, 1))));
      assert.equal(error.code, 'BACKUP_FULL');
      assert.equal((await failure(near.put('big', sourceOf(content(17 * MIB, 1))))).code, 'BACKUP_FULL');
    } finally {
      await askSwift(swift, 'POST', { 'x-container-meta-quota-bytes': '' });
    }
    await near.put('a', sourceOf(content(1000, 1)));
  });

  it('takes its credentials from a file, again when that changes, and from none that others can read', async () => {
    const file = path.join(work, 's3.toml');
    const write = (secret: string, mode = 0o600): void => {
      writeFileSync(file, `access_key_id = "${swift.accessKey}"\nsecret_access_key = "${secret}"\n`);
      chmodSync(file, mode);
      utimesSync(file, new Date(), new Date(Date.now() - 10_000 * places++));
    };
    const destination = new S3Destination('swift', { endpoint: swift.endpoint, bucket: swift.bucket, prefix: `file-${places++}`, region: swift.region, caFile: '' }, new CredentialSource(file, {}));
    assert.match((await failure(destination.read('a', 1))).detail, /s3\.toml cannot be read \(ENOENT\)/);
    write('not-the-secret');
    assert.equal(await codeOf(destination.read('a', 1)), 'BACKUP_REFUSED');
    write(swift.secretKey);
    assert.isNull(await destination.read('a', 1));
    for (const mode of [0o644, 0o604, 0o620, 0o602]) {
      write(swift.secretKey, mode);
      assert.match((await failure(destination.read('a', 1))).detail, /s3\.toml is open to others \(mode 6/);
    }
    write(swift.secretKey, 0o440);
    assert.isNull(await destination.read('a', 1));
    for (const [text, fact] of [['access_key_id = "a"', /has no secret_access_key/], ['secret_access_key = 5', /no string/], ['secret = "x"', /not known/], [`secret_access_key = "${swift.secretKey}`, /is no TOML \(line 1/]] as const) {
      writeFileSync(file, text, { mode: 0o600 });
      chmodSync(file, 0o600);
      assert.match((await failure(destination.read('a', 1))).detail, fact);
    }
    destination.close();
  });

  it('that shows something else than what was written is not believed', async () => {
    const cases: [string, (text: string) => string, RegExp | null][] = [
      ['less of it', (text) => text.replace(/^Content-Length: 1000/im, 'Content-Length: 0999'), /a was taken, but what it shows has 999 bytes of 1000/],
      ['another content', (text) => text.replace(/^ETag: "?\w{8}/im, (tag) => `${tag.slice(0, -8)}00000000`), /a cannot be written: CONTENT_DIFFERS/],
      ['an older object', (text) => text.replace(/^(x-amz-meta-sha256: )\w{8}/im, '$100000000').replace(/^(Last-Modified: .* )20\d\d/im, '$12001'), /is an older object still/],
      ['what another writer wrote since', (text) => text.replace(/^(x-amz-meta-sha256: )\w{8}/im, '$100000000'), null],
    ];
    await Promise.all(cases.map(async ([what, rewrite, fact]) => {
      const other = await FaultyLink.to(Number(new URL(swift.endpoint).port));
      other.set({ rewrite });
      const destination = destinationOn(swift, `shown-${places++}`, { times: SHORT }, { endpoint: `http://127.0.0.1:${other.port}` });
      const work = destination.put('a', sourceOf(content(1000, 1)));
      if (fact === null) {
        await work;
      } else {
        const error = await failure(work);
        assert.equal(error.code, 'BACKUP_UNAVAILABLE', what);
        assert.match(error.detail, fact, what);
      }
      destination.close();
      await other.stop();
    }));
  });

  it('is spoken to over TLS with the authority that was named, and no other', async () => {
    const authority = new TestAuthority(path.join(work, 'authority'));
    const { certificate, privateKey, ca } = authority.issue('bucket');
    const strange = new TestAuthority(path.join(work, 'strange')).issue('bucket').ca;
    const front = createServer({ cert: readFileSync(certificate), key: readFileSync(privateKey) }, (socket) => {
      const server = connect(Number(new URL(swift.endpoint).port), '127.0.0.1');
      socket.on('error', () => server.destroy()).pipe(server).on('error', () => socket.destroy()).pipe(socket);
    });
    await once(front.listen(0, '127.0.0.1'), 'listening');
    const endpoint = `https://127.0.0.1:${(front.address() as AddressInfo).port}`;
    const over = (caFile: string): S3Destination => destinationOn(swift, 'tls', { times: SHORT }, { endpoint, caFile });
    try {
      const trusted = over(ca);
      await trusted.put('a', sourceOf(content(100_000, 1)));
      assert.isTrue(content(100_000, 1).equals((await trusted.read('a', MIB))!));
      trusted.close();
      for (const caFile of ['', strange]) {
        const error = await failure(over(caFile).read('a', MIB));
        assert.equal(error.code, 'BACKUP_REFUSED');
        assert.match(error.detail, /its certificate is not accepted \([A-Z_]+\): ca_file/);
      }
      assert.match((await failure(over(path.join(work, 'none.pem')).read('a', 1))).detail, /ca_file .* cannot be read \(ENOENT\)/);
      assert.match((await failure(over(privateKey).read('a', 1))).detail, /ca_file .* has no certificate/);
    } finally {
      front.close();
    }
  });

  it('is what the configuration says, whatever the SDK\'s own files and variables say', async () => {
    // Whoever opened these would wait for ever.
    const [config, shared] = ['config', 'credentials'].map((name) => path.join(work, `aws-${name}`));
    execFileSync('mkfifo', [config!, shared!]);
    const set = { AWS_CONFIG_FILE: config!, AWS_SHARED_CREDENTIALS_FILE: shared!, AWS_PROFILE: 'none', AWS_REGION: 'elsewhere', AWS_ENDPOINT_URL: 'http://127.0.0.1:1', AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1', AWS_MAX_ATTEMPTS: '99' };
    const before = Object.fromEntries(Object.keys(set).map((name) => [name, process.env[name]]));
    Object.assign(process.env, set);
    try {
      const destination = destinationOn(swift, `env-${places++}`);
      await destination.put('a', sourceOf(content(10, 1)));
      assert.deepEqual(await listed(destination), ['a 10']);
      destination.close();
    } finally {
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });

  it('that keeps versions may have no key ring', async () => {
    await near.requireForgetting();
    const set = (Status: 'Enabled' | 'Suspended'): Promise<unknown> => client().send(new PutBucketVersioningCommand({ Bucket: swift.bucket, VersioningConfiguration: { Status } }));
    await set('Enabled');
    try {
      const error = await failure(near.requireForgetting());
      assert.equal(error.code, 'BACKUP_REFUSED');
      assert.match(error.detail, /keeps versions/);
    } finally {
      await set('Suspended');
    }
    await near.requireForgetting();
    link.set({ closed: true });
    assert.equal((await failure(hasty.requireForgetting())).code, 'BACKUP_UNAVAILABLE');
  });
});
