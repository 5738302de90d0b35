/**
 * A new generation of the ring's shared keys: the domains' and, in a region, the envelope's. A job in steps, each of which leaves the store as the
 * next one begins, on whichever host sweeps; docs/REGIONS.md, "Keys of the ring, and their rotation". The record names' key is none of them: it
 * changes in a rebuild.
 */
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type { OperationContext } from '../../operations/context.js';
import { isConflict } from '../../operations/mutate.js';
import { commitAudited } from '../../operations/pending.js';
import { resealAll } from '../../operations/reseal.js';
import type { RingKey } from '../../region/trust/entries.js';
import { REGION_RECORD } from '../../region/membership.js';
import type { Change, Durability, Store } from '../../store/store.js';
import { isRotated, type NewEntry, type OpenRing } from '../seal/ring.js';
import type { RegionPart } from './regionPart.js';
import { type FoundRotation, putRotation, readRotation, ROTATION_RECORD, type Rotation } from './record.js';

const KEY_BYTES = 32;
/** A look at everything that the engine holds. */
const LOOK_MS = 60_000;

export interface RotationOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  /** seal.json first. */
  readonly extend: (ring: OpenRing, entries: readonly NewEntry[]) => void;
  readonly retire: Retire;
  /** null: a single host. */
  readonly region: () => RegionPart | null;
}

export interface RotationView extends Rotation {
  /** Hosts that it waits for. */
  readonly pending: readonly string[];
  readonly endsMs: number;
}

/** Keys out of seal.json, then out of the ring. */
export type Retire = (ring: OpenRing, gone: readonly RingKey[]) => void;

/** What this host's ring does about it. Again and again, the same. */
export function follow(ring: OpenRing, rotation: Rotation | null, retire: Retire): void {
  if (rotation === null || rotation.phase === 'adopting') return;
  ring.activate(rotation.generation);
  if (rotation.phase === 'done') retire(ring, ring.before(rotation.generation));
}

export class Rotations {
  readonly #o: RotationOptions;
  #isStepping = false;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: RotationOptions) {
    this.#o = options;
  }

  /** Over one that is under way, too: what began it last may have known its keys. CONFLICT, READ_ONLY, STORE_FULL, STORE_IO, ARENA_FULL, OUTCOME_UNKNOWN */
  async begin(context: OperationContext, ring: OpenRing): Promise<{ generation: number; durability: Durability }> {
    const { clock, log } = this.#o;
    const before = await readRotation(context.store);
    const generation = 1 + Math.max(before?.generation ?? 1, ...ring.entries.filter(({ name }) => isRotated(name)).map(({ version }) => version));
    const rotation: Rotation = { generation, phase: 'adopting', startedMs: clock.nowMs(), activatedMs: 0, resealed: 0 };
    const changes = await this.#keysFor(context.store, ring, generation);
    const durability = await commitAudited(context, [...changes, putRotation(rotation, before?.at ?? 0)], null);
    log.info('a rotation of the ring begins', { generation });
    return { generation, durability };
  }

  /** In the ring, then on their way to the others; with the membership, so that neither a host nor a domain comes in between. */
  async #keysFor(store: Store, ring: OpenRing, generation: number): Promise<Change[]> {
    const { addon, extend, region } = this.#o;
    const stored = await store.get(REGION_RECORD);
    const names = new Set(ring.entries.filter(({ name }) => isRotated(name)).map(({ name }) => name));
    const missing = [...names].filter((name) => !ring.entries.some((entry) => entry.name === name && entry.version === generation));
    if (missing.length > 0) extend(ring, missing.map((name) => ({ name, given: { version: generation, handle: addon.secretRandom(KEY_BYTES) } })));
    const part = region();
    if (part === null || stored === null) return [];
    return [{ name: REGION_RECORD, value: stored.value, ifGeneration: stored.generation }, ...(await part.bundles(store, generation))];
  }

  async status(context: OperationContext): Promise<RotationView | null> {
    const rotation = await readRotation(context.store);
    if (rotation === null) return null;
    const pending = rotation.phase === 'done' ? [] : [...(await this.#behind(context.store)).values()].flat();
    return { ...rotation, pending, endsMs: rotation.activatedMs === 0 ? 0 : rotation.activatedMs + LIMITS.idempotency_life_ms };
  }

  /** Hosts that have not confirmed the rotation's present phase. */
  async #behind(store: Store): Promise<Map<'there' | 'away', string[]>> {
    const { domain, kind } = ROTATION_RECORD;
    const { records } = await store.changed(domain, kind, { revision: 0, id: '' }, 1);
    return this.#o.region()?.behind(records[0]?.revision ?? 0) ?? new Map();
  }

  /** One step of the one under way, when it is this host's to make. What a commit throws: the next call goes on. */
  async step(context: OperationContext, ring: OpenRing): Promise<void> {
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      const rotation = await readRotation(context.store);
      follow(ring, rotation, this.#o.retire);
      if (rotation === null || rotation.phase === 'done') return;
      if (rotation.phase === 'adopting') await this.#activate(context, ring, rotation);
      else if (rotation.phase === 'resealing') await this.#reseal(context, rotation);
      else await this.#end(context, rotation);
      follow(ring, await readRotation(context.store), this.#o.retire);
    } catch (error) {
      if (!isConflict(error)) throw error;
    } finally {
      this.#isStepping = false;
    }
  }

  /** Who is away gets the keys before the first record that needs them: onMissing. */
  async #activate(context: OperationContext, ring: OpenRing, rotation: FoundRotation): Promise<void> {
    if (((await this.#behind(context.store)).get('there') ?? []).length > 0) return;
    const rotated = ring.entries.filter(({ name }) => isRotated(name));
    const isWhole = rotated.every(({ name }) => rotated.some((entry) => entry.name === name && entry.version === rotation.generation));
    const changes = await this.#keysFor(context.store, ring, rotation.generation);
    const next: Rotation = isWhole ? { ...rotation, phase: 'resealing', activatedMs: this.#o.clock.nowMs() } : rotation;
    await context.store.commit([...changes, putRotation(next, rotation.at)], null);
    this.#o.log.info(isWhole ? 'the new keys of the ring seal from here on' : 'a new domain is rotated with the others', { generation: rotation.generation });
  }

  async #reseal(context: OperationContext, rotation: FoundRotation): Promise<void> {
    const { done, left } = await resealAll(context);
    if (left > 0) return;
    await this.#turn(context, rotation, { phase: 'waiting', resealed: rotation.resealed + done });
    this.#o.log.info('every record is sealed by the new keys', { generation: rotation.generation, records: done });
  }

  /** Both generations live until everybody has confirmed, and until nothing is left that the old one has sealed. */
  async #end(context: OperationContext, rotation: FoundRotation): Promise<void> {
    const { clock, log, region } = this.#o;
    if ([...(await this.#behind(context.store)).values()].flat().length > 0) return;
    if (clock.nowMs() < rotation.activatedMs + LIMITS.idempotency_life_ms) return;
    const part = region();
    if (part !== null && clock.monotonicMs() - this.#lookedMs < LOOK_MS) return;
    await part?.removeBundles(context.store);
    const { done } = await resealAll(context);
    this.#lookedMs = clock.monotonicMs();
    if (done > 0 || (part !== null && !(await part.isResealed()))) return;
    await this.#turn(context, rotation, { phase: 'done' });
    this.#lookedMs = Number.NEGATIVE_INFINITY;
    log.info('the old keys of the ring are forgotten', { generation: rotation.generation });
  }

  /** The record has been sealed anew with the others; where it says something else by now, another host was faster. CONFLICT */
  async #turn({ store }: OperationContext, { generation, phase }: Rotation, next: Partial<Rotation>): Promise<void> {
    const now = await readRotation(store);
    if (now === null || now.generation !== generation || now.phase !== phase) throw new QuorateError('CONFLICT', 'the rotation goes on elsewhere');
    await store.commit([putRotation({ ...now, ...next }, now.at)], null);
  }
}
