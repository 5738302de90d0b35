/**
 * The document of an export (docs/FORMAT.md, quorate-export): JSON, all of it public but what is wrapped. Members, their order and their spelling are fixed for
 * whoever writes it; whoever reads takes them in any order, and refuses one that it does not know or that stands there twice.
 */
import type { Json } from '../base/json.js';
import { lengthPrefixed, concatBytes, u32le } from '../base/bytes.js';
import { Members, membersOf, readLabels } from './exportMembers.js';

export const EXPORT_FORMAT = 'quorate-export/1';
export type ExportMechanism = 'rsa-aes-key-wrap' | 'hpke';

export interface ExportVersion {
  readonly version: number;
  readonly createdMs: number;
  /** Not 0: without material. */
  readonly revokedMs: number;
  readonly imported: boolean;
  /** SubjectPublicKeyInfo, DER; empty for symmetric types. */
  readonly publicKey: Uint8Array;
  /** Empty: revoked, or the public half alone. */
  readonly wrapped: Uint8Array;
}

export interface ExportDocument {
  /** Where it comes from: the store's id (the region's), 32 hexadecimal digits, and the domain. */
  readonly store: string;
  readonly domain: string;
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly scheme: string;
  readonly state: string;
  /** '' for a key that was not deactivated for one. */
  readonly reason: string;
  readonly activatesMs: number;
  readonly deactivatesMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly exportedMs: number;
  /** SHA-256 of its SubjectPublicKeyInfo, hexadecimal. */
  readonly recipient: string;
  readonly mechanism: ExportMechanism;
  readonly versions: readonly ExportVersion[];
}

/** What HPKE binds beside the material: which version of which key it is. `id`: 32 hexadecimal digits. */
export function exportAad(domain: string, id: string, type: string, version: number): Uint8Array {
  return concatBytes(lengthPrefixed(domain, id, type), u32le(version));
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

export function exportText({ labels, versions, ...rest }: ExportDocument): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const { recipient, mechanism, exportedMs, ...key } = rest;
  return `${JSON.stringify({
    format: EXPORT_FORMAT, ...key, labels: sorted.map(([name, value]) => ({ name, value })), exportedMs, recipient, mechanism,
    versions: versions.map(({ publicKey, wrapped, ...facts }) => ({ ...facts, publicKey: base64(publicKey), wrapped: base64(wrapped) })),
  }, null, 2)}\n`;
}

function readVersion(value: Json): ExportVersion {
  const at = new Members(value, 'versions.');
  const version = {
    version: at.number('version', 1), createdMs: at.number('createdMs', 0), revokedMs: at.number('revokedMs', 0), imported: at.flag('imported'),
    publicKey: at.bytes('publicKey'), wrapped: at.bytes('wrapped'),
  };
  at.end();
  return version;
}

/** KEY_INVALID */
export function parseExport(bytes: Uint8Array): ExportDocument {
  const at = membersOf(bytes, EXPORT_FORMAT);
  const document = {
    store: at.text('store', /^[0-9a-f]{32}$/), domain: at.text('domain'), id: at.text('id', /^[0-9a-f]{32}$/), name: at.text('name'), type: at.text('type'),
    scheme: at.text('scheme'), state: at.text('state'), reason: at.text('reason'), activatesMs: at.number('activatesMs', 0), deactivatesMs: at.number('deactivatesMs', 0),
    labels: readLabels(at.list('labels')), exportedMs: at.number('exportedMs', 0), recipient: at.text('recipient', /^[0-9a-f]{64}$/),
    mechanism: at.text('mechanism', /^(rsa-aes-key-wrap|hpke)$/) as ExportMechanism, versions: at.list('versions').map(readVersion),
  };
  at.end();
  return document;
}
