/**
 * Everything that is written from a revision on, in order, each revision once and whole. When a member fails, stops, loses its leader
 * or goes silent, the watch goes on at the next one from the revision behind the last one that was read.
 */
import type { Client } from '@grpc/grpc-js';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from '../../base/assert.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { Event_EventType, Watch as WatchService } from './gen/etcd_pb.js';
import type { Event, WatchRequestSchema, WatchResponse, WatchResponseSchema } from './gen/etcd_pb.js';
import { connected, RpcFailure, Stream } from './rpc.js';
import { exact, rangeOf, recordOf } from './terms.js';
import type { EngineRecord } from './terms.js';

export interface WatchOptions {
  /** Keys that begin with it; empty: the whole keyspace. */
  readonly prefix: Uint8Array;
  /** The first revision that is wanted, at least 1. */
  readonly fromRevision: number;
  /** Each event brings what was there before (never for what compaction has taken). */
  readonly previous: boolean;
  /** A member that says nothing for this long is asked; one that says nothing for as long again is left. */
  readonly silenceMs?: number;
}

export interface EngineEvent {
  readonly kind: 'put' | 'remove';
  /** For 'remove' only key and revision mean anything. */
  readonly record: EngineRecord;
  readonly previous: EngineRecord | null;
}

/**
 * - `revision`: all events of one revision in the range.
 * - `progress`: nothing more came up to and with this revision. It is the word of one member, so it never confirms a write.
 * - `gap`: revisions from the wanted one on are compacted away; read the whole keyspace again. The last item.
 * - `moved`: another member serves the watch from here on.
 */
export type WatchItem =
  | { readonly kind: 'revision'; readonly revision: number; readonly events: readonly EngineEvent[] }
  | { readonly kind: 'progress'; readonly revision: number }
  | { readonly kind: 'gap'; readonly wanted: number; readonly compactRevision: number }
  | { readonly kind: 'moved'; readonly address: string; readonly reason: string };

const CONNECT_MS = 1000;
/** After a round over all members. */
const PAUSE_MS = 100;

type WatchStream = Stream<typeof WatchRequestSchema, typeof WatchResponseSchema>;

function eventOf({ type, kv, prevKv }: Event): EngineEvent {
  assert(kv !== undefined, 'an event has a key');
  return { kind: type === Event_EventType.PUT ? 'put' : 'remove', record: recordOf(kv), previous: prevKv === undefined ? null : recordOf(prevKv) };
}

/** Puts the events of one stream together to whole revisions. etcd splits a long answer into fragments, in the middle of a revision too. */
export class Revisions {
  private events: EngineEvent[] = [];
  private bytes = 0;
  /** Everything below has been given out. */
  next: number;

  constructor(next: number) {
    this.next = next;
  }

  /** The revisions that are whole now. */
  take(response: { events: readonly Event[]; fragment: boolean }): Extract<WatchItem, { kind: 'revision' }>[] {
    const out: Extract<WatchItem, { kind: 'revision' }>[] = [];
    for (const raw of response.events) {
      const event = eventOf(raw);
      const { revision, value } = event.record;
      if (revision < this.next) continue;
      const open = this.events[0]?.record.revision;
      if (open !== undefined && revision !== open) {
        assert(revision > open, 'revisions come in order');
        out.push(this.close());
      }
      this.events.push(event);
      this.bytes += value.length + (event.previous?.value.length ?? 0) + event.record.key.length;
      if (this.bytes > LIMITS.engine_revision_bytes_max) throw new QuorateError('STORE_CORRUPT', `revision ${revision} of the engine is longer than a transaction can be`);
    }
    if (!response.fragment && this.events.length > 0) out.push(this.close());
    return out;
  }

  private close(): Extract<WatchItem, { kind: 'revision' }> {
    const { events } = this;
    const { revision } = events[0]!.record;
    this.events = [];
    this.bytes = 0;
    this.next = revision + 1;
    return { kind: 'revision', revision, events };
  }

  /** The revision to ask a new stream for: what the last one left unfinished comes again. */
  begin(): number {
    this.events = [];
    this.bytes = 0;
    return this.next;
  }
}

/** Read it with `for await`, once. It ends after a gap and after close(); a failing member never ends it. */
export class Watch implements AsyncIterable<WatchItem> {
  private readonly endpoints: Endpoints;
  private readonly options: WatchOptions;
  private readonly silenceMs: number;
  private readonly ended: () => void;
  private readonly revisions: Revisions;
  private readonly abort = new AbortController();
  private connection: Client | null = null;
  private stream: WatchStream | null = null;
  private begun = false;
  /** Of the member that serves it; '' while none does. */
  servedBy = '';

  constructor(endpoints: Endpoints, options: WatchOptions, ended: () => void) {
    assert(Number.isSafeInteger(options.fromRevision) && options.fromRevision >= 1, 'a revision to begin with');
    this.endpoints = endpoints;
    this.options = options;
    this.silenceMs = options.silenceMs ?? LIMITS.engine_silence_ms;
    this.ended = ended;
    this.revisions = new Revisions(options.fromRevision);
  }

  /** Ends the iteration; what was read before stays valid. */
  close(): void {
    this.abort.abort();
    this.stream?.cancel();
    this.connection?.close();
  }

  private get closed(): boolean {
    return this.abort.signal.aborted;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchItem, void, undefined> {
    assert(!this.begun, 'a watch is read once');
    this.begun = true;
    let at = 0;
    let reason = '';
    try {
      for (let tried = 0; !this.closed; tried++) {
        const endpoint = this.endpoints.all[at % this.endpoints.all.length]!;
        try {
          for await (const item of this.serve(endpoint, reason)) {
            tried = 0;
            yield item;
            if (item.kind === 'gap') return;
          }
        } catch (error) {
          if (!(error instanceof RpcFailure)) throw error;
          reason = `${endpoint.address}: ${error.detail}`;
        }
        this.servedBy = '';
        at = (at + 1) % this.endpoints.all.length;
        if ((tried + 1) % this.endpoints.all.length === 0) await sleep(PAUSE_MS, undefined, { signal: this.abort.signal }).catch(() => undefined);
      }
    } finally {
      this.close();
      this.servedBy = '';
      this.ended();
    }
  }

  /** One member, for as long as it serves. Throws RpcFailure when the next one shall. */
  private async *serve(endpoint: Endpoint, reason: string): AsyncGenerator<WatchItem, void, undefined> {
    // Its own connection: a burst of events never holds up a transaction.
    const client = endpoint.newClient();
    this.connection = client;
    try {
      await connected(client, CONNECT_MS);
      if (this.closed) return;
      const stream = this.open(client);
      for (;;) {
        const response = await this.read(stream);
        if (this.closed) return;
        if (response.compactRevision > 0n) {
          yield { kind: 'gap', wanted: this.revisions.next, compactRevision: exact(response.compactRevision) };
          return;
        }
        if (response.canceled) throw new RpcFailure(1, response.cancelReason || 'the member ended the watch', true);
        if (response.created) {
          this.servedBy = endpoint.address;
          if (reason !== '') yield { kind: 'moved', address: endpoint.address, reason };
          continue;
        }
        yield* this.itemsOf(response);
      }
    } finally {
      this.stream?.cancel();
      this.stream = null;
      client.close();
      this.connection = null;
    }
  }

  private open(client: Client): WatchStream {
    const stream: WatchStream = new Stream(client, WatchService.method.watch);
    this.stream = stream;
    const create = { ...rangeOf(this.options.prefix), startRevision: BigInt(this.revisions.begin()), progressNotify: true, prevKv: this.options.previous, fragment: true };
    stream.write({ requestUnion: { case: 'createRequest', value: create } });
    return stream;
  }

  private async read(stream: WatchStream): Promise<WatchResponse> {
    const first = await stream.read(this.silenceMs);
    if (first !== null) return first;
    stream.write({ requestUnion: { case: 'progressRequest', value: {} } });
    const second = await stream.read(this.silenceMs);
    if (second !== null) return second;
    throw new RpcFailure(4, 'the member went silent', true);
  }

  private *itemsOf(response: WatchResponse): Generator<WatchItem, void, undefined> {
    if (response.events.length > 0) {
      for (const item of this.revisions.take(response)) yield item;
      return;
    }
    const revision = exact(response.header?.revision ?? 0n);
    if (revision >= this.revisions.next) this.revisions.next = revision + 1;
    yield { kind: 'progress', revision };
  }
}
