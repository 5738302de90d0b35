/**
 * Metrics as text: Prometheus' exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats), which becomes OpenMetrics 1.0 by naming counters' families
 * without `_total` and by an end. Units are the last word of a name, before `_total`; times are seconds, sizes bytes.
 */
import { assert } from '../base/assert.js';

export type MetricLabels = Readonly<Record<string, string>>;
export type MetricSample = readonly [MetricLabels, number];

const NAME = /^quorate_[a-z][a-z0-9_]*$/;
const LABEL = /^[a-z][a-z0-9_]*$/;
const COUNTER = '_total';

const helpText = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const labelText = (text: string): string => helpText(text).replaceAll('"', '\\"');

function sampleLine(name: string, labels: MetricLabels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => {
    assert(LABEL.test(label), 'a label\'s name');
    return `${label}="${labelText(text)}"`;
  });
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${Number.isNaN(value) ? 'NaN' : Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'}\n`;
}

export class Exposition {
  readonly #families = new Set<string>();
  readonly #parts: string[] = [];

  /** A family without a sample is left out: what is not known has no number. */
  gauge(name: string, help: string, samples: number | readonly MetricSample[]): this {
    return this.#family(name, 'gauge', help, samples);
  }

  /** It only grows, until the daemon starts again. */
  counter(name: string, help: string, samples: number | readonly MetricSample[]): this {
    assert(name.endsWith(COUNTER), 'a counter\'s name ends in _total');
    return this.#family(name, 'counter', help, samples);
  }

  #family(name: string, type: string, help: string, given: number | readonly MetricSample[]): this {
    assert(NAME.test(name) && !this.#families.has(name), 'a name of its own');
    this.#families.add(name);
    const samples: readonly MetricSample[] = typeof given === 'number' ? [[{}, given]] : given;
    if (samples.length === 0) return this;
    this.#parts.push(`# HELP ${name} ${helpText(help)}\n# TYPE ${name} ${type}\n`, ...samples.map(([labels, value]) => sampleLine(name, labels, value)));
    return this;
  }

  text(): string {
    return this.#parts.join('');
  }
}

/** The same as OpenMetrics. */
export function asOpenMetrics(text: string): string {
  const lines = text.replace(/^# (HELP|TYPE) (\S+)_total (.*)$/gm, '# $1 $2 $3');
  return `${lines}# EOF\n`;
}
