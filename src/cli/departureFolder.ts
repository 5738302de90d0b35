/** The folder of a departure: which one it is, a document for each key and each secret that has left, its wrapped values beside it, the inventory and what the host has signed of it. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { leftVersions, parseSecretExport, wrappedName } from '../protocol/secretDocument.js';
import { openSource, readWhole, writeWhole } from './files.js';

const FORMAT = 'quorate-departure/1';
const STATE = 'departure.json';
const FOLDERS = { key: 'keys', secret: 'secrets' } as const;
export type LeftKind = keyof typeof FOLDERS;
const INVENTORY = 'inventory.txt';
const NOTE = 'departure.note';
/** As files.ts names what takes its place only when it is whole. */
const HALF = /^\.(?:[0-9a-f]{32}\.(?:json|\d{1,10}\.(?:cms|hpke))|departure\.json|inventory\.txt|departure\.note)\.[0-9a-f]{12}\.tmp$/;
const VALUE = /^[0-9a-f]{32}\.\d{1,10}\.(?:cms|hpke)$/;
const DOCUMENT_BYTES_MAX = 6 * 1024 * 1024;
/** A value, and what wrapping adds. */
const VALUE_BYTES_MAX = LIMITS.secret_value_bytes_max + 4096;
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

/** Names of the files with the wrapped values, ascending by version. KEY_INVALID */
export function valueNames(document: Uint8Array): string[] {
  const from = parseSecretExport(document);
  return leftVersions(from).map(({ version }) => wrappedName(from.id, version, from.mechanism));
}

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
      for (const kind of Object.values(FOLDERS)) mkdirSync(path.join(this.#folder, kind), { recursive: true, mode: 0o700 });
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
    for (const folder of [this.#folder, ...Object.values(FOLDERS).map((kind) => path.join(this.#folder, kind))]) {
      for (const name of readdirSync(folder)) if (HALF.test(name)) rmSync(path.join(folder, name), { force: true });
    }
    const secrets = path.join(this.#folder, FOLDERS.secret);
    const names = readdirSync(secrets);
    const documents = new Set(names.filter((name) => name.endsWith('.json')));
    for (const name of names) if (VALUE.test(name) && !documents.has(`${name.slice(0, 32)}.json`)) rmSync(path.join(secrets, name), { force: true });
  }

  /** As it is named in messages. */
  nameOf(kind: LeftKind, id: string): string {
    return `${FOLDERS[kind]}/${id}.json`;
  }

  /** The document of a key or a secret; null when there is none. INPUT_UNREADABLE, INPUT_TOO_LONG */
  async document(kind: LeftKind, id: string): Promise<Uint8Array | null> {
    const file = path.join(this.#folder, this.nameOf(kind, id));
    return statSync(file, { throwIfNoEntry: false }) === undefined ? null : readWhole(openSource(file), DOCUMENT_BYTES_MAX);
  }

  /** Whole or not at all: what is there when this is interrupted counts. */
  async keepDocument(id: string, document: Uint8Array): Promise<void> {
    await writeWhole(path.join(this.#folder, this.nameOf('key', id)), document, true);
  }

  /** The values first, so that a document which is there has all of them; those of an earlier one are removed. */
  async keepSecret(id: string, document: Uint8Array, wrapped: readonly Uint8Array[]): Promise<void> {
    const before = await this.document('secret', id);
    const folder = path.join(this.#folder, FOLDERS.secret);
    const names = valueNames(document);
    for (const [i, name] of names.entries()) await writeWhole(path.join(folder, name), wrapped[i]!, true);
    await writeWhole(path.join(this.#folder, this.nameOf('secret', id)), document, true);
    for (const name of before === null ? [] : valueNames(before)) if (!names.includes(name)) rmSync(path.join(folder, name), { force: true });
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

  /** Of the wrapped values that a document of a secret names, the first that is missing or another; null: they are as it says. INPUT_UNREADABLE, INPUT_TOO_LONG */
  async otherValue(document: Uint8Array): Promise<string | null> {
    const digests = leftVersions(parseSecretExport(document)).map(({ wrapped }) => wrapped);
    for (const [i, file] of valueNames(document).entries()) {
      const name = path.join(FOLDERS.secret, file);
      if (statSync(path.join(this.#folder, name), { throwIfNoEntry: false }) === undefined) return `${name} is missing`;
      if (digestOf(await readWhole(openSource(path.join(this.#folder, name)), VALUE_BYTES_MAX)) !== digests[i]) return `${name} is not the one that its document names`;
    }
    return null;
  }

  /** Names of what lies beside these documents, and beside the values of those of secrets. */
  strangers(kind: LeftKind, known: ReadonlySet<string>): string[] {
    const folder = path.join(this.#folder, FOLDERS[kind]);
    const names = statSync(folder, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(folder);
    return names.filter((name) => !known.has(name)).map((name) => path.join(FOLDERS[kind], name));
  }
}
