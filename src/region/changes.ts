/** Waits for something that a word of a host brings about: looked at whenever one has changed. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Some word has changed. */
  look(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves when it is so, or after `timeoutMs` at the latest. */
  async until(isSo: () => boolean, timeoutMs: number): Promise<void> {
    if (isSo() || timeoutMs <= 0) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const look = (): void => { if (isSo()) done(); };
      const timer = setTimeout(done, timeoutMs);
      this.#waiting.add(look);
    });
  }
}
