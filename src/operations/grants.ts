/** Grants: whether a hot method may use a key, for how long, and the key versions that the plane needs for it. */
import { isZero } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { InstalledVersion, Upcall } from '../crypto/addon.js';
import { requireState } from '../keys/lifecycle.js';
import { idText, parseKeyRef, type KeyRef } from '../keys/names.js';
import type { KeyRecord, VersionRecord } from '../keys/record.js';
import { nextChangeMs } from '../keys/states.js';
import { isAsymmetric, isByMechanism, isCryptoMethod, needsPrivate, schemeName, typeName, usageAllows, type CryptoMethod } from '../keys/usage.js';
import { currentVersion, usableVersion } from '../keys/versions.js';
import { KeyScheme, type KeyType } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';
import { factsOf, permit, permitAbsent, type Standing, standingOf } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { firstBlock } from './ivs.js';
import { openVersion } from './material.js';
import { loadReferred, resolveId } from './records.js';
import { prepareFetch } from './secretGrants.js';
import { EXPORT } from './targets.js';
import { volatileOf } from './volatile.js';

export interface PreparedGrant {
  /** 16 bytes; zeros for a method without a stored key. */
  readonly keyId: Uint8Array;
  readonly lifeMs: number;
  /** What was asked of the policies. */
  readonly action: string;
  /** The key's, whatever the request called it; '' for a method without a stored key. */
  readonly keyName: string;
  /** 0: none. */
  readonly slice: number;
  /** Asked in the turn in which it is installed: false when what it was decided on has changed, and it must be prepared again. */
  holds(): boolean;
  /** Their handles belong to whoever installs them. */
  readonly install: InstalledVersion[];
}

/** Hot methods that name no stored key. */
const KEYLESS: ReadonlySet<OperationName> = new Set([
  'Random',
  'CreateSessionKey',
  'ImportSessionKey',
  'DestroySessionKey',
  'StreamChunk',
  'StreamClose',
  'MechanismDigest',
  'MechanismUpdate',
  'MechanismCancel',
  'GenerateObject',
  'CreateObject',
  'SetSessionObject',
]);
/** What the daemon's own watchdog does, whoever the administrator is: session keys alone, which hold nothing of anybody's. */
const SELF_CHECK: ReadonlySet<OperationName> = new Set(['CreateSessionKey', 'DestroySessionKey']);
const NAMES = new Map<number, OperationName>(Object.values(OPERATIONS).map((row) => [row.id, row.name]));
/** Changes of one key, or of policies, that a preparation may run into before the caller is told to come again. */
const TRIES = 8;
const BUSY_RETRY_MS = 20;

/** One method, of which the key's type says whether it is a signature or a MAC. */
const OF_SYMMETRIC: Partial<Record<CryptoMethod, string>> = { MechanismSign: OPERATIONS.Mac.action, MechanismVerify: OPERATIONS.VerifyMac.action };

/** `type` null: there is no such key. Who would be denied a key of some type hears that of one that is not there, so that all of these are asked. */
function actionsOf(method: CryptoMethod, { target }: Upcall, type: KeyType | null): string[] {
  if (target) return [EXPORT];
  const { action } = OPERATIONS[method];
  const symmetric = OF_SYMMETRIC[method];
  if (symmetric === undefined || (type !== null && isAsymmetric(type))) return [action];
  return type === null ? [action, symmetric] : [symmetric];
}

/** What a key of scheme PKCS11 does by mechanism is left to the plane, which has its attributes. KEY_STATE_DENIED, KEY_DESTROYED, KEY_USAGE_DENIED, USE_NOT_PERMITTED, KEY_NOT_EXPORTABLE */
function requireUse(record: KeyRecord, method: CryptoMethod, target: boolean, nowMs: number): void {
  requireState(record, method, nowMs);
  if (record.scheme === KeyScheme.MANAGED && isByMechanism(method))
    throw new QuorateError('USE_NOT_PERMITTED', `${record.name} is managed: it is used in Quorate's own formats alone`);
  if (target) {
    // Its attributes say which keys may take it out, and only the mechanisms look at them.
    if (record.scheme === KeyScheme.PKCS11 && method !== 'WrapObject')
      throw new QuorateError('KEY_NOT_EXPORTABLE', `${record.name} has scheme pkcs11: it leaves through PKCS#11 alone`);
    if (!record.exportable) throw new QuorateError('KEY_NOT_EXPORTABLE', `${record.name} may not leave`);
    return;
  }
  if (usageAllows(record.type, record.scheme, method)) return;
  throw new QuorateError(
    isByMechanism(method) ? 'USE_NOT_PERMITTED' : 'KEY_USAGE_DENIED',
    `${record.name} (${typeName(record.type)}, ${schemeName(record.scheme)}) does not do ${method}`,
  );
}

function installed(context: OperationContext, record: KeyRecord, version: VersionRecord, ivs: number): InstalledVersion {
  const { id, domain, type, scheme, exportable } = record;
  return {
    keyId: id,
    domain,
    type,
    scheme,
    exportable,
    version: version.version,
    current: version === currentVersion(record),
    handle: openVersion(context, id, version),
    spki: version.spki,
    imported: version.imported,
    ivs,
    ...(scheme === KeyScheme.PKCS11 ? { attributes: record.attributes, publicAttributes: record.publicAttributes } : {}),
  };
}

/** null when the name was given to another key meanwhile. */
async function prepare(
  context: OperationContext,
  caller: Caller,
  method: CryptoMethod,
  ref: KeyRef,
  id: string,
  upcall: Upcall,
  standing: Standing,
): Promise<PreparedGrant | null> {
  const found = await loadReferred(context, ref, id);
  if (found === null) return null;
  const { record } = found;
  const nowMs = context.clock.nowMs();
  const changes = nextChangeMs(record, nowMs);
  standing.untilMs = changes ?? Infinity;
  // First of all, so that who may not use it learns nothing of it.
  const action = actionsOf(method, upcall, record.type)[0]!;
  const permission = await permit(context, caller, action, { kind: 'key', key: factsOf(record, nowMs) });
  // Whoever may not use it any more hears nothing of why it could not be used.
  standing.untilMs = Math.min(standing.untilMs, nowMs + permission.lifeMs);
  requireUse(record, method, upcall.target, nowMs);
  // A hot method is nobody's proposal: else whoever brings a wrapping key of his own lets out alone what takes two.
  if (action === EXPORT && context.access.dualControl.has(EXPORT)) throw new QuorateError('DENIED', `${EXPORT} needs two principals: quorate key export asks for the second`);
  const lifeMs = Math.min(permission.lifeMs, changes === null ? LIMITS.grant_life_ms : changes - nowMs);
  const grant = { keyId: record.id, keyName: record.name, action, lifeMs, slice: permission.slice, holds: permission.holds };
  // The ciphertext names another key than the caller does: the plane, granted the caller's, says so.
  if (!isZero(upcall.keyId) && idText(upcall.keyId) !== id) return { ...grant, install: [] };
  const version = usableVersion(record, upcall.version);
  if (version.sealed.length === 0 && needsPrivate(record.type, method))
    throw new QuorateError('KEY_USAGE_DENIED', `${record.name} was imported without its private half`);
  // Mechanisms are given IVs when they ask for the first: most keys of PKCS#11 are never asked to make one.
  const takesIvs = method === 'Encrypt' && record.scheme === KeyScheme.AES_GCM && version === currentVersion(record);
  const ivs = takesIvs ? await firstBlock(context, id, version.version) : 0;
  return { ...grant, install: [installed(context, record, version, ivs)] };
}

/** Again, as long as the key, its name or a policy changes in between. Who the caller is cannot be found again here: BUSY at once. */
async function prepareUnchanged(context: OperationContext, caller: Caller, method: CryptoMethod, upcall: Upcall, standing: Standing): Promise<PreparedGrant> {
  const ref = parseKeyRef(upcall.keyRef);
  const { gate } = volatileOf(context.store);
  for (let i = 0; i < TRIES && context.access.epoch === caller.epoch; i++) {
    const id = await resolveId(context, ref);
    const ticket = await gate.enter(id);
    try {
      const prepared = await prepare(context, caller, method, ref, id, upcall, standing);
      if (prepared !== null && !ticket.stale && prepared.holds()) return prepared;
      for (const { handle } of prepared?.install ?? []) if (handle !== 0) context.addon.secretDrop(handle);
    } catch (error) {
      if (!ticket.stale) throw error;
    } finally {
      gate.leave(ticket);
    }
  }
  throw new QuorateError('BUSY', `${upcall.keyRef}, or who may use it, changes too fast`, { retryAfterMs: BUSY_RETRY_MS });
}

/**
 * For the plane's `grant` upcall. Whoever gets the result gives it to the plane in the same turn of the event loop: a change of the key voids
 * the plane after its commit, and a grant that came later would survive it. `standing`, taken right before, tells of a refusal what a PreparedGrant does
 * of itself.
 * KEY_NOT_FOUND, NAME_INVALID, BAD_REQUEST, KEY_STATE_DENIED, KEY_DESTROYED, KEY_USAGE_DENIED, USE_NOT_PERMITTED, KEY_NOT_EXPORTABLE, KEY_VERSION_NOT_FOUND,
 * KEY_VERSION_REVOKED, KEY_EXHAUSTED, BUSY, ARENA_FULL, STORE_CORRUPT, STORE_FULL, STORE_IO
 */
export async function prepareGrant(context: OperationContext, caller: Caller, upcall: Upcall, standing: Standing = standingOf(context, caller)): Promise<PreparedGrant> {
  const method = NAMES.get(upcall.method);
  if (method === undefined) throw new QuorateError('UNKNOWN_METHOD', `method ${upcall.method}`);
  if (KEYLESS.has(method)) {
    if (SELF_CHECK.has(method) && caller.uid === context.access.ownUid && caller.token === null)
      return { keyId: new Uint8Array(16), keyName: '', action: OPERATIONS[method].action, lifeMs: LIMITS.grant_life_ms, slice: 0, holds: () => true, install: [] };
    const { lifeMs, slice, holds } = await permit(context, caller, OPERATIONS[method].action, { kind: 'domain' });
    return { keyId: new Uint8Array(16), keyName: '', action: OPERATIONS[method].action, lifeMs, slice, holds, install: [] };
  }
  if (method === 'FetchSecret') return prepareFetch(context, caller, upcall, standing);
  if (!isCryptoMethod(method)) throw new QuorateError('UNKNOWN_METHOD', `${method} takes no grant`);
  try {
    return await prepareUnchanged(context, caller, method, upcall, standing);
  } catch (error) {
    // Who may not use such a key hears the same of one that does not exist.
    if (error instanceof QuorateError && error.code === 'KEY_NOT_FOUND') {
      const nowMs = context.clock.nowMs();
      const lives: number[] = [];
      for (const action of actionsOf(method, upcall, null)) lives.push((await permitAbsent(context, caller, action, upcall.keyRef)).lifeMs);
      standing.untilMs = nowMs + Math.min(...lives);
    }
    throw error;
  }
}
