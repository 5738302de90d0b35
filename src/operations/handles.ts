/** Arena handles inside an operation: every one that is made or received is dropped, whatever happens in between. */
import { readU64le } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';

/** What a sensitive field holds in the daemon: 8 bytes, little endian. 0 when the field is empty. BAD_REQUEST */
export function handleIn(field: Uint8Array, name: string): Handle {
  if (field.length === 0) return 0;
  const handle = readU64le(field);
  if (handle === null || handle === 0) throw new QuorateError('BAD_REQUEST', `${name}: no secret arrived`, { field: name });
  return handle;
}

/** Drops all that it keeps when `work` ends, well or not. Dropping a handle that another has consumed does nothing. */
export async function withHandles<T>(
  addon: Pick<NativeAddon, 'secretDrop'>,
  work: (keep: (handle: Handle) => Handle) => Promise<T>,
): Promise<T> {
  const kept: Handle[] = [];
  try {
    return await work((handle) => {
      if (handle !== 0) kept.push(handle);
      return handle;
    });
  } finally {
    for (const handle of kept) addon.secretDrop(handle);
  }
}
