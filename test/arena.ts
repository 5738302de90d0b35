/** The real addon for tests, its arena opened once for the process; null with the reason where it is not built. */
import type { NativeAddon } from '../src/crypto/addon.js';
import { skip } from './skip.js';

const ARENA_BYTES = 4 * 1024 * 1024;

async function load(): Promise<{ addon: NativeAddon | null; reason: string }> {
  try {
    const { addon } = await import('../src/crypto/addon.js');
    if (addon.arenaStats().bytesMax === 0) addon.openArena(ARENA_BYTES);
    return { addon, reason: '' };
  } catch (error) {
    return { addon: null, reason: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) };
  }
}

const loaded = await load();

/** In a `before` hook: the addon, or the suite is skipped and says why. */
export function addonOrSkip(test: Mocha.Context): NativeAddon {
  return loaded.addon ?? skip(test, `the addon is not built (${loaded.reason})`);
}
