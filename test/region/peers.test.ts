import { assert } from 'chai';
import type { PeerCredentials } from '../../src/region/peer/peers.js';
import { digestOf } from '../../src/region/apply.js';
import { needInstalled } from '../skip.js';
import { identifier, type TestCa, testCa } from './certificates.js';
import { LINEAGE, MEMBERS, TestHost, told, until } from './peerFixture.js';

describe('region: links between hosts', () => {
  let ca: TestCa;
  const certificates = new Map<string, PeerCredentials>();
  const hosts: TestHost[] = [];
  before(function () {
    needInstalled(this, 'openssl');
    ca = testCa();
    for (const name of ['a', 'b', 'c', 'x']) certificates.set(name, ca.host(name));
  });
  afterEach(async () => { for (const host of hosts.splice(0)) await host.peers.close(); });
  after(() => ca?.drop());

  async function start(name: string, ...rest: [over?: Parameters<typeof TestHost.start>[2], lineage?: typeof LINEAGE]): Promise<TestHost> {
    const host = await TestHost.start(name, certificates.get(name)!, ...rest);
    hosts.push(host);
    return host;
  }

  async function meshed(...names: string[]): Promise<TestHost[]> {
    const all = await Promise.all(names.map((name) => start(name)));
    for (const host of all) host.dial(...all);
    await until('all are linked', () => all.every((h) => h.peers.status().every((s) => s.reached && s.connected)));
    return all;
  }

  it('bring pushes and watermarks to every other, and none to oneself', async () => {
    const [a, b, c] = await meshed('a', 'b', 'c') as [TestHost, TestHost, TestHost];
    a.peers.push(told(2));
    a.peers.push(told(3));
    b.peers.confirm({ lineage: LINEAGE, revision: 3, withheld: '' });
    await until('b and c have both, a and c have heard b', () => [b, c].every((h) => h.pushes.length === 2) && [a, c].every((h) => h.peers.words().get('b')?.revision === 3));
    assert.deepEqual(b.pushes[0], { from: 'a', revision: { ...told(2), operations: [{ ...told(2).operations[0]!, name: undefined }, told(2).operations[1]!] } });
    assert.deepEqual(digestOf(b.pushes[1]!.revision.operations), digestOf(told(3).operations));
    assert.lengthOf(a.pushes, 0);
    c.peers.confirm({ lineage: LINEAGE, revision: 1, withheld: 'resync' });
    await until('c withholds', () => a.peers.words().get('c')?.withheld === 'resync');
    assert.equal(a.peers.words().get('a')!.revision, 1);
  });

  it('say the newest watermark once, however often it was told in a turn', async () => {
    const [a, b] = await meshed('a', 'b') as [TestHost, TestHost];
    const before = b.words.length;
    for (let revision = 2; revision <= 50; revision++) a.peers.confirm({ lineage: LINEAGE, revision, withheld: '' });
    await until('b has heard', () => b.peers.words().get('a')?.revision === 50);
    assert.isAtMost(b.words.length - before, 2);
  });

  it('beat twice a second, and tell how far the wall clocks are apart', async () => {
    const [a, b] = await meshed('a', 'b') as [TestHost, TestHost];
    a.wallAheadMs = 90_000;
    const from = b.words.length;
    const began = performance.now();
    await until('three beats', () => b.words.length >= from + 3, 4000);
    assert.isAbove(performance.now() - began, 600);
    assert.approximately(b.words.at(-1)!.word.skewMs, 90_000, 2000);
    assert.approximately(a.words.at(-1)!.word.skewMs, -90_000, 2000);
  });

  it('tell a host what is remembered of it', async () => {
    const [a, b] = await Promise.all([start('a'), start('b')]);
    b.memory.set('a', { lineage: LINEAGE, revision: 99 });
    a.dial(b);
    await until('a is told', () => a.remembered.length === 1);
    assert.deepEqual(a.remembered, [{ from: 'b', watermark: { lineage: LINEAGE, revision: 99 } }]);
  });

  it('find a host again that was away, and hang up on one that is silent', async () => {
    const [a, b] = await Promise.all([start('a'), start('b')]);
    a.dial(b);
    await until('a reaches b', () => a.peers.status()[0]!.reached);
    const { port } = b;
    await b.peers.close();
    await until('a has lost b', () => !a.peers.status()[0]!.reached);
    const again = await start('b', { listen: { host: '127.0.0.1', port } });
    await until('a reaches b again', () => a.peers.status()[0]!.reached, 3000);
    // A frame may come between the leap of the clock and the look at it.
    const leap = (host: TestHost): void => { host.aheadMs += 3100; };
    await until('b hangs up: it has not heard a for 3 s', () => { leap(again); return again.logged(/peer disconnected.*silent for 3000 ms/); }, 1000);
    await until('a reaches b again', () => a.peers.status()[0]!.reached, 3000);
    await until('a hangs up: it has not heard b for 3 s', () => { leap(a); return a.logged(/peer lost.*silent for 3000 ms/); }, 1000);
  });

  it('refuse another incarnation, and tell both sides', async () => {
    const old = { ...LINEAGE, counter: 7 };
    const a = await start('a', {}, old);
    const b = await start('b');
    a.dial(b);
    await until('both know', () => a.foreign.length > 0 && b.foreign.length > 0);
    assert.deepEqual([a.foreign[0], b.foreign[0]], [{ from: 'b', lineage: LINEAGE }, { from: 'a', lineage: old }]);
    assert.isTrue(b.logged(/peer refused.*INCARNATION_MISMATCH: it is of 7\/abababab/));
    await until('a says why', () => a.peers.status()[0]!.reason .endsWith('INCARNATION_MISMATCH'));
    a.lineage = LINEAGE;
    a.peers.restart();
    await until('a is taken', () => a.peers.status()[0]!.reached);
    assert.lengthOf(b.words.filter(({ word }) => word.lineage.counter === 7 && word.withheld === ''), b.words.length, 'a goes on with its own word');
  });

  it('refuse another region, another name, a stranger and another CA', async () => {
    const b = await start('b');
    const other = testCa();
    try {
      const cases: [TestHost, RegExp, (reason: string) => boolean][] = [
        [await start('a', { region: '22'.repeat(16) }), /PEER_REFUSED: it belongs to another region/, (reason) => reason.endsWith('PEER_REFUSED')],
        [await start('c', { host: 'a' }), /PEER_REFUSED: it says a, its certificate says c/, (reason) => reason.endsWith('PEER_REFUSED')],
        [await start('x'), /connection refused.*x is no member/, (reason) => /ECONNRESET|closed/.test(reason)],
        [await start('a', { credentials: { ...other.host('a'), ca: certificates.get('b')!.ca } }), /connection refused/, (reason) => /alert|ECONNRESET|closed/i.test(reason)],
      ];
      for (const [host, theirs, own] of cases) {
        host.dial(b);
        await until(String(theirs), () => b.logged(theirs));
        await until(`it knows why: ${theirs}`, () => own(host.peers.status()[0]!.reason));
        await host.peers.close();
      }
      assert.deepEqual([b.words, b.pushes], [[], []]);
      const a = await start('a');
      a.dial({ name: 'c', port: b.port });
      await until('a wants c, and b answers', () => /c was called, b has answered/.test(a.peers.status()[0]!.reason));
    } finally {
      other.drop();
    }
  });

  it('show new certificates on new connections, and drop a revoked one at once', async () => {
    const revoked = new Set<string>();
    const seen: string[] = [];
    const identify = identifier(MEMBERS, revoked);
    const b = await start('b', { identify: (socket, expected) => {
      seen.push(socket.getPeerX509Certificate()!.serialNumber);
      return identify(socket, expected);
    } });
    const a = await start('a');
    a.dial(b);
    await until('a reaches b', () => a.peers.status()[0]!.reached);
    a.peers.setCredentials(ca.host('a'));
    assert.isTrue(a.peers.status()[0]!.reached, 'what is open stays');
    revoked.add(seen[0]!);
    b.peers.recheck();
    await until('b hangs up, and takes a with its new certificate', () => new Set(seen).size === 2 && a.peers.status()[0]!.reached);
    assert.isTrue(b.logged(/peer disconnected.*was revoked/));
    const fresh = ca.host('b');
    b.peers.setCredentials(fresh);
    let shown = '';
    const c = await start('c', { identify: (socket, expected) => {
      shown = socket.getPeerX509Certificate()!.toString();
      return identify(socket, expected);
    } });
    c.dial(b);
    await until('c reaches b', () => c.peers.status()[0]!.reached);
    assert.equal(shown.trim(), fresh.cert.trim());
  });

  it('neither tell nor are told anything that counts where a certificate is not of the host\'s own key, whoever dials', async () => {
    const isOwnKey = (_: unknown, host: string): boolean => host !== 'a';
    const b = await start('b', { isOwnKey });
    const a = await start('a');
    a.dial(b);
    await until('b refuses it', () => /PEER_REFUSED/.test(a.peers.status()[0]!.reason));
    b.dial(a);
    await until('b leaves it', () => /another key/.test(b.peers.status()[0]!.reason));
    a.peers.confirm({ lineage: LINEAGE, revision: 7, withheld: '' });
    b.peers.push(told(7));
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    assert.deepEqual([b.words.length, a.pushes.length, b.peers.words().has('a')], [0, 0, false]);
  });

  it('follow the membership', async () => {
    const [a, b, c] = await meshed('a', 'b', 'c') as [TestHost, TestHost, TestHost];
    a.dial(b);
    assert.deepEqual(a.peers.status().map(({ host }) => host), ['b']);
    assert.isFalse(a.peers.words().has('c'));
    a.peers.push(told(5));
    await until('b has it', () => b.pushes.length === 1);
    assert.lengthOf(c.pushes, 0);
  });

  it('leave nothing behind when they are closed', async () => {
    const count = (): number => process.getActiveResourcesInfo().filter((r) => /Timeout|TLS|TCP/.test(r)).length;
    const before = count();
    const all = await meshed('a', 'b', 'c');
    assert.isAbove(count(), before + 6);
    for (const host of all) await host.peers.close();
    await until('all is gone', () => count() <= before + 1);
  });
});
