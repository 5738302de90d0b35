/** What a scenario has to hand: the region, the load on it, and where what it measures goes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../../base/errors.js';
import type { DevRegion } from '../devRegion.js';
import { type HostVerdict, survey } from './checker.js';
import { codeOf } from './callers.js';
import type { Write } from './ledger.js';
import type { Load, WriteSeen } from './load.js';
import { longestGap, type Measured } from './promises.js';

export interface Pace {
  /** The load goes on for so long before a loss, and after it. */
  readonly calmMs: number;
  readonly lossMs: number;
  /** So many ciphertexts are opened at each host when all is over. */
  readonly opened: number;
  /** Not waited for: the schedule of the backups, and every host of a region that is not needed any more. */
  readonly isShort: boolean;
}

/** How far everything was when a scenario began. */
interface Mark {
  readonly writes: number;
  readonly compared: number;
  readonly wrong: number;
}

const PATIENCE_MS = 90_000;
/** Each look costs the hosts something, and they have a load to carry. */
const PAUSE_MS = 150;
const MOMENT_MS = 600;
const REFUSED_MS = 2000;

export class Stage {
  readonly measured = new Map<string, Measured>();
  readonly region: DevRegion;
  readonly load: Load;
  readonly pace: Pace;
  readonly backupMs: number;
  /** What went wrong, in words. */
  readonly notes: string[] = [];
  readonly #say: (line: string) => void;
  /** Those that shall run. */
  hosts: readonly string[];
  #mark: Mark;

  constructor(region: DevRegion, load: Load, pace: Pace, backupMs: number, hosts: readonly string[], say: (line: string) => void) {
    this.region = region;
    this.load = load;
    this.pace = pace;
    this.backupMs = backupMs;
    this.hosts = hosts;
    this.#say = say;
    this.#mark = this.#now();
  }

  say(line: string): void {
    this.#say(line);
  }

  #now(): Mark {
    let [compared, wrong] = [0, 0];
    for (const seen of this.load.readers.seen.values()) {
      compared += seen.compared;
      wrong += seen.wrong.length;
    }
    return { writes: this.load.writes.length, compared, wrong };
  }

  /** Everything is whole, and the load is on every host. */
  async begin(): Promise<void> {
    this.measured.clear();
    this.notes.length = 0;
    await this.serving();
    this.load.readers.readAt(this.hosts);
    this.load.writeAt(this.hosts);
    this.#mark = this.#now();
    await sleep(this.pace.calmMs);
  }

  measure(name: string, value: Measured['value'], of?: number): void {
    this.measured.set(name, { value, of });
  }

  /** Of this scenario. */
  get writes(): readonly WriteSeen[] {
    return this.load.writes.slice(this.#mark.writes);
  }

  get acknowledged(): readonly WriteSeen[] {
    return this.writes.filter(({ code }) => code === 'OK');
  }

  async until<T>(what: string, look: () => Promise<T | null | false | undefined>, patienceMs = PATIENCE_MS): Promise<T> {
    for (const untilMs = performance.now() + patienceMs; performance.now() < untilMs; await sleep(PAUSE_MS)) {
      this.load.check();
      const found = await look();
      if (found !== null && found !== false && found !== undefined) return found;
    }
    throw new QuorateError('DEADLINE_EXCEEDED', `${what}: not within ${patienceMs / 1000} s`);
  }

  /** Every host takes writes and sees every other serve. `isStill`: and lacks nothing. */
  async serving(isStill = false): Promise<void> {
    await this.until('all hosts serve', async () => {
      const states = await Promise.all(this.hosts.map(async (host) => (await this.load.callers.at(host)).region.status({ timeoutMs: 2000 })).map((state) => state.catch((error: unknown) => {
        codeOf(error);
        return null;
      })));
      return states.every((state) => state?.writable === true && this.hosts.every((name) => {
        const host = state.hosts.find((one) => one.name === name);
        return host?.state === 'serving' && (!isStill || Number(host.behind) === 0);
      }));
    });
  }

  /** The load goes on. A short drill has seen enough a moment after the first write; without one it waits as long as any. */
  hold(lossMs: number): Promise<void> {
    return this.#hold(lossMs, MOMENT_MS, ({ beganMs, code }) => beganMs > lossMs && code === 'OK');
  }

  /** The same until writes have been refused for a while. */
  holdRefused(lossMs: number): Promise<void> {
    return this.#hold(lossMs, REFUSED_MS, ({ beganMs, code }) => beganMs > lossMs && code === 'READ_ONLY');
  }

  async #hold(lossMs: number, momentMs: number, isEnough: (write: WriteSeen) => boolean): Promise<void> {
    const untilMs = lossMs + this.pace.lossMs;
    let seenMs = Number.POSITIVE_INFINITY;
    while (performance.now() < untilMs && !(this.pace.isShort && performance.now() - seenMs > momentMs)) {
      await sleep(PAUSE_MS);
      if (this.writes.some(isEnough)) seenMs = Math.min(seenMs, performance.now());
    }
  }

  /** The longest time without an acknowledged write of those that began after the loss. */
  measureWrites(name: string, lossMs: number, toMs: number): void {
    const answers = this.acknowledged.filter(({ beganMs }) => beganMs >= lossMs).map(({ endedMs }) => endedMs);
    this.measure(name, longestGap(answers, lossMs, toMs), answers.length);
  }

  /** At each of the hosts that stayed. */
  measureKeys(hosts: readonly string[], lossMs: number, toMs: number): void {
    const seen = hosts.map((host) => this.load.readers.seen.get(host));
    const gaps = seen.map((one) => longestGap(one?.answersMs ?? [], lossMs, toMs));
    const answers = seen.reduce((sum, one) => sum + (one?.answersMs.filter((ms) => ms >= lossMs && ms <= toMs).length ?? 0), 0);
    const failures = seen.flatMap((one) => one?.failures.filter(({ atMs }) => atMs >= lossMs && atMs <= toMs) ?? []);
    this.measure('keysUnusableMs', gaps.length === 0 || gaps.includes(null) ? null : Math.max(...gaps.map((gap) => gap!)), answers);
    this.measure('keyFailures', failures.length, answers);
    for (const code of new Set(failures.map((failure) => failure.code))) this.notes.push(`a key could not be used: ${code}, ${failures.filter((failure) => failure.code === code).length} times`);
  }

  /** Writes are over, every host has what the others have, and each is asked for everything. */
  async compare(hosts: readonly string[] = this.hosts): Promise<HostVerdict[]> {
    await this.load.stopWriting();
    return Promise.all(hosts.map(async (host) => survey(host, await this.load.callers.at(host), this.load.ledger, this.pace.opened)));
  }

  /** The end of a scenario that loses nothing. */
  async finish(): Promise<void> {
    await this.load.stopWriting();
    await this.serving(true);
    const verdicts = await this.compare();
    const lost = new Set(verdicts.flatMap((verdict) => verdict.lost));
    this.measure('writesLost', lost.size, this.acknowledged.length);
    this.#wrong(verdicts);
    for (const { key, kind } of [...lost].slice(0, 5)) this.notes.push(`lost: ${kind} of ${key.name}`);
  }

  /** What is left after a disaster, at one host; the ledger goes on with that. `lossMs`: when it struck. */
  async takeStock(host: string, lossMs: number): Promise<void> {
    const [verdict] = await this.compare([host]);
    const { lost, there, destroyed, undead } = verdict!;
    const acknowledged = this.acknowledged.length;
    const first = lost.reduce((ms, { ackMs }: Write) => Math.min(ms, ackMs), Number.POSITIVE_INFINITY);
    this.measure('writesLost', lost.length, acknowledged);
    this.measure('lossMs', lost.length === 0 ? 0 : Math.max(0, lossMs - first), acknowledged);
    this.measure('destroyedBack', undead.length, destroyed);
    this.notes.push(...undead.slice(0, 5), ...verdict!.wrong.slice(0, 5));
    this.#stock = verdict!;
    this.load.ledger.adopt(there);
  }

  /** The end of a scenario in which something was lost; what was acknowledged since must all be there. */
  async finishAfterLoss(): Promise<void> {
    await this.load.stopWriting();
    await this.serving(true);
    const verdicts = await this.compare();
    const since = new Set(verdicts.flatMap((verdict) => verdict.lost));
    this.measure('writesLostSince', since.size, this.load.ledger.writes.length);
    this.#wrong(this.#stock === null ? verdicts : [this.#stock, ...verdicts]);
    this.#stock = null;
  }

  #stock: HostVerdict | null = null;

  #wrong(verdicts: readonly HostVerdict[]): void {
    const [before, now] = [this.#mark, this.#now()];
    const said = verdicts.flatMap(({ wrong, undead }) => [...wrong, ...undead]);
    const compared = now.compared - before.compared + verdicts.reduce((sum, verdict) => sum + verdict.compared, 0);
    this.measure('wrongAnswers', now.wrong - before.wrong + said.length, compared);
    const seen = [...this.load.readers.seen.values()].flatMap(({ wrong }) => wrong);
    this.notes.push(...[...seen.slice(seen.length - (now.wrong - before.wrong)), ...said].slice(0, 5).map((one) => `wrong: ${one}`));
  }
}
