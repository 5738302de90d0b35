/** The schema, step by step. A step is never edited once released; the schema's version stands in the file itself (user_version). */
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import type { Connection } from './connection.js';

/** "QRTE": says in the (encrypted) header whose database this is. */
export const APPLICATION_ID = 0x51525445;

export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
   CREATE TABLE records (
     domain TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
     generation INTEGER NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL,
     PRIMARY KEY (domain, kind, id)
   ) STRICT;
   CREATE TABLE idempotency (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, expires_ms INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
   CREATE INDEX idempotency_expiry ON idempotency (expires_ms);
   INSERT INTO meta VALUES ('revision', 0);`,
  // What was written since a revision, by kind: SyncObjects.
  `CREATE INDEX records_revision ON records (domain, kind, revision, id);`,
  // In a region: the highest watermark that each peer has told, so that one that returns lower is found.
  `CREATE TABLE peers (
     host TEXT PRIMARY KEY, counter INTEGER NOT NULL, incarnation TEXT NOT NULL, cluster TEXT NOT NULL, revision INTEGER NOT NULL
   ) STRICT;`,
  // What is gone, for backups that hold only what is new: names that are not there any more, each with the revision of the transaction that removed it.
  `CREATE TABLE removals (
     domain TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (domain, kind, id)
   ) STRICT, WITHOUT ROWID;
   CREATE TRIGGER note_removal AFTER DELETE ON records BEGIN
     INSERT OR REPLACE INTO removals SELECT OLD.domain, OLD.kind, OLD.id, value FROM meta WHERE name = 'revision';
   END;
   CREATE TRIGGER forget_removal AFTER INSERT ON records BEGIN
     DELETE FROM removals WHERE domain = NEW.domain AND kind = NEW.kind AND id = NEW.id;
   END;
   INSERT INTO meta SELECT 'removals_since', value FROM meta WHERE name = 'revision';`,
];

export const SCHEMA = MIGRATIONS.length;

/** Each step in its own transaction with its version, so that a crash leaves a whole schema. STORE_SCHEMA_NEWER, STORE_FULL, STORE_IO */
export async function migrate(connection: Connection, steps: readonly string[] = MIGRATIONS): Promise<void> {
  const found = Number(await connection.value('PRAGMA user_version'));
  assert(Number.isInteger(found), 'user_version is a number');
  if (found > steps.length)
    throw new QuorateError('STORE_SCHEMA_NEWER', `the store has schema ${found}, this release knows ${steps.length}`);
  for (let version = found + 1; version <= steps.length; version++) {
    await connection.exec('BEGIN IMMEDIATE', 'write');
    try {
      await connection.exec(`${steps[version - 1]}; PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version}`, 'write');
      await connection.exec('COMMIT', 'commit');
    } catch (error) {
      await connection.exec('ROLLBACK', 'write').catch(() => undefined);
      throw error;
    }
  }
}
