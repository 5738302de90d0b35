/**
 * `npm run test:memory`: imports known keys, uses them, puts and fetches known secrets, then searches the store's files and the whole memory of the idle
 * daemon (as root) for their bytes, reversed bytes (big numbers keep them so), hexadecimal and base64. They may stand in
 * the arena's own pages only. First the search must find a canary that is known to be in the daemon's memory.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS } from '../../src/base/limits.js';
import { Daemon } from './daemon.js';
import { forms, rangesOf, searchMemory } from './search.js';

function keys(): { name: string; type: 'aes-256' | 'ec-p256' | 'ed25519' | 'rsa-2048'; format: 'raw' | 'pkcs8'; material: Buffer; secrets: [string, Buffer][] }[] {
  const jwk = (pkcs8: Buffer): Record<string, string> => createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ format: 'jwk' }) as Record<string, string>;
  const der = (pair: { privateKey: KeyObject }): Buffer => pair.privateKey.export({ type: 'pkcs8', format: 'der' });
  const ec = der(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  const ed = der(generateKeyPairSync('ed25519'));
  const rsa = der(generateKeyPairSync('rsa', { modulusLength: 2048 }));
  const part = (k: Buffer, field: string): Buffer => Buffer.from(jwk(k)[field]!, 'base64url');
  const aes = randomBytes(32);
  return [
    { name: 'aes', type: 'aes-256', format: 'raw', material: Buffer.from(aes), secrets: [['aes', aes]] },
    { name: 'ec', type: 'ec-p256', format: 'pkcs8', material: Buffer.from(ec), secrets: [['ec', part(ec, 'd')]] },
    { name: 'ed', type: 'ed25519', format: 'pkcs8', material: Buffer.from(ed), secrets: [['ed', part(ed, 'd')]] },
    { name: 'rsa', type: 'rsa-2048', format: 'pkcs8', material: Buffer.from(rsa), secrets: [['rsa d', part(rsa, 'd')], ['rsa p', part(rsa, 'p')], ['rsa dp', part(rsa, 'dp')]] },
  ];
}

if (process.getuid?.() !== 0) {
  console.log('skipped: reading the memory of a daemon that is not dumpable needs root');
  process.exit(0);
}
const daemon = new Daemon();
const client = await daemon.start();
const canary = `canary${randomBytes(16).toString('hex')}`;
await client.keys.create('canary', { type: 'aes-256', labels: { canary } });
const all = keys();
const patterns = new Map<string, Buffer>();
for (const k of all) {
  for (const [name, secret] of k.secrets) for (const [form, bytes] of forms(name, secret)) patterns.set(form, bytes);
  await client.keys.import(k.name, k.material, { type: k.type, format: k.format });
}
const secrets: [string, Buffer][] = [['short secret', randomBytes(48)], ['middle secret', randomBytes(5000)], ['longest secret', randomBytes(LIMITS.secret_value_bytes_max)]];
for (const [name, value] of secrets) {
  for (const [part, at] of [['start', 0], ['end', value.length - 32]] as const) for (const [form, bytes] of forms(`${name}, ${part}`, value.subarray(at, at + 32))) patterns.set(form, bytes);
  await client.secrets.put(name.replace(' ', '/'), value);
}
for (let i = 0; i < 200; i++) {
  for (const [name] of secrets) await client.secrets.fetch(name.replace(' ', '/'));
  await client.decrypt(await client.encrypt('aes', randomBytes(100)));
  for (const k of ['ec', 'ed', 'rsa']) await client.sign(k, randomBytes(100));
}
await client.keys.get('canary');
await client.close();
await sleep(1500);
const seen = searchMemory(daemon.pid, new Map([['canary', Buffer.from(canary)]]));
console.log(`canary: found ${seen.length} times in the daemon's memory`);
const hits = searchMemory(daemon.pid, patterns);
const inside = hits.filter((h) => h.range.arena);
const outside = hits.filter((h) => !h.range.arena);
for (const h of outside) console.log(`OUTSIDE the arena: ${h.pattern} at ${h.at.toString(16)} (${h.range.name || 'anonymous'})`);
let inFiles = 0;
for (const entry of readdirSync(daemon.store, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || entry.name === 'root.key') continue;
  const file = path.relative(daemon.store, path.join(entry.parentPath, entry.name));
  const content = readFileSync(path.join(daemon.store, file));
  for (const [pattern, bytes] of patterns) {
    if (content.includes(bytes)) {
      inFiles++;
      console.log(`IN THE STORE: ${pattern} in ${file}`);
    }
  }
}
const bytes = rangesOf(daemon.pid).reduce((n, r) => n + (r.end - r.start), 0);
console.log(JSON.stringify({ searchedMiB: Math.round(bytes / 2 ** 20), patterns: patterns.size, canary: seen.length, insideArena: inside.length, outsideArena: outside.length, inStore: inFiles }));
await daemon.remove();
process.exit(seen.length > 0 && outside.length === 0 && inFiles === 0 ? 0 : 1);
