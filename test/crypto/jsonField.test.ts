/** What a credential's `#field` is: natively the same as for every client, of texts that are JSON and of texts that nearly are. */
import { assert } from 'chai';
import fc from 'fast-check';
import { QuorateError } from '../../src/base/errors.js';
import { fieldOf } from '../../src/cli/secretRef.js';
import { addon } from '../../src/crypto/addon.js';

type Outcome = ReturnType<typeof addon.primitives.jsonField>['outcome'] | string;

/** In the native half's words. An object or an array is no credential: that is the one difference, and it is said. */
function byClient(json: Uint8Array, field: string): { outcome: Outcome; value: string } {
  try {
    const value = fieldOf(json, { path: 'p', field }).toString('hex');
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
    return isCompound(parsed, field) ? { outcome: 'compound', value: '' } : { outcome: 'found', value };
  } catch (error) {
    if (!(error instanceof QuorateError)) throw error;
    return { outcome: error.code === 'BAD_REQUEST' ? 'notJson' : 'absent', value: '' };
  }
}

/** Of a field that is there. */
function isCompound(value: unknown, field: string): boolean {
  const table = value as Record<string, unknown>;
  if (Object.hasOwn(table, field)) return typeof table[field] === 'object' && table[field] !== null;
  const at = field.indexOf('.');
  return isCompound(table[field.slice(0, at)], field.slice(at + 1));
}

function byPlane(json: Uint8Array, field: string): { outcome: Outcome; value: string } {
  const { outcome, value } = addon.primitives.jsonField(json, field);
  return { outcome, value: Buffer.from(value).toString('hex') };
}

/** That a configuration can write. */
const isName = (text: string): boolean => !/\p{Surrogate}|\0/u.test(text);
const names = fc.oneof(fc.constantFrom('a', 'b', 'a.b', '0', '1', 'length', '__proto__', 'é', '\u{1f511}'), fc.string({ unit: 'binary', maxLength: 4 }));
const letters = fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.constantFrom('\ud83d', 'x\ude00y', '\u0000', '"\\\n'));
const scalars = fc.oneof(letters, fc.double(), fc.integer(), fc.boolean(), fc.constant(null), fc.bigInt({ min: 0n, max: 10n ** 30n }).map(Number));
const { value: values } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, scalars, fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(names, tie('value'), { maxKeys: 4 })),
}));
const tables = fc.dictionary(names, values, { maxKeys: 5 });
const numbers = fc.tuple(fc.constantFrom('', '-'), fc.bigInt({ min: 0n, max: 10n ** 25n }), fc.option(fc.stringMatching(/^[0-9]{1,20}$/)), fc.option(fc.integer({ min: -400, max: 400 })))
  .map(([sign, whole, part, exponent]) => `${sign}${whole}${part === null ? '' : `.${part}`}${exponent === null ? '' : `e${exponent}`}`);
const fields = fc.array(names.filter((name) => name !== ''), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('.')).filter((text) => isName(text));

describe('addon: the field of a secret that is JSON', () => {
  const seed = Number(process.env['QUORATE_SEED'] ?? Date.now() % 0x7fffffff);
  const same = (json: Uint8Array, field: string): void => assert.deepEqual(byPlane(json, field), byClient(json, field), `${JSON.stringify(Buffer.from(json).toString())} # ${field}`);

  it(`is what clients find (seed ${seed})`, () => {
    let found = 0;
    fc.assert(fc.property(tables, fields, fc.constantFrom(undefined, 1, '\t'), (table, field, indent) => {
      const json = Buffer.from(JSON.stringify(table, null, indent));
      same(json, field);
      for (const name of Object.keys(table).filter((key) => key !== '' && isName(key))) {
        same(json, name);
        if (byPlane(json, name).outcome === 'found') found += 1;
      }
    }), { seed, numRuns: 1500 });
    assert.isAbove(found, 500);
  });

  it('numbers of every form', () => {
    fc.assert(fc.property(numbers, (text) => same(Buffer.from(`{"n":${text}}`), 'n')), { seed, numRuns: 2000 });
  });

  it('of a text with one byte changed, put in or taken out', () => {
    fc.assert(fc.property(tables, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 2), (table, where, byte, how) => {
      const json = Buffer.from(JSON.stringify({ a: 'x', ...table }));
      const at = where % json.length;
      const changed = Buffer.concat([json.subarray(0, at), how === 2 ? Buffer.alloc(0) : Buffer.of(byte), json.subarray(how === 1 ? at : at + 1)]);
      for (const name of ['a', 'b', 'a.b']) same(changed, name);
    }), { seed, numRuns: 3000 });
  });

  it('twice, or under a name that is escaped, or behind a byte order mark', () => {
    for (const text of ['{"a":1,"a":2}', '{"a":{},"\\u0061":"x"}', '\ufeff{"a":1}', '\ufeff\ufeff{"a":1}', '{"a":{"b":1},"a":[]}', '{"b":2,"a":{"b":1},"a.b":null}', '[{"a":1}]', '{"a":[[1,2],{"length":3}]}']) {
      for (const field of ['a', 'a.b', '0.a', 'a.0', 'a.0.1', 'a.length', 'a.1.length', 'length', '00']) same(Buffer.from(text), field);
    }
  });
});
