/** A course: load, faults one after the other, and the verdict on the history. What the campaign and the tests run. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineProgram } from '../../../src/region/engine/program.js';
import { check } from './checker.js';
import { type FaultName, FAULTS, lacking } from './faults.js';
import { FaultRegion, type RegionPlace } from './faultRegion.js';
import type { History, Violation } from './history.js';
import { Load } from './load.js';
import type { BugName } from './planted.js';

export interface CourseOptions {
  readonly program: EngineProgram;
  readonly random: () => number;
  readonly writers?: number;
  readonly places?: readonly RegionPlace[];
  readonly bug?: BugName;
  readonly isApart?: boolean;
  /** See Stage. */
  readonly pace?: number;
}

/** A small seeded generator, so that a failure can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const WRITERS = 8;

export class Course {
  readonly load: Load;
  /** How often each fault was injected. */
  readonly injected = new Map<FaultName, number>();
  readonly skipped = new Map<FaultName, string>();

  private constructor(readonly region: FaultRegion, readonly random: () => number, readonly pace: number, writers: number) {
    this.load = new Load({ places: region.places, clients: region.hosts, random, writers });
  }

  static async begin({ program, random, writers, places, bug, isApart, pace }: CourseOptions): Promise<Course> {
    const region = await FaultRegion.start(program, { ...(places === undefined ? {} : { places }), bug: bug ?? null, isApart: isApart ?? true });
    const course = new Course(region, random, pace ?? 1, writers ?? WRITERS);
    course.load.start();
    return course;
  }

  /** Injects it, and waits until all hosts take writes again. */
  async inject(name: FaultName): Promise<void> {
    const lacks = lacking(name, this.region);
    if (lacks !== '') return void this.skipped.set(name, lacks);
    this.injected.set(name, (this.injected.get(name) ?? 0) + 1);
    try {
      await FAULTS[name].run({ region: this.region, load: this.load, random: this.random, pace: this.pace });
      await this.region.serving();
      const [surprise] = this.region.surprises;
      if (surprise !== undefined) throw new Error(surprise.what);
    } catch (error) {
      const surprises = this.region.surprises.splice(0).map(({ atMs, what }) => `${what} (${Math.round(performance.now() - atMs)} ms ago)`);
      throw new Error(`${name}: ${[(error as Error).message, ...surprises].join('; ')}`, { cause: error });
    }
  }

  /** Ends the load, and looks at all hosts. */
  async history(): Promise<History> {
    await this.load.stop();
    await this.region.serving();
    await this.load.settle((request) => this.region.host('a').ask('replay', { request }));
    await sleep(200);
    await this.region.settled();
    const final = new Map<string, Map<string, { value: string; generation: number }>>();
    for (const [name, host] of this.region.hosts) final.set(name, new Map(await host.ask('list', undefined as never, 60_000)));
    return this.load.history(final);
  }

  async verdict(): Promise<Violation[]> {
    return check(await this.history());
  }

  end(): Promise<void> {
    return this.region.stop();
  }
}
