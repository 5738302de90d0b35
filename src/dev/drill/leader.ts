/** Whose engine leads: the host whose loss costs most. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../../base/errors.js';
import { EngineClient } from '../../region/engine/client.js';
import type { DevHost } from '../devHost.js';

const PATIENCE_MS = 30_000;
const STATUS_MS = 2_000;
const PAUSE_MS = 50;

/** The name of a host. ENGINE_UNAVAILABLE: none leads */
export async function leaderOf(hosts: readonly DevHost[]): Promise<string> {
  const members = hosts.filter(({ engineRuns }) => engineRuns);
  const file = (name: string): Buffer => readFileSync(path.join(members[0]!.store, 'region', name));
  const engine = new EngineClient({ addresses: members.map(({ plan }) => plan.engine), tls: { ca: file('ca.crt'), certificate: file('host.crt'), privateKey: file('host.key') } });
  try {
    for (const untilMs = performance.now() + PATIENCE_MS; performance.now() < untilMs; await sleep(PAUSE_MS)) {
      for (const { plan } of members) {
        const status = await engine.members.status(plan.engine, STATUS_MS).catch(() => null);
        if (status !== null && status.leaderId === status.memberId) return plan.name;
      }
    }
    throw new QuorateError('ENGINE_UNAVAILABLE', 'no member of the engine leads');
  } finally {
    engine.close();
  }
}
