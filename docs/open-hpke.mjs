// Opens what Quorate has wrapped to an X25519 key, with nothing but Node (20 or later): HPKE, RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//   node open-hpke.mjs PRIVATE.pem DOCUMENT.json VERSION > value
// DOCUMENT: keys/ID.json or secrets/ID.json of a departure, or what quorate key export wrote. What is wrapped of a secret lies beside its document.
import { createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [keyFile, documentFile, wanted] = process.argv.slice(2);
const document = JSON.parse(readFileSync(documentFile, 'utf8'));
const version = Number(wanted);
const isSecret = document.format.startsWith('quorate-secret-export/');
const wrapped = isSecret ? readFileSync(documentFile.replace(/\.json$/, `.${version}.hpke`)) : Buffer.from(document.versions.find((v) => v.version === version).wrapped, 'base64');

const hmac = (key, ...parts) => createHmac('sha256', key).update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const extract = (suite, salt, label, ikm) => hmac(salt, 'HPKE-v1', suite, label, ikm);
const expand = (suite, prk, label, info, n) => hmac(prk, [0, n], 'HPKE-v1', suite, label, info, [1]).subarray(0, n);
const u32 = (n) => { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(n); return bytes; };
const text = (value) => { const bytes = Buffer.from(value); return Buffer.concat([u32(bytes.length), bytes]); };

const privateKey = createPrivateKey(readFileSync(keyFile));
const enc = wrapped.subarray(0, 32);
const publicKey = createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), enc]), format: 'der', type: 'spki' });
const own = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).subarray(-32);
const kem = Buffer.concat([Buffer.from('KEM'), Buffer.from([0, 0x20])]);
const suite = Buffer.concat([Buffer.from('HPKE'), Buffer.from([0, 0x20, 0, 1, 0, 2])]);
const shared = expand(kem, extract(kem, '', 'eae_prk', diffieHellman({ privateKey, publicKey })), 'shared_secret', Buffer.concat([enc, own]), 32);
const context = Buffer.concat([Buffer.from([0]), extract(suite, '', 'psk_id_hash', ''), extract(suite, '', 'info_hash', 'quorate/export/v1')]);
const secret = extract(suite, shared, 'secret', '');

const decipher = createDecipheriv('aes-256-gcm', expand(suite, secret, 'key', context, 32), expand(suite, secret, 'base_nonce', context, 12));
decipher.setAAD(Buffer.concat([text(document.domain), text(document.id), text(isSecret ? 'secret' : document.type), u32(version)]));
decipher.setAuthTag(wrapped.subarray(-16));
const value = decipher.update(wrapped.subarray(32, -16));
decipher.final();
process.stdout.write(value);
