/**
 * SyncObjects: what of the domain's objects the caller sees, for its own copy of it: all, or what changed since the copy was made. The delta is by the records' revisions.
 * It is told only while what the caller may see cannot have changed otherwise: by policies, roles or who it is (the slice's generation), by
 * the clock (`untilMs`), by the end of an object that left no record. Then it is everything again.
 *
 * Who is told of a change to a key that it does not see learns the key's id, which is random, and no more: it may have seen the key before.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { LIMITS } from '../base/limits.js';
import { decodeObject } from '../keys/object.js';
import { decodeRecord, type KeyRecord } from '../keys/record.js';
import { nextChangeMs } from '../keys/states.js';
import {
  KeyScheme,
  ObjectViewSchema,
  SyncObjectsResponseSchema,
  type ObjectView,
  type SyncObjectsRequest,
  type SyncObjectsResponse,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { Mark, StoredRecord } from '../store/store.js';
import { sees } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { isShown, viewKey, viewObject } from './objects.js';
import { keyListed } from './authorize.js';
import { Question, scan } from './pages.js';
import { objectGoneRecordName } from './records.js';
import { volatileOf } from './volatile.js';

const LIST_OBJECTS = 'objects:list';
/** Asked again after so long, whatever the plane's epoch. */
const VALID_MS_MAX = 60_000;
/** Attributes can be long: an answer ends here, however few they are. A frame has room for this and one object more. */
const PAGE_BYTES_MAX = LIMITS.frame_bytes_max / 2;

/** What a copy was made from, said in a token: decimal numbers. */
interface Basis {
  /** Everything up to here is in it. */
  readonly revision: number;
  readonly slice: number;
  readonly generation: number;
  /** When something of it changes by itself. Infinity: nothing does. */
  readonly untilMs: number;
}

/** A walk under way. */
interface Walk extends Basis {
  /** Of a delta: the revision that it goes on from; -1: everything is told. */
  readonly from: number;
  readonly kind: 'key' | 'object';
  /** In the order of the kind's records: an id; of a delta `revision:id`. */
  readonly place: string;
}

const writeBasis = ({ revision, slice, generation, untilMs }: Basis): string => [revision, slice, generation, untilMs].join(' ');

function readBasis(text: string): Basis {
  const [revision, slice, generation, untilMs] = text.split(' ').map(Number) as [number, number, number, number];
  return { revision, slice, generation, untilMs };
}

const writeWalk = (walk: Walk): string => [writeBasis(walk), walk.from, walk.kind, walk.place].join(' ');

function readWalk(text: string): Walk {
  const [from, kind, place] = text.split(' ').slice(4) as [string, 'key' | 'object', string];
  return { ...readBasis(text), from: Number(from), kind, place };
}

/** A copy is one session's: another connection may be let see other things. */
function questionOf(context: OperationContext, { principal, session, token }: Caller, what: string): Question {
  return new Question(context, what, volatileOf(context.store).start, context.domain, principal, String(session), String(token?.identity ?? 0));
}

async function begin(context: OperationContext, caller: Caller, since: Basis | null): Promise<Walk> {
  const { slice, generation } = context.access.policies.sliceOf(context.domain, caller.principal);
  const basis = { revision: context.store.revision(), slice, generation };
  const still = since !== null && since.slice === slice && since.generation === generation && context.clock.nowMs() < since.untilMs;
  const gone = still && (await context.store.changed(context.domain, objectGoneRecordName(context).kind, after(since), 1)).records.length > 0;
  if (!still || gone) return { ...basis, untilMs: Infinity, from: -1, kind: 'key', place: '' };
  return { ...basis, untilMs: since.untilMs, from: since.revision, kind: 'key', place: '' };
}

/** The first place behind a revision. */
const after = ({ revision }: { readonly revision: number }): Mark => ({ revision: revision + 1, id: '' });

function markOf(walk: Walk, place: string): Mark {
  const [revision, id] = place.split(':') as [string, string];
  return place === '' ? after({ revision: walk.from }) : { revision: Number(revision), id };
}

/** The records that a walk looks at next, each with the place behind it. */
async function read(context: OperationContext, walk: Walk, place: string, limit: number): Promise<{ records: { record: StoredRecord; place: string }[]; after: string }> {
  if (walk.from === -1) {
    const page = await context.store.list(context.domain, walk.kind, { after: place, limit });
    return { records: page.records.map((record) => ({ record, place: record.name.id })), after: page.after };
  }
  const { records, next } = await context.store.changed(context.domain, walk.kind, markOf(walk, place), limit);
  return { records: records.map((record) => ({ record, place: `${record.revision}:${record.name.id}` })), after: next === null ? '' : `${next.revision}:${next.id}` };
}

/** One answer as it fills. */
class Answer {
  readonly objects: ObjectView[] = [];
  untilMs: number;
  #bytes = 0;

  constructor(untilMs: number) {
    this.untilMs = untilMs;
  }

  until(ms: number): void {
    this.untilMs = Math.min(this.untilMs, ms);
  }

  /** Whether there is room for more. */
  add(view: ObjectView): boolean {
    this.objects.push(view);
    this.#bytes += toBinary(ObjectViewSchema, view).length;
    return this.#bytes < PAGE_BYTES_MAX;
  }
}

/** Keys are asked about one by one. Where the next answer goes on, '' at the end. */
async function walkKeys(context: OperationContext, caller: Caller, walk: Walk, size: number, answer: Answer): Promise<string> {
  const nowMs = context.clock.nowMs();
  const isDelta = walk.from !== -1;
  const scanned = await scan(context, caller, size, walk.place, {
    action: OPERATIONS.SyncObjects.action,
    read: async (place, limit) => {
      const page = await read(context, walk, place, limit);
      const found = page.records.map(({ record, place: at }) => ({ place: at, record: decodeRecord(record.value) })).map((one) => ({ ...one, listed: keyListed(one.record, nowMs) }));
      return { looked: found.length, found: found.filter(({ record }) => mayMatter(record, isDelta)), after: page.after };
    },
    take: ({ record }, seen) => {
      answer.until(nextChangeMs(record, nowMs) ?? Infinity);
      if (seen && isShown(record)) return answer.add(viewKey(context, record));
      return isDelta ? answer.add(create(ObjectViewSchema, { id: record.id, removed: true })) : true;
    },
  });
  answer.until(scanned.untilMs);
  return scanned.after;
}

/** Nobody has a copy of what was never shown, and who asks for everything need not be told of what is gone. */
function mayMatter(record: KeyRecord, isDelta: boolean): boolean {
  return isDelta ? record.scheme !== KeyScheme.MANAGED : isShown(record);
}

/** The others are seen all or none, which is asked once. Where the next answer goes on, null at the end. */
async function walkObjects(context: OperationContext, caller: Caller, walk: Walk, room: number, answer: Answer): Promise<string | null> {
  const place = walk.kind === 'object' ? walk.place : '';
  if (room <= 0) return place;
  const { seen, untilMs } = await sees(context, caller, LIST_OBJECTS);
  answer.until(untilMs);
  if (!seen) return null;
  const page = await read(context, { ...walk, kind: 'object' }, place, room);
  for (const candidate of page.records) if (!answer.add(viewObject(decodeObject(candidate.record.value)))) return candidate.place;
  return page.after === '' ? null : page.after;
}

/** A `since` that is not this session's, or of before a restart, is none: everything is told. BAD_REQUEST (page_token) */
export async function syncObjects(context: OperationContext, caller: Caller, request: SyncObjectsRequest): Promise<SyncObjectsResponse> {
  const size = Math.min(request.pageSize === 0 ? LIMITS.page_size_max : request.pageSize, LIMITS.page_size_max);
  const pages = questionOf(context, caller, 'syncObjects');
  const bases = questionOf(context, caller, 'syncObjects.since');
  const since = bases.place(request.since);
  const walk = request.pageToken === '' ? await begin(context, caller, since === null || since === '' ? null : readBasis(since)) : readWalk(pages.requirePlace(request.pageToken));
  const answer = new Answer(walk.untilMs);
  const keysFrom = walk.kind === 'key' ? await walkKeys(context, caller, walk, size, answer) : '';
  const objectsFrom = keysFrom === '' ? await walkObjects(context, caller, walk, size - answer.objects.length, answer) : null;
  const { untilMs } = answer;
  const next = keysFrom !== '' ? ({ kind: 'key', place: keysFrom } as const) : objectsFrom === null ? null : ({ kind: 'object', place: objectsFrom } as const);
  return create(SyncObjectsResponseSchema, {
    objects: answer.objects,
    nextPageToken: next === null ? '' : pages.token(writeWalk({ ...walk, untilMs, ...next })),
    since: next === null ? bases.token(writeBasis({ ...walk, untilMs })) : '',
    complete: walk.from === -1,
    validMs: Math.max(0, Math.min(VALID_MS_MAX, untilMs - context.clock.nowMs())),
  });
}
