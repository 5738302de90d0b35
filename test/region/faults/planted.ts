/**
 * Bugs that the checker has to find: one line of the product each, replaced while a host's process loads it, and nowhere else.
 * Preloaded: `node --import .../planted.js hostChild.js ...` with QUORATE_PLANTED=NAME.
 */
import { register } from 'node:module';

export interface Bug {
  /** Of the compiled product. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const LATE_MS = 150;

export const BUGS = {
  'acknowledge before confirm': {
    file: '/src/region/quorum.js',
    from: 'acknowledged: here && zones.length >= view.writeQuorumZones,',
    to: 'acknowledged: true,',
  },
  'acknowledge, and say that all confirm': {
    file: '/src/region/quorum.js',
    from: "const confirming = view.members.filter(({ name, role }) => role === 'voter' && holds(view, name, revision));",
    to: "const confirming = view.members.filter(({ role }) => role === 'voter'); if (here0()) return { acknowledged: true, hosts: confirming.map((m) => m.name), zones: sorted(confirming.map((m) => m.zone)), needed: view.writeQuorumZones }; function here0() { return true; }",
  },
  'count a zone twice': {
    file: '/src/region/quorum.js',
    from: 'const zones = sorted(confirming.map(({ zone }) => zone));',
    to: 'const zones = confirming.map(({ zone }) => zone);',
  },
  /** The rows of some revisions come with a later one; the watermark does not wait for them. */
  'apply out of order': {
    file: '/src/region/feed.js',
    from: 'const revisions = run.map((revision) => this.#rows(revision));',
    to: `const revisions = run.map((revision) => this.#rows(revision));
      globalThis.late ??= [];
      for (const one of revisions) {
        const ready = globalThis.late.filter(({ atMs }) => performance.now() - atMs > ${LATE_MS});
        globalThis.late = globalThis.late.filter((each) => !ready.includes(each));
        if (one.records.length > 0 && one.revision % 7 === 0) globalThis.late.push({ atMs: performance.now(), records: one.records.splice(0) });
        for (const { records } of ready) one.records.unshift(...records.filter((r) => !one.records.some((s) => s.name.id === r.name.id)));
      }`,
  },
  'forget the tombstone': {
    file: '/src/region/feed.js',
    from: 'rows.removed.push(name);',
    to: '',
  },
  'idempotency not compared': {
    file: '/src/region/transaction.js',
    from: 'compares.push(compareRevision(key, 0));',
    to: '',
  },
} satisfies Record<string, Bug>;

export type BugName = keyof typeof BUGS;

const chosen = process.env['QUORATE_PLANTED'];
if (chosen !== undefined && chosen in BUGS) register('./plantedHooks.js', import.meta.url, { data: BUGS[chosen as BugName] });
