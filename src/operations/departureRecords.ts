/** Departures that were begun: each is of one principal, to one recipient, for a week. */
import { fromBinary } from '@bufbuild/protobuf';
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { ExportKeyRequest, ExportSecretRequest } from '../protocol/gen/quorate_pb.js';
import { StoredDepartureSchema, type StoredDeparture } from '../protocol/gen/records_pb.js';
import type { RecordName } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { fingerprintOf } from './recipients.js';
import { exportsNeedTwo } from './targets.js';

export const DEPARTURE = 'departure';
const ID = /^[0-9a-f]{32}$/;

export const departureRecordName = (context: OperationContext, id: string): RecordName => ({ domain: context.domain, kind: DEPARTURE, id });

/** BAD_REQUEST: none of this principal's, or one that is over, as one is that nobody has approved once exporting needs two */
export async function findDeparture(context: OperationContext, { principal }: Caller, id: string): Promise<StoredDeparture> {
  const stored = ID.test(id) ? await context.store.get(departureRecordName(context, id)) : null;
  const departure = stored === null ? null : fromBinary(StoredDepartureSchema, stored.value);
  const isOver = departure === null || departure.expiresMs <= BigInt(context.clock.nowMs()) || (exportsNeedTwo(context.access.dualControl) && !departure.approved);
  if (isOver || departure.principal !== principal)
    throw new QuorateError('BAD_REQUEST', 'departure: there is no such one of this principal that has not ended', { field: 'departure' });
  return departure;
}

/** The export belongs to one, of which a second principal has heard where one must. BAD_REQUEST: to none of this principal's, or of another recipient */
export async function requireDeparture(context: OperationContext, caller: Caller, { departure, recipient }: ExportKeyRequest | ExportSecretRequest): Promise<void> {
  const found = await findDeparture(context, caller, departure);
  if (toHex(found.recipient) !== fingerprintOf(recipient)) throw new QuorateError('BAD_REQUEST', 'departure: it is to another recipient', { field: 'departure' });
}
