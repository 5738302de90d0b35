/** What is there once a scenario is over, at every host, against everything that was acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { QuorateClient } from '../../client/index.js';
import { codeOf } from './callers.js';
import { covers, type Facts, factsOf, type Ledger, type Write } from './ledger.js';
import { openFault } from './readers.js';

export interface HostVerdict {
  readonly host: string;
  /** Acknowledged, and not there. */
  readonly lost: readonly Write[];
  /** Acknowledged, and there. */
  readonly found: number;
  /** Answers that are not what is known. */
  readonly wrong: readonly string[];
  readonly compared: number;
  readonly there: ReadonlyMap<string, Facts>;
  /** Keys whose destruction is there, and of them those that open something all the same. */
  readonly destroyed: number;
  readonly undead: readonly string[];
}

const TRIES_MAX = 100;
const PAUSE_MS = 100;

/** A host that is about to become another region's first one closes its store for a moment: whoever asks then asks again. */
async function patiently<T>(ask: () => Promise<T | null>): Promise<T | null> {
  for (let tried = 0; ; tried++) {
    const answer = await ask();
    if (answer !== null || tried === TRIES_MAX) return answer;
    await sleep(PAUSE_MS);
  }
}

async function listed(client: QuorateClient, prefix: string): Promise<Map<string, Facts> | null> {
  const there = new Map<string, Facts>();
  try {
    for await (const info of client.keys.list({ prefix })) there.set(info.name, factsOf(info));
    return there;
  } catch (error) {
    if (codeOf(error) === 'SEALED') return null;
    throw error;
  }
}

/** `opened`: so many ciphertexts of living keys are opened at most; of destroyed keys all. */
export async function survey(host: string, client: QuorateClient, ledger: Ledger, opened: number): Promise<HostVerdict> {
  const there = (await patiently(() => listed(client, ledger.prefix))) ?? new Map<string, Facts>();
  const wrong: string[] = [];
  let compared = 0;
  for (const [name, facts] of there) {
    const key = ledger.keys.get(name);
    if (key === undefined) continue;
    compared++;
    if (!covers(key.possible, facts)) wrong.push(`${host}: ${name} is ${JSON.stringify(facts)}, which nobody wrote`);
  }
  const lost = ledger.writes.filter(({ key, facts }) => !there.has(key.name) || !covers(there.get(key.name)!, facts));
  const undead: string[] = [];
  let [destroyed, left] = [0, opened];
  for (const key of [...ledger.keys.values()].reverse()) {
    const facts = there.get(key.name);
    if (facts === undefined) continue;
    if (facts.isDestroyed) destroyed++;
    for (const sealed of key.sealed.filter(({ version }) => version <= facts.version)) {
      if (!facts.isDestroyed && left-- <= 0) break;
      const fault = await patiently(() => openFault(client, key, sealed, facts));
      if (fault === null) wrong.push(`${host}: ${key.name} v${sealed.version} has no answer`);
      else if (fault !== '') (facts.isDestroyed ? undead : wrong).push(`${host}: ${fault}`);
      compared++;
    }
  }
  return { host, lost, found: ledger.writes.length - lost.length, wrong, compared, there, destroyed, undead };
}
