/** OpenPinSession, ChangePin, PutPin, ListPins, RemovePin, AuthenticateUse: PINs, which stand for principals. */
import { create } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Handle } from '../crypto/addon.js';
import { parsePrincipal } from '../iam/principal.js';
import { idBytes, parseKeyRef } from '../keys/names.js';
import {
  AuthenticateUseResponseSchema,
  ListPinsResponseSchema,
  OpenSessionResponseSchema,
  PinResponseSchema,
  type AuthenticateUseRequest,
  type AuthenticateUseResponse,
  type ChangePinRequest,
  type ListPinsRequest,
  type ListPinsResponse,
  type OpenPinSessionRequest,
  type OpenSessionResponse,
  type PinResponse,
  type PutPinRequest,
  type RemovePinRequest,
} from '../protocol/gen/quorate_pb.js';
import { StoredPinSchema, type StoredPin } from '../protocol/gen/records_pb.js';
import { DEFAULT_DOMAIN, type Caller, type OperationContext } from './context.js';
import { handleIn } from './handles.js';
import { mutate, storing } from './mutate.js';
import { digestOf, isSamePin, provePin } from './pinProof.js';
import { allPins, findPin, pinJti, putPinRecord, removePinRecord, viewPin, type FoundPin, type PinPlace } from './pinRecords.js';
import { resolveId } from './records.js';

/** PIN_INVALID */
function requireLength(context: OperationContext, pin: Handle, field: string): void {
  const bytes = pin === 0 ? 0 : context.addon.secretSize(pin);
  if (bytes < LIMITS.pin_bytes_min || bytes > LIMITS.pin_bytes_max) throw new QuorateError('PIN_INVALID', `${field} has ${bytes} bytes`, { field });
}

/** The connection's own, whatever it has presented since. */
const placeOf = ({ holder }: Caller, { domain }: OperationContext): PinPlace => ({ holder, domain });

/** The connection acts as the PIN's principal from now on. In the turn of the last look at the record, so that a change which comes later ends it. */
async function adopt(context: OperationContext, caller: Caller, place: PinPlace, proved: StoredPin): Promise<void> {
  const { tokens } = context.access;
  const jti = pinJti(place);
  const adopted = tokens.identities.adoptPin(jti, proved.principal, proved.domain);
  const now = await findPin(context, place);
  if (now === null || !isSamePin(now.record, proved) || tokens.identities.find(adopted.identity) !== adopted)
    throw new QuorateError('PIN_REJECTED', 'the PIN has just been changed');
  tokens.plane.setIdentity(caller.session, adopted.identity, LIMITS.session_life_ms);
}

/** PIN_REJECTED, PIN_LOCKED, BUSY */
export async function openPinSession(context: OperationContext, caller: Caller, request: OpenPinSessionRequest): Promise<OpenSessionResponse> {
  const place = placeOf(caller, context);
  const { record } = await provePin(context, place, handleIn(request.pin, 'pin'));
  const { tokens } = context.access;
  if (tokens.identities.size >= LIMITS.sessions_max) tokens.identities.prune(tokens.plane.carriedIdentities());
  await adopt(context, caller, place, record);
  return create(OpenSessionResponseSchema, { principal: record.principal, domain: record.domain });
}

/** The PIN itself has changed, or is gone: whoever acts under it ends to do so. */
function end(context: OperationContext, place: PinPlace): void {
  context.access.tokens.endToken(pinJti(place));
}

/** The one of the connection's holder in its domain. Other connections under the old one end. PIN_INVALID, PIN_REJECTED, PIN_LOCKED, BUSY */
export async function changePin(context: OperationContext, caller: Caller, request: ChangePinRequest): Promise<PinResponse> {
  const place = placeOf(caller, context);
  const [oldPin, newPin] = [handleIn(request.oldPin, 'old_pin'), handleIn(request.newPin, 'new_pin')];
  requireLength(context, newPin, 'new_pin');
  const changed: { record?: StoredPin } = {};
  const response = await mutate(context, caller, 'ChangePin', request, async () => {
    const { record, generation } = await provePin(context, place, oldPin);
    const next = { ...record, ...(await digestOf(context, newPin)), failures: 0 };
    changed.record = next;
    return { response: create(PinResponseSchema, { pin: viewPin(next) }), commit: storing(context, [putPinRecord(next, generation)]) };
  });
  if (changed.record === undefined) return response;
  end(context, place);
  // Who changed it while it was in use goes on under the new one.
  if (caller.token?.jti === pinJti(place)) await adopt(context, caller, place, changed.record);
  return response;
}

function placeIn(context: OperationContext, { holder, domain: asked }: Pick<PutPinRequest, 'holder' | 'domain'>): PinPlace {
  parsePrincipal(holder, 'holder');
  const domain = asked === '' ? DEFAULT_DOMAIN : asked;
  if (!context.access.domains.has(domain)) throw new QuorateError('DOMAIN_NOT_FOUND', domain.slice(0, LIMITS.domain_name_bytes_max), { field: 'domain' });
  return { holder, domain };
}

/** In the place of one that is there, locked or not. PIN_INVALID, PRINCIPAL_INVALID, DOMAIN_NOT_FOUND, LIMIT_EXCEEDED, STORE_FULL, STORE_IO */
export async function putPin(context: OperationContext, caller: Caller, request: PutPinRequest): Promise<PinResponse> {
  const place = placeIn(context, request);
  const { principal } = request;
  parsePrincipal(principal);
  const pin = handleIn(request.pin, 'pin');
  requireLength(context, pin, 'pin');
  let digest: Awaited<ReturnType<typeof digestOf>> | null = null;
  const response = await mutate(context, caller, 'PutPin', request, async () => {
    const found = await findPin(context, place);
    if (found === null && (await allPins(context)).length >= LIMITS.pins_max) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.pins_max} PINs are all that one host has`);
    digest ??= await digestOf(context, pin);
    const record = create(StoredPinSchema, { ...place, principal, ...digest, failures: 0, createdMs: BigInt(context.clock.nowMs()) });
    return { response: create(PinResponseSchema, { pin: viewPin(record) }), commit: storing(context, [putPinRecord(record, found?.generation ?? 0)]) };
  });
  end(context, place);
  return response;
}

export async function listPins(context: OperationContext, _caller: Caller, _request: ListPinsRequest): Promise<ListPinsResponse> {
  return create(ListPinsResponseSchema, { pins: (await allPins(context)).map(viewPin) });
}

/** Connections that act under it end. PIN_NOT_FOUND, PRINCIPAL_INVALID, DOMAIN_NOT_FOUND, STORE_FULL, STORE_IO */
export async function removePin(context: OperationContext, caller: Caller, request: RemovePinRequest): Promise<PinResponse> {
  const place = placeIn(context, request);
  const response = await mutate(context, caller, 'RemovePin', request, async () => {
    const found: FoundPin | null = await findPin(context, place);
    if (found === null) throw new QuorateError('PIN_NOT_FOUND', `${place.holder} has no PIN in domain ${place.domain}`, { field: 'holder' });
    return { response: create(PinResponseSchema, { pin: viewPin(found.record) }), commit: storing(context, [removePinRecord(place, found.generation)]) };
  });
  end(context, place);
  return response;
}

/** No key has it. */
const NO_KEY = new Uint8Array(16);

/**
 * The ticket answered here is the key's id, empty for a session's own: the plane notes which it is of and gives out another, random one. A key that is not there gets a ticket that
 * nothing takes, so that nobody learns of keys by it. PIN_REJECTED (also: of another principal than the connection acts for), PIN_LOCKED, BUSY
 */
export async function authenticateUse(context: OperationContext, caller: Caller, request: AuthenticateUseRequest): Promise<AuthenticateUseResponse> {
  const { record } = await provePin(context, placeOf(caller, context), handleIn(request.pin, 'pin'));
  if (record.principal !== caller.principal) throw new QuorateError('PIN_REJECTED', 'it stands for another principal');
  if (request.key.startsWith('session:')) return create(AuthenticateUseResponseSchema);
  const ref = parseKeyRef(request.key);
  let id: Uint8Array | null = null;
  try {
    id = idBytes(await resolveId(context, ref));
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'KEY_NOT_FOUND') throw error;
  }
  return create(AuthenticateUseResponseSchema, { ticket: id ?? NO_KEY });
}
