/** Wycheproof's vectors, each through the calls that an application would make. What does not apply must be refused, and says why. */
import { createHmac } from 'node:crypto';
import type { PKCS11 } from 'pkcs11js';

// biome-ignore lint/suspicious/noExplicitAny: the vectors' own fields
export type Json = Record<string, any>;
/** Why a vector does not apply here; null: it went as it should. */
export type Verdict = string | null;

const OID: Record<string, string> = { secp256r1: '06082a8648ce3d030107', secp384r1: '06052b81040022', secp521r1: '06052b81040023' };
const CKM_HASH: Record<string, number> = { 'SHA-1': 0x220, 'SHA-224': 0x255, 'SHA-256': 0x250, 'SHA-384': 0x260, 'SHA-512': 0x270 };
const MGF: Record<string, number> = { 'SHA-1': 1, 'SHA-224': 5, 'SHA-256': 2, 'SHA-384': 3, 'SHA-512': 4 };
const A = { CLASS: 0, VALUE: 0x11, KEY_TYPE: 0x100, SENSITIVE: 0x103, ENCRYPT: 0x104, DECRYPT: 0x105, WRAP: 0x106, UNWRAP: 0x107, SIGN: 0x108, VERIFY: 0x10a, DERIVE: 0x10c, MODULUS: 0x120, PUBLIC_EXPONENT: 0x122, VALUE_LEN: 0x161, EXTRACTABLE: 0x162, EC_PARAMS: 0x180, EC_POINT: 0x181 } as const;
const SECRET = 4, PRIVATE = 3, PUBLIC = 2;
const hex = (text: string): Buffer => Buffer.from(text.length % 2 === 1 ? `0${text}` : text, 'hex');
const ulong = (value: number): Buffer => { const out = Buffer.alloc(8); out.writeBigUInt64LE(BigInt(value)); return out; };
const room = (): Buffer => Buffer.alloc(1024);

type Attributes = [type: number, value: number | boolean | Buffer][];

export class Vectors {
  #group: { of: Json; key: Buffer } | null = null;

  constructor(private readonly p: PKCS11, private readonly session: Buffer, private readonly params: { gcm: number; oaep: number; pss: number; ecdh: number }) {}

  #template(attributes: Attributes): { type: number; value: Buffer | boolean | number }[] {
    return attributes.map(([type, value]) => ({ type, value: typeof value === 'number' ? ulong(value) : value }));
  }
  #create(attributes: Attributes): Buffer {
    return this.p.C_CreateObject(this.session, this.#template(attributes) as never);
  }
  /** undefined: the call was refused. */
  #tried<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      // What the module never says of a bad vector: that it, or the daemon, broke.
      if (/DEVICE_|GENERAL_ERROR|HOST_MEMORY|ARGUMENTS_BAD|ACTIVE|NOT_INITIALIZED|HANDLE/.test((error as Error).message)) throw error;
      return undefined;
    }
  }
  #with<T>(key: Buffer | undefined, use: (key: Buffer) => T): T | undefined {
    if (key === undefined) return undefined;
    try {
      return use(key);
    } finally {
      this.p.C_DestroyObject(this.session, key);
    }
  }
  #judge(t: Json, good: boolean): Verdict {
    if (t['result'] !== 'acceptable' && good !== (t['result'] === 'valid')) throw new Error(`vector ${t['tcId']} (${t['comment']}): ${good ? 'accepted' : 'refused'}, and is ${t['result']}`);
    return null;
  }
  #refused(t: Json, outcome: unknown, why: string): Verdict {
    if (outcome !== undefined) throw new Error(`vector ${t['tcId']}: taken, although ${why}`);
    return why;
  }
  #verify(key: Buffer, mechanism: object, message: Buffer, signature: Buffer): boolean {
    return this.#tried(() => {
      this.p.C_VerifyInit(this.session, mechanism as never, key);
      return this.p.C_Verify(this.session, message, signature) as unknown as boolean;
    }) !== undefined;
  }

  gcm(t: Json, g: Json): Verdict {
    const key = this.#create([[A.CLASS, SECRET], [A.KEY_TYPE, 0x1f], [A.VALUE, hex(t['key'])], [A.ENCRYPT, true], [A.DECRYPT, true]]);
    return this.#with(key, () => {
      const mechanism = { mechanism: 0x1087, parameter: { type: this.params.gcm, iv: hex(t['iv']), ivBits: hex(t['iv']).length * 8, aad: hex(t['aad']), tagBits: g['tagSize'] } };
      const sealed = Buffer.concat([hex(t['ct']), hex(t['tag'])]);
      const opened = this.#tried(() => {
        this.p.C_DecryptInit(this.session, mechanism as never, key);
        return this.p.C_Decrypt(this.session, sealed, Buffer.alloc(sealed.length + 16));
      });
      if (g['ivSize'] !== 96) return this.#refused(t, opened, 'IVs have 96 bits');
      if (t['result'] === 'valid') {
        this.p.C_EncryptInit(this.session, mechanism as never, key);
        const made = this.p.C_Encrypt(this.session, hex(t['msg']), Buffer.alloc(sealed.length + 16));
        if (!made.equals(sealed) || !opened?.equals(hex(t['msg']))) throw new Error(`vector ${t['tcId']}: another result`);
      }
      return this.#judge(t, opened !== undefined);
    })!;
  }

  /** CMAC and HMAC: verified, and made where the vector is valid. */
  mac(t: Json, g: Json, keyType: number, whole: number, general: number, wholeBytes: number): Verdict {
    const bytes = hex(t['key']);
    const key = this.#tried(() => this.#create([[A.CLASS, SECRET], [A.KEY_TYPE, keyType], [A.VALUE, bytes], [A.SIGN, true], [A.VERIFY, true]]));
    if (key === undefined) return keyType === 0x1f ? this.#judge(t, false) : this.#refused(t, key, 'secret keys have 16 to 256 bytes');
    return this.#with(key, () => {
      const tagBytes = g['tagSize'] / 8;
      const mechanism = tagBytes === wholeBytes ? { mechanism: whole } : { mechanism: general, parameter: ulong(tagBytes) };
      const good = this.#verify(key, mechanism, hex(t['msg']), hex(t['tag']));
      if (t['result'] === 'valid') {
        this.p.C_SignInit(this.session, mechanism as never, key);
        if (!this.p.C_Sign(this.session, hex(t['msg']), room()).equals(hex(t['tag']))) throw new Error(`vector ${t['tcId']}: another MAC`);
      }
      return this.#judge(t, good);
    })!;
  }

  /** What was wrapped can't be looked at: it is sensitive. The MAC that it makes tells. */
  wrap(t: Json, mechanism: number, least: number): Verdict {
    const kek = this.#create([[A.CLASS, SECRET], [A.KEY_TYPE, 0x1f], [A.VALUE, hex(t['key'])], [A.WRAP, true], [A.UNWRAP, true]]);
    return this.#with(kek, () => {
      const message = hex(t['msg']);
      const back = this.#tried(() => this.p.C_UnwrapKey(this.session, { mechanism }, kek, hex(t['ct']), this.#template([[A.CLASS, SECRET], [A.KEY_TYPE, 0x10], [A.SIGN, true]]) as never));
      const mac = this.#with(back, (key) => {
        this.p.C_SignInit(this.session, { mechanism: 0x251 }, key);
        return this.p.C_Sign(this.session, Buffer.from('m'), room());
      });
      if (t['result'] !== 'invalid' && (message.length < least || message.length > 256)) return this.#refused(t, back, 'secret keys have 16 to 256 bytes');
      if (t['result'] === 'valid') {
        if (!mac?.equals(createHmac('sha256', message).update('m').digest())) throw new Error(`vector ${t['tcId']}: another key`);
        const target = this.#create([[A.CLASS, SECRET], [A.KEY_TYPE, 0x10], [A.VALUE, message], [A.SENSITIVE, false], [A.EXTRACTABLE, true]]);
        const wrapped = this.#with(target, (key) => this.p.C_WrapKey(this.session, { mechanism }, kek, key, room()));
        if (!wrapped!.equals(hex(t['ct']))) throw new Error(`vector ${t['tcId']}: wrapped otherwise`);
      }
      return this.#judge(t, back !== undefined);
    })!;
  }

  ecdsa(t: Json, g: Json): Verdict {
    const mechanism = { 'SHA-256': 0x1044, 'SHA-384': 0x1045, 'SHA-512': 0x1046 }[g['sha'] as string]!;
    const key = this.#create([[A.CLASS, PUBLIC], [A.KEY_TYPE, 3], [A.EC_PARAMS, hex(OID[g['publicKey'].curve]!)], [A.EC_POINT, hex(g['publicKey'].uncompressed)], [A.VERIFY, true]]);
    return this.#with(key, () => this.#judge(t, this.#verify(key, { mechanism }, hex(t['msg']), hex(t['sig']))))!;
  }

  eddsa(t: Json, g: Json): Verdict {
    const key = this.#tried(() => this.#create([[A.CLASS, PUBLIC], [A.KEY_TYPE, 0x40], [A.EC_PARAMS, hex('06032b6570')], [A.EC_POINT, hex(g['publicKey'].pk)], [A.VERIFY, true]]));
    if (key === undefined) return this.#judge(t, false);
    return this.#with(key, () => this.#judge(t, this.#verify(key, { mechanism: 0x1057 }, hex(t['msg']), hex(t['sig']))))!;
  }

  /** ECDH and X25519; `size`: bytes of the secret. */
  ecdh(t: Json, keyType: number, params: string, size: number): Verdict {
    let scalar = hex(t['private']);
    if (keyType === 3) while (scalar.length > size && scalar[0] === 0) scalar = scalar.subarray(1);
    const key = this.#tried(() => this.#create([[A.CLASS, PRIVATE], [A.KEY_TYPE, keyType], [A.EC_PARAMS, hex(params)], [A.VALUE, scalar], [A.DERIVE, true]]));
    const derived = this.#with(key, (base) => this.#tried(() => this.p.C_DeriveKey(this.session, { mechanism: 0x1050, parameter: { type: this.params.ecdh, kdf: 1, publicData: hex(t['public']) } } as never, base,
      this.#template([[A.CLASS, SECRET], [A.KEY_TYPE, 0x10], [A.VALUE_LEN, size], [A.SENSITIVE, false], [A.EXTRACTABLE, true]]) as never)));
    const secret = this.#with(derived, (made) => this.p.C_GetAttributeValue(this.session, made, [{ type: A.VALUE }])[0]!.value as Buffer);
    if (secret !== undefined && !secret.equals(hex(t['shared']))) throw new Error(`vector ${t['tcId']}: another secret`);
    return this.#judge(t, secret !== undefined);
  }

  #rsaPrivate(parts: Json): Buffer {
    const numbers: Attributes = (['modulus', 'publicExponent', 'privateExponent', 'prime1', 'prime2', 'exponent1', 'exponent2', 'coefficient'] as const).map((name, i) => [[0x120, 0x122, 0x123, 0x124, 0x125, 0x126, 0x127, 0x128][i]!, hex(parts[name])]);
    return this.#create([[A.CLASS, PRIVATE], [A.KEY_TYPE, 0], ...numbers]);
  }
  #rsaPublic(parts: Json): Buffer | undefined {
    return this.#tried(() => this.#create([[A.CLASS, PUBLIC], [A.KEY_TYPE, 0], [A.MODULUS, hex(parts['modulus'])], [A.PUBLIC_EXPONENT, hex(parts['publicExponent'])], [A.VERIFY, true]]));
  }

  oaep(t: Json, g: Json): Verdict {
    return this.#withGroup(g, (key) => {
      const parameter = { type: this.params.oaep, hashAlg: CKM_HASH[g['sha']], mgf: MGF[g['mgfSha']], source: 1, sourceData: hex(t['label']) };
      const opened = this.#tried(() => {
        this.p.C_DecryptInit(this.session, { mechanism: 9, parameter } as never, key);
        return this.p.C_Decrypt(this.session, hex(t['ct']), room());
      });
      if (opened !== undefined && !opened.equals(hex(t['msg']))) throw new Error(`vector ${t['tcId']}: another message`);
      return this.#judge(t, opened !== undefined);
    })!;
  }

  /** The private key of a group is created once: the daemon takes a quarter of a second to check one of 4096 bits. */
  #withGroup(g: Json, use: (key: Buffer) => Verdict): Verdict {
    if (this.#group?.of !== g) {
      if (this.#group !== null) this.p.C_DestroyObject(this.session, this.#group.key);
      this.#group = null;
      this.#group = { of: g, key: this.#rsaPrivate(g['privateKey']) };
    }
    return use(this.#group.key);
  }

  /** PKCS #1 v1.5 decrypts nothing here. */
  pkcs1Decrypt(t: Json, g: Json): Verdict {
    return this.#withGroup(g, (key) => this.#refused(t, this.#tried(() => this.p.C_DecryptInit(this.session, { mechanism: 1 }, key)), 'PKCS #1 v1.5 does not decrypt'))!;
  }

  rsaVerify(t: Json, g: Json, mechanism: object): Verdict {
    const key = this.#rsaPublic(g['publicKey'] ?? g['privateKey']);
    if (key === undefined) return this.#refused(t, key, 'RSA keys have 2048, 3072 or 4096 bits and an odd exponent above 2^16');
    return this.#with(key, () => this.#judge(t, this.#verify(key, mechanism, hex(t['msg']), hex(t['sig']))))!;
  }
  pss(t: Json, g: Json): Verdict {
    const mechanism = { 'SHA-256': 0x43, 'SHA-384': 0x44, 'SHA-512': 0x45 }[g['sha'] as string]!;
    return this.rsaVerify(t, g, { mechanism, parameter: { type: this.params.pss, hashAlg: CKM_HASH[g['sha']], mgf: MGF[g['mgfSha']], saltLen: g['sLen'] } });
  }
  pkcs1(t: Json, g: Json): Verdict {
    return this.rsaVerify(t, g, { mechanism: { 'SHA-1': 6, 'SHA-224': 0x46, 'SHA-256': 0x40, 'SHA-384': 0x41, 'SHA-512': 0x42 }[g['sha'] as string]! });
  }
}
