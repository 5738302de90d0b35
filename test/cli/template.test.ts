/** Templates: what is kept, what is refused, and that a rotation in the middle of a render leaves no mixture. The source of secrets is a table; test/cli/template.txt has a daemon's. */
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import type { SecretSource } from '../../src/cli/given.js';
import { missingOf, render } from '../../src/cli/template.js';
import { isRef, parseTemplate } from '../../src/cli/templateText.js';

class Table implements SecretSource {
  readonly handed: Uint8Array[] = [];
  asked = 0;
  onAsked: () => void = () => {};

  constructor(readonly rows: Record<string, { value: string; version: number }>) {}

  fetch(path: string): Promise<{ value: Uint8Array; version: number }> {
    this.asked++;
    const row = this.rows[path];
    if (row === undefined) return Promise.reject(new QuorateError('SECRET_NOT_FOUND', path));
    const value = Buffer.from(row.value);
    this.handed.push(value);
    const answer = { value, version: row.version };
    this.onAsked();
    return Promise.resolve(answer);
  }

  get wiped(): boolean {
    return this.handed.every((value) => value.every((byte) => byte === 0));
  }
}

const parse = (text: string | Buffer): ReturnType<typeof parseTemplate> => parseTemplate(Buffer.from(text), 't');
const failure = async (work: Promise<unknown>): Promise<QuorateError> => work.then(() => assert.fail('it was not refused'), (error: unknown) => error as QuorateError);

describe('templates', () => {
  it('keeps every other byte, and takes what is directed', () => {
    for (const text of ['', 'a', '}} { }', 'a\r\nb', '\u00e9 \0']) assert.equal(Buffer.concat(parse(text).map((p) => p as Uint8Array)).toString(), text);
    const any = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    assert.deepEqual(Buffer.concat(parse(any).map((p) => p as Uint8Array)), any);
    assert.deepEqual(parse('{{ secret "a/b#c}}d" }}{{secret "e"}}').filter(isRef), [{ path: 'a/b', field: 'c}}d' }, { path: 'e', field: null }]);
  });

  it('refuses everything else, with the place and without the text', () => {
    const cases: [string, string][] = [
      ['{{ env "HOME" }}', 't:1:1'], ['a\n\n  {{x}}', 't:3:3'], ['a\r\nb{{ secret app }}', 't:2:2'], ['{{ secret "a', 't:1:1'], ['{{}}', 't:1:1'], ['{{ secret "" }}', 't:1:1'],
      ['{{ secret "a" | x }}', 't:1:1'], ['x{{ secret "a#" }}', 't:1:2'], ['{{ secret "a" "b" }}', 't:1:1'], ['{{ {{ secret "a" }} }}', 't:1:1'], ['{{ secret "a\n" }}', 't:1:1'],
    ];
    for (const [text, place] of cases) {
      try {
        parse(text);
        assert.fail(`${text} was taken`);
      } catch (error) {
        assert.equal((error as QuorateError).code, 'BAD_REQUEST', text);
        assert.isTrue((error as QuorateError).detail.startsWith(`${place} `), (error as QuorateError).detail);
        assert.notInclude((error as QuorateError).detail, 'HOME');
      }
    }
  });

  it('takes all fields of a path from one version, fetched once', async () => {
    const table = new Table({ db: { value: '{"u":"u1","p":"p1"}', version: 1 } });
    table.onAsked = () => { table.rows['db'] = { value: '{"u":"u2","p":"p2"}', version: 2 }; };
    const { bytes, versions } = await render(table, parse('{{ secret "db#u" }} {{ secret "db#p" }}'));
    assert.equal(bytes.toString(), 'u1 p1');
    assert.deepEqual([...versions], [['db', 1]]);
    assert.equal(table.asked, 1);
    assert.isTrue(table.wiped);
  });

  it('renders once more when a secret was rotated in the middle', async () => {
    const table = new Table({ a: { value: 'a1', version: 1 }, b: { value: 'b1', version: 1 } });
    table.onAsked = () => {
      if (table.asked === 1) table.rows['a'] = { value: 'a2', version: 2 };
      if (table.asked === 1) table.rows['b'] = { value: 'b2', version: 2 };
    };
    // The first look has a1 and b2, which were never current together.
    assert.equal((await render(table, parse('{{secret "a"}}{{secret "b"}}'))).bytes.toString(), 'a2b2');
    assert.isTrue(table.wiped);
  });

  it('gives up on secrets that never rest, and on one that goes away; wipes what it had', async () => {
    const table = new Table({ a: { value: 'a', version: 1 }, b: { value: 'b', version: 1 } });
    table.onAsked = () => { table.rows['a'] = { value: 'a', version: table.asked + 1 }; };
    assert.equal((await failure(render(table, parse('{{secret "a"}}{{secret "b"}}')))).code, 'BUSY');
    table.onAsked = () => { if (table.asked % 2 === 0) delete table.rows['b']; };
    table.asked = 0;
    assert.equal((await failure(render(table, parse('{{secret "a"}}{{secret "b"}}')))).code, 'SECRET_NOT_FOUND');
    assert.isTrue(table.wiped);
  });

  it('says all that is missing, and passes on that nobody answers', async () => {
    const table = new Table({ db: { value: '{"u":1}', version: 1 } });
    const refs = parse('{{secret "db#u"}}{{secret "db#x"}}{{secret "db#x"}}{{secret "none"}}').filter(isRef);
    assert.deepEqual((await missingOf(table, refs)).map(({ detail }) => detail), ['db has no field x', 'none']);
    assert.isTrue(table.wiped);
    assert.equal((await failure(missingOf({ fetch: () => Promise.reject(new QuorateError('CONNECT_FAILED', 'gone')) }, refs))).code, 'CONNECT_FAILED');
  });
});
