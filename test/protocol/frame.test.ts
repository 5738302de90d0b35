/** The frame codec: round trips however the bytes are cut, the golden frames that the C++ tests read too, and garbage. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import fc from 'fast-check';
import { QuorateError } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { encoderOf } from '../../src/protocol/encode.js';
import { BODY_BYTES_MAX, encodeFrame, FRAME_HEADER_BYTES, type Frame, FrameReader } from '../../src/protocol/frame.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

function readAll(chunks: Uint8Array[]): { frames: Frame[]; reader: FrameReader } {
  const frames: Frame[] = [];
  const reader = new FrameReader((frame) => frames.push(frame));
  for (const chunk of chunks) {
    reader.push(chunk);
    // The reader must not keep what it was given: this is what the connection does to its read buffer.
    chunk.fill(0xee);
  }
  return { frames, reader };
}

function cut(bytes: Uint8Array, lengths: number[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const n = lengths.length === 0 ? bytes.length : lengths[i % lengths.length]!;
    out.push(bytes.slice(at, at + n));
    at += n;
  }
  return out;
}

const frameOf = fc.record({
  requestId: fc.integer({ min: 0, max: 0xffff_ffff }),
  method: fc.integer({ min: 0, max: 0xffff }),
  status: fc.integer({ min: 0, max: 0xffff }),
  body: fc.uint8Array({ maxLength: 300 }),
});

describe('frame', () => {
  it('has the bytes that the protocol says', () => {
    const bytes = encodeFrame({ requestId: 0x04030201, method: 0x0605, status: 0x0807, body: Uint8Array.of(9, 10) });
    assert.equal(Buffer.from(bytes).toString('hex'), '0a0000000102030405060708090a');
  });

  it('comes back whatever the cuts', () => {
    fc.assert(fc.property(fc.array(frameOf, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 6 }), (frames, lengths) => {
      const { frames: back, reader } = readAll(cut(Buffer.concat(frames.map(encodeFrame)), lengths));
      assert.deepEqual(back.map((f) => ({ ...f, body: [...f.body] })), frames.map((f) => ({ ...f, body: [...f.body] })));
      assert.isTrue(reader.atBoundary);
    }), { numRuns: 300 });
  });

  it('gives each body memory of its own', () => {
    const bytes = Buffer.concat([encodeFrame({ requestId: 1, method: 2, status: 0, body: new Uint8Array(40) }), encodeFrame({ requestId: 2, method: 2, status: 0, body: new Uint8Array(41) })]);
    for (const { body } of readAll([bytes]).frames) assert.equal(body.buffer.byteLength, body.byteLength);
  });

  it('knows a frame that is not whole', () => {
    const bytes = encodeFrame({ requestId: 1, method: 2, status: 0, body: new Uint8Array(5) });
    for (let n = 1; n < bytes.length; n++) {
      const { frames, reader } = readAll([bytes.slice(0, n)]);
      assert.lengthOf(frames, 0);
      assert.isFalse(reader.atBoundary, `${n} bytes`);
    }
  });

  it('takes the longest frame and refuses one byte more, on both sides', () => {
    const longest = encodeFrame({ requestId: 1, method: 2, status: 0, body: new Uint8Array(BODY_BYTES_MAX) });
    assert.equal(longest.byteLength, LIMITS.frame_bytes_max);
    assert.equal(readAll([longest]).frames[0]?.body.byteLength, BODY_BYTES_MAX);
    assert.throws(() => encodeFrame({ requestId: 1, method: 2, status: 0, body: new Uint8Array(BODY_BYTES_MAX + 1) }), QuorateError, 'FRAME_TOO_LARGE');
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt32LE(LIMITS.frame_bytes_max - 4 + 1, 0);
    assert.throws(() => readAll([header]), QuorateError, 'FRAME_TOO_LARGE');
    assert.throws(() => readAll([header.subarray(0, 6), header.subarray(6)]), QuorateError, 'FRAME_TOO_LARGE');
  });

  it('refuses a length that does not cover its header', () => {
    for (let length = 0; length < 8; length++) {
      const header = Buffer.alloc(FRAME_HEADER_BYTES);
      header.writeUInt32LE(length, 0);
      assert.throws(() => readAll([header]), QuorateError, 'BAD_REQUEST');
    }
  });

  it('answers garbage with frames or an error, never anything else', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 500 }), fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 6 }), (bytes, lengths) => {
      try {
        readAll(cut(bytes, lengths));
      } catch (error) {
        assert.instanceOf(error, QuorateError);
      }
    }), { numRuns: 500 });
  });

  it('reads and writes the golden frames', () => {
    const file = path.join(root, 'test', 'golden', 'frames.txt');
    const frames = goldenFrames(readFileSync(file, 'utf8'));
    assert.isAbove(frames.length, 5);
    for (const { name, bytes } of frames) {
      const { frames: read, reader } = readAll([Uint8Array.from(bytes)]);
      assert.isTrue(reader.atBoundary, name);
      assert.equal(Buffer.concat(read.map(encodeFrame)).toString('hex'), bytes.toString('hex'), name);
    }
    const text = (t: string): Uint8Array => new TextEncoder().encode(t);
    const message = { key: 'invoices', plaintext: text('iban FR76'), context: text('ctx') };
    const encoder = encoderOf(OPERATIONS.Encrypt.input);
    const body = Buffer.alloc(encoder.bound(message));
    const written = body.subarray(0, encoder.write(message, body, 0));
    const golden = frames.find((f) => f.name === 'encrypt_request')!;
    assert.equal(written.toString('hex'), golden.bytes.subarray(FRAME_HEADER_BYTES).toString('hex'));
  });
});

/** `name hex`, one frame a line; # begins a comment. */
function goldenFrames(text: string): { name: string; bytes: Buffer }[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => {
    const [name, hex] = line.split(/\s+/);
    assert.match(hex ?? '', /^([0-9a-f]{2})+$/, line);
    return { name: name!, bytes: Buffer.from(hex!, 'hex') };
  });
}
