/** A client for each host, as an application beside it has one; it connects when it is first asked for, and again when its host comes back. */
import { connect, type ErrorCode, QuorateError, type QuorateClient } from '../../client/index.js';

const CONNECT_MS = 2_000;
/** Longer than a write's own deadline, which answers OUTCOME_UNKNOWN. */
const CALL_MS = 6_500;

export class Callers {
  readonly #sockets: ReadonlyMap<string, string>;
  readonly #clients = new Map<string, Promise<QuorateClient>>();

  constructor(sockets: ReadonlyMap<string, string>) {
    this.#sockets = sockets;
  }

  /** CONNECT_FAILED */
  at(host: string): Promise<QuorateClient> {
    let client = this.#clients.get(host);
    if (client === undefined) {
      client = connect({ socket: this.#sockets.get(host)!, timeoutMs: CALL_MS, signal: AbortSignal.timeout(CONNECT_MS) });
      client.catch(() => this.#clients.delete(host));
      this.#clients.set(host, client);
    }
    return client;
  }

  async close(): Promise<void> {
    const all = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.all(all.map((client) => client.then((one) => one.close()).catch(() => undefined)));
  }
}

export function codeOf(error: unknown): ErrorCode {
  if (error instanceof QuorateError) return error.code;
  // AbortSignal.timeout while it connects.
  if (error instanceof Error && error.name === 'TimeoutError') return 'CONNECT_FAILED';
  throw error;
}

/** After these nobody knows whether the write is done. */
const UNKNOWN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['OUTCOME_UNKNOWN', 'CONNECTION_LOST', 'DEADLINE_EXCEEDED', 'INTERNAL', 'STORE_IO']);
export const isUnknown = (code: ErrorCode): boolean => UNKNOWN.has(code);
