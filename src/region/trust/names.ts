/** Names within a region: they stand in certificates and in DNS names, so they are labels of RFC 1123. */
import { isIP } from 'node:net';
import { toHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';

/** A certificate's CN holds 64 characters (RFC 5280, ub-common-name), the CA's with a few of its own. */
export const LABEL_BYTES_MAX = 48;
export const REGION_ID_BYTES = 16;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/;
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;

export interface RegionIdentity {
  /** A label: a person chose it. */
  readonly name: string;
  /** 16 random bytes: two regions of one name are two regions. */
  readonly id: Uint8Array;
}

export const isLabel = (text: string): boolean => LABEL.test(text);

/** BAD_REQUEST naming the field. For regions, hosts and zones. */
export function requireLabel(text: string, field: string): string {
  if (!isLabel(text)) throw new QuorateError('BAD_REQUEST', `${field} has 1 to ${LABEL_BYTES_MAX} lower-case letters, digits and hyphens between them`, { field });
  return text;
}

/** The name that a host's certificate has for the other hosts. ".internal" is nobody's in the public DNS, and none of these is ever looked up. */
export function hostDnsName(region: string, host: string): string {
  return `${host}.${region}.quorate.internal`;
}

/** How the region's id stands in certificates: lower-case hexadecimal. */
export function regionIdText(region: RegionIdentity): string {
  return toHex(region.id);
}

/** An IP address, or a name to look up. BAD_REQUEST */
export function addressKind(address: string): 'ip' | 'dns' {
  // A scope belongs to one machine's interfaces; and four numbers that are no address are no name either.
  if (isIP(address) !== 0 && !address.includes('%')) return 'ip';
  if (DNS_NAME.test(address) && !/^[0-9.]+$/.test(address)) return 'dns';
  throw new QuorateError('BAD_REQUEST', `${address.slice(0, 64)} is neither an IP address nor a DNS name`, { field: 'address' });
}

/** "name:port" or "[IPv6]:port". BAD_REQUEST */
export function splitAddress(text: string): { host: string; port: number } {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):([1-9][0-9]{0,4})$/.exec(text);
  const port = Number(m?.[3]);
  if (m === null || port > 65_535) throw new QuorateError('BAD_REQUEST', `${text.slice(0, 64)} is not an address with a port`, { field: 'address' });
  const host = (m[1] ?? m[2])!;
  addressKind(host);
  if (m[1] !== undefined && isIP(host) !== 6) throw new QuorateError('BAD_REQUEST', `${text.slice(0, 64)} has brackets around what is not an IPv6 address`, { field: 'address' });
  return { host, port };
}
