/**
 * Secrets as systemd's credentials: what the configuration says of units, the sockets on which they are asked for, and what the log says of a refusal,
 * which systemd cannot show. The rest is native (native/plane/credentials.h): a value never comes here.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { codeOfNumber, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import { keyNameFault } from '../base/names.js';
import type { NativeAddon, Upcall } from '../crypto/addon.js';
import { readPrincipal } from '../iam/principal.js';
import { FailureSchema } from '../protocol/gen/quorate_pb.js';
import type { Auditor } from './auditor.js';
import { operationRow } from './authorize.js';
import type { Activated } from './notify.js';

/** FileDescriptorName= of the socket's unit. */
export const CREDENTIALS_FD_NAME = 'quorate-credentials';
/** Root's, and the daemon's own user's, who is refused. */
const SOCKET_MODE = 0o600;
const FIELD_BYTES_MAX = 255;
/** Printable ASCII without : and /, and neither . nor ..: systemd.exec(5), and native/plane/credentials.cc. */
const CREDENTIAL = /^(?!\.{1,2}$)[ !-.0-9;-~]+$/;

export interface CredentialsTable {
  socket?: string;
  domain?: string;
  units?: Record<string, Record<string, string>>;
}

export interface CredentialsConfig {
  /** '': none but what the service manager hands over. */
  readonly socket: string;
  /** '': the default one. */
  readonly domain: string;
  /** Unit or template, credential, path, field; one after the other. */
  readonly entries: readonly string[];
}

function sourceFault(value: unknown): string | null {
  if (typeof value !== 'string') return 'must be a secret: "app/db" or "app/db#password"';
  const at = value.indexOf('#');
  const fault = keyNameFault(at < 0 ? value : value.slice(0, at));
  if (fault !== null) return `names what can be no secret: ${fault}`;
  if (at >= 0 && (at === value.length - 1 || Buffer.byteLength(value.slice(at + 1)) > FIELD_BYTES_MAX)) return `names no field behind #, or one of more than ${FIELD_BYTES_MAX} bytes`;
  return null;
}

/** Of `[credentials.units."billing.service"]`, all of them. */
export function unitsFault(value: unknown): string | null {
  const isTable = (v: unknown): v is object => typeof v === 'object' && v !== null && !Array.isArray(v) && !(v instanceof Date);
  if (!isTable(value)) return 'must be a table: [credentials.units."billing.service"]';
  let count = 0;
  for (const [unit, table] of Object.entries(value)) {
    if (readPrincipal(`unit:${unit}`) === null) return `names ${JSON.stringify(unit)}, which can be no unit: billing.service, or worker@.service for all its instances`;
    if (!isTable(table)) return `has no table ${JSON.stringify(unit)}`;
    for (const [credential, source] of Object.entries(table)) {
      count += 1;
      if (!CREDENTIAL.test(credential)) return `of ${unit} names ${JSON.stringify(credential)}, which can be no credential`;
      const fault = sourceFault(source);
      if (fault !== null) return `of ${unit}: ${credential} ${fault}`;
    }
  }
  return count > LIMITS.credential_entries_max ? `has more than ${LIMITS.credential_entries_max} credentials` : null;
}

export function credentialsConfig({ socket = '', domain = '', units = {} }: CredentialsTable = {}): CredentialsConfig {
  const entries = Object.entries(units).flatMap(([unit, table]) => Object.entries(table).flatMap(([credential, source]) => {
    const at = source.indexOf('#');
    return at < 0 ? [unit, credential, source, ''] : [unit, credential, source.slice(0, at), source.slice(at + 1)];
  }));
  return { socket, domain, entries };
}

/** Where systemd asks: the manager's sockets of that name, else the configuration's. '' where it asks nowhere. ALREADY_RUNNING, SOCKET_UNUSABLE */
export function listenForCredentials(addon: NativeAddon, { socket, domain, entries }: CredentialsConfig, activated: readonly Activated[]): string {
  const given = activated.filter(({ name }) => name === CREDENTIALS_FD_NAME);
  for (const { fd } of given) addon.planeListenForCredentialsFd(fd, domain, entries);
  if (given.length > 0) return given[0]!.path;
  if (socket !== '') addon.planeListenForCredentials(socket, SOCKET_MODE, domain, entries);
  return socket;
}

/** `refused` upcalls: to the log; and whoever is not root, and spoke for a unit nevertheless, to the audit log. */
export function credentialRefused(log: Logger, auditor: Auditor, upcall: Upcall): void {
  const { unit, keyRef: credential, uid, pid } = upcall;
  const code = codeOfNumber(upcall.status);
  const { detail } = fromBinary(FailureSchema, upcall.body);
  log.warn('a credential was refused: its unit does not start', { unit, credential, code, detail, uid, pid });
  if (uid === 0) return;
  const row = operationRow(upcall.method)!;
  const leaf = auditor.failed(auditor.trace(row, upcall), new QuorateError(code, `${detail}: credential ${credential}`));
  if (leaf !== undefined) auditor.append(leaf);
}
