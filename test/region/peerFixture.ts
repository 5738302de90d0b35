/** A host's links with a record of all that they tell, and a clock that can be moved. */
import { createLogger } from '../../src/base/logger.js';
import type { Revision } from '../../src/region/apply.js';
import { type PeerCredentials, type PeerEvents, type PeerOptions, Peers, type PeerWord } from '../../src/region/peer/peers.js';
import type { Lineage, Watermark } from '../../src/store/lineage.js';
import { utf8Bytes } from '../../src/base/bytes.js';
import { identifier } from './certificates.js';

export const REGION = '11'.repeat(16);
export const LINEAGE: Lineage = { counter: 1, id: 'ab'.repeat(16), cluster: '0123456789abcdef' };
export const MEMBERS: ReadonlySet<string> = new Set(['a', 'b', 'c']);

export const told = (revision: number, bytes = 10): Revision => ({
  revision,
  operations: [{ key: utf8Bytes(`r/${revision}`), value: new Uint8Array(bytes).fill(revision) }, { key: utf8Bytes('r/gone'), value: null, name: { domain: 'd', kind: 'key', id: 'x' } }],
});

export class TestHost implements PeerEvents {
  readonly pushes: { from: string; revision: Revision }[] = [];
  readonly words: { from: string; word: PeerWord }[] = [];
  readonly remembered: { from: string; watermark: Watermark }[] = [];
  readonly foreign: { from: string; lineage: Lineage }[] = [];
  readonly successions: { from: string; signed: Uint8Array }[] = [];
  readonly log: string[] = [];
  readonly memory = new Map<string, Watermark>();
  aheadMs = 0;
  wallAheadMs = 0;
  lineage = LINEAGE;
  peers!: Peers;

  constructor(readonly name: string) {}

  static async start(name: string, credentials: PeerCredentials, over: Partial<PeerOptions> = {}, lineage = LINEAGE): Promise<TestHost> {
    const host = new TestHost(name);
    host.lineage = lineage;
    host.peers = await Peers.listen({
      region: REGION, host: name, listen: { host: '127.0.0.1', port: 0 }, credentials, identify: identifier(MEMBERS),
      lineage: () => host.lineage, remembered: (peer) => host.memory.get(peer) ?? null, events: host,
      clock: { nowMs: () => Date.now() + host.wallAheadMs, monotonicMs: () => performance.now() + host.aheadMs },
      log: createLogger('debug', 'text', (line) => void host.log.push(line.trim())),
      ...over,
    }, { lineage, revision: 1, withheld: '' });
    return host;
  }

  dial(...others: { name: string; port: number }[]): void {
    this.peers.setHosts(others.map(({ name, port }) => ({ name, host: '127.0.0.1', port })));
  }

  get port(): number {
    return this.peers.port;
  }

  onPush(from: string, revision: Revision): void {
    this.pushes.push({ from, revision });
  }

  onWatermark(from: string, word: PeerWord): void {
    this.words.push({ from, word });
  }

  onRemembered(from: string, watermark: Watermark): void {
    this.remembered.push({ from, watermark });
  }

  onForeign(from: string, lineage: Lineage): void {
    this.foreign.push({ from, lineage });
  }

  onSuccession(from: string, signed: Uint8Array): void {
    this.successions.push({ from, signed });
  }

  logged(pattern: RegExp): boolean {
    return this.log.some((line) => pattern.test(line));
  }
}

export async function until(fact: string, holds: () => boolean, withinMs = 5000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${fact}`);
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
}
