/**
 * Whether a PIN is the right one. What an attacker on the holder's socket has: ten guesses, ever, until somebody who may set a PIN sets it anew. They are counted
 * in the store before the answer; what could not be written down counts in memory, so that a full disk gives no more of them.
 *
 * Digest: HMAC-SHA-256 under scrypt(PIN, salt of 16 bytes, N = 2^15, r = 8, p = 1, 32 bytes), of "quorate/pin/1". No PIN and a wrong one take as long, and are answered alike.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { equalBytes, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Handle } from '../crypto/addon.js';
import type { StoredPin } from '../protocol/gen/records_pb.js';
import type { OperationContext } from './context.js';
import { withHandles } from './handles.js';
import { isConflict } from './mutate.js';
import { findPin, pinId, putPinRecord, type FoundPin, type PinPlace } from './pinRecords.js';
import { volatileOf } from './volatile.js';

const SALT_BYTES = 16;
const COST = { log2n: 15, r: 8, p: 1 } as const;
const DIGEST_BYTES = 32;
const LABEL = utf8Bytes('quorate/pin/1');
/** A rejection is answered this long after its turn came, whatever the reason. */
const REJECTED_AFTER_MS = 400;
/** Proofs that wait for their turn: each takes a tenth of a second of one core. */
const WAITING_MAX = 64;
const WRITE_TRIES = 16;

interface PinDigest {
  readonly salt: Uint8Array;
  readonly digest: Uint8Array;
}

async function digest(context: OperationContext, pin: Handle, salt: Uint8Array): Promise<Uint8Array> {
  const { addon } = context;
  return withHandles(addon, async (keep) => addon.hmac(keep(await addon.scrypt(pin, salt, COST.log2n, COST.r, COST.p, DIGEST_BYTES)), LABEL));
}

/** Of a new PIN. */
export async function digestOf(context: OperationContext, pin: Handle): Promise<PinDigest> {
  const salt = new Uint8Array(randomBytes(SALT_BYTES));
  return { salt, digest: await digest(context, pin, salt) };
}

/** Whether a record still holds the PIN that was proved, whatever was counted since. */
export function isSamePin(a: StoredPin, b: StoredPin): boolean {
  return equalBytes(a.digest, b.digest) && equalBytes(a.salt, b.salt) && a.principal === b.principal;
}

/** Failures that the store has, and those that it could not be told of. */
function failuresOf(context: OperationContext, place: PinPlace, { record }: FoundPin): number {
  return record.failures + (volatileOf(context.store).pinFailures.get(pinId(place)) ?? 0);
}

/** Sets the count of a PIN that is still the same. */
async function writeFailures(context: OperationContext, place: PinPlace, proved: StoredPin, next: (failures: number) => number): Promise<void> {
  for (let i = 0; ; i++) {
    const found = await findPin(context, place);
    if (found === null || !isSamePin(found.record, proved)) return;
    try {
      await context.store.commit([putPinRecord({ ...found.record, failures: next(found.record.failures) }, found.generation)], null);
      return;
    } catch (error) {
      if (!isConflict(error) || i + 1 >= WRITE_TRIES) throw error;
    }
  }
}

/** Counted in memory first: whatever becomes of the write, this guess is one less. STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
async function countFailure(context: OperationContext, place: PinPlace, record: StoredPin): Promise<void> {
  const { pinFailures } = volatileOf(context.store);
  const id = pinId(place);
  pinFailures.set(id, (pinFailures.get(id) ?? 0) + 1);
  await writeFailures(context, place, record, (failures) => failures + 1);
  const left = (pinFailures.get(id) ?? 1) - 1;
  if (left === 0) pinFailures.delete(id);
  else pinFailures.set(id, left);
}

async function forgetFailures(context: OperationContext, place: PinPlace, found: FoundPin): Promise<void> {
  if (failuresOf(context, place, found) === 0) return;
  try {
    await writeFailures(context, place, found.record, () => 0);
    volatileOf(context.store).pinFailures.delete(pinId(place));
  } catch (error) {
    // The PIN was right all the same; the failures still count.
    context.log.warn('the failures of a PIN could not be set back', { error: String(error) });
  }
}

async function prove(context: OperationContext, place: PinPlace, pin: Handle): Promise<FoundPin> {
  const found = await findPin(context, place);
  const isPossible = pin !== 0 && context.addon.secretSize(pin) <= LIMITS.pin_bytes_max;
  if (found !== null && failuresOf(context, place, found) >= LIMITS.pin_failures_max) throw new QuorateError('PIN_LOCKED', `${place.holder} in domain ${place.domain}`);
  // Also of a PIN that is not there, or could be none: the time says nothing of it.
  const salt = found?.record.salt ?? new Uint8Array(SALT_BYTES);
  const computed = await withHandles(context.addon, (keep) => digest(context, isPossible ? pin : keep(context.addon.secretRandom(DIGEST_BYTES)), salt));
  if (found !== null && isPossible && timingSafeEqual(computed, found.record.digest)) {
    await forgetFailures(context, place, found);
    // The count is in the record: what is done with it goes on from there.
    return (await findPin(context, place)) ?? found;
  }
  if (found !== null) await countFailure(context, place, found.record);
  throw new QuorateError('PIN_REJECTED');
}

/** One after the other, so that many guesses at once are no more than many guesses. PIN_REJECTED, PIN_LOCKED, BUSY, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export async function provePin(context: OperationContext, place: PinPlace, pin: Handle): Promise<FoundPin> {
  const { pinProofs } = volatileOf(context.store);
  if (pinProofs.waiting >= WAITING_MAX) throw new QuorateError('BUSY', 'too many PINs are being proved', { retryAfterMs: 1000 });
  pinProofs.waiting++;
  let answeredMs = Infinity;
  const proof = pinProofs.tail.then(() => {
    answeredMs = performance.now() + REJECTED_AFTER_MS;
    return prove(context, place, pin);
  });
  pinProofs.tail = proof.then(() => undefined, () => undefined).finally(() => pinProofs.waiting--);
  try {
    return await proof;
  } catch (error) {
    // Nobody else waits for it.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, answeredMs - performance.now())));
    throw error;
  }
}
