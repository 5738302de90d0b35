/** Each reason for which an access token is not accepted; and that nothing near a good token is one. */
import { assert } from 'chai';
import fc from 'fast-check';
import { toBase64url, utf8Bytes } from '../../src/base/bytes.js';
import { LIMITS } from '../../src/base/limits.js';
import { linkDigest } from '../../src/protocol/accessToken.js';
import { TOKEN_REASONS, TOKEN_REJECTED_DETAIL, TokenRejected } from '../../src/protocol/accessTokenFault.js';
import { confirm, HEADER, JTI, jws, KID, Mint, NARROWING, NOW, publicOf, seedKey, segment, STORE_ID, type Minted } from './mint.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/= \n{}"';

describe('iam: access tokens', () => {
  let mint: Mint;
  const seen = new Set<string>();
  beforeEach(() => {
    mint = new Mint();
  });

  async function expectReason(token: Pick<Minted, 'chain'>, reason: string, presenter?: { uid: number; domain: string }): Promise<void> {
    assert.equal(await mint.reason(token, presenter), reason);
    seen.add(reason);
  }
  /** Issued, whatever is in it: claims and header as raw JSON or objects. */
  function raw(header: unknown, claims: unknown, holder = seedKey(), key = mint.key): Minted {
    return mint.record(jws(header, claims, key), holder);
  }
  const claimsJson = (holder = seedKey()): string => JSON.stringify(mint.claims(holder));

  it('accepts what was issued, and says what it allows', async () => {
    const token = mint.issue({ scope: { actions: ['keys:use'], keys: ['billing/*'], domain: 'default', uid: 1000 } });
    const verified = await mint.verify(token);
    assert.deepInclude(verified, { jti: JTI, kid: KID, principal: 'service:ci', notBeforeMs: NOW * 1000, expiresMs: (NOW + 3600) * 1000 });
    assert.deepEqual(verified.scopes, [{ actions: ['keys:use'], keys: ['billing/*'], domain: 'default', uid: 1000 }]);
    assert.equal(toBase64url(verified.holder), publicOf(token.holder));
    const narrower = mint.narrow(mint.narrow(token, { exp: NOW + 60, scope: { actions: ['keys:encrypt'] } }), { nbf: NOW - 5 + 5, scope: { keys: ['billing/a'] } });
    const both = await mint.verify(narrower);
    assert.equal(both.expiresMs, (NOW + 60) * 1000);
    assert.lengthOf(both.scopes, 3);
    assert.equal(toBase64url(both.holder), publicOf(narrower.holder));
    assert.notDeepEqual(both.digest, verified.digest);
  });

  it('says one thing to the outside, whatever the reason', () => {
    for (const reason of Object.keys(TOKEN_REASONS)) {
      const rejected = new TokenRejected(reason as keyof typeof TOKEN_REASONS, { tokenId: JTI });
      assert.deepEqual([rejected.code, rejected.detail, rejected.field, rejected.retryAfterMs], ['TOKEN_REJECTED', TOKEN_REJECTED_DETAIL, '', 0]);
      assert.notInclude(rejected.message, JTI);
    }
  });

  it('algorithm, type, header', async () => {
    for (const alg of ['none', 'HS256', 'ES256', 'RS256', 'Ed25519', 'eddsa', 'EdDSA ', undefined, 7]) await expectReason(mint.issue({}, { ...HEADER, alg }), 'algorithm');
    // What another library may read as unsigned.
    await expectReason({ chain: `${segment({ ...HEADER, alg: 'none' })}.${segment(claimsJson())}.` }, 'malformed');
    for (const typ of ['JWT', 'quorate-narrowing+jwt', 'application/quorate+jwt', undefined]) await expectReason(mint.issue({}, { ...HEADER, typ }), 'type');
    await expectReason(mint.issue({}, { ...HEADER, crit: ['exp'] }), 'critical');
    await expectReason(mint.issue({}, { ...HEADER, crit: [] }), 'critical');
    for (const more of [{ jwk: confirm(seedKey()) }, { jku: 'https://example.com' }, { b64: false }, { zip: 'DEF' }, { cty: 'JWT' }]) await expectReason(mint.issue({}, { ...HEADER, ...more }), 'header');
    const token = mint.issue();
    await expectReason(mint.narrow(token, {}, HEADER), 'type');
    await expectReason(mint.narrow(token, {}, { ...NARROWING, alg: 'none' }), 'algorithm');
    await expectReason(mint.narrow(token, {}, { ...NARROWING, crit: ['x'] }), 'critical');
    await expectReason(mint.narrow(token, {}, { ...NARROWING, kid: KID }), 'header');
  });

  it('the key: unknown, another\'s under a known name, rotated out', async () => {
    for (const kid of ['d'.repeat(32), 'b'.repeat(31), 'B'.repeat(32), '../tokenKey', 7, null]) await expectReason(mint.issue({}, { ...HEADER, kid }), 'unknownKey');
    await expectReason(mint.issue({}, { alg: 'EdDSA', typ: 'quorate+jwt' }), 'header');
    await expectReason(raw(HEADER, mint.claims(seedKey()), seedKey(), seedKey()), 'signature');
    const token = mint.issue();
    mint.retiresMs = mint.nowMs + 1;
    await expectReason(token, 'accepted');
    mint.retiresMs = mint.nowMs;
    await expectReason(token, 'keyRetired');
  });

  it('a member twice, in the header, in the claims, and deep inside', async () => {
    const good = claimsJson();
    await expectReason(raw(`{"alg":"EdDSA","typ":"quorate+jwt","kid":"${KID}","alg":"EdDSA"}`, good), 'duplicateMember');
    await expectReason(raw(HEADER, good.replace('"exp":', '"exp":9999999999,"exp":')), 'duplicateMember');
    await expectReason(raw(HEADER, good.replace('"exp":', '"\\u0065xp":9999999999,"exp":')), 'duplicateMember');
    await expectReason(raw(HEADER, good.replace('"scope":{}', '"scope":{"uid":1,"uid":1000}')), 'duplicateMember');
    await expectReason(raw(HEADER, good.replace('"crv":"Ed25519"', '"crv":"Ed25519","crv":"Ed25519"')), 'duplicateMember');
    const token = mint.issue();
    const holder = seedKey();
    const claims = JSON.stringify(mint.narrowing(token, holder));
    await expectReason({ chain: `${token.chain}~${jws(NARROWING, claims.replace('"iat":', '"iat":1,"iat":'), token.holder)}` }, 'duplicateMember');
  });

  it('shape: parts, base64url, JSON, size, length of the chain', async () => {
    const token = mint.issue();
    const [header, claims, signature] = token.chain.split('.') as [string, string, string];
    for (const chain of ['', '~', 'a.b.c', `${header}.${claims}`, `${token.chain}.`, `${token.chain}~`, `~${token.chain}`, `${token.chain}\n`, ` ${token.chain}`, `${header}=.${claims}.${signature}`, `${header}.${claims}.${signature.slice(0, -1)}`, `${header}.${segment('[]')}.${signature}`, `${header}.${segment('{} ')}x.${signature}`, `${header}.${segment('{"a":1.5}')}.${signature}`, `${header}.${segment('{')}.${signature}`]) {
      await expectReason({ chain }, 'malformed');
    }
    // 64 bytes end in a digit of which four bits count for nothing.
    const last = signature.at(-1)!;
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    await expectReason({ chain: token.chain.slice(0, -1) + digits[digits.indexOf(last) + 1]! }, 'malformed');
    await expectReason({ chain: 'a'.repeat(LIMITS.token_bytes_max + 1) }, 'oversize');
    await expectReason({ chain: 'a'.repeat(LIMITS.token_bytes_max) }, 'malformed');
    let long = token;
    for (let i = 1; i < LIMITS.token_chain_max; i++) long = mint.narrow(long);
    await expectReason(long, 'accepted');
    await expectReason(mint.narrow(long), 'chainTooLong');
  });

  it('claims: missing, unknown, ill-typed', async () => {
    for (const name of ['iss', 'aud', 'sub', 'jti', 'iat', 'nbf', 'exp', 'scope', 'cnf']) await expectReason(mint.issue({ [name]: undefined }), 'claims');
    const x = publicOf(seedKey());
    for (const over of [
      { admin: true }, { exp: String(NOW + 60) }, { exp: -1 }, { exp: null }, { exp: 2 ** 52 }, { nbf: [] }, { jti: 'C'.repeat(32) }, { jti: 7 }, { sub: 7 }, { aud: [`quorate:${STORE_ID}`] }, { iss: null },
      { sub: 'service:'.padEnd(200, 'x') }, { cnf: {} }, { cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x, d: x } } }, { cnf: { jwk: { kty: 'OKP', crv: 'X25519', x } } }, { cnf: { jwk: { kty: 'EC', crv: 'Ed25519', x } } },
      { cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: x.slice(0, 42) } } }, { cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: `${x}=` } } }, { cnf: { kid: KID } }, { scope: [] }, { scope: { actions: [] } }, { scope: { keys: [] } },
      { scope: { keys: 'billing/*' } }, { scope: { keys: ['a*'] } }, { scope: { keys: [''] } }, { scope: { actions: ['keys'] } }, { scope: { actions: [7] } }, { scope: { domain: '' } }, { scope: { domain: 'A' } }, { scope: { uid: '1000' } },
      { scope: { uid: -1 } }, { scope: { uid: 2 ** 32 - 1 } }, { scope: { uid: null } }, { scope: { more: 1 } }, { scope: { actions: Array.from({ length: LIMITS.token_scope_entries_max + 1 }, () => 'keys:use') } },
    ]) await expectReason(mint.issue(over), 'claims');
    const token = mint.issue();
    for (const over of [{ sub: 'user:root' }, { aud: 'x' }, { prev: undefined }, { prev: 'AA' }, { cnf: undefined }, { scope: undefined }, { exp: null }, { iat: undefined }, { scope: { uid: null } }]) await expectReason(mint.narrow(token, over), 'claims');
  });

  it('issuer, audience, record', async () => {
    await expectReason(mint.issue({ iss: 'd'.repeat(32) }), 'issuer');
    await expectReason(mint.issue({ aud: `quorate:${'d'.repeat(32)}` }), 'audience');
    await expectReason(mint.issue({ aud: STORE_ID }), 'audience');
    const token = mint.issue();
    // Signed with the token key, and yet never issued: a stolen token key makes no tokens.
    const forged = { chain: jws(HEADER, mint.claims(seedKey(), { sub: 'user:root' }), mint.key) };
    await expectReason(forged, 'otherToken');
    mint.issued.clear();
    await expectReason(token, 'unknownToken');
  });

  it('time: before, from, until, after; revoked', async () => {
    const token = mint.issue({ nbf: NOW, exp: NOW + 10 });
    mint.nowMs = NOW * 1000 - 1;
    await expectReason(token, 'notYetValid');
    mint.nowMs = NOW * 1000;
    await expectReason(token, 'accepted');
    mint.nowMs = (NOW + 10) * 1000 - 1;
    await expectReason(token, 'accepted');
    mint.nowMs = (NOW + 10) * 1000;
    await expectReason(token, 'expired');
    mint.nowMs = NOW * 1000;
    await expectReason(mint.narrow(token, { exp: NOW }), 'expired');
    await expectReason(mint.narrow(token, { nbf: NOW + 1 }), 'notYetValid');
    mint.revoked.add(JTI);
    await expectReason(token, 'revoked');
    await expectReason(mint.narrow(token), 'revoked');
  });

  it('an id is told to the log only when a signature has vouched for it', async () => {
    const idOf = async (token: Pick<Minted, 'chain'>): Promise<string> => mint.verify(token).then(() => 'accepted', (e: unknown) => (e as TokenRejected).tokenId);
    assert.equal(await idOf(raw(HEADER, mint.claims(seedKey()), seedKey(), seedKey())), '');
    assert.equal(await idOf(mint.issue({ iss: 'x' })), '');
    assert.equal(await idOf(mint.issue({ exp: NOW })), JTI);
  });

  it('bound to a uid, to a domain: through another\'s connection it is nothing', async () => {
    const token = mint.issue({ scope: { uid: 1000, domain: 'payments' } });
    await expectReason(token, 'uid', { uid: 1001, domain: 'payments' });
    await expectReason(token, 'uid', { uid: 0, domain: 'payments' });
    await expectReason(token, 'domain', { uid: 1000, domain: 'default' });
    await expectReason(token, 'accepted', { uid: 1000, domain: 'payments' });
    await expectReason(token, 'accepted', { uid: 1000, domain: '' });
    await expectReason(mint.narrow(mint.issue(), { scope: { uid: 0 } }), 'uid', { uid: 1000, domain: '' });
    await expectReason(mint.narrow(mint.issue(), { scope: { uid: 0 } }), 'accepted', { uid: 0, domain: '' });
  });

  it('a narrowing belongs to its token, is signed by its holder, and does not widen', async () => {
    const token = mint.issue({ scope: { actions: ['keys:use'], keys: ['a/*'], domain: 'payments', uid: 1000 } });
    const at = { uid: 1000, domain: 'payments' };
    await expectReason(mint.narrow(token, {}, NARROWING, mint.key), 'signature', at);
    await expectReason(mint.narrow(token, { prev: toBase64url(linkDigest('another')) }), 'linkBroken', at);
    for (const over of [
      { exp: NOW + 3601 }, { nbf: NOW - 1 }, { scope: { actions: ['keys:*'] } }, { scope: { actions: ['*'] } }, { scope: { actions: ['keys:encrypt', 'keys:create'] } }, { scope: { keys: ['*'] } }, { scope: { keys: ['a/b', 'b'] } },
      { scope: { keys: ['a'] } }, { scope: { keys: ['A/b'] } }, { scope: { domain: 'default' } }, { scope: { uid: 1001 } },
    ]) await expectReason(mint.narrow(token, over), 'widened', at);
    // What a link took away, a later one does not bring back.
    await expectReason(mint.narrow(mint.narrow(token, { exp: NOW + 10 }), { exp: NOW + 11 }), 'widened', at);
    await expectReason(mint.narrow(mint.narrow(token, { scope: { keys: ['a/b'] } }), { scope: { keys: ['a/c'] } }), 'widened', at);
    await expectReason(mint.narrow(mint.narrow(token, { nbf: NOW + 10 }), { nbf: NOW + 9 }), 'widened', at);
    await expectReason(mint.narrow(token, { exp: NOW + 3600, nbf: NOW, scope: { actions: ['keys:encrypt', 'keys:use'], keys: ['a/*', 'a/b/*'], domain: 'payments', uid: 1000 } }), 'accepted', at);
  });

  it('links cut off, put in another order, twice, or from another token', async () => {
    const token = mint.issue();
    const once = mint.narrow(token, { scope: { keys: ['a'] } });
    const twice = mint.narrow(once, { scope: { actions: ['keys:encrypt'] } });
    const [t, a, b] = twice.chain.split('~') as [string, string, string];
    // Without its last links a text is a good token, of which the holder of the narrower one has no secret.
    const cut = await mint.verify({ chain: `${t}~${a}` });
    assert.notEqual(toBase64url(cut.holder), publicOf(twice.holder));
    assert.equal(toBase64url(cut.holder), publicOf(once.holder));
    for (const chain of [`${t}~${b}`, `${t}~${b}~${a}`, `${t}~${a}~${a}`, `${t}~${a}~${a}~${b}`]) await expectReason({ chain }, 'signature');
    await expectReason({ chain: `${a}~${b}` }, 'type');
    await expectReason({ chain: `${t}~${t}` }, 'type');
    const other = mint.issue();
    await expectReason({ chain: `${other.chain}~${a}` }, 'signature');
    // Two tokens for one holder's key: a link of the one is none of the other.
    const shared = seedKey();
    const first = mint.record(jws(HEADER, mint.claims(shared), mint.key), shared);
    const link = mint.narrow(first, { scope: { keys: ['a'] } }).chain.split('~')[1]!;
    const second = mint.record(jws(HEADER, mint.claims(shared, { exp: NOW + 60 }), mint.key), shared);
    await expectReason({ chain: `${second.chain}~${link}` }, 'linkBroken');
  });

  it('no random edit of a token is accepted', async function () {
    this.timeout(60_000);
    const token = mint.narrow(mint.narrow(mint.issue({ scope: { keys: ['a/*'] } }), { exp: NOW + 60 }), { scope: { actions: ['keys:encrypt'] } });
    const size = token.chain.length;
    const edit = fc.record({ at: fc.nat({ max: size - 1 }), with: fc.constantFrom(...ALPHABET), how: fc.constantFrom('replace', 'insert', 'delete', 'swap', 'flipBit') });
    const applied = (text: string, e: { at: number; with: string; how: string }): string => {
      const [head, tail] = [text.slice(0, e.at), text.slice(e.at + 1)];
      if (e.how === 'replace') return head + e.with + tail;
      if (e.how === 'insert') return head + e.with + text.slice(e.at);
      if (e.how === 'delete') return head + tail;
      if (e.how === 'swap') return text.slice(0, e.at) + (text[e.at + 1] ?? '') + (text[e.at] ?? '') + text.slice(e.at + 2);
      return head + String.fromCharCode(text.charCodeAt(e.at) ^ 1) + tail;
    };
    let tried = 0;
    await fc.assert(fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
      const chain = edits.reduce(applied, token.chain);
      if (chain === token.chain) return;
      tried += 1;
      assert.notEqual(await mint.reason({ chain }), 'accepted', chain);
    }), { numRuns: 3000 });
    assert.isAbove(tried, 2000);
    await expectReason(token, 'accepted');
  });

  it('no other claims under an old signature are accepted', async () => {
    const token = mint.issue({ exp: NOW + 5 });
    const [header, claims, signature] = token.chain.split('.') as [string, string, string];
    const told = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>;
    for (const over of [{ exp: NOW + 500 }, { sub: 'user:root' }, { scope: { uid: 1000 } }, { jti: 'd'.repeat(32) }]) {
      const chain = `${header}.${segment({ ...told, ...over })}.${signature}`;
      mint.issued.set(JTI, linkDigest(chain)).set('d'.repeat(32), linkDigest(chain));
      await expectReason({ chain }, 'signature');
    }
    // The same claims written otherwise are other bytes.
    await expectReason({ chain: `${header}.${toBase64url(utf8Bytes(JSON.stringify(told, null, 1)))}.${signature}` }, 'signature');
  });

  after(() => {
    // `proof` is the daemon's, whose addon has the secret.
    const missing = Object.keys(TOKEN_REASONS).filter((r) => r !== 'proof' && !seen.has(r));
    assert.deepEqual(missing, [], 'every reason has been seen');
  });
});
