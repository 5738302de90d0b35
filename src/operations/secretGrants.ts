/** For the plane's `grant` upcall of FetchSecret: whether the caller may, and the value, which goes from its sealed form into the arena and from there to the plane. */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { checkSecretPath } from '../base/names.js';
import type { Upcall } from '../crypto/addon.js';
import { KeyScheme, KeyType } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { nextSecretChangeMs, readableVersion, secretId, secretIdText } from '../secrets/record.js';
import { permit, secretSeen, type Standing } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import type { PreparedGrant } from './grants.js';
import { findSecret, openSecretValue } from './secretRecords.js';
import { volatileOf } from './volatile.js';

const TRIES = 8;
const BUSY_RETRY_MS = 20;
const { action } = OPERATIONS.FetchSecret;

async function prepare(context: OperationContext, caller: Caller, path: string, asked: number, standing: Standing): Promise<PreparedGrant> {
  const { clock, domain } = context;
  const found = await findSecret(context, path);
  const nowMs = clock.nowMs();
  // First of all: who may not fetch it hears the same whether it is there or not.
  const permission = await permit(context, caller, action, { kind: 'secret', secret: found === null ? { path, exists: false, labels: {} } : secretSeen(found.record) });
  standing.untilMs = nowMs + permission.lifeMs;
  if (found === null) throw new QuorateError('SECRET_NOT_FOUND', path, { field: 'key' });
  const version = readableVersion(found.record, asked, nowMs);
  const changes = nextSecretChangeMs(found.record, version, nowMs);
  const keyId = secretId(domain, path);
  const handle = await openSecretValue(context, path, version.version);
  // Of no type and no scheme: bytes that are handed out, and never a key.
  const install = [{
    keyId, domain, type: KeyType.KEY_TYPE_UNSPECIFIED, scheme: KeyScheme.KEY_SCHEME_UNSPECIFIED, exportable: false, version: version.version, current: version.version === found.record.lastVersion, handle,
    spki: new Uint8Array(0), imported: false, ivs: 0,
  }];
  const lifeMs = Math.min(permission.lifeMs, changes === null ? LIMITS.grant_life_ms : changes - nowMs);
  return { keyId, keyName: path, action, lifeMs, slice: permission.slice, holds: permission.holds, install };
}

/** NAME_INVALID, DENIED, SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED, BUSY, ARENA_FULL, STORE_CORRUPT, STORE_IO */
export async function prepareFetch(context: OperationContext, caller: Caller, upcall: Upcall, standing: Standing): Promise<PreparedGrant> {
  const path = checkSecretPath(upcall.keyRef, 'key');
  const { gate } = volatileOf(context.store);
  for (let i = 0; i < TRIES && context.access.epoch === caller.epoch; i++) {
    const ticket = await gate.enter(secretIdText(context.domain, path));
    try {
      const prepared = await prepare(context, caller, path, upcall.version, standing);
      if (!ticket.stale && prepared.holds()) return prepared;
      for (const { handle } of prepared.install) if (handle !== 0) context.addon.secretDrop(handle);
    } catch (error) {
      if (!ticket.stale) throw error;
    } finally {
      gate.leave(ticket);
    }
  }
  throw new QuorateError('BUSY', `${path}, or who may fetch it, changes too fast`, { retryAfterMs: BUSY_RETRY_MS });
}
