/** `[backup.destinations.NAME]` of the daemon's configuration: what may stand there, and the destination that it makes. */
import type { Environment } from '../../base/paths.js';
import { pathFault } from '../../base/settings.js';
import { assert } from '../../base/assert.js';
import type { Destination } from '../destination.js';
import { CredentialSource } from './credentials.js';
import { FolderDestination } from './folder.js';
import { isObjectName } from './names.js';
import { S3Destination } from './s3.js';
import type { S3Place } from './s3Requests.js';

/** What the table says, by its own names. Either `folder` or `s3`. */
export interface DestinationTable {
  readonly folder?: string;
  /** `https://host[:port]/bucket[/prefix]` */
  readonly s3?: string;
  readonly s3_region?: string;
  readonly credentials_file?: string;
  readonly ca_file?: string;
}

/** What is wrong with a value; null when nothing is. */
export type SettingCheck = (value: unknown) => string | null;

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const REGION = /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/;
const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|\[::1\]|localhost)$/;
const REGION_DEFAULT = 'us-east-1';

export function destinationNameFault(name: string): string | null {
  return /^[a-z0-9-]{1,32}$/.test(name) ? null : 'must have a name of 1 to 32 lower-case letters, digits and -';
}

function s3Fault(value: unknown): string | null {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : null;
  if (url === null || !/^https?:\/\//.test(value as string)) return 'must be a URL: https://host/bucket/prefix';
  if (url.username !== '' || url.password !== '') return 'must have no credentials in it: credentials_file is for them';
  if (url.search !== '' || url.hash !== '') return 'must have nothing after a ? or a #';
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) return 'must be https: plain http is for this machine alone (127.0.0.1, [::1], localhost)';
  const [bucket, ...prefix] = url.pathname.slice(1).split('/');
  if (!BUCKET.test(bucket!)) return 'must name a bucket after the host: 3 to 63 lower-case letters, digits, . and -';
  if (prefix.length > 0 && !isObjectName(prefix.join('/'))) return 'must have a prefix of lower-case letters, digits, . _ - and / after the bucket, without a / at its end, or none';
  return null;
}

export const DESTINATION_SETTINGS: Readonly<Record<keyof DestinationTable, SettingCheck>> = {
  folder: pathFault,
  s3: s3Fault,
  s3_region: (value) => (typeof value === 'string' && REGION.test(value) ? null : 'must be the name of a region: letters, digits and -'),
  credentials_file: pathFault,
  ca_file: pathFault,
};

/** Of settings that are right each by itself. */
export function destinationFault(table: DestinationTable): string | null {
  if ((table.folder === undefined) === (table.s3 === undefined)) return 'must have either folder or s3';
  const strange = (['s3_region', 'credentials_file', 'ca_file'] as const).find((name) => table[name] !== undefined);
  return table.folder !== undefined && strange !== undefined ? `has ${strange}, which is nothing to a folder` : null;
}

export function s3Place(table: DestinationTable): S3Place {
  assert(table.s3 !== undefined && s3Fault(table.s3) === null, 'the address of a bucket was checked');
  const url = new URL(table.s3);
  const [bucket, ...prefix] = url.pathname.slice(1).split('/');
  return { endpoint: url.origin, bucket: bucket!, prefix: prefix.join('/'), region: table.s3_region ?? REGION_DEFAULT, caFile: table.ca_file ?? '' };
}

/** Of settings that were checked. Touches neither disk nor network: a destination that is not there says so when it is used. */
export function openDestination(name: string, table: DestinationTable, env: Environment = process.env): Destination {
  assert(destinationNameFault(name) === null && destinationFault(table) === null, 'the settings of a destination were checked');
  if (table.folder !== undefined) return new FolderDestination(name, table.folder);
  return new S3Destination(name, s3Place(table), new CredentialSource(table.credentials_file ?? '', env));
}
