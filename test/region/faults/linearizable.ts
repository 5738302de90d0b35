/**
 * Whether the writes of one key have an order in which each could have been done, each between its begin and its end: a register with
 * compare-and-set on the generation. The search is Wing and Gong's with Lowe's memory of what was tried. An operation of unknown outcome may be
 * done at any time after its begin, or never.
 */
export interface RegisterOperation {
  readonly id: string;
  readonly beganMs: number;
  /** Infinity: unknown outcome. */
  readonly endedMs: number;
  readonly ifGeneration: number;
  /** What it may have left; several when it is not known which of its attempts was done. null: removed. */
  readonly values: readonly (string | null)[];
}

/** What somebody read, linearizably: after all is over, the state itself. */
export interface RegisterState {
  readonly generation: number;
  readonly value: string | null;
}

interface Node {
  readonly state: RegisterState;
  /** All definite operations before it are done. */
  readonly low: number;
  /** Definite ones behind `low` that are done, and unknown ones that are done: indices, sorted. */
  readonly ahead: readonly number[];
  readonly taken: readonly number[];
}

export interface Search {
  readonly linearizable: boolean;
  /** Ids of the operations that could not be placed when the search was at its farthest. */
  readonly stuck: readonly string[];
  readonly steps: number;
}

const STEPS_MAX = 2_000_000;

const insert = (list: readonly number[], i: number): number[] => [...list, i].sort((a, b) => a - b);

export function after(state: RegisterState, value: string | null): RegisterState {
  return value === null ? { generation: 0, value: null } : { generation: state.generation + 1, value };
}

class Course {
  readonly #definite: readonly RegisterOperation[];
  readonly #unknown: readonly RegisterOperation[];
  readonly #tried = new Set<string>();
  readonly #final: RegisterState | null;

  constructor(operations: readonly RegisterOperation[], final: RegisterState | null) {
    const byBegin = [...operations].sort((a, b) => a.beganMs - b.beganMs);
    this.#definite = byBegin.filter(({ endedMs }) => endedMs !== Number.POSITIVE_INFINITY);
    this.#unknown = byBegin.filter(({ endedMs }) => endedMs === Number.POSITIVE_INFINITY);
    this.#final = final;
  }

  run(): Search {
    const stack: Node[] = [{ state: { generation: 0, value: null }, low: 0, ahead: [], taken: [] }];
    let farthest = stack[0]!;
    let steps = 0;
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (++steps > STEPS_MAX) throw new Error(`the search has not ended after ${STEPS_MAX} steps`);
      if (node.low + node.ahead.length > farthest.low + farthest.ahead.length) farthest = node;
      if (this.#isEnd(node)) return { linearizable: true, stuck: [], steps };
      stack.push(...this.#next(node).filter((one) => this.#isNew(one)));
    }
    return { linearizable: false, stuck: this.#open(farthest).map((i) => this.#definite[i]!.id), steps };
  }

  #isEnd({ low, state }: Node): boolean {
    return low === this.#definite.length && (this.#final === null || (this.#final.generation === state.generation && this.#final.value === state.value));
  }

  #isNew({ state, low, ahead, taken }: Node): boolean {
    const key = `${low}|${ahead}|${taken}|${state.generation}|${state.value}`;
    if (this.#tried.has(key)) return false;
    this.#tried.add(key);
    return true;
  }

  /** Definite operations that may come next: none that is not done had ended before they began. */
  #open({ low, ahead }: Node): number[] {
    const found: number[] = [];
    let endMs = Number.POSITIVE_INFINITY;
    for (let i = low; i < this.#definite.length && this.#definite[i]!.beganMs <= endMs; i++) {
      if (ahead.includes(i)) continue;
      found.push(i);
      endMs = Math.min(endMs, this.#definite[i]!.endedMs);
    }
    return found.filter((i) => this.#definite[i]!.beganMs <= endMs);
  }

  /** The likeliest last: it is taken off the stack first. */
  #next(node: Node): Node[] {
    const open = this.#open(node);
    const endMs = open.reduce((least, i) => Math.min(least, this.#definite[i]!.endedMs), Number.POSITIVE_INFINITY);
    const nodes: Node[] = [];
    for (const [i, { beganMs, ifGeneration, values }] of this.#unknown.entries()) {
      if (beganMs > endMs || ifGeneration !== node.state.generation || node.taken.includes(i)) continue;
      for (const value of values) nodes.push({ ...node, state: after(node.state, value), taken: insert(node.taken, i) });
    }
    for (const i of open.reverse()) {
      const { ifGeneration, values } = this.#definite[i]!;
      if (ifGeneration !== node.state.generation) continue;
      for (const value of values) nodes.push({ ...this.#done(node, i), state: after(node.state, value), taken: node.taken });
    }
    return nodes;
  }

  #done({ low, ahead }: Node, i: number): Pick<Node, 'low' | 'ahead'> {
    const all = insert(ahead, i);
    while (all[0] === low) {
      all.shift();
      low++;
    }
    return { low, ahead: all };
  }
}

/** `final`: what the register holds when all is over; null when nobody has looked. */
export function linearize(operations: readonly RegisterOperation[], final: RegisterState | null): Search {
  return new Course(operations, final).run();
}
