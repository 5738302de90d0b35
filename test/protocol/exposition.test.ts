import { assert } from 'chai';
import { asOpenMetrics, Exposition } from '../../src/protocol/exposition.js';
import { parseExposition } from '../exposition.js';

describe('metrics as text', () => {
  const text = new Exposition()
    .gauge('quorate_a_seconds', 'One "thing" \\ two\nlines.', 1.5)
    .gauge('quorate_none', 'Nothing is known.', [])
    .gauge('quorate_b', 'Odd labels.', [[{ x: 'a"b\\c\nd,e="f"', y: '' }, 1e21], [{ x: 'é' }, Number.POSITIVE_INFINITY], [{ x: '1' }, 1e-9]])
    .counter('quorate_c_total', 'Counted.', 7)
    .text();

  it('is read back as it was meant', () => {
    const families = parseExposition(text);
    assert.deepEqual([...families.keys()], ['quorate_a_seconds', 'quorate_b', 'quorate_c_total']);
    assert.equal(families.get('quorate_a_seconds')!.samples[0]!.value, 1.5);
    assert.deepEqual(families.get('quorate_b')!.samples.map(({ labels, value }) => [labels['x'], value]), [['a"b\\c\nd,e="f"', 1e21], ['é', Infinity], ['1', 1e-9]]);
    assert.equal(families.get('quorate_c_total')!.type, 'counter');
  });

  it('is OpenMetrics by the names of counters and an end', () => {
    const families = parseExposition(asOpenMetrics(text), true);
    assert.deepEqual([...families.keys()], ['quorate_a_seconds', 'quorate_b', 'quorate_c']);
    assert.throws(() => parseExposition(text, true));
  });

  it('has no family twice, and no counter without its ending', () => {
    assert.throws(() => new Exposition().gauge('quorate_a', 'x', 1).gauge('quorate_a', 'x', 1));
    assert.throws(() => new Exposition().counter('quorate_a', 'x', 1));
    assert.throws(() => new Exposition().gauge('quorate-a', 'x', 1));
  });
});
