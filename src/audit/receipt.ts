/**
 * Receipts of writes: a signed note (c2sp.org/signed-note) under the key that signs the log's checkpoints. Its first line is no log's origin, so that
 * neither is ever taken for the other. Lines, their order and their spelling are fixed (docs/FORMAT.md): a text that says the same otherwise is refused.
 */
import { equalBytes, toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { fromBase64, parseNote, requireSigned, toBase64, type VerifierKey } from '../base/note.js';
import { HASH_BYTES } from './tree.js';

const FIRST_LINE = 'quorate/receipt/v1';

export interface ReceiptHost {
  readonly name: string;
  /** '' on a single host. */
  readonly zone: string;
}

export interface Receipt {
  /** 32 hexadecimal digits: the region's, or the single host's store. */
  readonly store: string;
  /** null: a single host. */
  readonly region: { readonly name: string; readonly counter: number; /** 32 hexadecimal digits. */ readonly incarnation: string } | null;
  readonly revision: number;
  /** In so many zones it had to be durable. */
  readonly needed: number;
  /** Who held it durably when it was answered. */
  readonly confirmed: readonly ReceiptHost[];
  /** Who answered, and signs. */
  readonly host: string;
  /** Unix milliseconds, by that host's clock. */
  readonly timeMs: number;
  readonly principal: string;
  readonly method: string;
  /** SHA-256 of method and request without its idempotency key, 32 bytes: docs/FORMAT.md. */
  readonly request: Uint8Array;
  /** Its entry in that host's audit log: place and hash (RFC 6962, 32 bytes). */
  readonly leaf: { readonly index: number; readonly hash: Uint8Array };
}

const refuse = (fact: string): never => {
  throw new QuorateError('AUDIT_CORRUPT', fact);
};

/** What is signed. Names have neither spaces nor line ends; a principal is quoted as in JSON. */
export function receiptText({ store, region, revision, needed, confirmed, host, timeMs, principal, method, request, leaf }: Receipt): string {
  return [
    FIRST_LINE,
    `store ${store}`,
    ...(region === null ? [] : [`region ${region.name}`, `incarnation ${region.counter} ${region.incarnation}`]),
    `revision ${revision}`,
    `needed ${needed}`,
    ...confirmed.map(({ name, zone }) => `confirmed ${name}${zone === '' ? '' : ` ${zone}`}`),
    `host ${host}`,
    `time ${new Date(timeMs).toISOString()}`,
    `principal ${JSON.stringify(principal)}`,
    `method ${method}`,
    `request ${toHex(request)}`,
    `leaf ${leaf.index} ${toBase64(leaf.hash)}`,
    '',
  ].join('\n');
}

/** Takes the lines in their order. */
class Lines {
  readonly #lines: string[];

  constructor(text: string) {
    this.#lines = text.slice(0, -1).split('\n');
  }

  /** null: the next line is another one. */
  maybe(name: string, shape: RegExp): string[] | null {
    const [line = ''] = this.#lines;
    const match = line.startsWith(`${name} `) ? shape.exec(line.slice(name.length + 1)) : null;
    if (match === null) return null;
    this.#lines.shift();
    return [...match].slice(1).map((part) => part ?? '');
  }

  take(name: string, shape: RegExp): string[] {
    return this.maybe(name, shape) ?? refuse(`a receipt has a line "${name}" there`);
  }

  first(): void {
    if (this.#lines.shift() !== FIRST_LINE) refuse(`it is no receipt (${FIRST_LINE})`);
  }
}

const NUMBER = /^(0|[1-9]\d{0,15})$/;
const ID = /^([0-9a-f]{32})$/;
const WORD = /^([^ ]+)$/;

function readPrincipal(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'string' ? value : refuse('a principal is a text');
  } catch {
    return refuse('a principal is a text in quotes');
  }
}

function parse(text: string): Receipt {
  const lines = new Lines(text);
  lines.first();
  const [store] = lines.take('store', ID);
  const name = lines.maybe('region', WORD)?.[0];
  const [counter, incarnation] = name === undefined ? [] : lines.take('incarnation', /^(0|[1-9]\d{0,15}) ([0-9a-f]{32})$/);
  const [revision] = lines.take('revision', NUMBER);
  const [needed] = lines.take('needed', NUMBER);
  const confirmed: ReceiptHost[] = [];
  for (let host = lines.maybe('confirmed', /^([^ ]+)(?: ([^ ]+))?$/); host !== null; host = lines.maybe('confirmed', /^([^ ]+)(?: ([^ ]+))?$/)) confirmed.push({ name: host[0]!, zone: host[1]! });
  const [host] = lines.take('host', WORD);
  const [time] = lines.take('time', /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)$/);
  const [principal] = lines.take('principal', /^(".*")$/);
  const [method] = lines.take('method', WORD);
  const [request] = lines.take('request', /^([0-9a-f]{64})$/);
  const [index, hash] = lines.take('leaf', /^(0|[1-9]\d{0,15}) (\S+)$/);
  const leafHash = fromBase64(hash!);
  if (leafHash?.byteLength !== HASH_BYTES || confirmed.length === 0 || Number.isNaN(Date.parse(time!))) return refuse('a receipt has a line that says nothing');
  return {
    store: store!, region: name === undefined ? null : { name, counter: Number(counter), incarnation: incarnation! }, revision: Number(revision), needed: Number(needed), confirmed, host: host!,
    timeMs: Date.parse(time!), principal: readPrincipal(principal!), method: method!, request: new Uint8Array(Buffer.from(request!, 'hex')), leaf: { index: Number(index), hash: leafHash },
  };
}

/** What it says, when one of these keys has signed it. AUDIT_CORRUPT */
export function openReceipt(note: string, keys: readonly VerifierKey[]): Receipt {
  const { text, signatures } = parseNote(note);
  requireSigned({ text, signatures }, keys);
  const receipt = parse(text);
  // One spelling: two receipts that differ do not say the same.
  if (!equalBytes(Buffer.from(receiptText(receipt)), Buffer.from(text))) return refuse('a receipt has lines that no receipt has');
  const zones = new Set(receipt.confirmed.map(({ name, zone }) => (zone === '' ? name : zone)));
  if (zones.size < receipt.needed) return refuse(`it needed ${receipt.needed} zones, and names hosts of ${zones.size}`);
  return receipt;
}
