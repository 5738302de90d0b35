/** What the process list shows while it is looked at: arguments and environments of all processes, again and again. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const PAUSE_MS = 10;

export interface Shown {
  readonly where: 'arguments' | 'environment';
  readonly pattern: string;
  /** Its arguments, without what was found. */
  readonly process: string;
}

export class ProcessList {
  readonly #patterns: ReadonlyMap<string, Buffer>;
  readonly #shown = new Map<string, Shown>();
  readonly #names = new Set<string>();
  #over = false;
  #done: Promise<void> = Promise.resolve();
  looks = 0;

  constructor(patterns: ReadonlyMap<string, Buffer>) {
    this.#patterns = patterns;
  }

  watch(): void {
    this.#done = (async () => {
      for (; !this.#over; this.looks++) {
        for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) this.#look(pid);
        await sleep(PAUSE_MS);
      }
    })();
  }

  async end(): Promise<readonly Shown[]> {
    this.#over = true;
    await this.#done;
    return [...this.#shown.values()];
  }

  /** Every different process that was seen, by its arguments. */
  get seen(): number {
    return this.#names.size;
  }

  #look(pid: string): void {
    let [args, env] = [Buffer.alloc(0), Buffer.alloc(0)];
    try {
      args = readFileSync(`/proc/${pid}/cmdline`);
      env = readFileSync(`/proc/${pid}/environ`);
    } catch {
      // It has ended, or is another user's.
    }
    const process = args.toString('latin1').replaceAll('\0', ' ').trim();
    this.#names.add(process);
    for (const [where, bytes] of [['arguments', args], ['environment', env]] as const) {
      for (const [pattern, wanted] of this.#patterns) if (bytes.includes(wanted)) this.#shown.set(`${where} ${pattern} ${process}`, { where, pattern, process });
    }
  }
}
