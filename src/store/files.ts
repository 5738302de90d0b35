/** The files of a store: made under another name until they are whole, looked at before anything is written, opened once to write and once to read. */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { Connection } from './connection.js';
import { inspect, refusePlain, verifyPages } from './inspect.js';
import { migrate } from './migrations.js';

/** A log index of 32 KiB and a few pages. */
const ROOM_BYTES_MIN = 64 * 1024;

export function fsyncPath(file: string): void {
  const fd = openSync(file, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function configure(connection: Connection): Promise<void> {
  const mode = await connection.value('PRAGMA journal_mode = WAL');
  if (mode !== 'wal') throw new QuorateError('STORE_IO', `the store's folder does not allow a log (journal mode ${String(mode)})`);
  // FULL: in WAL mode NORMAL would not sync each commit. secure_delete: freed content is overwritten with zeros in the pages. The log is brought
  // into the file every 16 MiB (it is 4 MiB by default): in that time most pages change often, and are written there once.
  await connection.exec(
    'PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4096',
    'open',
  );
  assert((await connection.value('PRAGMA synchronous')) === 2, 'synchronous is FULL');
}

/** Under another name until it is whole, so that a crash while it is made leaves no half-made store. */
export async function createFile(file: string, pageKeyHex: string): Promise<void> {
  if (existsSync(`${file}-wal`)) throw new QuorateError('STORE_CORRUPT', `${file} is gone, its log is there; put the file back`);
  const made = `${file}.new`;
  await (await makeFile(made, pageKeyHex)).close();
  refusePlain(made);
  fsyncPath(made);
  renameSync(made, file);
  fsyncPath(path.dirname(file));
}

export function removeFile(file: string): void {
  for (const left of [file, `${file}-wal`, `${file}-shm`, `${file}-journal`]) rmSync(left, { force: true });
}

/** An empty store in the place of whatever lay there. The caller closes the connection. */
export async function makeFile(file: string, pageKeyHex: string): Promise<Connection> {
  removeFile(file);
  // SQLite gives its -wal and -shm the mode of the database file.
  closeSync(openSync(file, 'wx', 0o600));
  const connection = await Connection.openFile(file);
  try {
    await connection.unlock(pageKeyHex);
    await configure(connection);
    await migrate(connection);
    return connection;
  } catch (error) {
    await connection.close().catch(() => undefined);
    throw error;
  }
}

async function openReader(file: string, pageKeyHex: string): Promise<Connection> {
  const reading = await Connection.openFile(file);
  try {
    await reading.unlock(pageKeyHex);
    await reading.exec('PRAGMA query_only = ON; PRAGMA trusted_schema = OFF', 'open');
    return reading;
  } catch (error) {
    await reading.close().catch(() => undefined);
    throw error;
  }
}

export interface Connections {
  readonly writing: Connection;
  /** Only reads: a read never waits for an fsync. */
  readonly reading: Connection;
}

/** `isVerified`: its pages have just been looked at. STORE_NOT_ENCRYPTED, STORE_CORRUPT, STORE_KEY_WRONG, STORE_SCHEMA_NEWER, STORE_IO */
export async function openConnections(file: string, pageKeyHex: string, isVerified = false): Promise<Connections> {
  await inspect(file, pageKeyHex);
  const writing = await Connection.openFile(file);
  try {
    await writing.unlock(pageKeyHex);
    await configure(writing);
    // Takes in what a crash left in the log, so that the whole file can be verified, and so that the next look needs no log.
    await writing.all('PRAGMA wal_checkpoint(TRUNCATE)', 'open');
    if (!isVerified) await verifyPages(writing, file);
    await migrate(writing);
    await writing.all('PRAGMA wal_checkpoint(TRUNCATE)', 'open');
    return { writing, reading: await openReader(file, pageKeyHex) };
  } catch (error) {
    await writing.close().catch(() => undefined);
    throw error;
  }
}

/** Each waits a second inside SQLite for a reader that still steps. */
const SCRUB_TRIES = 3;

/** Takes the log into the file and cuts it to nothing. Outside a transaction. STORE_IO */
export async function emptyLog(connection: Connection): Promise<void> {
  for (let i = 0; i < SCRUB_TRIES; i++) {
    const [row] = await connection.all('PRAGMA wal_checkpoint(TRUNCATE)', 'write');
    if (Number(row?.['busy']) === 0) return;
  }
  throw new QuorateError('STORE_IO', 'the log could not be emptied: a reader held it');
}

/** The log's index is a mapped file: when there is no room for it SQLite speaks of an I/O error, and the person must hear of the disk. */
function withoutRoom(error: unknown, file: string): unknown {
  if (!(error instanceof QuorateError) || error.code !== 'STORE_IO') return error;
  const { bavail, bsize } = statfsSync(path.dirname(file));
  if (bavail * bsize >= ROOM_BYTES_MIN) return error;
  return new QuorateError('STORE_FULL', `${bavail * bsize} bytes are left for ${file}`, { cause: error });
}

function ioError(error: unknown): unknown {
  const e = error as NodeJS.ErrnoException;
  if (e?.syscall === undefined || e.code === undefined) return error;
  return new QuorateError(e.code === 'ENOSPC' ? 'STORE_FULL' : 'STORE_IO', `${e.code} ${e.path ?? ''}`.trim(), { cause: error });
}

/** What opening `file` failed with, in the words of the error table. */
export function openError(error: unknown, file: string): unknown {
  return existsSync(path.dirname(file)) ? withoutRoom(ioError(error), file) : ioError(error);
}
