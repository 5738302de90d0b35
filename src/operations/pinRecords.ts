/** PINs as the store has them: one for each holder and domain. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { PinSchema, type Pin } from '../protocol/gen/quorate_pb.js';
import { StoredPinSchema, type StoredPin } from '../protocol/gen/records_pb.js';
import type { Change, RecordName } from '../store/store.js';
import { SYSTEM_DOMAIN, type OperationContext } from './context.js';
import { readAll } from './readAll.js';

const FORMAT = 1;

/** Who connects as `holder` and speaks of `domain`. Neither has a slash. */
export interface PinPlace {
  readonly holder: string;
  readonly domain: string;
}
export interface FoundPin {
  readonly record: StoredPin;
  readonly generation: number;
}

export const pinId = ({ holder, domain }: PinPlace): string => `${domain}/${holder}`;
/** What stands for an access token's id in sessions and in the log. */
export const pinJti = (place: PinPlace): string => `pin:${pinId(place)}`;
const recordName = (place: PinPlace): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'pin', id: pinId(place) });

/** STORE_CORRUPT */
function decode(bytes: Uint8Array): StoredPin {
  const record = fromBinary(StoredPinSchema, bytes);
  if (record.format !== FORMAT) throw new QuorateError('STORE_CORRUPT', `a PIN's record has format ${record.format}`);
  return record;
}

export async function findPin(context: OperationContext, place: PinPlace): Promise<FoundPin | null> {
  const stored = await context.store.get(recordName(place));
  return stored === null ? null : { record: decode(stored.value), generation: stored.generation };
}

/** By domain and holder. */
export async function allPins(context: OperationContext): Promise<StoredPin[]> {
  return (await readAll(context, SYSTEM_DOMAIN, 'pin')).map(decode);
}

export function putPinRecord(record: Omit<StoredPin, '$typeName' | '$unknown' | 'format'>, generation: number): Change {
  return { name: recordName(record), value: toBinary(StoredPinSchema, create(StoredPinSchema, { ...record, format: FORMAT })), ifGeneration: generation };
}

export function removePinRecord(place: PinPlace, generation: number): Change {
  return { name: recordName(place), value: null, ifGeneration: generation };
}

/** A principal that is removed takes its PINs along, and those that stand for it. */
export async function pinsOf(context: OperationContext, principal: string): Promise<{ readonly changes: Change[]; readonly places: PinPlace[] }> {
  const places = (await allPins(context)).filter((pin) => pin.holder === principal || pin.principal === principal);
  const changes: Change[] = [];
  for (const place of places) {
    const found = await findPin(context, place);
    if (found !== null) changes.push(removePinRecord(place, found.generation));
  }
  return { changes, places };
}

/** As people see it: nothing that it could be guessed from. */
export function viewPin({ holder, principal, domain, failures, createdMs }: StoredPin): Pin {
  return create(PinSchema, { holder, principal, domain, failures, createdMs, locked: failures >= LIMITS.pin_failures_max });
}
