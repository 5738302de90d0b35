/**
 * Principal references: `user:alice`, `uid:1000` (a local user without a mapping), `app:billing`, `service:ci`, `unit:billing.service` (of systemd, which
 * asks for its credentials); and the entities that stand for them in policies: User::"alice", User::"uid:1000", App::"billing", Service::"ci",
 * Unit::"billing.service".
 */
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';

export type PrincipalKind = 'user' | 'uid' | 'app' | 'service' | 'unit';
export interface PrincipalRef {
  readonly kind: PrincipalKind;
  /** Without its kind; of `uid`, canonical decimal digits. */
  readonly name: string;
}

/** A name has no colon, so User::"uid:1000" is nobody's name. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]*$/;
/** systemd.unit(5), of the types that can have credentials; `worker@.service` stands for all its instances. */
const UNIT = /^(?!@)[A-Za-z0-9:_.\\@-]+\.(?:service|socket|mount|swap)$/;
const TEMPLATE = /^([^@]+@).*(\.[a-z]+)$/;
const UID = /^(?:0|[1-9][0-9]{0,9})$/;
/** The last uid; 2^32 - 1 is "no uid" to the kernel. */
const UID_MAX = 0xffff_fffe;

export const PRINCIPAL_TYPES = ['User', 'App', 'Service', 'Unit'] as const;
export type PrincipalType = (typeof PRINCIPAL_TYPES)[number];

const isName = (name: string): boolean => NAME.test(name) && utf8Bytes(name).length <= LIMITS.principal_name_bytes_max;
const isUnit = (name: string): boolean => UNIT.test(name) && name.length <= LIMITS.unit_name_bytes_max;
const isUid = (text: string): boolean => UID.test(text) && Number(text) <= UID_MAX;

/** null when `text` is not a principal. One principal has one text: no case folding, no leading zeros, no blanks. */
export function readPrincipal(text: string): PrincipalRef | null {
  const colon = text.indexOf(':');
  const kind = text.slice(0, colon);
  const name = text.slice(colon + 1);
  if (kind === 'uid') return isUid(name) ? { kind, name } : null;
  if (kind === 'user' || kind === 'app' || kind === 'service') return isName(name) ? { kind, name } : null;
  if (kind === 'unit') return isUnit(name) ? { kind, name } : null;
  return null;
}

/** `worker@.service` of `worker@1.service`; null when it is no instance. */
export function templateOf(unit: string): string | null {
  const match = TEMPLATE.exec(unit);
  const template = match === null ? unit : match[1]! + match[2]!;
  return template === unit ? null : template;
}

export const isTemplate = ({ kind, name }: PrincipalRef): boolean => kind === 'unit' && name.includes('@.') && templateOf(name) === null;

/** PRINCIPAL_INVALID */
export function parsePrincipal(text: string, field = 'principal'): PrincipalRef {
  const ref = readPrincipal(text);
  if (ref === null) {
    const shown = text.slice(0, LIMITS.principal_name_bytes_max);
    throw new QuorateError('PRINCIPAL_INVALID', `${JSON.stringify(shown)} is none of user:NAME, uid:N, app:NAME, service:NAME, unit:NAME`, { field });
  }
  return ref;
}

export function formatPrincipal(ref: PrincipalRef): string {
  return `${ref.kind}:${ref.name}`;
}

export interface EntityUid {
  readonly type: string;
  readonly id: string;
}

/** As a key of tables: no type has a colon. */
export const uidText = ({ type, id }: EntityUid): string => `${type}::${id}`;

export function principalEntity(ref: PrincipalRef): EntityUid & { readonly type: PrincipalType } {
  switch (ref.kind) {
    case 'user':
      return { type: 'User', id: ref.name };
    case 'uid':
      return { type: 'User', id: `uid:${ref.name}` };
    case 'app':
      return { type: 'App', id: ref.name };
    case 'service':
      return { type: 'Service', id: ref.name };
    case 'unit':
      return { type: 'Unit', id: ref.name };
  }
}

/** The reference of a principal's entity, null when no principal has it. */
export function principalOfEntity({ type, id }: EntityUid): string | null {
  const text =
    type === 'User'
      ? id.startsWith('uid:')
        ? id
        : `user:${id}`
      : type === 'App'
        ? `app:${id}`
        : type === 'Service'
          ? `service:${id}`
          : type === 'Unit'
            ? `unit:${id}`
            : '';
  return readPrincipal(text) === null ? null : text;
}
