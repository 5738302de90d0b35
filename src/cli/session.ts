/** What every command works with: the global options, the daemon, and the ways to print. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { clientSocket } from '../base/settings.js';
import type { QuorateClient, Written } from '../client/index.js';
import { EXIT_BROKEN_PIPE, Answered, Failure, type Format } from './failure.js';
import type { Sink } from './files.js';

export interface GlobalOptions {
  socket?: string;
  domain?: string;
  format?: string[];
  timeout?: number;
  idempotencyKey?: Uint8Array;
  receipt?: string;
  yes?: boolean;
  dryRun?: boolean;
}

const PENDING: Readonly<Record<string, string>> = { serving: 'behind', unheard: 'never heard', foreign: 'of another incarnation' };
const FORMATS: readonly string[] = ['text', 'json', 'name'];
/** Longer than a program's: an RSA-4096 key on a busy host takes a while, and a person can press Ctrl-C. */
const TIMEOUT_MS = 60_000;

let chosenKey: string | null = null;

/** The idempotency key that a change was sent under, when nobody gave one: it is the way to find out what became of it. */
export function chosenIdempotencyKey(): string | null {
  return chosenKey;
}

export class Session {
  readonly format: Format;
  /** A format of key material, for the commands that take one by the same option. */
  readonly materialFormat: string | undefined;
  readonly yes: boolean;
  readonly dryRun: boolean;
  readonly timeoutMs: number;
  readonly #options: GlobalOptions;
  #client: Promise<QuorateClient> | null = null;
  /** By this command. */
  readonly #written: Written[] = [];

  constructor(options: GlobalOptions, materialFormats: readonly string[] = []) {
    this.#options = options;
    const given = options.format ?? [];
    const unknown = given.find((f) => !FORMATS.includes(f) && !materialFormats.includes(f));
    if (unknown !== undefined) throw new QuorateError('USAGE', `--format is one of ${[...FORMATS, ...materialFormats].join(', ')}, not ${unknown}`);
    this.format = (given.findLast((f) => FORMATS.includes(f)) ?? 'text') as Format;
    this.materialFormat = given.findLast((f) => materialFormats.includes(f));
    this.yes = options.yes === true;
    this.dryRun = options.dryRun === true;
    this.timeoutMs = options.timeout ?? TIMEOUT_MS;
  }

  /** CONFIG_INVALID; CONNECT_FAILED when the fallback folder is another user's. */
  get socket(): string {
    return clientSocket(this.#options.socket);
  }

  /** As --domain says. */
  get domain(): string | undefined {
    return this.#options.domain;
  }

  /** As --socket says, for a daemon that is started with it. */
  get givenSocket(): string | undefined {
    return this.#options.socket;
  }

  /** For the mutating call of this command. */
  get change(): { idempotencyKey: Uint8Array } {
    if (this.#options.idempotencyKey !== undefined) return { idempotencyKey: this.#options.idempotencyKey };
    chosenKey ??= Buffer.from(crypto.getRandomValues(new Uint8Array(LIMITS.idempotency_key_bytes_min))).toString('hex');
    return { idempotencyKey: new TextEncoder().encode(chosenKey) };
  }

  /** Connects at the first use. The client is loaded only then: what needs no daemon starts faster. */
  client(): Promise<QuorateClient> {
    this.#client ??= import('../client/index.js').then(({ connect }) => connect({ socket: this.socket, domain: this.#options.domain, timeoutMs: this.timeoutMs, onWritten: (written) => this.#written.push(written) }));
    return this.#client;
  }

  /** Of --receipt: a place that cannot be written to is found before anything is done. */
  async openReceipt(): Promise<Sink | null> {
    const { receipt } = this.#options;
    if (receipt === undefined) return null;
    if (this.dryRun) throw new QuorateError('USAGE', '--dry-run writes nothing that a receipt could be of');
    const { openSink } = await import('./files.js');
    return openSink(receipt, false);
  }

  /** Of what the command wrote, each. */
  async writeReceipts(sink: Sink): Promise<void> {
    if (this.#written.length === 0) throw new Failure('USAGE', '--receipt: this command wrote nothing', { fate: 'What the command did is done; no receipt was written.', next: 'Ask for a receipt where a key, a policy, a principal or a token is changed.' });
    const { audit } = await this.client();
    for (const [i, { durability: { revision } }] of this.#written.entries()) {
      const { receipt } = await audit.receipt(revision).catch((error: unknown) => {
        const { code, detail } = error instanceof QuorateError ? error : new QuorateError('INTERNAL', String(error));
        throw new Failure(code, detail, { fate: `The write is done (revision ${revision}); no receipt was written.`, next: `Ask again on this host: quorate audit receipt ${revision}`, cause: error });
      });
      await sink.write(Buffer.from(i === 0 ? receipt : `\n${receipt}`));
    }
    await sink.commit();
  }

  /** After what the command said of its writes: on which hosts one that takes something away is not in force yet. */
  warnPending(): void {
    for (const { durability } of this.#written) {
      const hosts = durability.pendingHosts.map(({ name, state, silentMs }) => `${name} (${PENDING[state] ?? state}${state === 'down' ? ` ${Math.floor(silentMs / 1000)} s` : ''})`);
      if (hosts.length > 0) process.stderr.write(`not yet applied on: ${hosts.join(', ')}\n`);
    }
  }

  async close(): Promise<void> {
    await this.#client?.then((client) => client.close(), () => {});
    this.#client = null;
  }

  /** `name` is printed with --format name, where a command has one. */
  async print(text: string, json: unknown, name: string = text): Promise<void> {
    const out = this.format === 'json' ? JSON.stringify(json, null, 2) : this.format === 'name' ? name : text;
    await writeOut(`${out}\n`);
  }

  /** What a command says of a file that it wrote; of its standard output nothing, which is data. */
  async wrote(file: string | undefined, bytes: number, more: Record<string, unknown> = {}): Promise<void> {
    if (this.format === 'json' && file !== undefined && file !== '-') await this.print('', { output: file, bytes, ...more });
  }

  /** For --dry-run: what would have happened. */
  async wouldDo(text: string, json: Record<string, unknown>): Promise<void> {
    await this.print(`would ${text}; nothing was changed`, { dryRun: true, would: text, ...json });
  }
}

/** Writes to standard output and waits until it is taken. Ends the command quietly when the reader went away. */
export function writeOut(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(data, (error) => {
      if (error === null || error === undefined) resolve();
      else if ((error as NodeJS.ErrnoException).code === 'EPIPE') reject(new Answered(EXIT_BROKEN_PIPE));
      else reject(new QuorateError('OUTPUT_UNWRITABLE', `standard output: ${(error as NodeJS.ErrnoException).code ?? error.message}`, { cause: error }));
    });
  });
}

/** A commander action: the session first, then what commander gives, without the command. `--format` also takes `materialFormats`. */
export function act<A extends unknown[]>(run: (session: Session, ...args: A) => Promise<void>, materialFormats?: readonly string[]): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const command = args.pop() as Command;
    const session = new Session(command.optsWithGlobals<GlobalOptions>(), materialFormats);
    if (session.dryRun && command.opts()['output'] !== undefined) throw new QuorateError('USAGE', '--dry-run goes with changes of keys and seals, not with --output');
    const receipts = await session.openReceipt();
    try {
      await run(session, ...(args as A));
      if (receipts !== null) await session.writeReceipts(receipts);
    } finally {
      await receipts?.abandon();
      session.warnPending();
      await session.close();
    }
  };
}

/** `10s`, `500ms`, `2m`, or seconds. USAGE */
export function parseDuration(text: string): number {
  const m = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
  const ms = m === null ? Number.NaN : Number(m[1]) * { ms: 1, s: 1_000, m: 60_000 }[(m[2] ?? 's') as 'ms' | 's' | 'm'];
  if (!(ms >= 1 && ms <= 24 * 3600 * 1000)) throw new QuorateError('USAGE', `${text} is no duration: 10s, 500ms, 2m`);
  return Math.round(ms);
}

/** The text's UTF-8 bytes are the key. USAGE */
export function parseIdempotencyKey(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const { idempotency_key_bytes_min: min, idempotency_key_bytes_max: max } = LIMITS;
  if (bytes.byteLength < min || bytes.byteLength > max) throw new QuorateError('USAGE', `an idempotency key has ${min} to ${max} bytes, not ${bytes.byteLength}`);
  return bytes;
}

/** A whole number within bounds. USAGE */
export function parseCount(name: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const n = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(n >= min && n <= max)) throw new QuorateError('USAGE', `${name} is a whole number from ${min} to ${max}, not ${text}`);
    return n;
  };
}

/** ISO 8601, or a time from now: `90s`, `30m`, `12h`, `7d`. Milliseconds of Unix time. USAGE */
export function parseTime(text: string): number {
  const m = /^(\d+)([smhd])$/.exec(text);
  const ms = m === null ? Date.parse(text) : Date.now() + Number(m[1]) * { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[m[2] as 's' | 'm' | 'h' | 'd'];
  if (!Number.isSafeInteger(ms) || ms < 0 || (m === null && !/^\d{4}-\d\d-\d\d/.test(text))) {
    throw new QuorateError('USAGE', `${text} is no time: 2027-01-31T12:00:00Z, or 12h, 7d from now`);
  }
  return ms;
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
