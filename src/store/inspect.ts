/**
 * Looks at a store before anything may be written: another program's file, another root key, a newer release and damage are told
 * apart here, with the file, its log and its folder left exactly as they were.
 */
import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { Connection } from './connection.js';
import { APPLICATION_ID, SCHEMA } from './migrations.js';

const PAGE_BYTES = 4096;
const PLAIN_HEADER = Buffer.from('SQLite format 3\0', 'latin1');
/** Every page would have to be read: above this size damage is found when it is met, and a file that has lost id and first page counts as another's. */
const VERIFY_BYTES_MAX = 256 * 1024 * 1024;

function header(file: string): Buffer {
  const out = Buffer.alloc(PLAIN_HEADER.length);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, out, 0, out.length, 0);
  } finally {
    closeSync(fd);
  }
  return out;
}

/** STORE_NOT_ENCRYPTED when the file begins as a plain SQLite database does. */
export function refusePlain(file: string): void {
  if (header(file).equals(PLAIN_HEADER)) throw new QuorateError('STORE_NOT_ENCRYPTED', `${file} is a plain SQLite database`);
}

function refuseForeign(file: string): void {
  refusePlain(file);
  const { size } = statSync(file);
  if (size === 0) throw new QuorateError('STORE_CORRUPT', `${file} is empty`);
  if (size % PAGE_BYTES !== 0) throw new QuorateError('STORE_CORRUPT', `${file} was cut short, or is not a store`);
}

/** What page 1 says under this key; null when it does not open. */
async function firstPage(connection: Connection, pageKeyHex: string): Promise<{ schema: number; application: number } | null> {
  await connection.unlock(pageKeyHex);
  try {
    return {
      schema: Number(await connection.value('PRAGMA user_version')),
      application: Number(await connection.value('PRAGMA application_id')),
    };
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'STORE_CORRUPT') return null;
    throw error;
  }
}

function judge(file: string, page: { schema: number; application: number }, isNamed: boolean): void {
  // The pages open without it, since the salt is given; the damage must be told all the same.
  if (!isNamed) throw new QuorateError('STORE_CORRUPT', `the first 16 bytes of ${file} are damaged`);
  if (page.application !== APPLICATION_ID) throw new QuorateError('STORE_CORRUPT', `${file} is an encrypted database, but not a store`);
  if (page.schema > SCHEMA)
    throw new QuorateError('STORE_SCHEMA_NEWER', `the store has schema ${page.schema}, this release knows ${SCHEMA}`);
}

/** With the right key every undamaged page verifies; with a wrong one, none: for a file whose id and first page are both damaged. */
async function anyPageVerifies(connection: Connection, file: string): Promise<boolean> {
  const { size } = statSync(file);
  if (size > VERIFY_BYTES_MAX) return false;
  return (await connection.all('PRAGMA cipher_integrity_check')).length < size / PAGE_BYTES;
}

/** A crash in the middle of a checkpoint may tear page 1; its whole copy is then in the log. Both are read as private copies. */
async function openCopy(file: string, pageKeyHex: string): Promise<{ schema: number; application: number } | null> {
  const folder = mkdtempSync(path.join(tmpdir(), 'quorate-inspect-'));
  try {
    const copy = path.join(folder, 'store.db');
    copyFileSync(file, copy);
    copyFileSync(`${file}-wal`, `${copy}-wal`);
    const connection = await Connection.openFile(copy);
    try {
      return await firstPage(connection, pageKeyHex);
    } finally {
      await connection.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The file says whose it is in its first bytes, so that a store with another root key and damage are told apart.
 * STORE_NOT_ENCRYPTED, STORE_CORRUPT, STORE_KEY_WRONG, STORE_SCHEMA_NEWER, STORE_IO
 */
export async function inspect(file: string, pageKeyHex: string): Promise<void> {
  refuseForeign(file);
  const isNamed = header(file).toString('hex') === pageKeyHex.slice(-2 * PLAIN_HEADER.length);
  const connection = await Connection.openImmutable(file);
  try {
    const page = await firstPage(connection, pageKeyHex);
    if (page !== null) {
      judge(file, page, isNamed);
      return;
    }
    const whole = existsSync(`${file}-wal`) ? await openCopy(file, pageKeyHex) : null;
    if (whole !== null) {
      judge(file, whole, isNamed);
      return;
    }
    if (isNamed || (await anyPageVerifies(connection, file))) throw new QuorateError('STORE_CORRUPT', `the first page of ${file} is damaged`);
    throw new QuorateError('STORE_KEY_WRONG', `${file} does not open with this root key`);
  } finally {
    await connection.close();
  }
}

/** Every page's HMAC, once the log has been taken in. STORE_CORRUPT */
export async function verifyPages(connection: Connection, file: string): Promise<void> {
  if (statSync(file).size > VERIFY_BYTES_MAX) return;
  const damaged = await connection.all('PRAGMA cipher_integrity_check');
  if (damaged.length > 0) throw new QuorateError('STORE_CORRUPT', `${damaged.length} damaged pages in ${file}`);
}
