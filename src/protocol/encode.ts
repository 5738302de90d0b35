/**
 * Writes request messages straight into a frame. protobuf-es builds each message from pieces that it joins at the end, which
 * leaves unwiped copies of plaintexts behind and costs microseconds; here every byte is copied once, into memory that the
 * client wipes. The result is byte for byte what protobuf-es writes (a test compares them); replies are read by protobuf-es.
 *
 * Covers what requests are made of: scalars of the kinds below, with and without presence, repeated bytes, strings and enums, maps of strings,
 * and messages of all these, which hold nothing secret: sensitive fields are at the top alone.
 */
import type { DescField, DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { QuorateError } from '../base/errors.js';

type Kind = 'string' | 'bytes' | 'number' | 'bigint' | 'bool' | 'message';
interface Row {
  readonly name: string;
  /** Field number and wire type, ready to write. */
  readonly tag: number;
  readonly shape: 'single' | 'repeated' | 'packed' | 'map';
  readonly kind: Kind;
  /** `optional`: its default is written too. */
  readonly explicit?: boolean;
  /** Of a message. */
  readonly schema?: DescMessage;
}

/** Wire types of the protobuf encoding. */
const VARINT = 0;
const DELIMITED = 2;
const VARINT_BYTES_MAX = 10;
const LONE_SURROGATE = /\p{Surrogate}/u;

export interface RequestEncoder<D extends DescMessage> {
  /** Bytes that `write` uses at most. BAD_REQUEST when a field has the wrong type. */
  bound(message: MessageInitShape<D>): number;
  /** Writes at `at`, with `bound` bytes of room; returns the position behind. */
  write(message: MessageInitShape<D>, target: Buffer, at: number): number;
}

const encoders = new WeakMap<DescMessage, RequestEncoder<DescMessage>>();

export function encoderOf<D extends DescMessage>(schema: D): RequestEncoder<D> {
  let encoder = encoders.get(schema);
  if (encoder === undefined) {
    encoder = makeEncoder(schema);
    encoders.set(schema, encoder);
  }
  return encoder as RequestEncoder<D>;
}

function makeEncoder(schema: DescMessage): RequestEncoder<DescMessage> {
  // protobuf-es writes fields by number, whatever their order in the definition.
  const rows = [...schema.fields].sort((a, b) => a.number - b.number).map(rowOf);
  return {
    bound(message) {
      const values = message as unknown as Record<string, unknown>;
      let total = 0;
      for (const row of rows) {
        const value = values[row.name];
        if (value !== undefined) total += boundOf(row, value);
      }
      return total;
    },
    write(message, target, at) {
      const values = message as unknown as Record<string, unknown>;
      for (const row of rows) {
        const value = values[row.name];
        if (value !== undefined) at = putField(row, value, target, at);
      }
      return at;
    },
  };
}

function rowOf(field: DescField): Row {
  const tag = (wire: number): number => (field.number << 3) | wire;
  const name = field.localName;
  if (field.fieldKind === 'enum') return { name, tag: tag(VARINT), shape: 'single', kind: 'number' };
  if (field.fieldKind === 'scalar') {
    const kind = kindOf(field.scalar);
    const explicit = field.presence === FeatureSet_FieldPresence.EXPLICIT;
    return { name, tag: tag(kind === 'string' || kind === 'bytes' ? DELIMITED : VARINT), shape: 'single', kind, explicit };
  }
  if (field.fieldKind === 'message') return { name, tag: tag(DELIMITED), shape: 'single', kind: 'message', schema: field.message };
  if (field.fieldKind === 'list' && field.listKind === 'message') return { name, tag: tag(DELIMITED), shape: 'repeated', kind: 'message', schema: field.message };
  if (field.fieldKind === 'list' && field.listKind === 'enum') return { name, tag: tag(DELIMITED), shape: 'packed', kind: 'number' };
  if (field.fieldKind === 'list' && field.listKind === 'scalar') {
    const kind = kindOf(field.scalar);
    return { name, tag: tag(DELIMITED), shape: kind === 'string' || kind === 'bytes' ? 'repeated' : 'packed', kind };
  }
  if (field.fieldKind === 'map' && field.mapKind === 'scalar' && field.mapKey === ScalarType.STRING && field.scalar === ScalarType.STRING) {
    return { name, tag: tag(DELIMITED), shape: 'map', kind: 'string' };
  }
  throw new Error(`${field.toString()}: requests have no fields of this kind`);
}

function kindOf(scalar: ScalarType): Kind {
  if (scalar === ScalarType.STRING) return 'string';
  if (scalar === ScalarType.BYTES) return 'bytes';
  if (scalar === ScalarType.BOOL) return 'bool';
  if (scalar === ScalarType.UINT64) return 'bigint';
  if (scalar === ScalarType.UINT32) return 'number';
  throw new Error(`requests have no scalars of kind ${scalar}`);
}

function wrong(row: Row, what: string): QuorateError {
  return new QuorateError('BAD_REQUEST', `${row.name} is ${what}`, { field: row.name });
}

function boundOf(row: Row, value: unknown): number {
  if (row.shape === 'single') return VARINT_BYTES_MAX + boundOfOne(row, value);
  if (row.shape === 'map') {
    let total = 0;
    for (const [k, v] of Object.entries(value as Record<string, unknown>)) total += 4 * VARINT_BYTES_MAX + boundOfOne(row, k) + boundOfOne(row, v);
    return total;
  }
  if (!Array.isArray(value)) throw wrong(row, 'not a list');
  let total = VARINT_BYTES_MAX;
  for (const item of value) total += VARINT_BYTES_MAX + boundOfOne(row, item);
  return total;
}

function boundOfOne(row: Row, value: unknown): number {
  switch (row.kind) {
    case 'bytes':
      if (!(value instanceof Uint8Array)) throw wrong(row, 'not a Uint8Array');
      return VARINT_BYTES_MAX + value.byteLength;
    case 'string':
      // A lone surrogate would be replaced in silence and name something else.
      if (typeof value !== 'string' || LONE_SURROGATE.test(value)) throw wrong(row, 'not well-formed text');
      return VARINT_BYTES_MAX + 3 * value.length;
    case 'number':
      if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw wrong(row, 'not a 32-bit number');
      return VARINT_BYTES_MAX;
    case 'message':
      if (typeof value !== 'object' || value === null) throw wrong(row, 'not a message');
      return VARINT_BYTES_MAX + encoderOf(row.schema!).bound(value as MessageInitShape<DescMessage>);
    case 'bigint':
      if (typeof value !== 'bigint' || value < 0n || value > 0xffff_ffff_ffff_ffffn) throw wrong(row, 'not a 64-bit number');
      return VARINT_BYTES_MAX;
    default:
      if (typeof value !== 'boolean') throw wrong(row, 'not true or false');
      return VARINT_BYTES_MAX;
  }
}

function putField(row: Row, value: unknown, target: Buffer, at: number): number {
  switch (row.shape) {
    case 'single':
      return row.explicit !== true && isDefault(value) ? at : putItem(row, value, target, putVarint(target, at, row.tag));
    case 'repeated':
      for (const item of value as unknown[]) at = putItem(row, item, target, putVarint(target, at, row.tag));
      return at;
    case 'packed': {
      const items = value as number[];
      if (items.length === 0) return at;
      let bytes = 0;
      for (const item of items) bytes += varintBytes(item);
      at = putVarint(target, putVarint(target, at, row.tag), bytes);
      for (const item of items) at = putVarint(target, at, item);
      return at;
    }
    default:
      for (const [k, v] of Object.entries(value as Record<string, string>)) at = putEntry(row, k, v, target, at);
      return at;
  }
}

/** proto3: a field without presence is left out when it has its default. */
function isDefault(value: unknown): boolean {
  return value === 0 || value === '' || value === false || value === 0n || (value instanceof Uint8Array && value.byteLength === 0);
}

function putEntry(row: Row, key: string, value: string, target: Buffer, at: number): number {
  const keyBytes = Buffer.byteLength(key);
  const valueBytes = Buffer.byteLength(value);
  at = putVarint(target, putVarint(target, at, row.tag), 2 + varintBytes(keyBytes) + keyBytes + varintBytes(valueBytes) + valueBytes);
  at = putOne('string', key, target, putVarint(target, at, (1 << 3) | DELIMITED));
  return putOne('string', value, target, putVarint(target, at, (2 << 3) | DELIMITED));
}

function putItem(row: Row, value: unknown, target: Buffer, at: number): number {
  if (row.schema === undefined) return putOne(row.kind, value, target, at);
  const encoder = encoderOf(row.schema);
  const message = value as MessageInitShape<DescMessage>;
  // Its length comes first, so it is written aside.
  const aside = Buffer.alloc(encoder.bound(message));
  const bytes = aside.subarray(0, encoder.write(message, aside, 0));
  at = putVarint(target, at, bytes.byteLength);
  target.set(bytes, at);
  return at + bytes.byteLength;
}

function putOne(kind: Kind, value: unknown, target: Buffer, at: number): number {
  switch (kind) {
    case 'bytes': {
      const bytes = value as Uint8Array;
      at = putVarint(target, at, bytes.byteLength);
      target.set(bytes, at);
      return at + bytes.byteLength;
    }
    case 'string':
      return putString(value as string, target, at);
    case 'number':
      return putVarint(target, at, value as number);
    case 'bigint':
      return putBigVarint(target, at, value as bigint);
    default:
      target[at] = value === true ? 1 : 0;
      return at + 1;
  }
}

/** Names are short and mostly ASCII: a loop beats the call into native code. */
const SHORT_STRING = 40;

function putString(value: string, target: Buffer, at: number): number {
  const n = value.length;
  if (n <= SHORT_STRING) {
    let i = 0;
    for (; i < n; i++) {
      const c = value.charCodeAt(i);
      if (c > 0x7f) break;
      target[at + 1 + i] = c;
    }
    if (i === n) {
      target[at] = n;
      return at + 1 + n;
    }
  }
  const bytes = Buffer.byteLength(value);
  at = putVarint(target, at, bytes);
  return at + target.write(value, at, 'utf8');
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
}

function putVarint(target: Uint8Array, at: number, value: number): number {
  while (value > 0x7f) {
    target[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  target[at] = value;
  return at + 1;
}

function putBigVarint(target: Uint8Array, at: number, value: bigint): number {
  if (value <= 0xffff_ffffn) return putVarint(target, at, Number(value));
  while (value > 0x7fn) {
    target[at++] = Number(value & 0x7fn) | 0x80;
    value >>= 7n;
  }
  target[at] = Number(value);
  return at + 1;
}
