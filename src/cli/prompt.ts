/**
 * What a person types: always from the terminal itself, so that it works with standard input redirected. Secrets are read without
 * echo into a Buffer, never into a string, and are wiped by whoever gets them.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import tty from 'node:tty';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { Answered } from './failure.js';
import { openSource, readWhole } from './files.js';

const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACE = 8;
const LINE_FEED = 10;
const RETURN = 13;
const CTRL_U = 21;
const DELETE = 127;
const LINE_BYTES_MAX = 4096;
/** 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;

/** Takes what is typed, byte by byte, until the line is whole. */
class Line {
  readonly #bytes = Buffer.alloc(LINE_BYTES_MAX);
  #length = 0;

  /** True when the line has ended. Answered(130) when it was given up. */
  take(byte: number): boolean {
    if (byte === LINE_FEED || byte === RETURN) return true;
    if (byte === CTRL_C || (byte === CTRL_D && this.#length === 0)) {
      this.#bytes.fill(0);
      throw new Answered(EXIT_INTERRUPTED);
    }
    if (byte === CTRL_U) this.#length = 0;
    else if (byte === BACKSPACE || byte === DELETE) this.#dropCharacter();
    else if (this.#length < LINE_BYTES_MAX) this.#bytes[this.#length++] = byte;
    return false;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A character of UTF-8 is a first byte and any number of 10xxxxxx. */
  #dropCharacter(): void {
    while (this.#length > 0 && (this.#bytes[--this.#length]! & 0xc0) === 0x80);
  }
}

function readLine(question: string, echo: boolean, needs: string): Promise<Buffer> {
  let input: tty.ReadStream;
  let out: number;
  try {
    out = openSync('/dev/tty', 'w');
    input = new tty.ReadStream(openSync('/dev/tty', 'r'));
  } catch (cause) {
    throw new QuorateError('USAGE', `${needs}, and there is no terminal to ask on`, { cause });
  }
  writeSync(out, question);
  if (!echo) input.setRawMode(true);
  const line = new Line();
  return new Promise<Buffer>((resolve, reject) => {
    input.on('data', (chunk: Buffer) => {
      try {
        if (chunk.some((byte) => line.take(byte))) resolve(line.bytes);
      } catch (error) {
        reject(error);
      } finally {
        chunk.fill(0);
      }
    });
    input.on('end', () => reject(new Answered(EXIT_INTERRUPTED)));
    input.on('error', reject);
  }).finally(() => {
    if (!echo) {
      input.setRawMode(false);
      writeSync(out, '\n');
    }
    input.destroy();
    closeSync(out);
  });
}

/** Yes only when somebody says so. USAGE when nobody can be asked */
export async function confirm(question: string): Promise<boolean> {
  const answer = await readLine(`${question} [y/N] `, true, 'this needs --yes');
  return /^y(es)?$/i.test(answer.toString('latin1').trim());
}

/** A passphrase: from the file (`-`: standard input), else typed; `twice` for a new one. The caller wipes it. */
export async function readPassphrase(file: string | undefined, twice: boolean): Promise<Buffer> {
  if (file !== undefined) return firstLineOnly(await readWhole(openSource(file), LIMITS.passphrase_bytes_max + 2), 'the passphrase file');
  const needs = 'a passphrase is needed: --passphrase-file';
  const passphrase = await readLine(twice ? 'New passphrase: ' : 'Passphrase: ', false, needs);
  if (!twice) return passphrase;
  const { passphrase_bytes_min: min } = LIMITS;
  if (passphrase.byteLength < min) {
    passphrase.fill(0);
    throw new QuorateError('BAD_REQUEST', `a passphrase has at least ${min} bytes`);
  }
  const again = await readLine('The same again: ', false, needs);
  const same = again.equals(passphrase);
  again.fill(0);
  if (!same) {
    passphrase.fill(0);
    throw new QuorateError('BAD_REQUEST', 'the two passphrases differ');
  }
  return passphrase;
}

/** A new PIN: from the file (`-`: standard input), else typed twice. The caller wipes it. */
export async function readNewPin(file: string | undefined): Promise<Buffer> {
  if (file !== undefined) return firstLineOnly(await readWhole(openSource(file), LIMITS.pin_bytes_max + 2), 'the PIN file');
  const needs = 'a PIN is needed: --pin-file';
  const pin = await readLine('New PIN: ', false, needs);
  const again = await readLine('The same again: ', false, needs);
  const same = again.equals(pin);
  again.fill(0);
  if (same) return pin;
  pin.fill(0);
  throw new QuorateError('BAD_REQUEST', 'the two PINs differ');
}

/** A secret's value, typed without echo: one line, twice. The caller wipes it. */
export async function readValue(question: string): Promise<Buffer> {
  const needs = 'a value is needed: a file, or - for standard input';
  const value = await readLine(question, false, needs);
  const again = await readLine('The same again: ', false, needs);
  const same = again.equals(value);
  again.fill(0);
  if (same) return value;
  value.fill(0);
  throw new QuorateError('BAD_REQUEST', 'the two values differ');
}

/** One share, as printed: from the file (`-`: standard input), else typed. The caller wipes it. */
export async function readShare(file: string | undefined, question: string): Promise<Buffer> {
  if (file !== undefined) return firstLineOnly(await readWhole(openSource(file), LINE_BYTES_MAX), 'the share file');
  return readLine(question, false, 'a share is needed: --share-file');
}

/** Editors end files with a line end, which is not part of the secret. */
function firstLineOnly(bytes: Buffer, what: string): Buffer {
  let end = bytes.byteLength;
  if (end > 0 && bytes[end - 1] === LINE_FEED) end--;
  if (end > 0 && bytes[end - 1] === RETURN) end--;
  if (bytes.subarray(0, end).includes(LINE_FEED)) {
    bytes.fill(0);
    throw new QuorateError('BAD_REQUEST', `${what} has more than one line`);
  }
  return bytes.subarray(0, end);
}
