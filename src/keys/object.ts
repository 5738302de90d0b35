/** PKCS#11 objects that are no keys, certificates and data: their record, which is all that there is of them. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { copyBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { StoredObjectSchema, type StoredObject } from '../protocol/gen/records_pb.js';

/** Never changed in place. */
export interface ObjectRecord {
  /** 16 bytes, random, for ever. */
  readonly id: Uint8Array;
  readonly domain: string;
  /** Its sheet, CKA_VALUE in it. */
  readonly attributes: Uint8Array;
  readonly createdMs: number;
}

const FORMAT = 1;

export function encodeObject({ id, domain, attributes, createdMs }: ObjectRecord): Uint8Array {
  return toBinary(StoredObjectSchema, create(StoredObjectSchema, { format: FORMAT, id, domain, attributes, createdMs: BigInt(createdMs) }));
}

/** STORE_CORRUPT */
export function decodeObject(bytes: Uint8Array): ObjectRecord {
  let stored: StoredObject;
  try {
    stored = fromBinary(StoredObjectSchema, bytes);
  } catch (error) {
    throw new QuorateError('STORE_CORRUPT', 'an object record does not decode', { cause: error });
  }
  const { format, id, domain, attributes, createdMs } = stored;
  if (format !== FORMAT || id.length !== 16 || attributes.length === 0) throw new QuorateError('STORE_CORRUPT', `an object record of format ${format} is not whole`);
  return { id: copyBytes(id), domain, attributes: copyBytes(attributes), createdMs: Number(createdMs) };
}
