/** Arena handles in a request as the plane handed it up: whoever receives the request owes their drop, whatever else happens to it. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { readU64le } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle } from '../crypto/addon.js';

/** Reads the wire alone, so that a message that cannot be decoded gives its handles back too. */
export function handlesIn(body: Uint8Array, fields: readonly number[]): Handle[] {
  const found: Handle[] = [];
  if (fields.length === 0) return found;
  const reader = new BinaryReader(body);
  try {
    while (reader.pos < reader.len) {
      const [field, wire] = reader.tag();
      if (wire === WireType.LengthDelimited && fields.includes(field)) {
        const handle = readU64le(reader.bytes());
        if (handle !== null && handle !== 0) found.push(handle);
      } else {
        reader.skip(wire, field);
      }
    }
  } catch {
    // Malformed from here on; the plane swapped nothing behind this point either.
  }
  return found;
}

/** The handle in a sensitive field, null when the client left it out. */
export function handleIn(field: Uint8Array, name: string): Handle | null {
  if (field.byteLength === 0) return null;
  const handle = readU64le(field);
  if (handle === null) throw new QuorateError('INTERNAL', `${name} did not arrive as a handle`);
  return handle;
}
