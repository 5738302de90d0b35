/** Objects of PKCS#11 as the plane hands them over to be kept, and sheets of attributes. */
import { create, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { randomBytes } from 'node:crypto';
import { concatBytes, u32le, u64le, utf8Bytes } from '../../src/base/bytes.js';
import { handlesIn } from '../../src/daemon/sensitive.js';
import { authorize } from '../../src/operations/authorize.js';
import type { Caller } from '../../src/operations/context.js';
import { requireSecond } from '../../src/operations/proposals.js';
import { KeyType, ObjectOrigin } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import { caller, type Operations } from './fixture.js';

export const A = {
  CLASS: 0x0, TOKEN: 0x1, PRIVATE: 0x2, LABEL: 0x3, VALUE: 0x11, TRUSTED: 0x86, KEY_TYPE: 0x100, ID: 0x102, SENSITIVE: 0x103, ENCRYPT: 0x104, DECRYPT: 0x105,
  WRAP: 0x106, SIGN: 0x108, VERIFY: 0x10a, DERIVE: 0x10c, EXTRACTABLE: 0x162, LOCAL: 0x163, MODIFIABLE: 0x170, COPYABLE: 0x171, DESTROYABLE: 0x172,
} as const;
const CLASS = { data: 0, certificate: 1, publicKey: 2, privateKey: 3, secretKey: 4 } as const;
type Value = boolean | number | string | Uint8Array;

const bytesOf = (value: Value): Uint8Array =>
  typeof value === 'boolean' ? Uint8Array.of(value ? 1 : 0) : typeof value === 'number' ? u64le(value) : typeof value === 'string' ? utf8Bytes(value) : value;

/** As docs/FORMAT.md says, written here anew. */
export function sheet(attributes: Record<number, Value>): Uint8Array {
  const rows = Object.entries(attributes).map(([type, value]) => [Number(type), bytesOf(value)] as const).sort(([a], [b]) => a - b);
  return concatBytes(...rows.flatMap(([type, value]) => [u32le(type), u32le(value.length), value]));
}

/** What a sheet says of an attribute, undefined when it does not. */
export function read(encoded: Uint8Array, type: number): string | undefined {
  const buffer = Buffer.from(encoded);
  for (let at = 0; at < buffer.length; at += 8 + buffer.readUInt32LE(at + 4)) {
    if (buffer.readUInt32LE(at) === type) return buffer.subarray(at + 8, at + 8 + buffer.readUInt32LE(at + 4)).toString('hex');
  }
  return undefined;
}

const COMMON = { [A.TOKEN]: true, [A.PRIVATE]: true, [A.MODIFIABLE]: true, [A.COPYABLE]: true, [A.DESTROYABLE]: true };
export const secretSheet = (over: Record<number, Value> = {}): Uint8Array => sheet({
  ...COMMON, [A.CLASS]: CLASS.secretKey, [A.KEY_TYPE]: 0x1f, [A.LABEL]: 'card', [A.SENSITIVE]: true, [A.EXTRACTABLE]: true, [A.ENCRYPT]: true, [A.DECRYPT]: true,
  [A.LOCAL]: true, [A.TRUSTED]: false, ...over,
});
export const privateSheet = (over: Record<number, Value> = {}): Uint8Array => sheet({
  ...COMMON, [A.CLASS]: CLASS.privateKey, [A.KEY_TYPE]: 3, [A.LABEL]: 'pair', [A.SENSITIVE]: true, [A.EXTRACTABLE]: false, [A.SIGN]: true, [A.DERIVE]: true, [A.LOCAL]: true, ...over,
});
export const publicSheet = (over: Record<number, Value> = {}): Uint8Array => sheet({ ...COMMON, [A.PRIVATE]: false, [A.CLASS]: CLASS.publicKey, [A.KEY_TYPE]: 3, [A.LABEL]: 'pair', [A.VERIFY]: true, ...over });
export const dataSheet = (over: Record<number, Value> = {}): Uint8Array => sheet({ ...COMMON, [A.CLASS]: CLASS.data, [A.LABEL]: 'notes', [A.VALUE]: utf8Bytes('value'), ...over });

type Store = MessageInitShape<typeof OPERATIONS.StoreObject.input>;
type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;
type Output<N extends OperationName> = MessageShape<(typeof OPERATIONS)[N]['output']>;

/** What is kept after the next StoreObject: a secret key of 32 bytes, unless it is said otherwise. */
export class Objects {
  constructor(readonly o: Operations) {}

  /** As the dispatcher does it: may it, then does it. */
  async ask<N extends OperationName>(name: N, init: Input<N>, who: Caller = caller()): Promise<Output<N>> {
    const request = create(OPERATIONS[name].input as DescMessage, init as never);
    const asked = { ...who, epoch: this.o.access.epoch };
    try {
      await authorize(this.o.context, asked, name, request);
      await requireSecond(this.o.context, asked, name, request);
    } catch (error) {
      for (const handle of handlesIn(toBinary(OPERATIONS[name].input as DescMessage, request), OPERATIONS[name].sensitiveIn)) this.o.addon.secretDrop(handle);
      throw error;
    }
    return this.o.call(name, init, asked);
  }

  store(init: Store = {}, who?: Caller): Promise<Output<'StoreObject'>> {
    const isKey = init.type !== KeyType.KEY_TYPE_UNSPECIFIED;
    return this.ask('StoreObject', {
      object: 'session:1', idempotencyKey: this.o.key(), type: KeyType.AES_256, origin: ObjectOrigin.GENERATED, attributes: secretSheet(),
      material: isKey && init.material === undefined ? this.o.secret(randomBytes(32)) : undefined, ...(init as object),
    } as Store, who);
  }

  async pair(init: Store = {}): Promise<Output<'StoreObject'>> {
    const { handle, spki } = await this.o.addon.generateKey(KeyType.EC_P256, 0);
    return this.store({ type: KeyType.EC_P256, attributes: privateSheet(), publicAttributes: publicSheet(), publicKey: spki, material: u64le(handle), ...(init as object) } as Store);
  }

  data(over: Record<number, Value> = {}, who?: Caller): Promise<Output<'StoreObject'>> {
    return this.store({ type: KeyType.KEY_TYPE_UNSPECIFIED, origin: ObjectOrigin.CREATED, attributes: dataSheet(over) }, who);
  }

  set(key: string, attributes: Record<number, Value>, publicAttributes: Record<number, Value> = {}, who?: Caller): Promise<Output<'SetObject'>> {
    return this.ask('SetObject', { key, attributes: sheet(attributes), publicAttributes: sheet(publicAttributes), idempotencyKey: this.o.key() }, who);
  }

  destroy(key: string, publicHalf = false, who?: Caller): Promise<Output<'DestroyObject'>> {
    return this.ask('DestroyObject', { key, publicHalf, idempotencyKey: this.o.key() }, who);
  }
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
