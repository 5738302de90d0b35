/** A real daemon for the campaigns: its own store and socket, started and killed at will. */
import type { QuorateClient } from '../../src/client/index.js';
import { Place, type Run, root } from '../daemon/process.js';

export { root };

export class Daemon {
  readonly #place = new Place();
  readonly store = this.#place.store;
  readonly socket = this.#place.socket;
  #run: Run | undefined;

  get pid(): number {
    return this.#run!.child.pid!;
  }

  /** Starts it, and returns at once. */
  spawn(): void {
    this.#run = this.#place.run({ args: ['--dev'] });
  }

  /** Starts it and returns a client once it serves; a development daemon unseals itself before that. */
  async start(): Promise<QuorateClient> {
    this.#run = await this.#place.start({ args: ['--dev'] });
    return this.#place.connect();
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#run?.kill(signal);
  }

  remove(): Promise<void> {
    return this.#place.remove();
  }
}

/** A small seeded generator, so that a failure can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function numberOption(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}
