/** Reads and crypto at each host, one after the other there, each answer compared with what is known. */
import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QuorateClient } from '../../client/index.js';
import { type Callers, codeOf } from './callers.js';
import { covers, type Facts, factsOf, type KnownKey, type Ledger } from './ledger.js';

const MESSAGE = 'what the drill signs';

export interface HostSeen {
  /** When crypto with the two keys was answered, rightly. */
  readonly answersMs: number[];
  /** When it was not. */
  readonly failures: { readonly atMs: number; readonly code: string }[];
  /** Answers that were compared. */
  compared: number;
  readonly wrong: string[];
  /** Right once, and out of date: of a host whose copy is known to be an old one. */
  outdated: number;
}

export class Readers {
  readonly seen = new Map<string, HostSeen>();
  readonly #ledger: Ledger;
  readonly #callers: Callers;
  readonly #pauseMs: number;
  readonly #onFault: (error: unknown) => void;
  readonly #running = new Map<string, { work: Promise<void> }>();
  /** Hosts whose copy somebody has tampered with. */
  readonly #doubted = new Set<string>();
  /** Two keys that are there before anything is lost, and that nobody writes to: whoever has a copy can use them. */
  readonly #sealing: string;
  readonly #signing: string;
  #known: { plaintext: string; ciphertext: Uint8Array; signature: Uint8Array } | null = null;
  #isOver = false;

  constructor(ledger: Ledger, callers: Callers, perSecond: number, onFault: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#callers = callers;
    this.#pauseMs = 1000 / perSecond;
    this.#onFault = onFault;
    this.#sealing = `${ledger.prefix}sealing`;
    this.#signing = `${ledger.prefix}signing`;
  }

  /** Makes the two keys, at that host. */
  async prepare(host: string): Promise<void> {
    const client = await this.#callers.at(host);
    await client.keys.create(this.#sealing, { type: 'aes-256' });
    await client.keys.create(this.#signing, { type: 'ec-p256' });
    const plaintext = randomBytes(32).toString('hex');
    const [{ ciphertext }, { signature }] = await Promise.all([client.encrypt(this.#sealing, plaintext), client.sign(this.#signing, MESSAGE)]);
    this.#known = { plaintext, ciphertext, signature };
  }

  /** What is read at these hosts; one that is left out is read at no more. */
  readAt(hosts: readonly string[]): void {
    for (const host of this.#running.keys()) if (!hosts.includes(host)) this.#running.delete(host);
    for (const host of hosts) {
      if (this.#running.has(host)) continue;
      if (!this.seen.has(host)) this.seen.set(host, { answersMs: [], failures: [], compared: 0, wrong: [], outdated: 0 });
      const one = { work: Promise.resolve() };
      this.#running.set(host, one);
      const goesOn = (): boolean => !this.#isOver && this.#running.get(host) === one;
      const seen = this.seen.get(host)!;
      // Apart: whether keys can be used does not wait for what is read of records.
      one.work = Promise.all([this.#loop(goesOn, (turn) => this.#crypto(host, seen, turn)), this.#loop(goesOn, () => this.#compare(host, seen))]).then(() => undefined, this.#onFault);
    }
  }

  /** What it answers may be out of date until it is trusted again; it must not be anything else. */
  doubt(host: string): void {
    this.#doubted.add(host);
    this.#ledger.forget(host);
  }

  trust(host: string): void {
    this.#doubted.delete(host);
    this.#ledger.forget(host);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#running.values()].map(({ work }) => work));
  }

  /** Something to open later, by the version that seals now. */
  async seal(host: string, key: KnownKey): Promise<void> {
    const plaintext = `${key.name} ${randomBytes(8).toString('hex')}`;
    try {
      const { ciphertext, version } = await (await this.#callers.at(host)).encrypt(key.name, plaintext);
      key.sealed.push({ plaintext, ciphertext, version });
    } catch (error) {
      codeOf(error);
    }
  }

  async #loop(goesOn: () => boolean, work: (turn: number) => Promise<void>): Promise<void> {
    for (let turn = 0; goesOn(); turn++) {
      await work(turn);
      await sleep(this.#pauseMs);
    }
  }

  /** With the two keys: whether they can be used. */
  async #crypto(host: string, seen: HostSeen, turn: number): Promise<void> {
    try {
      const client = await this.#callers.at(host);
      const fault = await this.#use(client, turn);
      seen.compared++;
      if (fault === '') seen.answersMs.push(performance.now());
      else seen.wrong.push(`${host}: ${fault}`);
    } catch (error) {
      seen.failures.push({ atMs: performance.now(), code: codeOf(error) });
    }
  }

  async #use(client: QuorateClient, turn: number): Promise<string> {
    const { plaintext, ciphertext, signature } = this.#known!;
    if (turn % 3 === 0) return Buffer.from(await client.decrypt(ciphertext)).toString() === plaintext ? '' : `${this.#sealing} opens what it sealed as something else`;
    if (turn % 3 === 1) return (await client.verify(this.#signing, MESSAGE, signature)) ? '' : `${this.#signing} does not verify what it signed`;
    const fresh = randomBytes(16).toString('hex');
    const { ciphertext: sealed } = await client.encrypt(this.#sealing, fresh);
    return Buffer.from(await client.decrypt(sealed)).toString() === fresh ? '' : `${this.#sealing} opens something else than it sealed`;
  }

  /** One of the keys that are written to. */
  async #compare(host: string, seen: HostSeen): Promise<void> {
    const all = [...this.#ledger.keys.values()];
    if (all.length === 0) return;
    const key = all[randomInt(all.length)]!;
    const least = this.#ledger.floor(host, key.name);
    const client = await this.#callers.at(host).catch(() => null);
    if (client === null) return;
    const sealed = key.sealed.length === 0 || randomInt(2) === 0 ? undefined : key.sealed[randomInt(key.sealed.length)];
    const verdict = sealed === undefined ? await readFault(client, key, least, (facts) => this.#ledger.raise(host, key.name, facts)) : await openFault(client, key, sealed, least);
    if (verdict === null) return;
    seen.compared++;
    if (verdict === '') return;
    if (this.#doubted.has(host)) seen.outdated++;
    else seen.wrong.push(`${host}: ${verdict}`);
  }
}

/** '' where what the host says of the key is right; null where it says nothing. `least`: what it has confirmed or shown before. */
export async function readFault(client: QuorateClient, key: KnownKey, least: Facts | undefined, onFacts: (facts: Facts) => void): Promise<string | null> {
  try {
    const facts = factsOf(await client.keys.get(key.name));
    if (!covers(key.possible, facts)) return `${key.name} is ${JSON.stringify(facts)}, which nobody wrote`;
    if (least !== undefined && !covers(facts, least)) return `${key.name} is ${JSON.stringify(facts)}, and was ${JSON.stringify(least)} there before`;
    onFacts(facts);
    return '';
  } catch (error) {
    const code = codeOf(error);
    return code === 'KEY_NOT_FOUND' && least !== undefined ? `${key.name} is gone` : code === 'KEY_NOT_FOUND' ? '' : null;
  }
}

/** The same of a ciphertext. */
export async function openFault(client: QuorateClient, key: KnownKey, sealed: KnownKey['sealed'][number], least: Facts | undefined): Promise<string | null> {
  try {
    const opened = Buffer.from(await client.decrypt(sealed.ciphertext)).toString();
    if (opened !== sealed.plaintext) return `${key.name} v${sealed.version} opens as something else`;
    return least?.isDestroyed === true ? `${key.name} is destroyed, and opens` : '';
  } catch (error) {
    const code = codeOf(error);
    if (code === 'KEY_DESTROYED') return key.possible.isDestroyed ? '' : `${key.name} is said to be destroyed`;
    const isThere = least !== undefined && least.version >= sealed.version;
    if (code === 'KEY_NOT_FOUND' || code === 'KEY_VERSION_NOT_FOUND' || code === 'CIPHERTEXT_WRONG_KEY' || code === 'CIPHERTEXT_INVALID') return isThere ? `${key.name} v${sealed.version} is ${code}` : '';
    return null;
  }
}
