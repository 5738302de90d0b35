import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { u64le } from '../../src/base/bytes.js';
import { handlesIn } from '../../src/daemon/sensitive.js';
import { InitRequestSchema } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

describe('handles in a request', () => {
  const fields = OPERATIONS.Init.sensitiveIn;
  const body = toBinary(InitRequestSchema, create(InitRequestSchema, { seals: [3, 2], passphrase: u64le(77), credential: u64le(2 ** 40), shareCount: 4 }));

  it('are found by field, whatever else is there', () => {
    expect(handlesIn(body, fields)).to.deep.equal([77, 2 ** 40]);
    expect(handlesIn(body, [2])).to.deep.equal([77]);
    expect(handlesIn(body, [])).to.deep.equal([]);
  });

  it('are found in front of what cannot be read', () => {
    expect(handlesIn(Buffer.concat([body, Buffer.from([0x0f, 0xff])]), fields)).to.deep.equal([77, 2 ** 40]);
    expect(handlesIn(body.subarray(0, body.length - 1), fields)).to.include(77);
    expect(handlesIn(Buffer.from([0xff, 0xff, 0xff]), fields)).to.deep.equal([]);
  });

  it('are never made from a field of another length', () => {
    const other = toBinary(InitRequestSchema, create(InitRequestSchema, { passphrase: new Uint8Array(9).fill(1), credential: new Uint8Array(8) }));
    expect(handlesIn(other, fields)).to.deep.equal([]);
  });
});
