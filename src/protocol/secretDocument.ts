/**
 * The document of a secret that left (docs/FORMAT.md, quorate-secret-export): JSON, all of it public. What is wrapped lies beside it, a file for each version, whose
 * SHA-256 the document has: so that each is opened by other programs as it is, and no frame is too short for a secret with all its versions.
 */
import type { Json } from '../base/json.js';
import { exportAad } from './exportDocument.js';
import { Members, membersOf, readLabels, refuse } from './exportMembers.js';

export const SECRET_EXPORT_FORMAT = 'quorate-secret-export/1';
const STATES = ['active', 'deactivated', 'deleted', 'destroyed'] as const;

export interface SecretDocumentVersion {
  readonly version: number;
  /** deleted: its value was there, and nobody could fetch it; destroyed: it was gone. Neither leaves. */
  readonly state: (typeof STATES)[number];
  readonly createdMs: number;
  readonly bytes: number;
  readonly json: boolean;
  /** Who put it, where it comes from. */
  readonly principal: string;
  /** SHA-256 of the file with what is wrapped, 64 hexadecimal digits; '' for what does not leave. */
  readonly wrapped: string;
}

export interface SecretDocument {
  /** Where it comes from: the store's id (the region's), 32 hexadecimal digits, and the domain. */
  readonly store: string;
  readonly domain: string;
  /** Of domain and path, 32 hexadecimal digits. */
  readonly id: string;
  readonly path: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly maxVersions: number;
  /** 0: never. */
  readonly deactivateAfterMs: number;
  readonly lastVersion: number;
  readonly exportedMs: number;
  /** SHA-256 of its SubjectPublicKeyInfo, hexadecimal. */
  readonly recipient: string;
  /** cms: RFC 5083, to an RSA key; hpke: RFC 9180, to an X25519 key. */
  readonly mechanism: 'cms' | 'hpke';
  /** Ascending. What is between them, and before the first, was destroyed long ago. */
  readonly versions: readonly SecretDocumentVersion[];
}

/** What HPKE binds beside the value. No key has this type. */
export const secretExportAad = (domain: string, id: string, version: number): Uint8Array => exportAad(domain, id, 'secret', version);

/** Of what is wrapped, beside a document whose name ends in .json. */
export const wrappedName = (id: string, version: number, mechanism: SecretDocument['mechanism']): string => `${id}.${version}.${mechanism}`;

/** Versions that left. */
export const leftVersions = ({ versions }: SecretDocument): SecretDocumentVersion[] => versions.filter(({ wrapped }) => wrapped !== '');

export function secretExportText({ labels, versions, exportedMs, recipient, mechanism, ...secret }: SecretDocument): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${JSON.stringify({ format: SECRET_EXPORT_FORMAT, ...secret, labels: sorted.map(([name, value]) => ({ name, value })), exportedMs, recipient, mechanism, versions }, null, 2)}\n`;
}

function readVersion(value: Json): SecretDocumentVersion {
  const at = new Members(value, 'versions.');
  const version = {
    version: at.number('version', 1), state: at.text('state', new RegExp(`^(${STATES.join('|')})$`)) as SecretDocumentVersion['state'], createdMs: at.number('createdMs', 0), bytes: at.number('bytes', 0),
    json: at.flag('json'), principal: at.text('principal'), wrapped: at.text('wrapped', /^([0-9a-f]{64})?$/),
  };
  at.end();
  const leaves = version.state === 'active' || version.state === 'deactivated';
  return leaves === (version.wrapped !== '') ? version : refuse(`says that version ${version.version} is ${version.state}, and ${leaves ? 'has no' : 'has a'} digest of it`);
}

/** KEY_INVALID */
export function parseSecretExport(bytes: Uint8Array): SecretDocument {
  const at = membersOf(bytes, SECRET_EXPORT_FORMAT);
  const document: SecretDocument = {
    store: at.text('store', /^[0-9a-f]{32}$/), domain: at.text('domain'), id: at.text('id', /^[0-9a-f]{32}$/), path: at.text('path'), labels: readLabels(at.list('labels')),
    maxVersions: at.number('maxVersions', 1), deactivateAfterMs: at.number('deactivateAfterMs', 0), lastVersion: at.number('lastVersion', 1), exportedMs: at.number('exportedMs', 0),
    recipient: at.text('recipient', /^[0-9a-f]{64}$/), mechanism: at.text('mechanism', /^(cms|hpke)$/) as SecretDocument['mechanism'], versions: at.list('versions').map(readVersion),
  };
  at.end();
  const { versions, lastVersion } = document;
  const ascend = versions.every(({ version }, i) => version > (versions[i - 1]?.version ?? 0)) && (versions.at(-1)?.version ?? lastVersion) <= lastVersion;
  return ascend ? document : refuse('has versions out of order');
}
