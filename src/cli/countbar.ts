/** A bar on standard error for a job that is counted in entries, when a person watches and it takes longer than a moment. */
import type { SingleBar } from 'cli-progress';

const MANY = 20_000;

export class CountBar {
  readonly #what: string;
  readonly #many: number;
  readonly #unit: string;
  #bar: SingleBar | null = null;
  #starting = false;
  #ended = false;

  constructor(what: string, many = MANY, unit = 'entries') {
    this.#what = what;
    this.#many = many;
    this.#unit = unit;
  }

  update(done: number, total: number): void {
    if (this.#bar !== null) {
      this.#bar.setTotal(total);
      this.#bar.update(Math.min(done, total));
    } else if (!this.#starting && total >= this.#many && process.stderr.isTTY === true) {
      this.#starting = true;
      void this.#start(done, total);
    }
  }

  end(): void {
    this.#ended = true;
    this.#bar?.stop();
    this.#bar = null;
  }

  async #start(done: number, total: number): Promise<void> {
    const { default: cliProgress } = await import('cli-progress');
    if (this.#ended) return;
    this.#bar = new cliProgress.SingleBar({
      format: `${this.#what} {bar} {percentage}% {value}/{total} ${this.#unit}, {eta_formatted} left`, stream: process.stderr, clearOnComplete: true, hideCursor: true,
    }, cliProgress.Presets.shades_classic);
    this.#bar.start(total, done);
  }
}
