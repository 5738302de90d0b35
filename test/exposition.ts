/** A strict reader of Prometheus' text format 0.0.4, and of OpenMetrics 1.0 as far as gauges and counters go: what a scraper would take, and no more. */
import { assert } from 'chai';

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: { readonly name: string; readonly labels: Record<string, string>; readonly value: number }[];
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const at = LABEL.lastIndex;
    const [, name, value, comma] = LABEL.exec(text) ?? assert.fail(`labels: ${text.slice(at)}`);
    assert.notProperty(labels, name!);
    labels[name!] = value!.replaceAll(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    if (comma === '') break;
  }
  return labels;
}

export function parseExposition(text: string, openMetrics = false): Map<string, Family> {
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  assert.match(text, /\n$/);
  const lines = text.slice(0, -1).split('\n');
  if (openMetrics) assert.equal(lines.pop(), '# EOF');
  let help: { name: string; text: string } | null = null;
  let current: Family | null = null;
  for (const line of lines) {
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment?.[1] === 'HELP') {
      help = { name: comment[2]!, text: comment[3]! };
    } else if (comment !== null) {
      assert.equal(help?.name, comment[2], 'HELP stands before TYPE, of the same family');
      assert.isFalse(families.has(comment[2]!), `${comment[2]} stands in one place`);
      assert.include(['gauge', 'counter'], comment[3]);
      current = { name: comment[2]!, type: comment[3]!, help: help!.text, samples: [] };
      families.set(current.name, current);
    } else {
      const [, name, labels = '', value] = SAMPLE.exec(line) ?? assert.fail(`no sample: ${line}`);
      assert.isNotNull(current, line);
      assert.equal(name, current!.type === 'counter' && openMetrics ? `${current!.name}_total` : current!.name, line);
      if (current!.type === 'counter') assert.match(name!, /_total$/);
      const of = labelsOf(labels);
      const key = `${name} ${JSON.stringify(Object.entries(of).sort())}`;
      assert.isFalse(seen.has(key), `twice: ${line}`);
      seen.add(key);
      current!.samples.push({ name: name!, labels: of, value: value === '+Inf' ? Infinity : value === '-Inf' ? -Infinity : Number(value) });
    }
  }
  for (const family of families.values()) assert.isNotEmpty(family.samples, family.name);
  return families;
}
