/** The line that a person pastes, and what the region keeps of it. */
import { assert } from 'chai';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { decodeStoredInvitation, encodeStoredInvitation, INVITATION_PREFIX, makeInvitation, proveInvitation, provesInvitation, readInvitation, wipeInvitation } from '../../../src/region/trust/invitation.js';
import type { InvitationOrder } from '../../../src/region/trust/invitation.js';
import { fingerprint } from '../../../src/region/trust/peer.js';
import { addonOrSkip } from '../../arena.js';
import { refused } from '../../crypto/expect.js';
import { DAY, TestRegion } from './fixture.js';

describe('region: invitations', () => {
  let addon: NativeAddon;
  let region: TestRegion;
  const NOW = Date.now();
  const order = (change: object = {}): InvitationOrder =>
    ({ host: 'rbx-2', zone: 'b', role: 'voter', region: region.identity, addresses: ['rbx-1.example.net:7301', '[fd00::1]:7301'], caCertificate: region.caCertificate, lifeMs: DAY, ...change });

  before(function () {
    addon = addonOrSkip(this);
    region = new TestRegion(addon);
  });
  after(() => region?.close());

  it('is one line that says who invites whom', () => {
    const { text, stored } = makeInvitation(order(), NOW);
    assert.match(text, /^quorate-join1:[A-Za-z0-9_-]{200,400}$/);
    const read = readInvitation(` ${text}\n`, NOW);
    assert.deepEqual({ ...read, secret: 0 }, {
      id: stored.id, region: region.identity, addresses: ['rbx-1.example.net:7301', '[fd00::1]:7301'], caFingerprint: fingerprint(region.caCertificate), secret: 0,
      host: 'rbx-2', zone: 'b', role: 'voter', expiresMs: NOW + DAY,
    });
    assert.equal(read.secret.length, 32);
    assert.notDeepEqual(readInvitation(makeInvitation(order(), NOW).text, NOW).secret, read.secret);
    wipeInvitation(read);
    assert.isTrue(read.secret.every((b) => b === 0));
  });

  it('what the region keeps knows the secret\'s holder, and cannot be it', () => {
    const { text, stored } = makeInvitation(order(), NOW);
    const invitation = readInvitation(text, NOW);
    const kept = encodeStoredInvitation(stored);
    assert.deepEqual(decodeStoredInvitation(kept), stored);
    assert.isFalse(Buffer.from(kept).includes(Buffer.from(invitation.secret)));
    const message = new Uint8Array([1, 2, 3]);
    const proof = proveInvitation(invitation, message);
    assert.isTrue(provesInvitation(stored.proofKey, message, proof));
    assert.isFalse(provesInvitation(stored.proofKey, new Uint8Array([1, 2]), proof));
    assert.isFalse(provesInvitation(stored.proofKey, message, proveInvitation({ ...invitation, secret: stored.proofKey }, message)));
    assert.isFalse(provesInvitation(stored.proofKey, message, proof.subarray(0, 63)));
    const taken = { ...stored, takenBy: new Uint8Array(32).fill(7) };
    assert.deepEqual(decodeStoredInvitation(encodeStoredInvitation(taken)), taken);
    refused(() => decodeStoredInvitation(new Uint8Array([255])), 'STORE_CORRUPT');
    refused(() => decodeStoredInvitation(encodeStoredInvitation({ ...stored, proofKey: new Uint8Array(3) })), 'STORE_CORRUPT');
    const newer = encodeStoredInvitation(stored);
    newer[1] = 2;
    refused(() => decodeStoredInvitation(newer), 'STORE_SCHEMA_NEWER');
  });

  it('a changed, missing or added character is seen', () => {
    const { text } = makeInvitation(order(), NOW);
    for (let i = 0; i < text.length; i += 3) {
      refused(() => readInvitation(`${text.slice(0, i)}${text[i] === 'A' ? 'B' : 'A'}${text.slice(i + 1)}`, NOW), 'INVITATION_INVALID');
      refused(() => readInvitation(text.slice(0, i) + text.slice(i + 1), NOW), 'INVITATION_INVALID');
    }
    for (const other of ['', INVITATION_PREFIX, `${INVITATION_PREFIX}AAAAAAAAAAAA`, `${text}A`, `${text}=`, text.replace('join1', 'join2'), text + text, `${INVITATION_PREFIX}${'A'.repeat(9000)}`]) {
      refused(() => readInvitation(other, NOW), 'INVITATION_INVALID');
    }
  });

  it('expires', () => {
    const { text } = makeInvitation(order({ lifeMs: 1000 }), NOW);
    assert.equal(readInvitation(text, NOW + 999).host, 'rbx-2');
    assert.match(refused(() => readInvitation(text, NOW + 1000), 'INVITATION_REFUSED').detail, /^it expired at 20/);
  });

  it('is not made for what cannot be', () => {
    for (const change of [{ host: 'RBX 2' }, { zone: '' }, { role: 'king' }, { addresses: [] }, { addresses: ['rbx-1'] }, { addresses: ['rbx-1:0'] }, { addresses: ['[rbx-1]:7301'] }, { addresses: ['rbx-1:70000'] },
      { addresses: ['fd00::1:7301'] }, { lifeMs: 0 }, { lifeMs: 31 * DAY }, { region: { name: 'R', id: region.identity.id } }]) {
      refused(() => makeInvitation(order(change), NOW), 'BAD_REQUEST');
    }
  });
});
