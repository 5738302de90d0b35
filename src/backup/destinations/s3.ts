/**
 * A bucket of S3-compatible storage as a destination, or a part of one under a prefix. Nothing is assumed but whole objects: bodies are sent
 * with a Content-MD5 that the server checks, and are looked at once they are there.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GetObjectCommandOutput, HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { QuorateError } from '../../base/errors.js';
import type { Destination, ObjectName, ObjectSource, StoredObject } from '../destination.js';
import type { CredentialSource } from './credentials.js';
import { isObjectName, requireObjectName, requirePrefix } from './names.js';
import { isAbsent, isUnknownRequest, nameOf, statusOf } from './s3Faults.js';
import { abortRemains, PART_BYTES, putInParts } from './s3Parts.js';
import { S3_TIMES, S3Requests } from './s3Requests.js';
import type { S3Place, S3Times } from './s3Requests.js';
import { checkedPieces, inParts, SourceFault } from './source.js';

const PIECE_BYTES = 1024 * 1024;
/** What one request reads: a connection that breaks costs no more than this again. */
const RANGE_BYTES = 8 * PIECE_BYTES;
const PAGE_MAX = 1000;
/** Looks at what was written, where storage shows an older object for a moment. */
const LOOKS_MAX = 4;
const REMAINS_PAUSE_MS = 6 * 3600 * 1000;

export interface S3Options {
  readonly times?: S3Times;
  /** Objects in one answer to list(); what a server gives at most is its own business. */
  readonly page?: number;
}

interface Range {
  readonly bytes: Buffer;
  /** Of the whole object. */
  readonly total: number;
  readonly tag: string;
}

/** The tag is the MD5 of the content, except of parts, and where the server encrypts with keys of its own. */
function md5Tag(answer: { ETag?: string; ServerSideEncryption?: string; SSECustomerAlgorithm?: string }): string {
  if ((answer.ServerSideEncryption ?? 'AES256') !== 'AES256' || answer.SSECustomerAlgorithm !== undefined) return '';
  return /^"?([0-9a-f]{32})"?$/.exec(answer.ETag ?? '')?.[1] ?? '';
}

/** A body that is cut short throws: the client counts. */
async function bodyOf(answer: GetObjectCommandOutput, bytesMax: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer.Body as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > bytesMax) break;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

export class S3Destination implements Destination {
  readonly name: string;
  readonly where: string;
  readonly #requests: S3Requests;
  readonly #page: number;
  #remainsSought = Number.NEGATIVE_INFINITY;

  constructor(name: string, place: S3Place, credentials: CredentialSource, options: S3Options = {}) {
    this.name = name;
    this.where = `s3 ${place.endpoint}/${place.bucket}${place.prefix === '' ? '' : `/${place.prefix}`}`;
    this.#requests = new S3Requests(`${name} (${this.where})`, place, credentials, options.times ?? S3_TIMES);
    this.#page = options.page ?? PAGE_MAX;
  }

  async* list(prefix: string): AsyncGenerator<StoredObject> {
    requirePrefix(prefix);
    const { bucket } = this.#requests.place;
    const base = this.#key('');
    let token: string | undefined;
    do {
      const page = await this.#requests.attempt('it cannot be listed', (client, sdk) =>
        client.send(new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: `${base}${prefix}`, MaxKeys: this.#page, ...(token === undefined ? {} : { ContinuationToken: token }) })));
      for (const { Key, Size } of page.Contents ?? []) {
        const name = Key?.startsWith(base) ? Key.slice(base.length) : '';
        if (isObjectName(name) && Size !== undefined) yield { name, bytes: Size };
      }
      const next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (page.IsTruncated === true && (next === undefined || next === token)) throw new QuorateError('BACKUP_REFUSED', `${this.#requests.who}: its listing does not go on`);
      token = next;
    } while (token !== undefined);
  }

  async read(name: ObjectName, bytesMax: number): Promise<Uint8Array | null> {
    requireObjectName(name);
    const { bucket } = this.#requests.place;
    const whole = await this.#nullWithout(() => this.#requests.attempt(`${name} cannot be read`, async (client, sdk) => {
      const answer = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: this.#key(name) }));
      return { bytes: await bodyOf(answer, bytesMax), length: answer.ContentLength ?? 0 };
    }, isAbsent));
    if (whole !== null && whole.length > bytesMax) throw new QuorateError('BACKUP_CORRUPT', `${name} at ${this.#requests.who} has ${whole.length} bytes, and ${bytesMax} at most`);
    return whole?.bytes ?? null;
  }

  async open(name: ObjectName): Promise<AsyncIterable<Uint8Array> | null> {
    requireObjectName(name);
    const first = await this.#nullWithout(() => this.#range(name, 0, ''));
    return first === null ? null : this.#pieces(name, first);
  }

  async put(name: ObjectName, source: ObjectSource): Promise<void> {
    requireObjectName(name);
    const began = performance.now();
    const metadata = { sha256: Buffer.from(source.sha256).toString('hex') };
    let md5 = '';
    try {
      if (source.bytes > PART_BYTES) {
        await this.#abortRemains();
        await putInParts(this.#requests, { key: this.#key(name), name, metadata }, source);
      } else {
        md5 = await this.#putWhole(name, source, metadata);
      }
    } catch (error) {
      if (error instanceof SourceFault) throw error.fault;
      throw error;
    }
    await this.#confirm(name, { bytes: source.bytes, sha256: metadata.sha256, md5, began });
  }

  async remove(name: ObjectName): Promise<void> {
    requireObjectName(name);
    const { bucket } = this.#requests.place;
    await this.#nullWithout(() => this.#requests.attempt(`${name} cannot be removed`, (client, sdk) => client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: this.#key(name) })), isAbsent));
  }

  async requireForgetting(): Promise<void> {
    const { bucket } = this.#requests.place;
    const { who } = this.#requests;
    const versions = await this.#answered(() => this.#requests.attempt('whether it keeps versions is not known', (client, sdk) => client.send(new sdk.GetBucketVersioningCommand({ Bucket: bucket })), isUnknownRequest));
    if (versions?.Status === 'Enabled') throw new QuorateError('BACKUP_REFUSED', `${who}: the bucket keeps versions of what is replaced or removed: a key ring there could never be forgotten`);
    const lock = await this.#answered(() => this.#requests.attempt('whether it has an object lock is not known', (client, sdk) => client.send(new sdk.GetObjectLockConfigurationCommand({ Bucket: bucket })),
      (error) => isUnknownRequest(error) || nameOf(error) === 'ObjectLockConfigurationNotFoundError' || isAbsent(error)));
    const { ObjectLockEnabled: enabled, Rule: rule } = lock?.ObjectLockConfiguration ?? {};
    if (enabled === 'Enabled' || rule !== undefined) throw new QuorateError('BACKUP_REFUSED', `${who}: the bucket has an object lock, which keeps what is replaced or removed: a key ring there could never be forgotten`);
  }

  close(): void {
    this.#requests.close();
  }

  #key(name: string): string {
    const { prefix } = this.#requests.place;
    return prefix === '' ? name : `${prefix}/${name}`;
  }

  async #nullWithout<T>(work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof QuorateError) && isAbsent(error)) return null;
      throw error;
    }
  }

  /** null where the server does not know the question: what it does not know it does not do. */
  async #answered<T>(work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof QuorateError) throw error;
      return null;
    }
  }

  /** Once in a while, with an upload of that kind. */
  async #abortRemains(): Promise<void> {
    if (performance.now() - this.#remainsSought < REMAINS_PAUSE_MS) return;
    this.#remainsSought = performance.now();
    await abortRemains(this.#requests);
  }

  /** Resolves to the MD5 of what was sent, in hex. */
  async #putWhole(name: ObjectName, source: ObjectSource, metadata: Record<string, string>): Promise<string> {
    const { bucket } = this.#requests.place;
    let body: Buffer = Buffer.alloc(0);
    for await (const part of inParts(checkedPieces(name, source), Math.max(1, source.bytes))) body = part;
    const md5 = createHash('md5').update(body).digest();
    const hex = md5.toString('hex');
    await this.#requests.attempt(`${name} cannot be written`, async (client, sdk) => {
      const answer = await client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: this.#key(name), Body: body, ContentLength: body.length, ContentMD5: md5.toString('base64'), Metadata: metadata }));
      if (md5Tag(answer) !== '' && md5Tag(answer) !== hex) throw Object.assign(new Error('another content arrived'), { code: 'CONTENT_DIFFERS' });
    });
    return hex;
  }

  /** BACKUP_UNAVAILABLE when what was written is not there whole. What another writer put there since is not ours to judge. */
  async #confirm(name: ObjectName, sent: { bytes: number; sha256: string; md5: string; began: number }): Promise<void> {
    const { bucket } = this.#requests.place;
    const { who } = this.#requests;
    let seen = 'is not there';
    for (let look = 1; look <= LOOKS_MAX; look++) {
      const head = await this.#nullWithout(() => this.#requests.attempt(`${name} was written and cannot be looked at`, (client, sdk) => client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: this.#key(name) })), isAbsent));
      if (head !== null) {
        if ((head.Metadata?.['sha256'] ?? sent.sha256) === sent.sha256) {
          const tag = md5Tag(head);
          if (head.ContentLength === sent.bytes && (sent.md5 === '' || tag === '' || tag === sent.md5)) return;
          seen = `has ${head.ContentLength} bytes of ${sent.bytes}${tag === '' ? '' : `, MD5 ${tag}`}`;
        } else {
          if (this.#isSince(head, sent.began)) return;
          seen = 'is an older object still';
        }
      }
      if (look < LOOKS_MAX) await sleep(this.#requests.times.pauseMsMin * look);
    }
    throw new QuorateError('BACKUP_UNAVAILABLE', `${who}: ${name} was taken, but what it shows ${seen}`);
  }

  /** Whether an object was written since then: by the server's clock alone, to its whole seconds. */
  #isSince(head: HeadObjectCommandOutput, began: number): boolean {
    const ageMs = this.#requests.dateOf(head) - (head.LastModified?.getTime() ?? Number.NaN);
    return ageMs <= performance.now() - began + 1000;
  }

  /** From `at` on; of the object with that tag, if one is given. */
  async #range(name: ObjectName, at: number, tag: string): Promise<Range> {
    const { bucket } = this.#requests.place;
    const end = at + RANGE_BYTES - 1;
    return this.#requests.attempt(`${name} cannot be read${at > 0 ? ' on' : ''}`, async (client, sdk) => {
      try {
        const answer = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: this.#key(name), Range: `bytes=${at}-${end}`, ...(tag === '' ? {} : { IfMatch: tag }) }));
        const total = Number(/\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1] ?? answer.ContentLength);
        const bytes = await bodyOf(answer, RANGE_BYTES);
        if (bytes.length !== Math.min(total - at, RANGE_BYTES) || (tag !== '' && answer.ETag !== tag)) throw new QuorateError('BACKUP_REFUSED', `${this.#requests.who}: it does not give the part of ${name} that it was asked for`);
        return { bytes, total, tag: answer.ETag ?? '' };
      } catch (error) {
        if (at === 0 && statusOf(error) === 416) return { bytes: Buffer.alloc(0), total: 0, tag: '' };
        throw error;
      }
    }, isAbsent);
  }

  async* #pieces(name: ObjectName, first: Range): AsyncGenerator<Uint8Array> {
    let range: Range | null = first;
    for (let at = 0; ;) {
      for (let from = 0; from < range.bytes.length; from += PIECE_BYTES) yield range.bytes.subarray(from, from + PIECE_BYTES);
      at += range.bytes.length;
      if (at >= first.total) return;
      range = await this.#nullWithout(() => this.#range(name, at, first.tag));
      if (range === null) throw new QuorateError('BACKUP_UNAVAILABLE', `${this.#requests.who}: ${name} was removed while it was read`);
    }
  }
}
