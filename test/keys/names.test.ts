import { expect } from 'chai';
import fc from 'fast-check';
import { changeLabels, checkLabels, checkName, checkNamePrefix, idBytes, parseKeyRef } from '../../src/keys/names.js';
import { codeOfCall } from '../refusal.js';

describe('keys/names', () => {
  const good = [
    'a',
    '7',
    'invoices',
    'billing/invoices-2024.v1',
    'a_b',
    'clé',
    'ключ',
    '鍵',
    'क्षि',
    `a${'b'.repeat(127)}`,
    'é'.repeat(64),
    'session',
    'sessions',
  ];
  for (const name of good) it(`allows ${JSON.stringify(name.slice(0, 30))}`, () => expect(checkName(name)).to.equal(name));

  const bad: [string, string][] = [
    ['', 'empty'],
    ['a'.repeat(129), '129 bytes'],
    ['é'.repeat(65), '130 bytes in 65 characters'],
    ['e\u0301', 'not NFC'],
    ['a..b', 'two dots'],
    ['../etc', 'dots'],
    ['/a', 'slash first'],
    ['a/', 'slash last'],
    ['a//b', 'empty segment'],
    ['-k', 'reads as an option'],
    ['.a', 'dot first'],
    ['a/.b', 'dot first in a segment'],
    ['a_', 'underscore last'],
    ['a b', 'space'],
    ['a\nb', 'line feed'],
    ['a\0', 'NUL'],
    ['a\u200db', 'zero width joiner'],
    ['a\u202eb', 'right-to-left override'],
    ['a\u3164b', 'Hangul filler'],
    ['a\u00adb', 'soft hyphen'],
    ['a\ud800b', 'lone surrogate'],
    ['\u0301a', 'mark first'],
    ['0123456789abcdef0123456789abcdef', 'an id'],
    ['0123456789ABCDEF0123456789ABCDEF', 'an id in capitals'],
    ['session:7', 'a session key'],
    ['a:b', 'colon'],
    ['a\\b', 'backslash'],
    ['😀', 'not a letter'],
  ];
  for (const [name, why] of bad)
    it(`refuses ${JSON.stringify(name.slice(0, 36))}: ${why}`, () => expect(codeOfCall(() => checkName(name))).to.equal('NAME_INVALID'));

  it('never lets in what breaks a rule, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 140 }), (name) => {
        if (codeOfCall(() => checkName(name)) !== 'OK') return;
        expect(name.normalize('NFC')).to.equal(name);
        expect(Buffer.byteLength(name)).to.be.within(1, 128);
        expect(name).to.not.match(/[\p{C}\s:\\]|\.\.|\/\/|^[/.\-_]|[/.\-_]$/u);
      }),
      { numRuns: 1000 },
    );
  });

  it('reads references', () => {
    expect(parseKeyRef('0123456789ABCDEF0123456789ABCDEF')).to.deep.equal({ kind: 'id', id: '0123456789abcdef0123456789abcdef' });
    expect(parseKeyRef('a/b')).to.deep.equal({ kind: 'name', name: 'a/b' });
    expect(codeOfCall(() => parseKeyRef(''))).to.equal('BAD_REQUEST');
    expect(codeOfCall(() => parseKeyRef('session:1'))).to.equal('KEY_NOT_FOUND');
    expect(codeOfCall(() => parseKeyRef('a b'))).to.equal('NAME_INVALID');
    expect(idBytes('0123456789abcdef0123456789abcdef')).to.have.lengthOf(16);
    expect(idBytes('0123456789abcdef0123456789abcdeg')).to.equal(null);
    expect(idBytes('00')).to.equal(null);
  });

  it('reads prefixes, also unfinished ones', () => {
    expect(checkNamePrefix('')).to.equal('');
    expect(checkNamePrefix('billing/')).to.equal('billing/');
    expect(codeOfCall(() => checkNamePrefix('a\n'))).to.equal('NAME_INVALID');
    expect(codeOfCall(() => checkNamePrefix('a'.repeat(129)))).to.equal('NAME_INVALID');
  });
});

describe('keys/names: labels', () => {
  const many = (n: number): Record<string, string> => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, 'v']));

  it('allows 32 of them, keys of 64 bytes, values of 256 and of none', () => {
    expect(checkLabels(many(32))).to.have.property('k31', 'v');
    expect(codeOfCall(() => checkLabels({ ['k'.repeat(64)]: 'v'.repeat(256), empty: '' }))).to.equal('OK');
  });

  const bad: [string, Record<string, string>][] = [
    ['33 labels', many(33)],
    ['a key of 65 bytes', { ['k'.repeat(65)]: 'v' }],
    ['an empty key', { '': 'v' }],
    ['a value of 257 bytes', { k: 'v'.repeat(257) }],
    ['a key with a space', { 'a b': 'v' }],
    ['a key like __proto__', Object.fromEntries([['__proto__', 'v']])],
    ['a control character in the value', { k: 'a\u0007' }],
    ['a value that is not NFC', { k: 'e\u0301' }],
    ['a bidirectional override in the value', { k: 'a\u202e' }],
  ];
  for (const [why, labels] of bad) it(`refuses ${why}`, () => expect(codeOfCall(() => checkLabels(labels))).to.equal('LABEL_INVALID'));

  it('removes, then sets', () => {
    expect(changeLabels({ a: '1', b: '2' }, { a: '9', c: '3' }, ['a', 'b', 'z'])).to.deep.equal({ a: '9', c: '3' });
    expect(codeOfCall(() => changeLabels(many(32), { extra: '1' }, []))).to.equal('LABEL_INVALID');
    expect(changeLabels(many(32), { extra: '1' }, ['k0'])).to.have.property('extra', '1');
  });
});
