import { assert } from 'chai';
import { csvCell, csvLine } from '../../src/cli/csv.js';

describe('csv', () => {
  it('quotes by RFC 4180 what a comma, a quote or a line end is in', () => {
    assert.equal(csvCell('plain name'), 'plain name');
    assert.equal(csvCell('a,b'), '"a,b"');
    assert.equal(csvCell('say "x"'), '"say ""x"""');
    assert.equal(csvCell('two\nlines'), '"two\nlines"');
    assert.equal(csvLine(['a', '', 'c,']), 'a,,"c,"\r\n');
  });

  it('keeps a spreadsheet from computing a name', () => {
    for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\r=x']) assert.match(csvCell(text), /^"?'/);
    assert.equal(csvCell('=HYPERLINK("http://x","y")'), '"\'=HYPERLINK(""http://x"",""y"")"');
    assert.equal(csvCell('a=b'), 'a=b');
  });
});
