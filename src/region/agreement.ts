/**
 * Whether what is due may be carried out: what cannot be undone waits until the clocks of two zones are past its date. A clock that is wrong by a
 * month, in one zone, destroys nothing; nor does one alone when the other zones are not heard. Pure.
 */
import { LIMITS } from '../base/limits.js';
import type { HostStanding } from './quorum.js';

export interface Agreement {
  /** Dates up to this one are past by the clocks of two zones, Unix milliseconds; null: no two of them agree. */
  readonly untilMs: number | null;
  /** Why not, '' when they do. */
  readonly reason: string;
}

export interface Clocks {
  readonly self: string;
  /** As quorum.ts sees them: a voter that does not count yet has another role. */
  readonly hosts: readonly HostStanding[];
  /** By host, its clock minus this host's. */
  readonly skewsMs: ReadonlyMap<string, number>;
  /** Of this host. */
  readonly nowMs: number;
  /** 1: there is but one zone, and nobody to ask. */
  readonly writeQuorumZones: 1 | 2;
}

function apart(skewMs: number): string {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  return `${seconds >= 172_800 ? `${Math.round(seconds / 86_400)} days` : `${seconds} s`} ${skewMs > 0 ? 'ahead of' : 'behind'}`;
}

export function agreement({ self, hosts, skewsMs, nowMs, writeQuorumZones }: Clocks): Agreement {
  if (writeQuorumZones < 2) return { untilMs: nowMs, reason: '' };
  const own = hosts.find(({ name }) => name === self);
  const others = hosts.filter(({ role, state, zone, name }) => role === 'voter' && state === 'serving' && zone !== own?.zone && skewsMs.has(name));
  if (own === undefined || others.length === 0) return { untilMs: null, reason: 'no voter of another zone is heard, whose clock could agree' };
  const close = others.map(({ name }) => skewsMs.get(name)!).filter((skewMs) => Math.abs(skewMs) <= LIMITS.region_agree_skew_ms);
  if (close.length === 0) return { untilMs: null, reason: `the clocks of two zones disagree: ${others.map(({ name }) => `${name} is ${apart(skewsMs.get(name)!)} this host`).join(', ')}` };
  return { untilMs: nowMs + Math.min(0, Math.max(...close)), reason: '' };
}
