/** init, unseal, seal over the socket, with every kind of seal. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import type { QuorateClient } from '../../src/client/index.js';
import { rejects } from '../client/rejects.js';
import { Place } from './process.js';
import type { Run } from './process.js';

const PASSPHRASE = 'correct horse battery staple';

describe('seals', function () {
  this.timeout(120_000);
  let place: Place;
  let run: Run;
  let client: QuorateClient;
  const begin = async (env: Record<string, string> = {}, args: string[] = []): Promise<void> => {
    run = await place.start({ env, args });
    client = await place.connect();
  };
  const again = async (env: Record<string, string> = {}, args: string[] = []): Promise<void> => {
    expect((await run.kill('SIGTERM')).code).to.equal(0);
    await begin(env, args);
  };
  /** A key from before still opens what it made. */
  let ciphertext: Uint8Array;
  const makeKey = async (): Promise<void> => {
    await client.keys.create('k', { type: 'aes-256' });
    ({ ciphertext } = await client.encrypt('k', 'kept'));
  };
  const works = async (): Promise<void> => {
    expect(Buffer.from(await client.decrypt(ciphertext)).toString()).to.equal('kept');
  };
  const text = (share: Uint8Array): string => Buffer.from(share).toString('latin1');

  beforeEach(() => { place = new Place(); });
  afterEach(() => place.remove());

  it('waits for init, and answers only status, health and ping until then', async () => {
    await begin();
    expect(await client.status()).to.deep.include({ initialised: false, sealed: true, seals: [], development: false, keys: 0 });
    expect(await client.health()).to.deep.equal({ live: true, ready: false });
    await rejects(client.keys.create('k', { type: 'aes-256' }), 'UNINITIALISED');
    await rejects(client.encrypt('k', 'x'), 'UNINITIALISED');
    await rejects(client.createSessionKey({ type: 'aes-256' }), 'UNINITIALISED');
    await rejects(client.random(16), 'UNINITIALISED');
    await rejects(client.seal(), 'UNINITIALISED');
    await rejects(client.unseal({ type: 'passphrase', passphrase: PASSPHRASE }), 'UNINITIALISED');
  });

  it('a passphrase: init, use, seal, unseal, restart, unseal', async () => {
    await begin();
    const made = await client.init({ passphrase: PASSPHRASE });
    expect(made.storeId).to.match(/^[0-9a-f]{32}$/);
    expect(made.custodianShares).to.deep.equal([]);
    expect(new Set(made.recoveryShares.map(text)).size).to.equal(5);
    for (const share of made.recoveryShares) expect(text(share)).to.match(/^[\x21-\x7e]+$/);
    await rejects(client.init({ passphrase: PASSPHRASE }), 'ALREADY_INITIALISED');
    await makeKey();
    const session = await client.createSessionKey({ type: 'aes-256' });
    await client.seal();
    expect(await client.status()).to.deep.include({ initialised: true, sealed: true });
    await rejects(client.decrypt(ciphertext), 'SEALED');
    await rejects(client.encrypt(session, 'x'), 'SEALED');
    await rejects(client.keys.create('other', { type: 'aes-256' }), 'SEALED');
    await rejects(client.random(16), 'SEALED');
    await rejects(client.seal(), 'SEALED');
    expect(await client.unseal({ type: 'passphrase', passphrase: PASSPHRASE })).to.deep.equal({ sealed: false, sharesGiven: 0, sharesNeeded: 0 });
    await works();
    // Its session keys went with the seal.
    expect(await client.encrypt(session, 'x').then(() => 'OK', (e: { code: string }) => e.code)).to.not.equal('OK');
    await again();
    await rejects(client.decrypt(ciphertext), 'SEALED');
    await client.unseal({ type: 'passphrase', passphrase: PASSPHRASE });
    await works();
    const document = readFileSync(path.join(place.store, 'seal.json'), 'utf8');
    expect(document).to.not.contain('horse');
    expect(JSON.parse(document).seals.map((s: { type: string }) => s.type)).to.deep.equal(['passphrase', 'recovery']);
  });

  it('a wrong passphrase stays sealed, and who guesses waits longer each time', async () => {
    await begin();
    await client.init({ passphrase: PASSPHRASE });
    await client.seal();
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) waits.push((await rejects(client.unseal({ type: 'passphrase', passphrase: `${PASSPHRASE}${i}` }), 'UNSEAL_FAILED')).retryAfterMs);
    expect(waits).to.deep.equal([0, 0, 1000]);
    const refused = await rejects(client.unseal({ type: 'passphrase', passphrase: PASSPHRASE }), 'LIMIT_EXCEEDED');
    expect(refused.retryAfterMs).to.be.within(1, 1000);
    expect((await client.status()).sealed).to.equal(true);
    await new Promise((resolve) => setTimeout(resolve, refused.retryAfterMs + 50));
    await client.unseal({ type: 'passphrase', passphrase: PASSPHRASE });
    expect((await client.health()).ready).to.equal(true);
  });

  it('custodians\' shares add up over calls, in any order and number', async () => {
    await begin();
    const { custodianShares, recoveryShares } = await client.init({ seals: ['shamir'], shareCount: 4, shareThreshold: 3, recoveryCount: 2, recoveryThreshold: 2 });
    expect([custodianShares.length, recoveryShares.length]).to.deep.equal([4, 2]);
    const share = (i: number) => ({ type: 'shamir' as const, share: text(custodianShares[i]!) });
    await makeKey();
    await again();
    const status = await client.status();
    expect(status.seals).to.have.length(2);
    expect(status.seals[0]!.detail).to.match(/^3 of 4 shares, set [0-9a-f]{8}$/);
    const set = status.seals[0]!.detail.slice(-8);
    const kitSet = status.seals[1]!.detail.slice(-8);
    expect(await client.unseal(share(3))).to.deep.equal({ sealed: true, sharesGiven: 1, sharesNeeded: 3 });
    expect(await client.unseal(share(3))).to.deep.equal({ sealed: true, sharesGiven: 1, sharesNeeded: 3 });
    expect(await client.unseal(share(1))).to.deep.equal({ sealed: true, sharesGiven: 2, sharesNeeded: 3 });
    expect((await client.status()).unseal).to.deep.equal({ sharesGiven: 2, sharesNeeded: 3 });
    expect(await client.unseal({ ...share(0), reset: true })).to.deep.equal({ sealed: true, sharesGiven: 1, sharesNeeded: 3 });
    // A typing error is found at once and costs nothing of what was given.
    const typo = await rejects(client.unseal({ type: 'shamir', share: text(custodianShares[1]!).slice(0, -1) }), 'UNSEAL_FAILED');
    expect(typo.detail).to.not.contain(text(custodianShares[1]!).slice(-20, -1));
    const wrong = await rejects(client.unseal({ type: 'shamir', share: text(recoveryShares[0]!) }), 'UNSEAL_FAILED');
    expect(wrong.detail).to.contain(`the recovery kit's set ${kitSet}`);
    expect((await client.status()).unseal).to.deep.equal({ sharesGiven: 1, sharesNeeded: 3 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await client.unseal({ type: 'shamir', share: `  ${text(custodianShares[1]!)}\n` });
    expect(await client.unseal(share(2))).to.deep.equal({ sealed: false, sharesGiven: 0, sharesNeeded: 0 });
    await works();
    expect(set).to.not.equal(kitSet);
  });

  it('shares of another store are refused by the name of their set', async () => {
    await begin();
    const mine = await client.init({ seals: ['shamir'], shareCount: 2, shareThreshold: 2 });
    await again();
    const other = new Place();
    try {
      await other.start();
      const theirs = await (await other.connect()).init({ seals: ['shamir'], shareCount: 2, shareThreshold: 2 });
      const error = await rejects(client.unseal({ type: 'shamir', share: text(theirs.custodianShares[0]!) }), 'UNSEAL_FAILED');
      expect(error.detail).to.match(/^the share is of set [0-9a-f]{8}; the custodians' set is [0-9a-f]{8}, the recovery kit's set is [0-9a-f]{8}$/);
    } finally {
      await other.remove();
    }
    for (const share of mine.custodianShares) await client.unseal({ type: 'shamir', share: text(share) });
    expect((await client.health()).ready).to.equal(true);
  });

  it('the recovery kit alone opens the store', async () => {
    await begin();
    const { recoveryShares } = await client.init({ passphrase: PASSPHRASE });
    await makeKey();
    await again();
    for (const i of [4, 0]) await client.unseal({ type: 'recovery', share: text(recoveryShares[i]!) });
    expect((await client.status()).sealed).to.equal(true);
    expect(await client.unseal({ type: 'recovery', share: text(recoveryShares[2]!) })).to.include({ sealed: false });
    await works();
  });

  it('a credential file opens the store at start, by setting or from the service manager', async () => {
    const credentials = path.join(place.folder, 'credentials');
    mkdirSync(credentials);
    const file = path.join(credentials, 'quorate-seal');
    const credential = Buffer.from(Array.from({ length: 48 }, (_, i) => (i * 37) & 255));
    writeFileSync(file, credential);
    await begin();
    await client.init({ seals: ['credential', 'passphrase'], credential: new Uint8Array(credential), passphrase: PASSPHRASE });
    await makeKey();
    await again();
    expect((await client.status()).sealed).to.equal(true);
    const none = await rejects(client.unseal({ type: 'credential' }), 'UNSEAL_FAILED');
    expect(none.detail).to.contain('no credential file');

    await again({ CREDENTIALS_DIRECTORY: credentials });
    await works();

    const config = path.join(place.folder, 'quorate.toml');
    writeFileSync(config, `[seal]\ncredential_file = "${file}"\n`);
    await again({}, ['--config', config]);
    await works();
    await client.seal();
    await client.unseal({ type: 'credential' });
    await works();

    writeFileSync(file, credential.map((b) => b ^ 1));
    await again({}, ['--config', config]);
    expect((await client.status()).sealed).to.equal(true);
    expect(run.stderr).to.contain('the credential does not open the seal');
    await client.unseal({ type: 'passphrase', passphrase: PASSPHRASE });
    await works();
  });

  it('refuses an init that would make a bad seal, and leaves nothing behind', async () => {
    await begin();
    const bad: [Parameters<QuorateClient['init']>[0], string][] = [
      [{ passphrase: 'short' }, 'passphrase'],
      [{ passphrase: 'x'.repeat(1025) }, 'passphrase'],
      [{}, 'passphrase'],
      [{ seals: ['credential'], credential: new Uint8Array(31).fill(1) }, 'credential'],
      [{ seals: ['credential'], passphrase: PASSPHRASE, credential: new Uint8Array(32).fill(1) }, 'passphrase'],
      [{ seals: ['shamir'], shareCount: 3, shareThreshold: 4 }, 'share_threshold'],
      [{ seals: ['shamir'], shareCount: 256, shareThreshold: 2 }, 'share_count'],
      [{ seals: ['shamir'] }, 'share_count'],
      [{ passphrase: PASSPHRASE, recoveryCount: 2, recoveryThreshold: 3 }, 'recovery_threshold'],
      [{ seals: ['development' as never] }, 'seals'],
    ];
    for (const [options, field] of bad) expect((await rejects(client.init(options), 'BAD_REQUEST')).field, JSON.stringify(options)).to.equal(field);
    expect((await client.status()).initialised).to.equal(false);
    expect((await client.status()).arena.bytesUsed).to.be.below(4096);
    await client.init({ passphrase: PASSPHRASE });
  });

  it('knows no seal that was not made', async () => {
    await begin();
    await client.init({ passphrase: PASSPHRASE });
    await client.seal();
    expect((await rejects(client.unseal({ type: 'credential' }), 'UNSEAL_FAILED')).detail).to.contain('no credential seal; it has passphrase, recovery');
    await rejects(client.unseal({ type: 'development' as 'credential' }), 'UNSEAL_FAILED');
  });

  it('init twice at once makes one store', async () => {
    await begin();
    const second = await place.connect();
    const both = await Promise.allSettled([client.init({ passphrase: PASSPHRASE }), second.init({ passphrase: `${PASSPHRASE}!` })]);
    expect(both.map((r) => r.status).sort()).to.deep.equal(['fulfilled', 'rejected']);
    const winner = both[0]!.status === 'fulfilled' ? PASSPHRASE : `${PASSPHRASE}!`;
    await client.seal();
    await client.unseal({ type: 'passphrase', passphrase: winner });
    expect((await client.health()).ready).to.equal(true);
  });

  it('gives every secret back when it is sealed', async () => {
    await begin();
    const before = (await client.status()).arena.bytesUsed;
    await client.init({ passphrase: PASSPHRASE, seals: ['passphrase', 'shamir'], shareCount: 3, shareThreshold: 2 });
    for (let round = 0; round < 3; round++) {
      await client.encrypt(await client.keys.create(`k${round}`, { type: 'aes-256' }).then(() => `k${round}`), 'x');
      await client.seal();
      await rejects(client.unseal({ type: 'shamir', share: 'nothing' }), 'UNSEAL_FAILED');
      expect((await client.status()).arena.bytesUsed, `round ${round}`).to.equal(before);
      await client.unseal({ type: 'passphrase', passphrase: PASSPHRASE });
    }
  });
});
