/** Secrets that must not outlive one piece of work: whatever way it ends, the arena gets their blocks back, wiped. */
import type { Handle, NativeAddon } from '../../crypto/addon.js';

export class SecretScope {
  readonly #addon: NativeAddon;
  readonly #held = new Set<Handle>();

  constructor(addon: NativeAddon) {
    this.#addon = addon;
  }

  /** From here on this scope drops it. */
  keep(handle: Handle): Handle {
    this.#held.add(handle);
    return handle;
  }

  /** From here on the caller drops it. */
  release(handle: Handle): Handle {
    this.#held.delete(handle);
    return handle;
  }

  drop(handle: Handle): void {
    this.#held.delete(handle);
    this.#addon.secretDrop(handle);
  }

  close(): void {
    for (const handle of this.#held) this.#addon.secretDrop(handle);
    this.#held.clear();
  }
}

export async function withSecrets<T>(addon: NativeAddon, work: (scope: SecretScope) => Promise<T> | T): Promise<T> {
  const scope = new SecretScope(addon);
  try {
    return await work(scope);
  } finally {
    scope.close();
  }
}
