/** The strict JSON reader: what it takes, JSON.parse takes and reads alike; what it refuses beyond that is named here. */
import { assert } from 'chai';
import fc from 'fast-check';
import { utf8Bytes } from '../../src/base/bytes.js';
import { JsonFault, parseStrictJson, type Json } from '../../src/base/json.js';

function plain(json: Json): unknown {
  if (json instanceof Map) return Object.fromEntries([...json].map(([k, v]) => [k, plain(v as Json)]));
  return Array.isArray(json) ? json.map((item: Json) => plain(item)) : json;
}

function faultOf(text: string | Uint8Array): string {
  try {
    parseStrictJson(typeof text === 'string' ? utf8Bytes(text) : text);
    return 'none';
  } catch (error) {
    assert.instanceOf(error, JsonFault);
    return (error as JsonFault).kind;
  }
}

describe('strict JSON', () => {
  it('reads what JSON.stringify writes', () => {
    const value = fc.letrec((tie) => ({
      value: fc.oneof({ depthSize: 'small', maxDepth: 4 }, fc.constant(null), fc.boolean(), fc.maxSafeInteger(), fc.string({ unit: 'grapheme' }), fc.array(tie('value'), { maxLength: 4 }), fc.dictionary(fc.string(), tie('value'), { maxKeys: 4, noNullPrototype: true })),
    })).value.filter((v) => !JSON.stringify(v).includes('__proto__') && !Object.is(v, -0) && !JSON.stringify(v).includes('-0'));
    fc.assert(fc.property(value, fc.constantFrom(undefined, 1, '\t'), (v, space) => {
      assert.deepEqual(plain(parseStrictJson(utf8Bytes(JSON.stringify(v, null, space)))), JSON.parse(JSON.stringify(v)));
    }), { numRuns: 500 });
  });

  it('takes nothing that JSON.parse refuses', () => {
    const pieces = fc.array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '"b"', '1', '-1', '0', '01', 'true', 'null', ' ', '\n', '\\', '"', '\u00a0', '1.5', 'e', '//', '\''), { maxLength: 12 });
    fc.assert(fc.property(pieces, (parts) => {
      const text = parts.join('');
      if (faultOf(text) === 'none') JSON.parse(text);
    }), { numRuns: 3000 });
  });

  it('refuses a member that occurs twice, however it is spelt', () => {
    for (const text of ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '{"x":{"b":1,"c":2,"b":3}}', '[{"a":1,"a":2}]', '{"__proto__":1,"__proto__":2}']) assert.equal(faultOf(text), 'duplicate', text);
    assert.equal(faultOf('{"a":1,"A":1}'), 'none');
    assert.equal((parseStrictJson(utf8Bytes('{"__proto__":1}')) as Map<string, Json>).get('__proto__'), 1);
  });

  it('refuses numbers that are no exact integers, ill-formed text, and depth', () => {
    for (const text of ['1.0', '1e3', '1E3', '9007199254740993', '-9007199254740993', '-0', '+1', '01', 'NaN', '"\\ud800"', '"\n"', '', ' ', '1 2', '{"a"}', '{"a":}', '{,}', '[1,]', '{"a":1,}', '\ufeff1', `${'['.repeat(10)}${']'.repeat(10)}`]) {
      assert.equal(faultOf(text), 'syntax', JSON.stringify(text));
    }
    assert.equal(faultOf(Uint8Array.from([0x22, 0xed, 0xa0, 0x80, 0x22])), 'syntax', 'a surrogate in UTF-8');
    assert.equal(faultOf(Uint8Array.from([0x22, 0xff, 0x22])), 'syntax');
    assert.equal(faultOf('9007199254740991'), 'none');
  });
});
