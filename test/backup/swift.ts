/** Swift for a test, or the test says skipped and why. */
import path from 'node:path';
import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import { CredentialSource } from '../../src/backup/destinations/credentials.js';
import { S3Destination } from '../../src/backup/destinations/s3.js';
import type { S3Options } from '../../src/backup/destinations/s3.js';
import type { S3Place } from '../../src/backup/destinations/s3Requests.js';
import { QuorateError } from '../../src/base/errors.js';
import { startSwift } from '../../src/dev/swift/swift.js';
import type { Swift } from '../../src/dev/swift/swift.js';
import { skip } from '../skip.js';

/** For a hook: Swift takes seconds only when it is unpacked. */
export async function needSwift(test: Mocha.Context): Promise<Swift> {
  test.timeout(120_000);
  try {
    return await startSwift();
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'BACKUP_UNAVAILABLE') return skip(test, error.detail);
    throw error;
  }
}

export function credentialsOf(swift: Swift, changes: Record<string, string> = {}): CredentialSource {
  return new CredentialSource('', { AWS_ACCESS_KEY_ID: swift.accessKey, AWS_SECRET_ACCESS_KEY: swift.secretKey, ...changes });
}

export function destinationOn(swift: Swift, prefix: string, options: S3Options = {}, place: Partial<S3Place> = {}): S3Destination {
  return new S3Destination('swift', { endpoint: swift.endpoint, bucket: swift.bucket, prefix, region: swift.region, caFile: '', ...place }, credentialsOf(swift), options);
}

/** Rows of the bucket's listing without objects: writing thousands of objects would take longer than all other tests of them. */
export async function fillListing(swift: Swift, names: readonly string[], bytes: number): Promise<void> {
  const timestamp = (Date.now() / 1000).toFixed(5);
  const rows = names.map((name) => ({ name, created_at: timestamp, size: bytes, content_type: 'application/octet-stream', etag: '0'.repeat(32), deleted: 0, storage_policy_index: 0 }));
  const answer = await fetch(`http://127.0.0.1:${swift.listingPort}/one/0/AUTH_quorate/${swift.bucket}`, { method: 'UPDATE', headers: { 'x-timestamp': timestamp }, body: JSON.stringify(rows) });
  if (answer.status !== 202) throw new Error(`the listing was not filled: ${answer.status}`);
}

/** A request to Swift itself, as its user: for what its S3 API cannot set. */
export async function askSwift(swift: Swift, method: string, headers: Record<string, string>, container = swift.bucket): Promise<number> {
  const entered = await fetch(`${swift.endpoint}/auth/v1.0`, { headers: { 'x-storage-user': swift.accessKey, 'x-storage-pass': swift.secretKey } });
  const authToken = entered.headers.get('x-auth-token');
  if (authToken === null) throw new Error(`Swift does not let its own user in: ${entered.status}`);
  return (await fetch(`${swift.endpoint}/v1/AUTH_quorate/${container}`, { method, headers: { 'x-auth-token': authToken, ...headers } })).status;
}

export function temporaryFolder(): string {
  return mkdtempSync(path.join(os.tmpdir(), 'quorate-dest-'));
}
