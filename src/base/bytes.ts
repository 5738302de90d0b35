/** Bytes of public data. `Buffer.from(x, 'hex')` truncates silently at the first bad digit, so nothing here relies on it alone. */
import { assert } from './assert.js';

const HEX = /^(?:[0-9a-fA-F]{2})*$/;

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** null unless `text` is an even number of hexadecimal digits and nothing else. */
export function fromHex(text: string): Uint8Array | null {
  return HEX.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : null;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((b) => b === 0);
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** An own copy: small Buffers share a pool, and a view into it would keep, or show, its neighbours. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** 4 bytes, little endian. */
export function u32le(value: number): Uint8Array {
  assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, 'u32 in range');
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

/** 8 bytes, little endian; exact up to 2^53 - 1. */
export function u64le(value: number): Uint8Array {
  assert(Number.isSafeInteger(value) && value >= 0, 'u64 in the safe range');
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(value), true);
  return out;
}

/** The number of 8 little-endian bytes; null when the length differs or the value is past 2^53 - 1. */
export function readU64le(bytes: Uint8Array): number | null {
  if (bytes.length !== 8) return null;
  const value = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
}

const utf8 = new TextEncoder();

export function utf8Bytes(text: string): Uint8Array {
  return utf8.encode(text);
}

/** The canonical form of a list of parts: each is preceded by its length (u32, little endian), so no two lists share bytes. */
export function lengthPrefixed(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const out: Uint8Array[] = [];
  for (const part of parts) {
    const bytes = typeof part === 'string' ? utf8Bytes(part) : part;
    out.push(u32le(bytes.length), bytes);
  }
  return concatBytes(...out);
}

const BASE64URL = /^[A-Za-z0-9_-]*$/;

/** RFC 4648, section 5, without padding. */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

/**
 * null unless `text` is the one text that these bytes have: no padding, no other alphabet, no bits left over. Node's own decoder skips
 * what it does not know, so that one value would have many texts.
 */
export function fromBase64url(text: string): Uint8Array | null {
  if (!BASE64URL.test(text)) return null;
  const bytes = new Uint8Array(Buffer.from(text, 'base64url'));
  return toBase64url(bytes) === text ? bytes : null;
}
