/** A host joins over TLS 1.3; and every way in which one must not. Each end is real: sockets, certificates, the arena. */
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { clone, fromBinary, toBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { concatBytes, u32le } from '../../../src/base/bytes.js';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { JoinAnswerSchema, JoinRequestSchema } from '../../../src/protocol/gen/enrolment_pb.js';
import type { JoinRequest } from '../../../src/protocol/gen/enrolment_pb.js';
import { issueHostCertificate } from '../../../src/region/trust/ca.js';
import { parseCertificate, signCertificate } from '../../../src/region/trust/certificate.js';
import { certificatePem, makeHostKey, tlsOptions } from '../../../src/region/trust/credentials.js';
import type { HostCredentials } from '../../../src/region/trust/credentials.js';
import { channelOf, checkJoinRequest, makeJoinRequest, makeJoiningKeys } from '../../../src/region/trust/enrolment.js';
import type { Joined, JoiningKeys } from '../../../src/region/trust/enrolment.js';
import { join } from '../../../src/region/trust/exchange.js';
import type { Invitation } from '../../../src/region/trust/invitation.js';
import { peerIdentity } from '../../../src/region/trust/peer.js';
import { addonOrSkip } from '../../arena.js';
import { refused, rejected } from '../../crypto/expect.js';
import { DAY, hostPair, listen } from './fixture.js';
import { assertRingKey, dial, Inviter } from './joinFixture.js';

describe('region: joining', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let inviter: Inviter;
  let keys: JoiningKeys;
  let before_: number;
  const sockets: { destroy(): unknown }[] = [];

  const enrol = async (invitation: Invitation, port = inviter.port, with_ = keys): Promise<Joined> => {
    const socket = await dial(port);
    sockets.push(socket);
    return join(addon, socket, invitation, with_, ['127.0.0.1'], Date.now, 3000);
  };
  /** A request for a channel that nobody has, for what needs no connection. */
  const channel = new Uint8Array(32).fill(5);
  const check = (request: JoinRequest, other = channel, nowMs = Date.now()): unknown =>
    checkJoinRequest(inviter.region.identity, inviter.stored.get(String(request.invitationId)) ?? null, request, other, nowMs);
  const told = (request: JoinRequest, other = channel, nowMs = Date.now()): string => refused(() => check(request, other, nowMs), 'INVITATION_REFUSED').detail;

  before(function () { addon = addonOrSkip(this); });
  beforeEach(async () => {
    before_ = addon.secretCount();
    inviter = await new Inviter(addon).open();
    keys = makeJoiningKeys(addon);
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    addon.secretDrop(keys.enrolmentPrivate);
    inviter.close();
    assert.equal(addon.secretCount(), before_, 'no secret is left behind');
  });

  it('gives a host its certificate, the shared keys and the membership', async () => {
    const joined = await enrol(inviter.invite().invitation);
    assert.deepEqual(joined.ring.map((k) => k.name).sort(), ['domain/default', 'domain/system', 'recordName', 'region/ca', 'region/envelope']);
    for (const { name, handle } of joined.ring) if (name !== 'region/ca') assertRingKey(addon, name, handle);
    assert.deepEqual([joined.membership, joined.incarnation], [inviter.membership, inviter.incarnation]);
    const pair = await hostPair(inviter.credentials, { keyPem: keys.keyPem, certificate: joined.certificate, ca: joined.ca });
    assert.equal(peerIdentity(pair.server, { region: inviter.region.identity, cas: [joined.ca], isMember: () => true, isRevoked: () => false }, Date.now()), 'rbx-2');
    pair.close();
    for (const { handle } of joined.ring) addon.secretDrop(handle);
  });

  it('nothing of a key is readable on the way', async () => {
    let seen = new Uint8Array(0);
    inviter.answer = (answer) => {
      seen = toBinary(JoinAnswerSchema, answer);
      return answer;
    };
    const joined = await enrol(inviter.invite().invitation);
    for (const fill of [2, 5, 6, 8]) assert.isFalse(Buffer.from(seen).includes(Buffer.alloc(8, fill)));
    for (const { handle } of joined.ring) addon.secretDrop(handle);
  });

  it('an answer that was lost is given again, to the same host alone', async () => {
    const { invitation } = inviter.invite();
    for (let i = 0; i < 2; i++) for (const { handle } of (await enrol(invitation)).ring) addon.secretDrop(handle);
    assert.deepEqual(inviter.checked.map((c) => c.again), [false, true]);
    const others = makeJoiningKeys(addon);
    assert.match((await rejected(enrol(invitation, inviter.port, others), 'INVITATION_REFUSED')).detail, /used before/);
    // One of the two keys alone is not the host.
    for (const mixed of [{ ...others, keyPem: keys.keyPem, spki: keys.spki }, { ...keys, keyPem: others.keyPem, spki: others.spki }]) {
      assert.match((await rejected(enrol(invitation, inviter.port, mixed), 'INVITATION_REFUSED')).detail, /used before/);
    }
    addon.secretDrop(others.enrolmentPrivate);
  });

  it('refuses a wrong secret, an unknown invitation, an expired one and another region\'s', async () => {
    const { invitation } = inviter.invite();
    assert.match((await rejected(enrol({ ...invitation, secret: new Uint8Array(32) }), 'INVITATION_REFUSED')).detail, /secret is wrong/);
    assert.match((await rejected(enrol({ ...invitation, id: new Uint8Array(16) }), 'INVITATION_REFUSED')).detail, /no such invitation/);
    const request = makeJoinRequest(invitation, keys, [], channel);
    assert.match(told(request, channel, Date.now() + DAY), /expired/);
    const other = new Inviter(addon, 'gra');
    assert.match(refused(() => checkJoinRequest(other.region.identity, inviter.stored.values().next().value!, request, channel, Date.now()), 'INVITATION_REFUSED').detail, /another region/);
    // The record of another region, under the id that was asked for.
    const strayed = { ...inviter.stored.values().next().value!, regionId: other.region.identity.id };
    assert.match(refused(() => checkJoinRequest(inviter.region.identity, strayed, request, channel, Date.now()), 'INVITATION_REFUSED').detail, /no such/);
    other.close();
    assert.equal(inviter.checked.length, 0);
    assert.isNull(inviter.stored.values().next().value!.takenBy);
  });

  it('refuses a proof of another connection: recorded, or relayed by a host in the middle', async () => {
    const { invitation } = inviter.invite();
    const request = makeJoinRequest(invitation, keys, [], channel);
    check(request);
    assert.match(told(request, new Uint8Array(32).fill(6)), /another connection/);
    // A host of the region with a good certificate stands between: it ends the one TLS connection and opens another.
    const middle = tls.createServer({ ...tlsOptions(inviter.region.host('rbx-3')), rejectUnauthorized: false }, async (near) => {
      const far = await dial(inviter.port);
      sockets.push(near, far);
      near.pipe(far).pipe(near);
    });
    const port = await listen(middle);
    assert.match((await rejected(enrol(invitation, port), 'INVITATION_REFUSED')).detail, /another connection/);
    middle.close();
    // Word for word what was said to the one in the middle, said again to the inviter.
    const replay = await dial(inviter.port);
    sockets.push(replay);
    const answered = new Promise<Buffer>((resolve) => { replay.once('data', resolve); });
    const bytes = toBinary(JoinRequestSchema, inviter.requests.at(-1)!);
    replay.write(concatBytes(u32le(bytes.length), bytes));
    assert.equal(fromBinary(JoinAnswerSchema, (await answered).subarray(4)).refusedCode, 'INVITATION_REFUSED');
    assert.equal(inviter.checked.length, 0);
  });

  it('each connection has a channel of its own, the same at both ends', async () => {
    const one = await hostPair(inviter.credentials, inviter.credentials);
    const two = await hostPair(inviter.credentials, inviter.credentials);
    assert.deepEqual(channelOf(one.client), channelOf(one.server));
    assert.notDeepEqual(channelOf(one.client), channelOf(two.client));
    one.close();
    two.close();
  });

  it('says nothing to somebody with another CA', async () => {
    const { invitation } = inviter.invite();
    const stranger = new Inviter(addon);
    let heard = 0;
    // Below TLS: whatever the joiner says after the handshake would come through here.
    const listener = tls.createServer({ ...tlsOptions(stranger.credentials), requestCert: false }, (socket) => {
      sockets.push(socket);
      socket.on('data', (d) => { heard += d.length; }).on('error', () => {});
    });
    const port = await listen(listener);
    assert.match((await rejected(enrol(invitation, port), 'PEER_REFUSED')).detail, /does not belong to the region rbx/);
    const pose = async (credentials: HostCredentials): Promise<string> => {
      listener.setSecureContext({ ...tlsOptions(credentials), cert: certificatePem(credentials.certificate) + certificatePem(inviter.region.caCertificate) });
      return (await rejected(enrol(invitation, port), 'PEER_REFUSED')).detail;
    };
    // With the invited CA's certificate shown beside its own, which anybody can do.
    assert.match(await pose(stranger.credentials), /does not belong to the region rbx/);
    // And its own made to look as if that CA had signed it: names and key identifiers copied, the signature another's.
    const model = parseCertificate(inviter.credentials.certificate)!.tbsCertificate;
    const { keyPem, spki } = makeHostKey();
    const forged = signCertificate(addon, stranger.region.seed, {
      issuer: model.issuer, subject: model.subject, notBeforeMs: Date.now() - 1000, notAfterMs: Date.now() + DAY, spki, extensions: [...model.extensions!].filter((e) => e.extnID !== '2.5.29.14'),
    });
    assert.match(await pose({ keyPem, certificate: forged, ca: inviter.region.caCertificate }), /not of this region's CA/);
    assert.match(await pose(inviter.region.host('rbx-3', Date.now() - 40 * DAY)), /expired/);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    assert.equal(heard, 0);
    listener.close();
    stranger.close();
  });

  it('refuses a request in which anything was changed', () => {
    const { invitation } = inviter.invite();
    const request = makeJoinRequest(invitation, keys, ['127.0.0.1'], channel);
    check(request);
    const changed = (change: Partial<JoinRequest>): JoinRequest => Object.assign(clone(JoinRequestSchema, request), change);
    for (const change of [{ host: 'rbx-9' }, { hostSpki: makeHostKey().spki }, { enrolmentKey: new Uint8Array(32).fill(1) }, { addresses: ['127.0.0.2'] }, { addresses: [] }, { proof: new Uint8Array(64) }, { proof: new Uint8Array(0) }]) {
      assert.match(told(changed(change)), /secret is wrong/);
    }
    assert.match(told(changed({ possession: new Uint8Array(70) })), /does not hold the key/);
    assert.match(told(changed({ invitationId: new Uint8Array(16) })), /no such/);
    refused(() => check(changed({ format: 2 })), 'BAD_REQUEST');
  });

  it('refuses a holder of the secret who shows another\'s key, or calls itself otherwise', () => {
    const { invitation } = inviter.invite();
    assert.match(told(makeJoinRequest(invitation, { ...keys, spki: makeHostKey().spki }, [], channel)), /does not hold the key/);
    assert.match(told(makeJoinRequest({ ...invitation, host: 'rbx-1' }, keys, [], channel)), /is for the host rbx-2/);
    refused(() => check(makeJoinRequest(invitation, { ...keys, enrolmentKey: new Uint8Array(31) }, [], channel)), 'BAD_REQUEST');
  });

  it('believes no answer that is not for it, and keeps nothing of it', async () => {
    const other = new Inviter(addon);
    const cases: [string, (answer: Parameters<Inviter['answer']>[0]) => void, 'PEER_REFUSED' | 'CIPHERTEXT_INVALID'][] = [
      ['a host\'s own key', (a) => { a.entries[0]!.name = 'page'; }, 'PEER_REFUSED'],
      ['a key of the audit log', (a) => { a.entries[0]!.name = 'audit/seal'; }, 'PEER_REFUSED'],
      ['keys under each other\'s names', (a) => { [a.entries[0]!.name, a.entries[1]!.name] = [a.entries[1]!.name, a.entries[0]!.name]; }, 'CIPHERTEXT_INVALID'],
      ['another version', (a) => { a.entries[0]!.version = 2; }, 'CIPHERTEXT_INVALID'],
      ['the same twice', (a) => { a.entries.push(a.entries[0]!); }, 'PEER_REFUSED'],
      ['a key too few', (a) => { a.entries = a.entries.filter((e) => e.name !== 'region/envelope'); }, 'PEER_REFUSED'],
      ['another incarnation', (a) => { a.incarnationCounter = 2n; }, 'CIPHERTEXT_INVALID'],
      ['no incarnation', (a) => { a.incarnationCounter = 0n; }, 'PEER_REFUSED'],
      ['another CA', (a) => { a.ca = other.region.caCertificate; }, 'PEER_REFUSED'],
      ['another host\'s certificate', (a) => { a.certificate = inviter.region.host('rbx-3').certificate; }, 'PEER_REFUSED'],
      ['a certificate of that name for another key', (a) => { a.certificate = inviter.region.host('rbx-2').certificate; }, 'PEER_REFUSED'],
      ['a certificate of another name for its key', (a) => {
        a.certificate = issueHostCertificate(inviter.region.ca, inviter.region.caCertificate, inviter.region.identity, { host: 'rbx-3', spki: keys.spki, addresses: [] }, Date.now());
      }, 'PEER_REFUSED'],
      ['another CA\'s certificate', (a) => { a.certificate = other.region.host('rbx-2').certificate; }, 'PEER_REFUSED'],
      ['another seed', (a) => { a.entries.find((e) => e.name === 'region/ca')!.sealed = addon.hpkeSeal(keys.enrolmentKey, new Uint8Array(0), new Uint8Array(0), other.region.seed); }, 'CIPHERTEXT_INVALID'],
    ];
    for (const [what, change, code] of cases) {
      inviter.answer = (answer) => {
        change(answer);
        return answer;
      };
      const count = addon.secretCount();
      assert.equal((await rejected(enrol(inviter.invite().invitation), code)).code, code, what);
      assert.equal(addon.secretCount(), count, `${what}: nothing is kept`);
    }
    // The seed of another CA, sealed as it should be.
    inviter.answer = (a) => a;
    const [right, wrong] = [inviter.admission(), other.region.seed];
    inviter.admission = () => ({ ...right, ring: right.ring.map((k) => (k.name === 'region/ca' ? { ...k, handle: wrong } : k)) });
    assert.match((await rejected(enrol(inviter.invite().invitation), 'PEER_REFUSED')).detail, /CA's key/);
    other.close();
  });

  it('ends with whoever is silent, cuts off, or says too much', async () => {
    const { invitation } = inviter.invite();
    const behave = async (act: (socket: tls.TLSSocket) => void): Promise<{ code: string }> => {
      const listener = tls.createServer({ ...tlsOptions(inviter.credentials), requestCert: false }, (socket) => {
        sockets.push(socket);
        socket.on('error', () => {});
        socket.once('data', () => act(socket));
      });
      const socket = await dial(await listen(listener));
      sockets.push(socket);
      const error = await join(addon, socket, invitation, keys, [], Date.now, 300).then(() => ({ code: 'OK' }), (e: { code: string }) => e);
      listener.close();
      return error;
    };
    assert.equal((await behave(() => {})).code, 'DEADLINE_EXCEEDED');
    assert.equal((await behave((s) => s.end(u32le(9)))).code, 'CONNECTION_LOST');
    assert.equal((await behave((s) => s.write(u32le(0xffff_ffff)))).code, 'PEER_REFUSED');
    assert.equal((await behave((s) => s.write(concatBytes(u32le(1), new Uint8Array(9))))).code, 'PEER_REFUSED');
    assert.equal((await behave((s) => s.write(concatBytes(u32le(3), new Uint8Array([255, 255, 255]))))).code, 'PEER_REFUSED');
    // And the inviter with who connects and says nothing, or something else.
    const silent = net.connect((inviter.listener!.address() as AddressInfo).port, '127.0.0.1');
    silent.on('error', () => {});
    sockets.push(silent);
    const odd = await dial(inviter.port);
    sockets.push(odd);
    const ended = new Promise((resolve) => { odd.on('data', () => {}).once('end', resolve); });
    odd.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await ended;
    assert.equal((inviter.refusals.at(-1) as { code: string }).code, 'PEER_REFUSED');
  });

  it('a fact of the inviter\'s own is not told', async () => {
    inviter.answer = () => { throw new Error('/var/lib/quorate is full'); };
    assert.equal((await rejected(enrol(inviter.invite().invitation), 'INTERNAL')).detail, '');
  });
});
