/** Whether the engine has a leader and a majority: asked twice a second, and heard from every transaction. */
import type { Clock } from '../base/clock.js';
import { LIMITS } from '../base/limits.js';
import type { EngineClient } from './engine/client.js';

const ASK_MS = 500;

export class EngineHealth {
  readonly #engine: Pick<EngineClient, 'alive'>;
  readonly #clock: Clock;
  readonly #onRevision: (revision: number) => void;
  #timer: NodeJS.Timeout | null = null;
  #heardMs = Number.NEGATIVE_INFINITY;
  #isAsking = false;

  constructor(engine: Pick<EngineClient, 'alive'>, clock: Clock, onRevision: (revision: number) => void) {
    this.#engine = engine;
    this.#clock = clock;
    this.#onRevision = onRevision;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#ask(), ASK_MS);
    void this.#ask();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  get isAlive(): boolean {
    return this.#clock.monotonicMs() - this.#heardMs <= LIMITS.region_live_ms;
  }

  /** It has answered something that needs a majority. */
  heard(revision: number): void {
    this.#heardMs = this.#clock.monotonicMs();
    this.#onRevision(revision);
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const header = await this.#engine.alive(LIMITS.region_live_ms);
      if (header !== null && this.#timer !== null) this.heard(header.revision);
    } catch {
      // It does not answer as an engine does: that is as good as no answer, and whoever writes hears why.
    } finally {
      this.#isAsking = false;
    }
  }
}
