/** Texts of many rows: what goes in as a literal comes out of a real SQLite as it was. */
import { assert } from 'chai';
import fc from 'fast-check';
import { Connection, type Value } from '../../src/store/connection.js';
import { literal, texts, tuples } from '../../src/store/sql.js';

describe('store: SQL texts', () => {
  let connection: Connection;
  before(async () => { connection = await Connection.openMemory(); });
  after(() => connection.close());

  it('literals are read as the values that they are', async () => {
    const value = fc.oneof(
      fc.maxSafeInteger(),
      fc.string({ unit: 'grapheme' }).filter((s) => !s.includes('\0')),
      fc.constantFrom("'", "''", "'; DROP TABLE records; --", '%', '$&', '--', '"'),
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
    );
    await fc.assert(
      fc.asyncProperty(value, async (given: Value) => {
        const found = await connection.value(`SELECT ${literal(given)}`);
        assert.deepEqual(given instanceof Uint8Array ? new Uint8Array(found as Buffer) : found, given);
      }),
      { numRuns: 300 },
    );
    assert.deepEqual(await connection.all(`SELECT column1 AS a, column2 AS b FROM (VALUES ${tuples([[1, "o'clock"], [-2, '']])})`), [{ a: 1, b: "o'clock" }, { a: -2, b: '' }]);
  });

  it('refuses what would not come back: NUL in a name, fractions, numbers out of range', () => {
    for (const value of ['a\0b', 1.5, Number.NaN, 2 ** 53]) assert.throws(() => literal(value), /./);
  });

  it('joins statements in their order, none longer than need be', () => {
    const long = 'x'.repeat(200_000);
    assert.deepEqual(texts(['a', 'b', long, long, 'c']), [`a; b; ${long}`, `${long}; c`]);
    assert.deepEqual(texts([]), []);
  });
});
