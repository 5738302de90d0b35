/** The request encoder against protobuf-es, for every request of the wire. */
import { create, type DescField, type DescMessage, ScalarType, toBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import fc from 'fast-check';
import { QuorateError } from '../../src/base/errors.js';
import { encoderOf } from '../../src/protocol/encode.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

function scalar(kind: ScalarType): fc.Arbitrary<unknown> {
  if (kind === ScalarType.STRING) return fc.oneof(fc.string({ unit: 'binary' }), fc.string({ minLength: 30, maxLength: 50 }), fc.string({ minLength: 120, maxLength: 300 }), fc.string({ unit: 'grapheme' })).filter((s) => !/\p{Surrogate}/u.test(s));
  if (kind === ScalarType.BYTES) return fc.uint8Array({ maxLength: 200 });
  if (kind === ScalarType.BOOL) return fc.boolean();
  if (kind === ScalarType.UINT64) return fc.oneof(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.bigInt({ min: 0n, max: 300n }));
  return fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 300 }));
}

function anyValueOf(field: DescField): fc.Arbitrary<unknown> {
  const text = scalar(ScalarType.STRING) as fc.Arbitrary<string>;
  if (field.fieldKind === 'map') return fc.dictionary(text, text, { maxKeys: 5, noNullPrototype: true });
  if (field.fieldKind === 'enum') return fc.integer({ min: 0, max: 200 });
  if (field.fieldKind === 'message') return messageOf(field.message);
  if (field.fieldKind === 'list' && field.listKind === 'message') return fc.array(messageOf(field.message), { maxLength: 3 });
  if (field.fieldKind === 'list') return fc.array(field.listKind === 'enum' ? fc.integer({ min: 0, max: 20 }) : scalar((field as { scalar: ScalarType }).scalar), { maxLength: 5 });
  return scalar((field as { scalar: ScalarType }).scalar);
}

function messageOf(schema: DescMessage): fc.Arbitrary<Record<string, unknown>> {
  const fields = Object.fromEntries(schema.fields.map((f) => [f.localName, anyValueOf(f)]));
  return fc.record(fields, { requiredKeys: [], noNullPrototype: true });
}

function encode(schema: DescMessage, message: Record<string, unknown>): Buffer {
  const encoder = encoderOf(schema);
  const bound = encoder.bound(message as never);
  const target = Buffer.alloc(bound + 7, 0xaa);
  const end = encoder.write(message as never, target, 7);
  assert.isAtMost(end - 7, bound);
  return target.subarray(7, end);
}

describe('encode', () => {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    it(`${name} as protobuf-es writes it`, () => {
      fc.assert(fc.property(messageOf(operation.input), (message) => {
        const schema: DescMessage = operation.input;
        const theirs = toBinary(schema, create(schema, message as never));
        assert.equal(encode(operation.input, message).toString('hex'), Buffer.from(theirs).toString('hex'));
        // A field that is undefined is one that is not there.
        const undefinedFields = Object.fromEntries(schema.fields.filter((f) => message[f.localName] === undefined).map((f) => [f.localName, undefined]));
        assert.equal(encode(operation.input, { ...message, ...undefinedFields }).toString('hex'), Buffer.from(theirs).toString('hex'));
      }), { numRuns: 60 });
    });
  }

  it('writes a default where a field has presence, and nowhere else', () => {
    assert.equal(encode(OPERATIONS.CreateToken.input, { scope: { uid: 0, domain: '' } }).toString('hex'), '22022000');
    assert.equal(encode(OPERATIONS.CreateToken.input, { scope: {}, principal: '' }).toString('hex'), '2200');
  });

  it('refuses values of the wrong type by the field\'s name', () => {
    const bad: [DescMessage, Record<string, unknown>, string][] = [
      [OPERATIONS.Encrypt.input, { key: 'k', plaintext: 'text' }, 'plaintext'],
      [OPERATIONS.Encrypt.input, { key: 7 }, 'key'],
      [OPERATIONS.GetKey.input, { key: 'a\ud800' }, 'key'],
      [OPERATIONS.Random.input, { length: -1 }, 'length'],
      [OPERATIONS.Random.input, { length: 1.5 }, 'length'],
      [OPERATIONS.Random.input, { length: 2 ** 32 }, 'length'],
      [OPERATIONS.StreamChunk.input, { stream: 1 }, 'stream'],
      [OPERATIONS.StreamChunk.input, { stream: 1n << 64n }, 'stream'],
      [OPERATIONS.CreateKey.input, { exportable: 'yes' }, 'exportable'],
      [OPERATIONS.CreateKey.input, { labels: { a: 1 } }, 'labels'],
      [OPERATIONS.CreateToken.input, { scope: 'all' }, 'scope'],
      [OPERATIONS.CreateToken.input, { scope: { uid: -1 } }, 'uid'],
      [OPERATIONS.PutPrincipal.input, { addRoles: [{ role: 7 }] }, 'role'],
      [OPERATIONS.Rewrap.input, { ciphertexts: new Uint8Array(3) }, 'ciphertexts'],
    ];
    for (const [schema, message, field] of bad) {
      try {
        encode(schema, message);
        assert.fail(`${field} passed`);
      } catch (error) {
        assert.instanceOf(error, QuorateError, field);
        assert.equal((error as QuorateError).code, 'BAD_REQUEST');
        assert.equal((error as QuorateError).field, field);
      }
    }
  });
});
