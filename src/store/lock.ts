/** One writer for a store: an flock on store.lock beside it, held as long as the descriptor is open and freed by the kernel with the process. */
import { closeSync } from 'node:fs';
import path from 'node:path';
import type { NativeAddon } from '../crypto/addon.js';

export interface StoreLock {
  release(): void;
}

/** ALREADY_RUNNING, STORE_IO. The daemon takes it before it unseals, so that a second start is told at once. */
export function lockStore(addon: Pick<NativeAddon, 'lockFile'>, storePath: string): StoreLock {
  let fd: number | null = addon.lockFile(path.join(path.dirname(storePath), 'store.lock'));
  return {
    release() {
      if (fd !== null) closeSync(fd);
      fd = null;
    },
  };
}
