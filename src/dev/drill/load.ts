/**
 * What applications do while something is lost: writes at a steady pace, whoever waits for an answer, and at each host reads and crypto. Every answer is compared with what
 * is known; what was answered when is kept, so that a time without answers can be told.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Callers, codeOf, isUnknown } from './callers.js';
import { type Facts, factsOf, type KnownKey, labelsOf, type Ledger, type WriteKind } from './ledger.js';
import { Readers } from './readers.js';

export interface WriteSeen {
  readonly beganMs: number;
  readonly endedMs: number;
  readonly host: string;
  /** OK, OUTCOME_UNKNOWN, or what the last attempt was refused with: then it is certainly not done. */
  readonly code: string;
}

const ATTEMPTS_MAX = 8;
const RETRY_MS = 100;
/** More waiting writes than these are not begun: who waits is without an answer, which is what is measured. */
const WAITING_MAX = 64;
const KEYS_MAX = 400;
const KEY_BYTES = 16;

export class Load {
  readonly ledger: Ledger;
  readonly callers: Callers;
  readonly readers: Readers;
  readonly writes: WriteSeen[] = [];
  readonly #perSecond: number;
  /** Whose callers write. */
  #writers: readonly string[] = [];
  #waiting = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #fault: unknown = null;

  constructor(ledger: Ledger, sockets: ReadonlyMap<string, string>, perSecond: number) {
    this.ledger = ledger;
    this.callers = new Callers(sockets);
    this.#perSecond = perSecond;
    this.readers = new Readers(ledger, this.callers, perSecond, (error) => { this.#fault ??= error; });
  }

  /** Writes begin at these hosts from now on: the callers of a host that is lost are lost with it. */
  writeAt(hosts: readonly string[]): void {
    this.#writers = hosts;
    this.#timer ??= setInterval(() => {
      if (this.#writers.length > 0 && this.#waiting.size < WAITING_MAX) this.#begin();
    }, 1000 / this.#perSecond);
  }

  /** No new ones; resolves when those that wait have their answers. */
  async stopWriting(): Promise<void> {
    this.#writers = [];
    await Promise.all(this.#waiting);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await Promise.all([this.stopWriting(), this.readers.stop()]);
    await this.callers.close();
  }

  /** What nobody foresaw: the drill itself is at fault. */
  check(): void {
    if (this.#fault !== null) throw this.#fault as Error;
  }

  #begin(): void {
    const work = this.#write().catch((error: unknown) => { this.#fault ??= error; }).finally(() => this.#waiting.delete(work));
    this.#waiting.add(work);
  }

  /** '': no callers write now. */
  #choose(): string {
    return this.#writers.length === 0 ? '' : this.#writers[randomInt(this.#writers.length)]!;
  }

  async #write(): Promise<void> {
    const { ledger } = this;
    const draw = randomInt(100);
    const idle = [...ledger.keys.values()].filter((key) => key.isKnown && !key.isBusy && !key.possible.isDestroyed);
    if (idle.length < 10 || (draw < 30 && idle.length < KEYS_MAX)) return this.#one(ledger.begin(), 'create');
    const key = idle[randomInt(idle.length)]!;
    key.isBusy = true;
    // Whether what was destroyed stays so is asked of some key, however short the drill.
    const kind = !ledger.hasDestroyed && key.sealed.length > 0 ? 'destroy' : draw < 80 ? 'label' : draw < 92 ? 'rotate' : 'destroy';
    return this.#one(key, kind);
  }

  async #one(key: KnownKey, kind: WriteKind): Promise<void> {
    const { possible } = key;
    const wanted: Facts = { seq: possible.seq + (kind === 'label' ? 1 : 0), version: possible.version + (kind === 'rotate' ? 1 : 0), isDestroyed: kind === 'destroy' };
    key.possible = wanted;
    const idempotencyKey = randomBytes(KEY_BYTES);
    const beganMs = performance.now();
    let [host, code, isOpen] = [this.#choose(), 'READ_ONLY', false];
    for (let tried = 0; tried < ATTEMPTS_MAX && host !== ''; tried++) {
      try {
        const { key: info, durability } = await this.#ask(host, key.name, kind, wanted, idempotencyKey);
        const endedMs = performance.now();
        this.writes.push({ beganMs, endedMs, host, code: 'OK' });
        this.ledger.acknowledge(key, kind, factsOf(info), endedMs, durability.hosts);
        if (kind === 'create' || kind === 'rotate') await this.readers.seal(host, key);
        key.isBusy = false;
        return;
      } catch (error) {
        const refused = codeOf(error);
        code = refused;
        isOpen ||= isUnknown(refused);
        // Certainly not done, and nobody asked before: the caller is told so.
        if (!isOpen && refused !== 'CONNECT_FAILED') break;
      }
      await sleep(RETRY_MS);
      host = this.#choose();
    }
    this.writes.push({ beganMs, endedMs: performance.now(), host, code: isOpen ? 'OUTCOME_UNKNOWN' : code });
    if (!isOpen && kind === 'create') this.ledger.keys.delete(key.name);
    else if (!isOpen) key.possible = possible;
    key.isBusy = false;
  }

  async #ask(host: string, name: string, kind: WriteKind, wanted: Facts, idempotencyKey: Uint8Array) {
    const { keys } = await this.callers.at(host);
    switch (kind) {
      case 'create': return keys.create(name, { type: 'aes-256', labels: labelsOf(wanted), idempotencyKey });
      case 'label': return keys.update(name, { setLabels: labelsOf(wanted) }, { idempotencyKey });
      case 'rotate': return keys.rotate(name, { idempotencyKey });
      case 'destroy': return keys.destroy(name, { now: true, idempotencyKey });
    }
  }
}
