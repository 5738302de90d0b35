/**
 * What the engine's members say of themselves, looked at now and then: how large the database is, and whether an alarm stops writes. And how an
 * alarm for space is cleared: compact, give the room back member by member, the leader last, then disarm.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { EngineClient } from './engine/client.js';
import type { EngineAlarm, EngineStatus } from './engine/membership.js';

const LOOK_MS = 5_000;
const STATUS_MS = 500;
const DEFRAGMENT_MS = 60_000;
/** From here on the quota is spoken of. */
export const CAPACITY_WARN = 0.8;

export interface NamedAlarm {
  /** The member's name, its id in hexadecimal where it has none. */
  readonly host: string;
  readonly kind: EngineAlarm['kind'];
}

export interface EngineFacts {
  readonly alarms: readonly NamedAlarm[];
  /** Of the largest member's database; 0: nobody has said yet. */
  readonly bytes: number;
}

export class EngineUpkeep {
  readonly #engine: Pick<EngineClient, 'members' | 'alive' | 'compact'>;
  #facts: EngineFacts = { alarms: [], bytes: 0 };
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | null = null;

  constructor(engine: Pick<EngineClient, 'members' | 'alive' | 'compact'>) {
    this.#engine = engine;
  }

  get facts(): EngineFacts {
    return this.#facts;
  }

  /** One look at a time. Members that do not answer are left out; what was known of alarms stays when nobody does. */
  look(nowMs: number): Promise<void> {
    if (this.#looking !== null) return this.#looking;
    if (nowMs - this.#lookedMs < LOOK_MS) return Promise.resolve();
    this.#lookedMs = nowMs;
    this.#looking = this.#look().catch(() => undefined).finally(() => { this.#looking = null; });
    return this.#looking;
  }

  async #statuses(): Promise<EngineStatus[]> {
    const { members } = this.#engine;
    const all = await Promise.all(members.addresses().map((address) => members.status(address, STATUS_MS).catch(() => null)));
    return all.filter((status) => status !== null);
  }

  async #look(): Promise<void> {
    const statuses = await this.#statuses();
    if (statuses.length === 0) return;
    // Each member names the alarms that it knows of; asking the engine for them costs it an entry of its log.
    const alarms = statuses.some(({ errors }) => errors.length > 0) ? await this.#named() : [];
    this.#facts = { alarms, bytes: Math.max(...statuses.map(({ databaseBytes }) => databaseBytes)) };
  }

  async #named(): Promise<NamedAlarm[]> {
    const { members } = this.#engine;
    const [alarms, all] = await Promise.all([members.alarms(LIMITS.region_commit_ms), members.list(LIMITS.region_commit_ms)]);
    const nameOf = (id: bigint): string => all.find((member) => member.id === id)?.name || id.toString(16);
    return alarms.map(({ memberId, kind }) => ({ host: nameOf(memberId), kind }));
  }

  /** ENGINE_UNAVAILABLE, ENGINE_REFUSED */
  async clear(quotaBytes: number): Promise<{ cleared: readonly NamedAlarm[]; bytesBefore: number; bytesAfter: number; warnings: readonly string[] }> {
    const { members } = this.#engine;
    const alarms = await members.alarms(LIMITS.region_commit_ms);
    const cleared = await this.#named();
    const before = await this.#statuses();
    const warnings: string[] = [];
    if (alarms.some(({ kind }) => kind === 'space')) {
      await this.#compact();
      warnings.push(...(await this.#giveBack(before)));
    }
    const after = await this.#statuses();
    const largest = (all: readonly EngineStatus[]): number => Math.max(0, ...all.map(({ databaseBytes }) => databaseBytes));
    if (largest(after) >= CAPACITY_WARN * quotaBytes) warnings.push(`the engine still holds ${largest(after)} bytes of ${quotaBytes}: it will be full again; start every member with a larger --quota-backend-bytes`);
    for (const alarm of alarms) await members.clearAlarm(alarm, LIMITS.region_commit_ms);
    if (alarms.some(({ kind }) => kind === 'corruption')) warnings.push('a member\'s data was damaged: remove that host, and let it join anew with an empty engine');
    this.#lookedMs = Number.NEGATIVE_INFINITY;
    await this.look(0);
    return { cleared, bytesBefore: largest(before), bytesAfter: largest(after), warnings };
  }

  async #compact(): Promise<void> {
    const header = await this.#engine.alive(LIMITS.region_commit_ms);
    if (header === null) throw new QuorateError('ENGINE_UNAVAILABLE', 'the engine has no majority');
    try {
      await this.#engine.compact(header.revision, LIMITS.region_commit_ms);
    } catch (error) {
      // Somebody has done it already.
      if (!(error instanceof QuorateError) || error.code !== 'ENGINE_COMPACTED') throw error;
    }
  }

  async #giveBack(statuses: readonly EngineStatus[]): Promise<string[]> {
    const { members } = this.#engine;
    const order = [...statuses].sort((a, b) => Number(a.memberId === a.leaderId) - Number(b.memberId === b.leaderId));
    const missing: string[] = members.addresses().filter((address) => !statuses.some((status) => status.address === address));
    for (const { address } of order) await members.defragment(address, DEFRAGMENT_MS).catch(() => missing.push(address));
    return missing.map((address) => `the member at ${address} gave no room back: it did not answer`);
  }
}
