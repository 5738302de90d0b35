/** An access token made with nothing of ours: fixed seeds, members in the order of docs/FORMAT.md. Ed25519 gives one signature for one input. */
import { createHash, sign } from 'node:crypto';
import { keyFromSeed, publicOf } from '../iam/mint.js';

const seed = (n: number): Buffer => Buffer.alloc(32, n);
const base64url = (text: string | Buffer): string => Buffer.from(text).toString('base64url');
const jwk = (n: number): object => ({ kty: 'OKP', crv: 'Ed25519', x: publicOf(keyFromSeed(seed(n))) });

function link(header: object, claims: object, by: number): string {
  const input = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`;
  return `${input}.${base64url(sign(null, Buffer.from(input), keyFromSeed(seed(by))))}`;
}

export const GOLDEN_SEEDS = { tokenKey: seed(1), holder: seed(2), narrower: seed(3) };

export function goldenToken(): { kid: string; header: string; claims: string; narrowing: string; token: string; links: string[]; text: string; narrowed: string } {
  const kid = createHash('sha256').update(Buffer.from(publicOf(keyFromSeed(seed(1))), 'base64url')).digest().subarray(0, 16).toString('hex');
  const store = '000102030405060708090a0b0c0d0e0f';
  const header = { alg: 'EdDSA', typ: 'quorate+jwt', kid };
  const claims = {
    iss: store, aud: `quorate:${store}`, sub: 'service:ci', jti: '101112131415161718191a1b1c1d1e1f', iat: 1800000000, nbf: 1800000000, exp: 1800003600,
    scope: { actions: ['keys:use'], keys: ['builds/*'], uid: 1000 }, cnf: { jwk: jwk(2) },
  };
  const first = link(header, claims, 1);
  const narrowing = { prev: base64url(createHash('sha256').update(first).digest()), iat: 1800000060, exp: 1800000660, scope: { keys: ['builds/today'] }, cnf: { jwk: jwk(3) } };
  const second = link({ alg: 'EdDSA', typ: 'quorate-narrowing+jwt' }, narrowing, 2);
  return {
    kid, header: JSON.stringify(header), claims: JSON.stringify(claims), narrowing: JSON.stringify(narrowing), token: first, links: [first, second],
    text: `${first}~${base64url(seed(2))}`, narrowed: `${first}~${second}~${base64url(seed(3))}`,
  };
}
