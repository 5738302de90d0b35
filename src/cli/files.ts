/**
 * What commands read and write. Output to a file goes to a temporary one beside it, which takes its place only when everything
 * is verified and on disk: whoever looks sees the old content or the whole new one, and a failure leaves what was there.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, createReadStream, openSync, rmSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open, realpath, rename } from 'node:fs/promises';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { writeOut } from './session.js';

const READ_BYTES = 256 * 1024;

export interface Source {
  /** For messages. */
  readonly name: string;
  /** -1 when it is not known. */
  readonly size: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

const fault = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? (error as Error).message;

/** A file, or standard input for `-` and for nothing. INPUT_UNREADABLE, at the latest when it is read */
export function openSource(file: string | undefined): Source {
  if (file === undefined || file === '-') {
    return { name: 'standard input', size: -1, bytes: reading(process.stdin as AsyncIterable<Uint8Array>, 'standard input') };
  }
  const stat = statOf(file);
  if (stat === undefined) throw new QuorateError('INPUT_UNREADABLE', `there is no file ${file}`);
  if (stat.isDirectory()) throw new QuorateError('INPUT_UNREADABLE', `${file} is a folder`);
  const stream = createReadStream(file, { highWaterMark: READ_BYTES });
  // An error before the first read would otherwise have no listener; the iteration reports it.
  stream.on('error', () => {});
  return { name: file, size: stat.isFile() ? stat.size : -1, bytes: reading(stream, file) };
}

/** INPUT_UNREADABLE: its name is too long, a folder of it is none, or one that may not be looked into. */
function statOf(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    throw new QuorateError('INPUT_UNREADABLE', `${file}: ${fault(error)}`, { cause: error });
  }
}

async function* reading(stream: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw new QuorateError('INPUT_UNREADABLE', `${name}: ${fault(error)}`, { cause: error });
  }
}

/** All of it. The caller wipes it where it is secret. INPUT_UNREADABLE, INPUT_TOO_LONG */
export async function readWhole(source: Source, bytesMax: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of source.bytes) {
    total += part.byteLength;
    parts.push(part);
    if (total > bytesMax) throw new QuorateError('INPUT_TOO_LONG', `${source.name} has more than ${bytesMax} bytes`);
  }
  const whole = Buffer.concat(parts);
  for (const part of parts) part.fill(0);
  return whole;
}

/** Where output goes. Nothing of it counts before commit(). */
export interface Sink {
  readonly name: string;
  /** Written so far. */
  readonly bytes: number;
  write(bytes: Uint8Array): Promise<void>;
  /** `mode`: the file's own, whatever the umask. OUTPUT_UNWRITABLE */
  commit(mode?: number): Promise<void>;
  /** Leaves what was there before. */
  abandon(): Promise<void>;
}

/** A file, or standard output for `-` and for nothing. `secret`: nobody else may read it. OUTPUT_UNWRITABLE */
export async function openSink(file: string | undefined, secret: boolean): Promise<Sink> {
  if (file === undefined || file === '-') {
    return new OutSink();
  }
  // A link keeps pointing where it points: its target is replaced.
  const target = await realpath(file).catch(() => path.resolve(file));
  const stat = statSync(target, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) throw new QuorateError('OUTPUT_UNWRITABLE', `${file} is a folder`);
  const sink = stat === undefined || stat.isFile() ? new FileSink(file, target) : new DeviceSink(file, target);
  await sink.open(secret ? 0o600 : 0o666);
  return sink;
}

/** Writes all of it and commits; abandons on failure. */
export async function writeWhole(file: string | undefined, bytes: Uint8Array, secret: boolean): Promise<void> {
  const sink = await openSink(file, secret);
  try {
    await sink.write(bytes);
    await sink.commit();
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

class OutSink implements Sink {
  readonly name = 'standard output';
  bytes = 0;

  async write(bytes: Uint8Array): Promise<void> {
    await writeOut(bytes);
    this.bytes += bytes.byteLength;
  }

  async commit(): Promise<void> {}
  async abandon(): Promise<void> {}
}

class FileSink implements Sink {
  readonly name: string;
  bytes = 0;
  readonly #target: string;
  readonly #temporary: string;
  #handle: FileHandle | null = null;

  constructor(name: string, target: string) {
    this.name = name;
    this.#target = target;
    this.#temporary = path.join(path.dirname(target), `.${path.basename(target).slice(0, 200)}.${randomBytes(6).toString('hex')}.tmp`);
  }

  open(mode: number): Promise<void> {
    return this.#guard(async () => {
      // In this order, and made in one turn: a signal comes before there is a file, or finds it among those that it removes.
      removeOnSignal(this.#temporary);
      closeSync(openSync(this.#temporary, 'wx', mode));
      this.#handle = await open(this.#temporary, 'r+');
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    this.bytes += bytes.byteLength;
    return this.#guard(() => writeAll(this.#handle!, bytes));
  }

  commit(mode?: number): Promise<void> {
    return this.#guard(async () => {
      if (mode !== undefined) await this.#handle!.chmod(mode);
      await this.#handle!.sync();
      await this.#handle!.close();
      this.#handle = null;
      await rename(this.#temporary, this.#target);
      temporaries.delete(this.#temporary);
      const folder = await open(path.dirname(this.#target), 'r');
      await folder.sync().finally(() => folder.close());
    });
  }

  async abandon(): Promise<void> {
    await this.#handle?.close().catch(() => {});
    this.#handle = null;
    rmSync(this.#temporary, { force: true });
    temporaries.delete(this.#temporary);
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw new QuorateError('OUTPUT_UNWRITABLE', `${this.name}: ${fault(error)}`, { cause: error });
    }
  }
}

/** A pipe, a terminal, /dev/null: nothing to put in its place. */
class DeviceSink implements Sink {
  readonly name: string;
  bytes = 0;
  readonly #target: string;
  #handle: FileHandle | null = null;

  constructor(name: string, target: string) {
    this.name = name;
    this.#target = target;
  }

  async open(): Promise<void> {
    this.#handle = await open(this.#target, 'w').catch((error) => {
      throw new QuorateError('OUTPUT_UNWRITABLE', `${this.name}: ${fault(error)}`, { cause: error });
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.bytes += bytes.byteLength;
    await writeAll(this.#handle!, bytes).catch((error) => {
      throw new QuorateError('OUTPUT_UNWRITABLE', `${this.name}: ${fault(error)}`, { cause: error });
    });
  }

  async commit(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }

  async abandon(): Promise<void> {
    await this.#handle?.close().catch(() => {});
    this.#handle = null;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.byteLength - at);
    at += bytesWritten;
  }
}

const temporaries = new Set<string>();
let listening = false;

/** A command that is interrupted leaves no half-written file, which may be plaintext, behind. */
function removeOnSignal(file: string): void {
  temporaries.add(file);
  if (listening) return;
  listening = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = (): void => {
      for (const temporary of temporaries) rmSync(temporary, { force: true });
      process.removeListener(signal, onSignal);
      // Ends as the signal would have ended it, so that a shell's loop stops too.
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}
