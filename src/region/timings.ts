/**
 * How long hosts take: from the push of a revision to a host's confirmation as it arrives here, and since when a host lacks what it lacks. Of the
 * last confirmations only, and in as much memory for a slow host as for a fast one. Pure: the caller says what time it is.
 */
import { LIMITS } from '../base/limits.js';

export interface Timing {
  /** Microseconds. */
  readonly confirmP99Us: number;
  /** Of so many confirmations; 0: none was measured. */
  readonly samples: number;
}

/** Revisions that are not confirmed for longer than this have no place in a percentile: the host was away. */
const PUSHES_MAX = 4096;
/** One mark for what becomes known within so long. */
const MARK_MS = 50;
const MARKS_MAX = 4096;

interface Host {
  confirmed: number;
  readonly samplesUs: number[];
  next: number;
}

export class Timings {
  /** Pushed by this host: when. The oldest first. */
  readonly #pushed = new Map<number, number>();
  /** The engine was known to stand at least there, at that time; the oldest first. */
  #marks: { revision: number; atMs: number }[] = [];
  readonly #hosts = new Map<string, Host>();

  pushed(revision: number, nowMs: number): void {
    this.#pushed.set(revision, nowMs);
    // The watch may be faster than the engine's answer.
    for (const host of this.#hosts.values()) if (host.confirmed >= revision) this.#sample(host, 0);
    if (this.#pushed.size <= PUSHES_MAX) return;
    const [oldest] = this.#pushed.keys();
    this.#pushed.delete(oldest!);
  }

  /** The engine stands at this revision, which is more than was known. */
  reached(revision: number, nowMs: number): void {
    const last = this.#marks.at(-1);
    if (last !== undefined && nowMs - last.atMs < MARK_MS) last.revision = revision;
    else this.#marks.push({ revision, atMs: nowMs });
    if (this.#marks.length > MARKS_MAX) this.#marks = this.#marks.slice(MARKS_MAX / 2);
  }

  /** Its word came; `confirms`: it withholds nothing. */
  confirmed(name: string, revision: number, nowMs: number): void {
    const host = this.#hosts.get(name) ?? { confirmed: revision, samplesUs: [], next: 0 };
    this.#hosts.set(name, host);
    // A host that comes back after more than was kept is not measured for what it missed.
    const from = Math.max(host.confirmed + 1, revision - PUSHES_MAX);
    for (let r = from; r <= revision; r++) {
      const pushedMs = this.#pushed.get(r);
      if (pushedMs !== undefined) this.#sample(host, (nowMs - pushedMs) * 1000);
    }
    host.confirmed = revision;
  }

  #sample(host: Host, us: number): void {
    host.samplesUs[host.next] = us;
    host.next = (host.next + 1) % LIMITS.region_timings_max;
  }

  of(name: string): Timing {
    const sorted = [...(this.#hosts.get(name)?.samplesUs ?? [])].sort((a, b) => a - b);
    return { confirmP99Us: Math.round(sorted[Math.max(0, Math.ceil(sorted.length * 0.99) - 1)] ?? 0), samples: sorted.length };
  }

  /** For how long a host at this revision has lacked something; of what was forgotten: since the oldest that is remembered. */
  behindMs(revision: number, nowMs: number): number {
    const missing = this.#marks.find((mark) => mark.revision > revision);
    return missing === undefined ? 0 : nowMs - missing.atMs;
  }
}
