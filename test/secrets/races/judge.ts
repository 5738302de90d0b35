/** What a history of check-and-set races must show: pure, and it knows nothing of how secrets are kept. Every violation is a sentence. */
import { linearize } from '../../region/faults/linearizable.js';

/** A put upon the version that its client had seen. */
export interface Put {
  /** The value that it put: nobody else's. */
  readonly value: string;
  readonly path: string;
  readonly host: string;
  readonly cas: number;
  readonly beganMs: number;
  readonly endedMs: number;
  /** refused: SECRET_CAS_MISMATCH. failed: certainly not done, by what was answered. unknown: it may be done, now or later. */
  readonly outcome: 'done' | 'refused' | 'failed' | 'unknown';
  /** Where it was done. */
  readonly version: number;
  /** That have confirmed it, the one that answers among them. */
  readonly hosts: readonly string[];
}

export interface Read {
  readonly path: string;
  readonly host: string;
  readonly version: number;
  readonly value: string;
  readonly beganMs: number;
  readonly endedMs: number;
}

export interface RaceHistory {
  readonly puts: readonly Put[];
  readonly reads: readonly Read[];
  /** At the end, all hosts serving: by host, by path, the values of all versions, from 1. */
  readonly final: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
}

export type Check = 'winner' | 'lost' | 'invented' | 'refused' | 'agreement' | 'spurious' | 'read' | 'linearizable';

export interface RaceViolation {
  readonly check: Check;
  readonly detail: string;
}

const NOT_DONE = new Set<Put['outcome']>(['refused', 'failed']);
const at = (path: string, version: number): string => `${path} ${version}`;

class Judge {
  readonly #history: RaceHistory;
  readonly #violations: RaceViolation[] = [];
  readonly #byValue: ReadonlyMap<string, Put>;
  readonly #winners = new Map<string, Put>();

  constructor(history: RaceHistory) {
    this.#history = history;
    this.#byValue = new Map(history.puts.map((put) => [put.value, put]));
  }

  run(): RaceViolation[] {
    this.#oneWinner();
    for (const [host, paths] of this.#history.final) for (const [path, values] of paths) for (const [i, value] of values.entries()) this.#shown(host, path, i + 1, value);
    for (const { host, path, version, value } of this.#history.reads) this.#shown(host, path, version, value);
    this.#present();
    this.#spurious();
    this.#readsGoForward();
    this.#orders();
    return this.#violations;
  }

  #bad(check: Check, detail: string): void {
    this.#violations.push({ check, detail });
  }

  #oneWinner(): void {
    for (const put of this.#history.puts) {
      if (put.outcome !== 'done') continue;
      const other = this.#winners.get(at(put.path, put.version));
      if (other !== undefined) this.#bad('winner', `${put.value} and ${other.value} were both told that they are version ${put.version} of ${put.path}`);
      if (put.version !== put.cas + 1) this.#bad('winner', `${put.value} was put upon version ${put.cas} of ${put.path} and became ${put.version}`);
      this.#winners.set(at(put.path, put.version), put);
    }
  }

  /** Whatever a host shows was put there, upon the version before, and nobody was told that it was not. */
  #shown(host: string, path: string, version: number, value: string): void {
    const put = this.#byValue.get(value);
    if (put === undefined || put.path !== path || put.cas + 1 !== version) {
      this.#bad('invented', `${host} shows ${value} as version ${version} of ${path}: nobody put it there`);
    } else if (NOT_DONE.has(put.outcome)) {
      this.#bad('refused', `${host} shows ${value} as version ${version} of ${path}, and who put it was told that it is not done`);
    }
    const winner = this.#winners.get(at(path, version));
    if (winner !== undefined && winner.value !== value) this.#bad('lost', `${host} shows ${value} as version ${version} of ${path}; ${winner.value} was acknowledged as that`);
  }

  #present(): void {
    const [first, ...others] = [...this.#history.final];
    for (const [host, paths] of others) {
      for (const path of new Set([...first![1].keys(), ...paths.keys()])) {
        const [a, b] = [first![1].get(path) ?? [], paths.get(path) ?? []];
        if (a.length !== b.length || a.some((value, i) => value !== b[i])) this.#bad('agreement', `at the end ${first![0]} has ${a.length} versions of ${path}, ${host} ${b.length}, or others`);
      }
    }
    for (const { path, version, value } of this.#winners.values()) {
      for (const [host, paths] of this.#history.final) if ((paths.get(path)?.length ?? 0) < version) this.#bad('lost', `at the end ${host} has no version ${version} of ${path}, which ${value} was acknowledged as`);
    }
  }

  /** Who was refused was overtaken: a put upon the same version, which is done, had begun. */
  #spurious(): void {
    const [final] = this.#history.final.values();
    for (const { path, cas, value, endedMs, outcome } of this.#history.puts) {
      if (outcome !== 'refused') continue;
      const next = this.#byValue.get(final?.get(path)?.[cas] ?? '');
      if (next === undefined || next.beganMs > endedMs) this.#bad('spurious', `${value} was refused: version ${cas} of ${path} was not the current one, and it was`);
    }
  }

  /** A host that has shown or confirmed a version shows that or a later one to whoever asks then. */
  #readsGoForward(): void {
    const facts = new Map<string, { atMs: number; version: number }[]>();
    const add = (host: string, path: string, atMs: number, version: number): void => {
      const key = `${host} ${path}`;
      if (!facts.has(key)) facts.set(key, []);
      facts.get(key)!.push({ atMs, version });
    };
    for (const { host, path, version, endedMs } of this.#history.reads) add(host, path, endedMs, version);
    for (const { hosts, path, version, endedMs } of this.#winners.values()) for (const host of hosts) add(host, path, endedMs, version);
    for (const list of facts.values()) {
      list.sort((a, b) => a.atMs - b.atMs);
      for (let i = 1; i < list.length; i++) list[i] = { atMs: list[i]!.atMs, version: Math.max(list[i]!.version, list[i - 1]!.version) };
    }
    for (const { host, path, version, beganMs } of this.#history.reads) {
      const known = facts.get(`${host} ${path}`)!.findLast(({ atMs }) => atMs < beganMs);
      if (known !== undefined && known.version > version) this.#bad('read', `${host} had shown or confirmed version ${known.version} of ${path}, then showed ${version}`);
    }
  }

  /** What somebody has read was done by then, whatever its client heard. */
  #orders(): void {
    const seenMs = new Map<string, number>();
    for (const { value, endedMs } of this.#history.reads) seenMs.set(value, Math.min(endedMs, seenMs.get(value) ?? Number.POSITIVE_INFINITY));
    const [final = new Map<string, readonly string[]>()] = this.#history.final.values();
    const byPath = new Map<string, Put[]>();
    for (const put of this.#history.puts) if (!NOT_DONE.has(put.outcome)) byPath.set(put.path, [...(byPath.get(put.path) ?? []), put]);
    for (const [path, puts] of byPath) {
      const operations = puts.map(({ value, beganMs, endedMs, cas, outcome }) => ({ id: value, beganMs, endedMs: outcome === 'done' ? endedMs : (seenMs.get(value) ?? Number.POSITIVE_INFINITY), ifGeneration: cas, values: [value] }));
      const values = final.get(path) ?? [];
      const { linearizable, stuck } = linearize(operations, { generation: values.length, value: values.at(-1) ?? null });
      if (!linearizable) this.#bad('linearizable', `${path}: no order of ${operations.length} puts explains the answers; stuck at ${stuck.slice(0, 5).join(', ')}`);
    }
  }
}

/** Empty: every race had one winner, and nothing was lost. */
export function judge(history: RaceHistory): RaceViolation[] {
  return new Judge(history).run();
}
