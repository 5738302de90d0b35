/** What a person types at a terminal, and what it shows: script(1) makes one. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Place } from './shell.js';

export class Terminal {
  readonly #script: ChildProcessWithoutNullStreams;
  #shown = '';
  #seen = 0;
  #arrived: () => void = () => {};
  readonly exit: Promise<number>;

  constructor(place: Pick<Place, 'folder' | 'env'>, command: string) {
    // -e: the exit code of the command.
    this.#script = spawn('script', ['-qec', command, '/dev/null'], { cwd: place.folder, env: { ...place.env, TERM: 'dumb' } });
    this.#script.stdout.on('data', (chunk: Buffer) => {
      this.#shown += chunk.toString();
      this.#arrived();
    });
    this.exit = new Promise((resolve) => { this.#script.once('close', (code) => resolve(code ?? -1)); });
  }

  get shown(): string {
    return this.#shown.replaceAll('\r\n', '\n');
  }

  /** Waits until `prompt` shows after what was seen before, then types. */
  async answer(prompt: string, typed: string | Buffer): Promise<void> {
    const untilMs = performance.now() + 20_000;
    for (;;) {
      const at = this.#shown.indexOf(prompt, this.#seen);
      if (at >= 0) {
        this.#seen = at + prompt.length;
        break;
      }
      if (performance.now() > untilMs) throw new Error(`no ${JSON.stringify(prompt)} in ${JSON.stringify(this.#shown)}`);
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
        setTimeout(resolve, 200);
      });
    }
    // The prompt comes just before the terminal is told not to echo.
    await new Promise((resolve) => { setTimeout(resolve, 150); });
    this.#script.stdin.write(typed);
  }
}
