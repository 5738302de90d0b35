/**
 * The frame of the wire, little endian, docs/PROTOCOL.md:
 *
 *     u32 length | u32 request id | u16 method | u16 status | body
 *
 * `length` counts what follows it: 8 and the body. The whole frame, its length field included, has at most
 * `frame_bytes_max` bytes. The status is 0 in a request; in a reply it is a number of the error table, and the body is then
 * a Failure message.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';

export const FRAME_HEADER_BYTES = LIMITS.frame_header_bytes;
/** The bytes of the header that `length` counts. */
const COUNTED_HEADER_BYTES = FRAME_HEADER_BYTES - 4;
/** The longest body that a frame takes. */
export const BODY_BYTES_MAX = LIMITS.frame_bytes_max - FRAME_HEADER_BYTES;

export interface Frame {
  /** u32, chosen by the client, unique among its requests under way. */
  readonly requestId: number;
  /** u16, the id of a row in the operation table. */
  readonly method: number;
  /** u16, a number of the error table. */
  readonly status: number;
  /** The receiver's own bytes: nothing else lies in their buffer, so wiping them wipes the last copy here. */
  readonly body: Uint8Array;
}

/** Writes the 12 header bytes at `offset`. The caller owes a body of `bodyBytes` bytes right behind. */
export function putFrameHeader(target: Uint8Array, offset: number, bodyBytes: number, requestId: number, method: number, status: number): void {
  const length = COUNTED_HEADER_BYTES + bodyBytes;
  target[offset] = length;
  target[offset + 1] = length >>> 8;
  target[offset + 2] = length >>> 16;
  target[offset + 3] = length >>> 24;
  target[offset + 4] = requestId;
  target[offset + 5] = requestId >>> 8;
  target[offset + 6] = requestId >>> 16;
  target[offset + 7] = requestId >>> 24;
  target[offset + 8] = method;
  target[offset + 9] = method >>> 8;
  target[offset + 10] = status;
  target[offset + 11] = status >>> 8;
}

/** A whole frame. FRAME_TOO_LARGE */
export function encodeFrame(frame: Frame): Uint8Array {
  if (frame.body.byteLength > BODY_BYTES_MAX) throw tooLarge(frame.body.byteLength + FRAME_HEADER_BYTES);
  const out = new Uint8Array(FRAME_HEADER_BYTES + frame.body.byteLength);
  putFrameHeader(out, 0, frame.body.byteLength, frame.requestId, frame.method, frame.status);
  out.set(frame.body, FRAME_HEADER_BYTES);
  return out;
}

function tooLarge(bytes: number, bytesMax: number = LIMITS.frame_bytes_max): QuorateError {
  return new QuorateError('FRAME_TOO_LARGE', `a frame of ${bytes} bytes is over the limit of ${bytesMax}`);
}

function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/**
 * Cuts a byte stream into frames. Each body is copied once into memory of its own, so the caller may reuse or wipe what it
 * pushed as soon as push() returns. A peer that announces a long frame makes it set aside at most the limit's bytes.
 */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  readonly #bodyBytesMax: number;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  #headerFill = 0;
  #body: Uint8Array | null = null;
  #bodyFill = 0;

  /** `frameBytesMax`: a lower limit than the wire's own. */
  constructor(onFrame: (frame: Frame) => void, frameBytesMax: number = LIMITS.frame_bytes_max) {
    this.#onFrame = onFrame;
    this.#bodyBytesMax = frameBytesMax - FRAME_HEADER_BYTES;
  }

  /** True between frames: the stream may end here. */
  get atBoundary(): boolean {
    return this.#headerFill === 0 && this.#body === null;
  }

  /** After an error the stream has no meaning any more: close it. FRAME_TOO_LARGE, BAD_REQUEST (a length under 8) */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#body !== null) {
        at = this.#fillBody(chunk, at);
        continue;
      }
      if (this.#headerFill === 0 && chunk.byteLength - at >= FRAME_HEADER_BYTES) {
        const bodyBytes = bodyLength(chunk, at, this.#bodyBytesMax);
        const start = at + FRAME_HEADER_BYTES;
        if (chunk.byteLength - start >= bodyBytes) {
          at = start + bodyBytes;
          // Not slice(): a Buffer's slice is a view on the chunk.
          const body = new Uint8Array(bodyBytes);
          body.set(chunk.subarray(start, at));
          this.#emit(chunk, start - FRAME_HEADER_BYTES, body);
          continue;
        }
      }
      at = this.#fillHeader(chunk, at);
    }
  }

  /** Wipes the part of a frame that has come so far. */
  wipe(): void {
    this.#body?.fill(0);
    this.#body = null;
    this.#headerFill = 0;
  }

  #fillHeader(chunk: Uint8Array, at: number): number {
    const n = Math.min(FRAME_HEADER_BYTES - this.#headerFill, chunk.byteLength - at);
    this.#header.set(chunk.subarray(at, at + n), this.#headerFill);
    this.#headerFill += n;
    if (this.#headerFill === FRAME_HEADER_BYTES) {
      this.#body = new Uint8Array(bodyLength(this.#header, 0, this.#bodyBytesMax));
      this.#bodyFill = 0;
      if (this.#body.byteLength === 0) this.#finish();
    }
    return at + n;
  }

  #fillBody(chunk: Uint8Array, at: number): number {
    const body = this.#body!;
    const n = Math.min(body.byteLength - this.#bodyFill, chunk.byteLength - at);
    body.set(chunk.subarray(at, at + n), this.#bodyFill);
    this.#bodyFill += n;
    if (this.#bodyFill === body.byteLength) this.#finish();
    return at + n;
  }

  #finish(): void {
    const body = this.#body!;
    this.#body = null;
    this.#headerFill = 0;
    this.#emit(this.#header, 0, body);
  }

  #emit(header: Uint8Array, at: number, body: Uint8Array): void {
    this.#onFrame({
      requestId: u32(header, at + 4),
      method: header[at + 8]! | (header[at + 9]! << 8),
      status: header[at + 10]! | (header[at + 11]! << 8),
      body,
    });
  }
}

function bodyLength(header: Uint8Array, at: number, bytesMax: number): number {
  const length = u32(header, at);
  if (length < COUNTED_HEADER_BYTES) throw new QuorateError('BAD_REQUEST', `a frame announces ${length} bytes, fewer than its header`);
  if (length - COUNTED_HEADER_BYTES > bytesMax) throw tooLarge(length + 4, bytesMax + FRAME_HEADER_BYTES);
  return length - COUNTED_HEADER_BYTES;
}
