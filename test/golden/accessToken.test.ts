/** docs/FORMAT.md's access token is what a second implementation makes, what ours makes, and what ours reads. */
import { createHash, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { fromBase64url } from '../../src/base/bytes.js';
import { describeToken } from '../../src/client/accessToken.js';
import { linkDigest, linkText, narrowingSigningInput, parseChain, splitToken, tokenSigningInput } from '../../src/protocol/accessToken.js';
import { keyFromSeed, publicOf } from '../iam/mint.js';
import { GOLDEN_SEEDS, goldenToken } from './accessToken.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const golden = goldenToken();

describe('formats: the golden access token', () => {
  it('stands in docs/FORMAT.md', () => {
    const page = readFileSync(path.join(root, 'docs', 'FORMAT.md'), 'utf8').replace(/\s+/g, '');
    for (const [name, value] of Object.entries({ ...golden, links: '' })) assert.include(page, value.replace(/\s+/g, ''), name);
  });

  it('is what we make', () => {
    const { token, narrowings } = parseChain(golden.links.join('~'));
    assert.equal(linkText(tokenSigningInput(golden.kid, token.claims), sign(null, Buffer.from(tokenSigningInput(golden.kid, token.claims)), keyFromSeed(GOLDEN_SEEDS.tokenKey))), golden.links[0]);
    const input = narrowingSigningInput(narrowings[0]!.claims);
    assert.equal(linkText(input, sign(null, Buffer.from(input), keyFromSeed(GOLDEN_SEEDS.holder))), golden.links[1]);
    assert.deepEqual(narrowings[0]!.claims.prev, linkDigest(golden.links[0]!));
  });

  it('is read as it was meant', () => {
    assert.deepEqual(describeToken(Buffer.from(golden.narrowed)), {
      id: '101112131415161718191a1b1c1d1e1f', principal: 'service:ci', store: '000102030405060708090a0b0c0d0e0f', keyId: golden.kid,
      issuedMs: 1800000000_000, notBeforeMs: 1800000000_000, expiresMs: 1800000660_000,
      scope: { actions: ['keys:use'], keys: ['builds/today'], domain: '', uid: 1000 }, narrowings: 1,
    });
    assert.deepEqual(Buffer.from(splitToken(Buffer.from(golden.narrowed)).secret), GOLDEN_SEEDS.narrower);
    assert.equal(golden.kid, createHash('sha256').update(fromBase64url(publicOf(keyFromSeed(GOLDEN_SEEDS.tokenKey)))!).digest('hex').slice(0, 32));
  });
});
