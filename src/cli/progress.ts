/** A bar on standard error for a job that takes longer than a moment, when a person watches and the length is known. */
import type { SingleBar } from 'cli-progress';

const LONG_BYTES = 32 * 1024 * 1024;
const MIB = 1024 * 1024;

export class Progress {
  readonly #what: string;
  readonly #bytesMax: number;
  readonly #shown: boolean;
  #done = 0;
  #bar: SingleBar | null = null;

  constructor(what: string, bytesMax: number) {
    this.#what = what;
    this.#bytesMax = bytesMax;
    this.#shown = bytesMax >= LONG_BYTES && process.stderr.isTTY === true;
  }

  /** The same bytes, counted. */
  async *watch(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#shown) await this.#start();
    for await (const piece of source) {
      yield piece;
      this.#done += piece.byteLength;
      this.#bar?.update(Math.min(this.#done, this.#bytesMax) / MIB);
    }
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = null;
  }

  async #start(): Promise<void> {
    const { default: cliProgress } = await import('cli-progress');
    const mib = (v: number): string => v.toFixed(0);
    this.#bar = new cliProgress.SingleBar({
      format: `${this.#what} {bar} {percentage}% {value}/{total} MiB, {eta_formatted} left`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      formatValue: (v, _options, type) => (type === 'value' || type === 'total' ? mib(v) : String(v)),
    }, cliProgress.Presets.shades_classic);
    this.#bar.start(this.#bytesMax / MIB, 0);
  }
}
