/**
 * The steps of a shredding, each of which leaves the store as the next one begins, on whichever host sweeps: the date is reached; the records go; the key
 * goes from every ring (drop.ts); the destinations of backups have lost it (src/daemon/backup/shredded.ts); the certificate is signed.
 * docs/BACKUP.md, "Crypto-shredding"
 */
import { hostname } from 'node:os';
import { create, toBinary } from '@bufbuild/protobuf';
import { chain } from '../../audit/departure.js';
import { shredLine, shredText } from '../../audit/shredding.js';
import { LIMITS } from '../../base/limits.js';
import { idText } from '../../keys/names.js';
import { decodeRecord } from '../../keys/record.js';
import { isDestroyed } from '../../keys/states.js';
import { schemeName, typeName } from '../../keys/usage.js';
import { StoredShredLinesSchema } from '../../protocol/gen/records_pb.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { elapsedOf } from '../../operations/elapsed.js';
import { wipeFiles } from '../../operations/idempotent.js';
import { DAEMON } from '../../operations/journal.js';
import { isConflict } from '../../operations/mutate.js';
import { commitAudited } from '../../operations/pending.js';
import { holdsValue } from '../../operations/secrets.js';
import { SECRET } from '../../operations/secretRecords.js';
import { decodeSecret, isGone, secretId } from '../../secrets/record.js';
import { type FoundShred, loadShreds, putShred, SHRED_LINES, shredPlaces, shredRevisions, type Shredding } from '../../operations/shredRecords.js';
import type { Change, SealedRecord } from '../../store/store.js';
import { readOffice } from '../backup/office.js';
import type { RegionPart } from '../rotation/regionPart.js';
import { readRotation } from '../rotation/record.js';
import type { Retire } from '../rotation/rotations.js';
import { domainEntry, type OpenRing } from '../seal/ring.js';
import { dropShredded } from './drop.js';

/** Records that one transaction removes, beside its own two. */
const AT_ONCE = 64;
/** A step gives way to the other work after as many transactions. */
const ROUNDS = 64;
const DAY_MS = 86_400_000;

export interface ShredderOptions {
  readonly retire: Retire;
  /** null: a single host. */
  readonly region: () => (RegionPart & { readonly hosts: readonly string[] }) | null;
  /** How long a segment is kept at most; 0: no backups are configured here. */
  readonly backupsKeptMs: number;
}

export class Shredder {
  readonly #o: ShredderOptions;
  #isStepping = false;

  constructor(options: ShredderOptions) {
    this.#o = options;
  }

  /** One step of each that is under way. What a commit throws: the next call goes on. */
  async step(context: OperationContext, ring: OpenRing): Promise<void> {
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      const open = (await loadShreds(context.store)).filter(({ shred }) => shred.phase !== 'shredded');
      for (const found of open) await this.#one(context, ring, found);
      if (open.length > 0) await context.access.domainsChanged();
    } catch (error) {
      // Cancelled, or carried on elsewhere, in this instant.
      if (!isConflict(error)) throw error;
    } finally {
      this.#isStepping = false;
    }
  }

  async #one(context: OperationContext, ring: OpenRing, found: FoundShred): Promise<void> {
    switch (found.shred.phase) {
      case 'scheduled': return this.#begin(context, found);
      case 'purging': return this.#purge(context, ring, found);
      case 'dropped': return this.#waitForHosts(context, ring, found);
      default: return this.#waitForPlaces(context, found);
    }
  }

  /** By the wall clock and by counted time, in a region by the clocks of two zones: as keys are destroyed (operations/sweep.ts). */
  async #begin(context: OperationContext, { shred, generation }: FoundShred): Promise<void> {
    const nowMs = context.clock.nowMs();
    const dueMs = Number(shred.dueMs);
    if (dueMs > nowMs) return;
    const agreed = context.agreed?.();
    if (agreed === undefined ? Number(shred.dueElapsed) > (await elapsedOf(context)).now(context.clock) : agreed.untilMs === null || dueMs > agreed.untilMs) return;
    await this.#audited(context, shred, `scheduled_for=${new Date(dueMs).toISOString()}`, (audited) => commitAudited(audited, [putShred({ ...shred, phase: 'purging', begunMs: BigInt(nowMs) }, generation)], null));
    context.log.info('a domain is being shredded, as scheduled', { domain: shred.domain });
  }

  async #audited(context: OperationContext, { domain }: Shredding, detail: string, commit: (context: OperationContext) => Promise<unknown>): Promise<void> {
    const entry = context.journal?.begin({ method: 'ShredDomain', domain: SYSTEM_DOMAIN, principal: DAEMON, uid: process.getuid!(), pid: process.pid, request: null, resource: domain, detail });
    try {
      await commit({ ...context, auditEntry: entry });
      entry?.done();
    } catch (error) {
      if (!isConflict(error)) entry?.failed(error);
      throw error;
    }
  }

  async #purge(context: OperationContext, ring: OpenRing, found: FoundShred): Promise<void> {
    let { shred, generation } = found;
    for (let round = 0; round < ROUNDS; round++) {
      const walked = await context.store.walk({ domain: shred.domain, kind: '', id: '' }, AT_ONCE);
      const records = walked.filter(({ name }) => name.domain === shred.domain);
      if (records.length === 0) return this.#drop(context, ring, { shred, generation });
      shred = await this.#remove(context, { shred, generation }, records);
      generation += 1;
    }
  }

  async #remove(context: OperationContext, { shred, generation }: FoundShred, records: readonly SealedRecord[]): Promise<Shredding> {
    const keys = records.filter(({ name }) => name.kind === 'key').map(({ value }) => decodeRecord(value));
    const secrets = records.filter(({ name }) => name.kind === SECRET).map(({ value }) => decodeSecret(value));
    const secretLines = secrets.filter(holdsValue).map(({ path, versions }) => shredLine({ kind: 'secret', versions: versions.filter((v) => !isGone(v)).length, name: path }));
    const keyLines = keys.filter(({ state }) => !isDestroyed(state)).map(({ id, type, scheme, versions, name }) => shredLine({ kind: 'key', id: idText(id), type: typeName(type), scheme: schemeName(scheme), versions: versions.length, name }));
    const lines = [...keyLines, ...secretLines];
    const next: Shredding = {
      ...shred, keys: shred.keys + BigInt(keyLines.length), secrets: shred.secrets + BigInt(secretLines.length), records: shred.records + BigInt(records.length), pages: shred.pages + (lines.length > 0 ? 1 : 0), inventory: lines.reduce(chain, shred.inventory),
    };
    const changes: Change[] = [putShred(next, generation), ...records.map(({ name, generation: its }) => ({ name, value: null, ifGeneration: its }))];
    if (lines.length > 0) {
      const id = `${shred.domain}:${String(next.pages).padStart(8, '0')}`;
      changes.push({ name: { domain: SYSTEM_DOMAIN, kind: SHRED_LINES, id }, value: toBinary(StoredShredLinesSchema, create(StoredShredLinesSchema, { lines: lines.map((line) => `${line}\n`).join('') })), ifGeneration: 0 });
    }
    await context.store.commit(changes, null);
    for (const { id } of keys) context.onKeyChanged(id);
    for (const { path } of secrets) context.onKeyChanged(secretId(shred.domain, path));
    return next;
  }

  /** With what carries the key to other hosts: none of them finds it again. */
  async #drop(context: OperationContext, ring: OpenRing, { shred, generation }: FoundShred): Promise<void> {
    const { store } = context;
    const changes: Change[] = [putShred({ ...shred, phase: 'dropped' }, generation)];
    let after = '';
    do {
      const page = await store.list(SYSTEM_DOMAIN, 'ringKey', { after, limit: LIMITS.page_size_max });
      const its = page.records.filter(({ name }) => name.id.split(':')[1] === domainEntry(shred.domain));
      changes.push(...its.map(({ name, generation: at }) => ({ name, value: null, ifGeneration: at })));
      after = page.after;
    } while (after !== '');
    const rotation = await readRotation(store);
    if (rotation !== null && rotation.phase !== 'done') changes.push(...((await this.#o.region()?.bundles(store, rotation.generation, shred.domain)) ?? []));
    await this.#audited(context, shred, 'key_dropped', (audited) => commitAudited(audited, changes, null));
    if (await dropShredded(store, ring, this.#o.retire)) await wipeFiles(context);
    context.log.info('a domain\'s key was destroyed here', { domain: shred.domain, keys: Number(shred.keys), records: Number(shred.records) });
  }

  async #waitForHosts(context: OperationContext, ring: OpenRing, { shred, generation }: FoundShred): Promise<void> {
    // After a start in between.
    await dropShredded(context.store, ring, this.#o.retire);
    const revision = (await shredRevisions(context.store)).get(shred.domain) ?? 0;
    if (((await context.store.pending?.(revision)) ?? []).length > 0) return;
    await context.store.commit([putShred({ ...shred, phase: 'gone' }, generation)], null);
  }

  /** Whoever writes the backups says where the key is gone; who has never written any has none to say. */
  async #waitForPlaces(context: OperationContext, { shred, generation }: FoundShred): Promise<void> {
    const { audit, store, clock, ring } = context;
    const places = await shredPlaces(store, shred.domain);
    if ((await readOffice(context)) !== null && (places.length === 0 || !places.every(({ confirmedMs, afterHosts }) => confirmedMs > 0 && afterHosts))) return;
    if (audit?.signNote === undefined) return;
    const host = context.host ?? hostname();
    const shreddedMs = clock.nowMs();
    const note = audit.signNote(shredText({
      store: ring.storeId, domain: shred.domain, principal: shred.principal, requestedMs: Number(shred.requestedMs), begunMs: Number(shred.begunMs), shreddedMs, host,
      hosts: [...(this.#o.region()?.hosts ?? [host])].sort(), places: places.map(({ name }) => name), keys: Number(shred.keys), secrets: Number(shred.secrets), records: Number(shred.records),
      backupsUntilMs: places.length === 0 ? 0 : shreddedMs + this.#o.backupsKeptMs + DAY_MS, inventory: shred.inventory,
    }));
    await this.#audited(context, shred, 'shredded', (audited) => commitAudited(audited, [putShred({ ...shred, phase: 'shredded', shreddedMs: BigInt(shreddedMs), note, verifierKey: audit.log.verifierKey }, generation)], null));
    context.log.info('a domain is shredded: every host and every destination of backups has confirmed', { domain: shred.domain });
  }
}
