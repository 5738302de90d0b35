/** The folder of a departure: which one it is, a document for each key that has left, the inventory and what the host has signed of it. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { openSource, readWhole, writeWhole } from './files.js';

const FORMAT = 'quorate-departure/1';
const STATE = 'departure.json';
const KEYS = 'keys';
const INVENTORY = 'inventory.txt';
const NOTE = 'departure.note';
/** As files.ts names what takes its place only when it is whole. */
const HALF = /^\.(?:[0-9a-f]{32}\.json|departure\.json|inventory\.txt|departure\.note)\.[0-9a-f]{12}\.tmp$/;
const DOCUMENT_BYTES_MAX = 6 * 1024 * 1024;
const INVENTORY_BYTES_MAX = 512 * 1024 * 1024;
const NOTE_BYTES_MAX = 64 * 1024;

export interface DepartureState {
  /** Fingerprint of the recipient. */
  readonly recipient: string;
  /** Of the request that begins it: the same again after an approval. */
  readonly idempotencyKey: string;
  /** '' until it has begun. */
  readonly departure: string;
  readonly expiresMs: number;
}

export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export class DepartureFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get name(): string {
    return this.#folder;
  }

  /** What was begun here, or what is begun now. OUTPUT_UNWRITABLE, USAGE: it is to somebody else */
  async begin(recipient: string, nowMs: number): Promise<DepartureState> {
    const known = this.#state();
    if (known !== null && known.recipient !== recipient) throw new QuorateError('USAGE', `${this.#folder} holds a departure to sha256:${known.recipient}; take another folder`);
    try {
      mkdirSync(path.join(this.#folder, KEYS), { recursive: true, mode: 0o700 });
      this.#removeHalves();
    } catch (error) {
      throw new QuorateError('OUTPUT_UNWRITABLE', `${this.#folder}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
    }
    if (known !== null && (known.departure === '' || known.expiresMs > nowMs)) return known;
    return this.renew(recipient);
  }

  /** Another departure, which goes on with the same documents. */
  async renew(recipient: string): Promise<DepartureState> {
    const state = { recipient, idempotencyKey: randomBytes(16).toString('hex'), departure: '', expiresMs: 0 };
    await this.keep(state);
    return state;
  }

  async keep(state: DepartureState): Promise<void> {
    await writeWhole(path.join(this.#folder, STATE), Buffer.from(`${JSON.stringify({ format: FORMAT, ...state }, null, 2)}\n`), true);
  }

  #state(): DepartureState | null {
    const file = path.join(this.#folder, STATE);
    if (statSync(this.#folder, { throwIfNoEntry: false }) === undefined) return null;
    if (statSync(file, { throwIfNoEntry: false }) === undefined) {
      if (readdirSync(this.#folder).length > 0) throw new QuorateError('OUTPUT_UNWRITABLE', `${this.#folder} is not empty, and holds no departure; take another folder`);
      return null;
    }
    try {
      const { format, recipient, idempotencyKey, departure, expiresMs } = JSON.parse(readFileSync(file, 'utf8')) as DepartureState & { format: string };
      if (format === FORMAT && [recipient, idempotencyKey, departure].every((text) => typeof text === 'string') && Number.isSafeInteger(expiresMs)) return { recipient, idempotencyKey, departure, expiresMs };
    } catch {
      // Said below.
    }
    throw new QuorateError('INPUT_UNREADABLE', `${file} is damaged; begin again in another folder`);
  }

  /** What was under way when an earlier run was killed. */
  #removeHalves(): void {
    for (const folder of [this.#folder, path.join(this.#folder, KEYS)]) {
      for (const name of readdirSync(folder)) if (HALF.test(name)) rmSync(path.join(folder, name), { force: true });
    }
  }

  /** The document of a key; null when there is none. INPUT_UNREADABLE, INPUT_TOO_LONG */
  async document(id: string): Promise<Uint8Array | null> {
    const file = path.join(this.#folder, KEYS, `${id}.json`);
    return statSync(file, { throwIfNoEntry: false }) === undefined ? null : readWhole(openSource(file), DOCUMENT_BYTES_MAX);
  }

  /** Whole or not at all: what is there when this is interrupted counts. */
  async keepDocument(id: string, document: Uint8Array): Promise<void> {
    await writeWhole(path.join(this.#folder, KEYS, `${id}.json`), document, true);
  }

  async keepInventory(inventory: string, note: string): Promise<void> {
    await writeWhole(path.join(this.#folder, INVENTORY), Buffer.from(inventory), true);
    await writeWhole(path.join(this.#folder, NOTE), Buffer.from(note), true);
  }

  /** INPUT_UNREADABLE, INPUT_TOO_LONG */
  async inventory(): Promise<{ inventory: string; note: string }> {
    const read = async (name: string, bytesMax: number): Promise<string> => (await readWhole(openSource(path.join(this.#folder, name)), bytesMax)).toString('utf8');
    return { inventory: await read(INVENTORY, INVENTORY_BYTES_MAX), note: await read(NOTE, NOTE_BYTES_MAX) };
  }

  /** Names of what lies beside the documents of these keys. */
  strangers(ids: ReadonlySet<string>): string[] {
    const folder = path.join(this.#folder, KEYS);
    const names = statSync(folder, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(folder);
    return names.filter((name) => !(name.endsWith('.json') && ids.has(name.slice(0, -5)))).map((name) => path.join(KEYS, name));
  }
}
