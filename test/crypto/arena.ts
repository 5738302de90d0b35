/** The arena is opened once for a process; tests of one mocha run share it. */
import { addon } from '../../src/crypto/addon.js';
import { LIMITS } from '../../src/base/limits.js';

export function ensureArena(): void {
  if (addon.arenaStats().bytesMax === 0) addon.openArena(LIMITS.arena_bytes_default);
}

export const bytes = (hex: string): Uint8Array => {
  const out = new Uint8Array(hex.length / 2);
  for (let i = 0; i < out.length; i++) {
    const byte = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
    if (Number.isNaN(byte)) throw new Error(`not hexadecimal: ${hex.slice(0, 80)}`);
    out[i] = byte;
  }
  return out;
};
export const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');
export const ascii = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));
/** Only for public test data: the arena gets a copy, and the copy is wiped. */
export const secretOf = (data: Uint8Array): number => addon.secretFromBytes(data.slice());
