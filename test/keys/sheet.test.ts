/** Sheets of attributes, as far as TypeScript looks into them. */
import { expect } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { attributeOf, CKA, flagOf, labelOf, usesOf } from '../../src/keys/sheet.js';
import { sheet } from '../operations/objectsFixture.js';
import { codeOfCall } from '../refusal.js';

describe('keys/sheet', () => {
  it('finds attributes, and says when there is none', () => {
    const made = sheet({ [CKA.LABEL]: 'caf\u00e9', [CKA.SIGN]: true, [CKA.VERIFY]: false, [CKA.CLASS]: 4 });
    expect(Buffer.from(attributeOf(made, CKA.CLASS)!).readBigUInt64LE()).to.equal(4n);
    expect(attributeOf(made, CKA.WRAP)).to.equal(null);
    expect([flagOf(made, CKA.SIGN), flagOf(made, CKA.VERIFY), flagOf(made, CKA.WRAP)]).to.deep.equal([true, false, false]);
    expect(labelOf(made)).to.equal('caf\u00e9');
    expect(labelOf(new Uint8Array(0))).to.equal('');
    expect(labelOf(sheet({ [CKA.LABEL]: Uint8Array.of(0xc3) }))).to.equal('');
    expect(usesOf(made, sheet({ [CKA.UNWRAP]: true }), new Uint8Array(0))).to.deep.equal(['sign', 'unwrap']);
  });

  it('refuses what is cut short or too long, wherever it is cut', () => {
    const made = sheet({ [CKA.LABEL]: 'label', [CKA.SIGN]: true });
    const ends = [0, 13, made.length];
    for (let end = 0; end <= made.length; end++)
      expect(codeOfCall(() => flagOf(made.subarray(0, end), CKA.SIGN)), String(end)).to.equal(ends.includes(end) ? 'OK' : 'ATTRIBUTE_VALUE_INVALID');
    const huge = Uint8Array.from(made);
    new DataView(huge.buffer).setUint32(4, 0xffff_ffff, true);
    expect(codeOfCall(() => labelOf(huge))).to.equal('ATTRIBUTE_VALUE_INVALID');
    expect(codeOfCall(() => flagOf(new Uint8Array(LIMITS.object_sheet_bytes_max + 1), CKA.SIGN))).to.equal('OBJECT_TOO_LARGE');
  });
});
