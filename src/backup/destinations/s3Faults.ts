/** What an answer of S3-compatible storage, or the lack of one, means: by code and status, never by its words, which may quote a request. */
import { QuorateError } from '../../base/errors.js';

export interface Verdict {
  readonly code: 'BACKUP_UNAVAILABLE' | 'BACKUP_REFUSED' | 'BACKUP_FULL';
  /** How often the same request is worth a try, while there is time. */
  readonly triesMax: number;
  /** For a person: codes and numbers only. */
  readonly reason: string;
}

interface Failure {
  readonly name?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly statusCode?: number };
}

const FULL = new Set(['QuotaExceeded', 'BucketQuotaExceeded', 'EntityTooLarge', 'InsufficientStorage', 'InsufficientCapacity', 'StorageFull', 'XMinioStorageFull', 'XMinioStorageBucketQuotaExceeded']);
/** Of the connection or the moment, whatever the status that they come with. */
const AGAIN = new Set(['RequestTimeout', 'IncompleteBody', 'BadDigest', 'XAmzContentSHA256Mismatch', 'SlowDown', 'TooManyRequests', 'Throttling', 'ThrottlingException', 'OperationAborted', 'InternalError', 'ServiceUnavailable', 'TimeoutError']);
/** OpenSSL's words for a certificate that is not accepted, as Node gives them for a code. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY)|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|CRL/;

/** A server chooses it: nothing but what a code is made of comes through. */
function asCode(text: string | undefined): string {
  return text !== undefined && /^[A-Za-z0-9._-]{1,64}$/.test(text) && !/^(?:Error|Unknown|UnknownError)$/.test(text) ? text : '';
}

export function statusOf(error: unknown): number {
  const failure = error as Failure;
  return failure.$metadata?.httpStatusCode ?? failure.$response?.statusCode ?? 0;
}

export function nameOf(error: unknown): string {
  return asCode((error as Failure).name);
}

/** There is no such object. A bucket that is missing has a name of its own, except in answers to HEAD. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket';
}

/** The server knows no such request. Few of those that speak S3 know all of it. */
export function isUnknownRequest(error: unknown): boolean {
  return statusOf(error) === 501 || nameOf(error) === 'NotImplemented' || (statusOf(error) === 405 && nameOf(error) === 'MethodNotAllowed');
}

function judgeStatus(status: number, name: string): Pick<Verdict, 'code' | 'triesMax'> {
  if (FULL.has(name) || status === 507 || status === 413) return { code: 'BACKUP_FULL', triesMax: 1 };
  // The answer has told the SDK the server's time.
  if (name === 'RequestTimeTooSkewed') return { code: 'BACKUP_REFUSED', triesMax: 2 };
  if (AGAIN.has(name) || status === 408 || status === 429 || status === 409) return { code: 'BACKUP_UNAVAILABLE', triesMax: Number.POSITIVE_INFINITY };
  if (status === 501 || status === 505) return { code: 'BACKUP_REFUSED', triesMax: 1 };
  if (status >= 500 || status < 300) return { code: 'BACKUP_UNAVAILABLE', triesMax: Number.POSITIVE_INFINITY };
  if (status === 412) return { code: 'BACKUP_UNAVAILABLE', triesMax: 1 };
  return { code: 'BACKUP_REFUSED', triesMax: 1 };
}

/** null for what is no failure of the destination: a mistake in this program, which nothing may hide. */
export function judge(error: unknown): Verdict | null {
  if (error instanceof QuorateError || !(error instanceof Error)) return null;
  const status = statusOf(error);
  const name = nameOf(error);
  if (status !== 0) return { ...judgeStatus(status, name), reason: `${name === '' ? '' : `${name}, `}HTTP ${status}` };
  const code = asCode((error as Failure).code);
  if (CERTIFICATE.test(code)) return { code: 'BACKUP_REFUSED', triesMax: 1, reason: `its certificate is not accepted (${code}): ca_file names the authority that issued it` };
  if (code !== '') return { code: 'BACKUP_UNAVAILABLE', triesMax: Number.POSITIVE_INFINITY, reason: code };
  if (name === 'TimeoutError' || name === 'AbortError') return { code: 'BACKUP_UNAVAILABLE', triesMax: Number.POSITIVE_INFINITY, reason: 'no answer in time' };
  return null;
}
