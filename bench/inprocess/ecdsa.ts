/** ECDSA P-256 with SHA-256 over a message of 64 bytes; signatures in P1363 form, which WebCrypto gives. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign as nodeSign, verify as nodeVerify, webcrypto } from 'node:crypto';
import { Crypto as PeculiarCrypto } from '@peculiar/webcrypto';
import { addon } from '../../src/crypto/addon.js';
import { Hash, KeyScheme, KeyType, MaterialFormat, SignatureFormat } from '../../src/protocol/gen/quorate_pb.js';
import type { Contender } from './rounds.js';

const { primitives } = addon;
const MESSAGE = new Uint8Array(64).map((_, i) => i);

interface Signer {
  name: string;
  sign(): Uint8Array | Promise<Uint8Array>;
  verify(signature: Uint8Array): boolean | Promise<boolean>;
}

function quorate(pkcs8: Uint8Array): Signer {
  const { stored, spki } = primitives.importKey(KeyType.EC_P256, MaterialFormat.PKCS8, pkcs8)!;
  return {
    name: 'quorate',
    sign: () => primitives.sign(KeyType.EC_P256, KeyScheme.ECDSA, Hash.SHA_256, false, SignatureFormat.P1363, 0, stored, MESSAGE)!,
    verify: (signature) => primitives.verify(KeyType.EC_P256, KeyScheme.ECDSA, Hash.SHA_256, false, SignatureFormat.P1363, 0, spki, MESSAGE, signature),
  };
}

function nodeCrypto(pkcs8: Uint8Array): Signer {
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key);
  return {
    name: 'node:crypto',
    sign: () => nodeSign('sha256', MESSAGE, { key, dsaEncoding: 'ieee-p1363' }),
    verify: (signature) => nodeVerify('sha256', MESSAGE, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature),
  };
}

async function web(name: string, subtle: webcrypto.SubtleCrypto, pkcs8: Uint8Array, spki: Uint8Array): Promise<Signer> {
  const curve = { name: 'ECDSA', namedCurve: 'P-256' };
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const key = await subtle.importKey('pkcs8', pkcs8, curve, false, ['sign']);
  const publicKey = await subtle.importKey('spki', spki, curve, true, ['verify']);
  return {
    name,
    sign: async () => new Uint8Array(await subtle.sign(algorithm, key, MESSAGE)),
    verify: (signature) => subtle.verify(algorithm, publicKey, signature, MESSAGE),
  };
}

function contenders(signer: Signer, signature: Uint8Array): { sign: Contender; verify: Contender } {
  const looped = (once: () => unknown): Contender['run'] => {
    const isAsync = once() instanceof Promise;
    return isAsync ? async (n) => { for (let i = 0; i < n; i++) await once(); } : (n) => { for (let i = 0; i < n; i++) once(); };
  };
  return { sign: { name: signer.name, run: looped(() => signer.sign()) }, verify: { name: signer.name, run: looped(() => signer.verify(signature)) } };
}

export async function ecdsaContenders(): Promise<{ sign: Contender[]; verify: Contender[] }> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pkcs8 = new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' }));
  const spki = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }));
  const peculiar = new PeculiarCrypto().subtle as unknown as webcrypto.SubtleCrypto;
  const signers = [quorate(pkcs8), nodeCrypto(pkcs8), await web('subtle', webcrypto.subtle, pkcs8, spki), await web('@peculiar', peculiar, pkcs8, spki)];
  const out = { sign: [] as Contender[], verify: [] as Contender[] };
  for (const signer of signers) {
    const signature = new Uint8Array(await signer.sign());
    for (const other of signers) if (!(await other.verify(signature))) throw new Error(`${other.name} does not verify ${signer.name}'s signature`);
    const { sign, verify } = contenders(signer, signature);
    out.sign.push(sign);
    out.verify.push(verify);
  }
  return out;
}
