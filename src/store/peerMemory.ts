/**
 * What each peer has confirmed at most, as far as this host was told. A peer that comes back with less has lost what it had promised to
 * keep: an old file was put back, or its disk lied.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Row } from './connection.js';
import { putPeers } from './copyRows.js';
import { sameLineage, type Watermark } from './lineage.js';
import { literal } from './sql.js';

export class PeerMemory {
  readonly #peers = new Map<string, Watermark>();
  readonly #dirty = new Set<string>();

  constructor(rows: readonly Row[]) {
    for (const row of rows) {
      const lineage = { counter: Number(row['counter']), id: String(row['incarnation']), cluster: String(row['cluster']) };
      this.#peers.set(String(row['host']), { lineage, revision: Number(row['revision']) });
    }
  }

  get all(): ReadonlyMap<string, Watermark> {
    return this.#peers;
  }

  get isDirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** COPY_ROLLED_BACK when the peer says less than it has said; what it said then is kept. A newer incarnation begins anew. */
  hear(host: string, told: Watermark): QuorateError | null {
    const known = this.#peers.get(host);
    if (known !== undefined && sameLineage(known.lineage, told.lineage) && told.revision < known.revision)
      return new QuorateError('COPY_ROLLED_BACK', `${host} had confirmed revision ${known.revision} and now tells ${told.revision}`);
    if (known !== undefined && (known.lineage.counter > told.lineage.counter || (sameLineage(known.lineage, told.lineage) && told.revision === known.revision))) return null;
    if (known === undefined && this.#peers.size >= LIMITS.region_hosts_max) return null;
    this.#peers.set(host, told);
    this.#dirty.add(host);
    return null;
  }

  /** Of a host that was removed. */
  forget(host: string): void {
    if (this.#peers.delete(host)) this.#dirty.add(host);
  }

  /** The statements that make what is new durable, and what to call once they are. */
  takeDirty(): { statements: string[]; undo: () => void } {
    const hosts = [...this.#dirty];
    this.#dirty.clear();
    const gone = hosts.filter((host) => !this.#peers.has(host));
    const statements = putPeers(hosts.flatMap((host) => { const told = this.#peers.get(host); return told === undefined ? [] : [[host, told] as const]; }));
    for (const host of gone) statements.push(`DELETE FROM peers WHERE host = ${literal(host)}`);
    return { statements, undo: () => { for (const host of hosts) this.#dirty.add(host); } };
  }
}
