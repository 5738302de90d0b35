/** Objects that are too long for one request: sent in parts, and seen as one object or not at all. */
import { createHash } from 'node:crypto';
import { QuorateError } from '../../base/errors.js';
import type { ObjectName, ObjectSource } from '../destination.js';
import { nameOf } from './s3Faults.js';
import type { S3Requests } from './s3Requests.js';
import { checkedPieces, inParts } from './source.js';

/** What one request carries, and what is held in memory for it: it is sent again whole. */
export const PART_BYTES = 16 * 1024 * 1024;
/** Swift takes 1,000 unless told otherwise; Amazon 10,000. */
export const PARTS_MAX = 1000;
const REMAINS_MS = 24 * 3600 * 1000;

export interface Upload {
  readonly key: string;
  readonly name: ObjectName;
  readonly metadata: Record<string, string>;
}

const md5Of = (bytes: Uint8Array): Buffer => createHash('md5').update(bytes).digest();

async function begin(requests: S3Requests, { key, name, metadata }: Upload): Promise<string> {
  const { bucket } = requests.place;
  const { UploadId } = await requests.attempt(`${name} cannot be begun`, (client, sdk) => client.send(new sdk.CreateMultipartUploadCommand({ Bucket: bucket, Key: key, Metadata: metadata })));
  if (UploadId === undefined || UploadId === '') throw new QuorateError('BACKUP_REFUSED', `${requests.who}: it gives no identifier for an upload in parts`);
  return UploadId;
}

async function sendParts(requests: S3Requests, upload: Upload, source: ObjectSource, id: string): Promise<{ ETag: string; PartNumber: number }[]> {
  const { bucket } = requests.place;
  const parts: { ETag: string; PartNumber: number }[] = [];
  for await (const part of inParts(checkedPieces(upload.name, source), PART_BYTES)) {
    const number = parts.length + 1;
    const md5 = md5Of(part);
    const { ETag } = await requests.attempt(`part ${number} of ${upload.name} cannot be written`, (client, sdk) =>
      client.send(new sdk.UploadPartCommand({ Bucket: bucket, Key: upload.key, UploadId: id, PartNumber: number, Body: part, ContentLength: part.length, ContentMD5: md5.toString('base64') })));
    parts.push({ ETag: ETag ?? `"${md5.toString('hex')}"`, PartNumber: number });
  }
  return parts;
}

/** Resolves once all of it is one object. What was sent is taken back when it fails. */
export async function putInParts(requests: S3Requests, upload: Upload, source: ObjectSource): Promise<void> {
  const { bucket } = requests.place;
  if (source.bytes > PART_BYTES * PARTS_MAX) throw new QuorateError('BAD_REQUEST', `${upload.name} has ${source.bytes} bytes: objects have at most ${PART_BYTES * PARTS_MAX}`, { field: 'bytes' });
  const id = await begin(requests, upload);
  try {
    const parts = await sendParts(requests, upload, source, id);
    let tried = 0;
    await requests.attempt(`${upload.name} cannot be put together`, async (client, sdk) => {
      tried++;
      await client.send(new sdk.CompleteMultipartUploadCommand({ Bucket: bucket, Key: upload.key, UploadId: id, MultipartUpload: { Parts: parts } })).catch((error: unknown) => {
        // The answer to an earlier try was lost: a look at the object says what became of it.
        if (tried === 1 || nameOf(error) !== 'NoSuchUpload') throw error;
      });
    });
  } catch (error) {
    await requests.attempt('an upload is taken back', (client, sdk) => client.send(new sdk.AbortMultipartUploadCommand({ Bucket: bucket, Key: upload.key, UploadId: id })), () => false, true).catch(() => undefined);
    throw error;
  }
}

/** Uploads under the prefix that began over a day ago, by the server's clock: whoever sent them is gone, and their parts are paid for. Never fails for it. */
export async function abortRemains(requests: S3Requests): Promise<void> {
  const { bucket, prefix } = requests.place;
  try {
    const found = await requests.attempt('uploads cannot be listed', (client, sdk) => client.send(new sdk.ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix === '' ? '' : `${prefix}/` })), () => false, true);
    const now = requests.dateOf(found);
    for (const { Key, UploadId, Initiated } of found.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined || Initiated === undefined || !(now - Initiated.getTime() > REMAINS_MS)) continue;
      await requests.attempt('an upload is taken back', (client, sdk) => client.send(new sdk.AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId })), () => false, true);
    }
  } catch (error) {
    if (!(error instanceof QuorateError)) throw error;
  }
}
