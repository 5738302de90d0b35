/**
 * One host of a region in a process of its own, down to its store: `hostChild.js FILE`, with what faults/hostProcess.ts writes into FILE.
 * It is asked and answers over the channel that Node gives a child.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { utf8Bytes } from '../../src/base/bytes.js';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { QuorateError } from '../../src/base/errors.js';
import { createLogger } from '../../src/base/logger.js';
import { addon } from '../../src/crypto/addon.js';
import { EngineClient, type Transaction, type TransactionResult } from '../../src/region/engine/client.js';
import { decodeRegion } from '../../src/region/membership.js';
import type { PeerCredentials } from '../../src/region/peer/peers.js';
import { RegionStore } from '../../src/region/regionStore.js';
import { openCopy } from '../../src/store/copy.js';
import type { Change, Durability, Idempotency } from '../../src/store/store.js';
import { STORE_ID, testRing } from '../store/fixture.js';
import { identifier } from './certificates.js';
import { tlsOf } from './engine/cluster.js';
import type { Value, Write } from './faults/client.js';
import type { Answer } from './faults/history.js';

export interface HostSettings {
  readonly name: string;
  readonly copyPath: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly credentials: PeerCredentials;
  /** A region record, encoded, in base64. */
  readonly record: string;
  readonly engines: readonly string[];
  readonly engineFiles: { readonly ca: string; readonly certificate: string; readonly privateKey: string };
}

export interface HostState {
  readonly revision: number;
  readonly writable: boolean;
  readonly reason: string;
  readonly fault: string;
  readonly engineRevision: number;
}

const ARENA_BYTES = 4 * 1024 * 1024;
const PAGE = 500;

let wallOffsetMs = 0;
const clock: Clock = { nowMs: () => Date.now() + wallOffsetMs, monotonicMs: () => systemClock.monotonicMs() };

/** Dies when it is told to: the engine has committed, and nobody hears of it from here. */
class MortalEngine extends EngineClient {
  isDoomed = false;

  override async txn(transaction: Transaction, options: { timeoutMs: number; repeatable: boolean }): Promise<TransactionResult> {
    const result = await super.txn(transaction, options);
    if (this.isDoomed && result.succeeded) process.kill(process.pid, 'SIGKILL');
    return result;
  }
}

const settings = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as HostSettings;
addon.openArena(ARENA_BYTES);
const keys = testRing(addon);
const envelopeKey = addon.secretFromBytes(new Uint8Array(32).fill(77));
const membership = decodeRegion(new Uint8Array(Buffer.from(settings.record, 'base64')));
const log = createLogger('info', 'text', (line) => void process.send?.({ log: line.trim() }));
const copy = await openCopy({ path: settings.copyPath, pageKey: keys.pageKey, storeId: STORE_ID, ring: keys.ring, addon, clock, log, create: true });
const engine = new MortalEngine({ addresses: settings.engines, tls: tlsOf(settings.engineFiles) });
const store = await RegionStore.open({
  copy, engine, keys: { ...keys.ring, domainKey: (domain) => keys.ring.domainKey(domain), envelopeKey: () => ({ version: 1, handle: envelopeKey }) }, addon, clock, log, self: settings.name, membership,
  links: { listen: settings.listen, credentials: settings.credentials, identify: identifier(new Set(membership.hosts.map(({ name }) => name))) },
  onApplied: () => undefined, onMembership: () => undefined,
});

const recordName = (id: string) => ({ domain: 'default', kind: 'key', id });
const hash = (text: string): Uint8Array => new Uint8Array(createHash('sha256').update(text).digest());

function idempotencyOf(request: string, result: Pick<Answer, 'key' | 'value' | 'attempt'>): Idempotency {
  return { domain: 'default', principal: 'campaign', key: hash(`key of ${request}`), digest: hash(`request ${request}`), result: utf8Bytes(JSON.stringify(result)) };
}

function answerOf(result: Pick<Answer, 'key' | 'value' | 'attempt'>, { revision, hosts, needed }: Durability): Answer {
  return { ...result, revision, hosts, needed };
}

async function replay({ request }: { request: string }): Promise<Answer | null> {
  const { result: _, ...asked } = idempotencyOf(request, { key: '', value: null, attempt: '' });
  const found = await store.replay(asked);
  return found === null ? null : answerOf(JSON.parse(Buffer.from(found.result).toString()), found.durability);
}

async function commit({ request, attempt, key, ifGeneration }: Omit<Write, 'value'>, value: string | null): Promise<Answer> {
  const before = await replay({ request });
  if (before !== null) return before;
  const change: Change = { name: recordName(key), value: value === null ? null : utf8Bytes(value), ifGeneration };
  return answerOf({ key, value, attempt }, await store.commit([change], idempotencyOf(request, { key, value, attempt })));
}

async function list(): Promise<[string, Value][]> {
  const all: [string, Value][] = [];
  for (let after = ''; ;) {
    const page = await store.list('default', 'key', { after, limit: PAGE });
    for (const { name, value, generation } of page.records) all.push([name.id, { value: Buffer.from(value).toString(), generation }]);
    if (page.after === '') return all;
    after = page.after;
  }
}

const COMMANDS = {
  write: (write: Write) => commit(write, write.value),
  destroy: (write: Omit<Write, 'value'>) => commit(write, null),
  replay,
  list,
  async read({ key }: { key: string }): Promise<Value | null> {
    const found = await store.get(recordName(key));
    return found === null ? null : { value: Buffer.from(found.value).toString(), generation: found.generation };
  },
  async state(): Promise<HostState> {
    const { standing, engineRevision } = store.status();
    return { revision: store.revision(), writable: standing.writable, reason: standing.reason, fault: copy.fault?.code ?? '', engineRevision };
  },
  async moveClock({ offsetMs }: { offsetMs: number }): Promise<void> {
    wallOffsetMs = offsetMs;
  },
  async doom({ isDoomed }: { isDoomed: boolean }): Promise<void> {
    engine.isDoomed = isDoomed;
  },
};

export type HostCommands = typeof COMMANDS;

process.on('message', ({ id, method, asked }: { id: number; method: keyof HostCommands; asked: never }) => {
  COMMANDS[method](asked).then(
    (answer) => process.send!({ id, answer }),
    (error: unknown) => process.send!({ id, code: error instanceof QuorateError ? error.code : 'INTERNAL', detail: error instanceof QuorateError ? error.detail : String((error as Error).stack) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send!({ ready: true });
