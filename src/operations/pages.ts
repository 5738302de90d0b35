/** Lists in pages: tokens that continue one question alone, and as much work for one answer as a page's time allows. */
import { equalBytes, lengthPrefixed, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Listed } from '../iam/decision.js';
import { visible } from './authorize.js';
import type { Caller, OperationContext } from './context.js';

/** Records looked at for one answer. A question that little fits gives short, even empty, pages that go on. */
const SCAN_MAX = LIMITS.page_size_max;
const TOKEN_MAC_BYTES = 16;
const PLACE_BYTES_MAX = 512;

/** A token is a place in the answers to a question, and a keyed hash over both. */
export class Question {
  readonly #context: OperationContext;
  readonly #parts: readonly string[];

  constructor(context: OperationContext, ...parts: string[]) {
    this.#context = context;
    this.#parts = parts;
  }

  #mac(place: Uint8Array): Uint8Array {
    const { addon, ring } = this.#context;
    return addon.hmac(ring.recordNameKey, lengthPrefixed(...this.#parts, place)).subarray(0, TOKEN_MAC_BYTES);
  }

  /** '' for ''. */
  token(place: string): string {
    const bytes = utf8Bytes(place);
    return place === '' ? '' : Buffer.concat([this.#mac(bytes), bytes]).toString('base64url');
  }

  /** null: not one that this question was answered with. */
  place(token: string): string | null {
    if (token === '') return '';
    const bytes = Buffer.from(token, 'base64url');
    const place = bytes.subarray(TOKEN_MAC_BYTES);
    const fits =
      bytes.toString('base64url') === token &&
      place.length > 0 &&
      place.length <= PLACE_BYTES_MAX &&
      equalBytes(this.#mac(place), bytes.subarray(0, TOKEN_MAC_BYTES));
    return fits ? place.toString('utf8') : null;
  }

  /** BAD_REQUEST */
  requirePlace(token: string): string {
    const place = this.place(token);
    if (place === null)
      throw new QuorateError('BAD_REQUEST', 'page_token: not one that this question was answered with', { field: 'page_token' });
    return place;
  }
}

/** What fits the question, as policies see it, and where the next page begins when it is the last of this one. */
export interface Candidate {
  readonly place: string;
  readonly listed: Listed;
}

export interface Scan<T extends Candidate> {
  readonly action: string;
  /** What comes behind a place ('': the beginning), at most `limit` records looked at; `after` '' at the end. */
  read(after: string, limit: number): Promise<{ readonly looked: number; readonly found: readonly T[]; readonly after: string }>;
  /** Whether the answer has room for more. */
  take(candidate: T, seen: boolean): boolean;
}

export interface Scanned {
  /** Where to go on; '' at the end. */
  readonly after: string;
  /** When a policy may see it otherwise by itself; Infinity: never. */
  readonly untilMs: number;
}

/** From a place on, what the caller may see and what it may not, until the answer or the time for it is full. */
export async function scan<T extends Candidate>(context: OperationContext, caller: Caller, size: number, from: string, { action, read, take }: Scan<T>): Promise<Scanned> {
  let after = from;
  let looked = 0;
  let taken = 0;
  let untilMs = Infinity;
  do {
    const page = await read(after, Math.min(size - taken, SCAN_MAX - looked));
    looked += page.looked;
    const decided = await visible(context, caller, action, page.found.map(({ listed }) => listed));
    untilMs = Math.min(untilMs, decided.untilMs);
    for (const [i, seen] of decided.seen.entries()) {
      const candidate = page.found[i]!;
      if (seen) taken++;
      if (!take(candidate, seen)) return { after: candidate.place, untilMs };
    }
    // The time for a page is over: the next one begins behind the last record that was decided about.
    if (decided.seen.length < page.found.length) return { after: page.found[decided.seen.length - 1]?.place ?? after, untilMs };
    after = page.after;
  } while (after !== '' && taken < size && looked < SCAN_MAX);
  return { after, untilMs };
}
