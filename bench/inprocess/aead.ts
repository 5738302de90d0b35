/**
 * AES-256-GCM, five ways. All get the same key, plaintext and AAD, a fresh IV for each seal, and are checked against each other
 * before they are timed. `managed` is Quorate's own format, which also draws a nonce, derives a key and commits to it.
 *
 * Quorate and node:crypto are synchronous; WebCrypto is awaited one call at a time, as an application does that needs the result.
 * Quorate writes into the caller's buffer; the others make theirs, since that is their interface.
 */
import { createCipheriv, createDecipheriv, createSecretKey, webcrypto } from 'node:crypto';
import { Crypto as PeculiarCrypto } from '@peculiar/webcrypto';
import { addon } from '../../src/crypto/addon.js';
import type { Contender } from './rounds.js';

const { primitives } = addon;
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const AAD = new Uint8Array(16).fill(0x2a);

export interface AeadPair {
  seal: Contender[];
  open: Contender[];
}

function assertSame(name: string, a: Uint8Array, b: Uint8Array): void {
  if (Buffer.compare(a, b) !== 0) throw new Error(`${name} gives another result: the comparison would be of different work`);
}

/** A counter in the IV: what an application does, at the cost of one store for everyone. */
class FreshIv {
  readonly bytes = new Uint8Array(12);
  private readonly view = new DataView(this.bytes.buffer);
  private count = 0;
  next(): Uint8Array {
    this.view.setUint32(8, this.count++);
    return this.bytes;
  }
}

function quorate(plaintext: Uint8Array, fixedIv: Uint8Array, sealed: Uint8Array): { seal: Contender; open: Contender } {
  const prepared = primitives.gcmPrepare('', KEY);
  const out = new Uint8Array(plaintext.length + 16);
  const opened = new Uint8Array(plaintext.length);
  const iv = new FreshIv();
  primitives.gcmSeal(prepared, fixedIv, AAD, plaintext, sealed);
  if (primitives.gcmOpen(prepared, fixedIv, AAD, sealed, 16, opened) !== plaintext.length) throw new Error('quorate does not open what it sealed');
  assertSame('quorate', opened, plaintext);
  return {
    seal: { name: 'quorate', run: (n) => { for (let i = 0; i < n; i++) primitives.gcmSeal(prepared, iv.next(), AAD, plaintext, out); } },
    open: { name: 'quorate', run: (n) => { for (let i = 0; i < n; i++) primitives.gcmOpen(prepared, fixedIv, AAD, sealed, 16, opened); } },
  };
}

function managed(plaintext: Uint8Array): { seal: Contender; open: Contender } {
  const prepared = primitives.managedPrepare(KEY, 'default', new Uint8Array(16), 1);
  const sealed = new Uint8Array(plaintext.length + 96);
  const kept = new Uint8Array(plaintext.length + 96);
  const opened = new Uint8Array(plaintext.length);
  primitives.managedSeal(prepared, AAD, plaintext, kept);
  if (primitives.managedOpen(prepared, AAD, kept, opened) !== plaintext.length) throw new Error('managed does not open what it sealed');
  assertSame('managed', opened, plaintext);
  return {
    seal: { name: 'managed', run: (n) => { for (let i = 0; i < n; i++) primitives.managedSeal(prepared, AAD, plaintext, sealed); } },
    open: { name: 'managed', run: (n) => { for (let i = 0; i < n; i++) primitives.managedOpen(prepared, AAD, kept, opened); } },
  };
}

function nodeCrypto(plaintext: Uint8Array, fixedIv: Uint8Array, sealed: Uint8Array): { seal: Contender; open: Contender } {
  const key = createSecretKey(KEY);
  const iv = new FreshIv();
  const seal = (withIv: Uint8Array): [Buffer, Buffer, Buffer] => {
    const cipher = createCipheriv('aes-256-gcm', key, withIv);
    cipher.setAAD(AAD);
    return [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
  };
  const [ciphertext, tag] = [sealed.subarray(0, plaintext.length), sealed.subarray(plaintext.length)];
  const open = (): [Buffer, Buffer] => {
    const decipher = createDecipheriv('aes-256-gcm', key, fixedIv, { authTagLength: 16 });
    decipher.setAAD(AAD);
    decipher.setAuthTag(tag);
    return [decipher.update(ciphertext), decipher.final()];
  };
  assertSame('node:crypto', Buffer.concat(seal(fixedIv)), sealed);
  assertSame('node:crypto', Buffer.concat(open()), plaintext);
  return {
    seal: { name: 'node:crypto', run: (n) => { for (let i = 0; i < n; i++) seal(iv.next()); } },
    open: { name: 'node:crypto', run: (n) => { for (let i = 0; i < n; i++) open(); } },
  };
}

async function web(name: string, subtle: webcrypto.SubtleCrypto, plaintext: Uint8Array, fixedIv: Uint8Array, sealed: Uint8Array): Promise<{ seal: Contender; open: Contender }> {
  const key = await subtle.importKey('raw', KEY, 'AES-GCM', false, ['encrypt', 'decrypt']);
  const iv = new FreshIv();
  const algorithm = (withIv: Uint8Array) => ({ name: 'AES-GCM', iv: withIv, additionalData: AAD, tagLength: 128 });
  assertSame(name, new Uint8Array(await subtle.encrypt(algorithm(fixedIv), key, plaintext)), sealed);
  assertSame(name, new Uint8Array(await subtle.decrypt(algorithm(fixedIv), key, sealed)), plaintext);
  return {
    seal: { name, run: async (n) => { for (let i = 0; i < n; i++) await subtle.encrypt(algorithm(iv.next()), key, plaintext); } },
    open: { name, run: async (n) => { for (let i = 0; i < n; i++) await subtle.decrypt(algorithm(fixedIv), key, sealed); } },
  };
}

export async function aeadContenders(size: number): Promise<AeadPair> {
  const plaintext = new Uint8Array(size).map((_, i) => i);
  const fixedIv = new Uint8Array(12).fill(7);
  const sealed = new Uint8Array(size + 16);
  const peculiar = new PeculiarCrypto().subtle as unknown as webcrypto.SubtleCrypto;
  const all = [
    quorate(plaintext, fixedIv, sealed), managed(plaintext), nodeCrypto(plaintext, fixedIv, sealed),
    await web('subtle', webcrypto.subtle, plaintext, fixedIv, sealed), await web('@peculiar', peculiar, plaintext, fixedIv, sealed),
  ];
  return { seal: all.map((c) => c.seal), open: all.map((c) => c.open) };
}
