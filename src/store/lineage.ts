/**
 * Which history a revision belongs to. A rebuilt region counts its incarnations and gives each a random id; the engine's cluster has an id of
 * its own. Revisions of different lineages cannot be compared.
 */
export interface Lineage {
  /** 1 for a region that was never rebuilt. */
  readonly counter: number;
  /** 32 lower-case hexadecimal digits, random for each incarnation. */
  readonly id: string;
  /** The engine's cluster id, 16 lower-case hexadecimal digits. */
  readonly cluster: string;
}

/** All up to this revision has been applied, and fsynced. */
export interface Watermark {
  readonly lineage: Lineage;
  readonly revision: number;
}

export function isLineage(value: Lineage): boolean {
  return Number.isSafeInteger(value.counter) && value.counter >= 1 && /^[0-9a-f]{32}$/.test(value.id) && /^[0-9a-f]{16}$/.test(value.cluster);
}

export function sameLineage(a: Lineage, b: Lineage): boolean {
  return a.counter === b.counter && a.id === b.id && a.cluster === b.cluster;
}

export function lineageText({ counter, id, cluster }: Lineage): string {
  return `${counter}/${id.slice(0, 8)} of cluster ${cluster}`;
}
