/** A host that invites, on a real listener: what the daemon will do around the pure halves. */
import { createHmac } from 'node:crypto';
import tls from 'node:tls';
import { assert } from 'chai';
import type { Handle, NativeAddon } from '../../../src/crypto/addon.js';
import type { JoinAnswer, JoinRequest } from '../../../src/protocol/gen/enrolment_pb.js';
import { tlsOptions } from '../../../src/region/trust/credentials.js';
import type { HostCredentials } from '../../../src/region/trust/credentials.js';
import { checkJoinRequest, makeJoinAnswer } from '../../../src/region/trust/enrolment.js';
import type { Admission, CheckedJoin } from '../../../src/region/trust/enrolment.js';
import { isFor } from '../../../src/region/trust/entries.js';
import type { RingKey } from '../../../src/region/trust/entries.js';
import { JOIN_PROTOCOL, serveJoin } from '../../../src/region/trust/exchange.js';
import { makeInvitation, readInvitation } from '../../../src/region/trust/invitation.js';
import type { Invitation, StoredInvitation } from '../../../src/region/trust/invitation.js';
import { DAY, listen, TestRegion } from './fixture.js';

const RING_BYTES: Record<string, number> = { page: 1, recordName: 2, 'audit/seal': 3, 'audit/sign': 4, 'domain/system': 5, 'domain/default': 6, 'domain/other': 7, 'region/envelope': 8 };
const bytesOf = (name: string): Uint8Array => new Uint8Array(32).fill(RING_BYTES[name]!);

export class Inviter {
  readonly region: TestRegion;
  readonly credentials: HostCredentials;
  readonly ring: RingKey[];
  readonly stored = new Map<string, StoredInvitation>();
  readonly refusals: unknown[] = [];
  readonly checked: CheckedJoin[] = [];
  readonly requests: JoinRequest[] = [];
  readonly incarnation = { counter: 1, id: new Uint8Array(16).fill(9) };
  readonly membership = new Uint8Array([1, 2, 3]);
  answer: (answer: JoinAnswer) => JoinAnswer = (a) => a;
  listener: tls.Server | null = null;
  port = 0;

  constructor(addon: NativeAddon, name = 'rbx') {
    this.region = new TestRegion(addon, name);
    this.credentials = this.region.host(`${name}-1`);
    this.ring = Object.keys(RING_BYTES).map((entry) => ({ name: entry, version: 1, handle: addon.secretFromBytes(bytesOf(entry)) }));
    this.ring.push({ name: 'region/ca', version: 1, handle: this.region.seed });
  }

  admission(): Admission {
    const ring = this.ring.filter(({ name }) => isFor(name, (domain) => ['system', 'default'].includes(domain)));
    return { ca: this.region.ca, caCertificate: this.region.caCertificate, region: this.region.identity, incarnation: this.incarnation, ring, membership: this.membership };
  }

  invite(change: { host?: string; lifeMs?: number } = {}): { text: string; invitation: Invitation } {
    const { text, stored } = makeInvitation({ host: 'rbx-2', zone: 'b', role: 'voter', region: this.region.identity, addresses: [`127.0.0.1:${this.port || 7301}`], caCertificate: this.region.caCertificate, lifeMs: DAY, ...change }, Date.now());
    this.stored.set(String(stored.id), stored);
    return { text, invitation: readInvitation(text, Date.now()) };
  }

  /** As the daemon: look, check, take it in the same turn, answer. */
  admit(request: JoinRequest, channel: Uint8Array, nowMs = Date.now()): JoinAnswer {
    this.requests.push(request);
    const key = String(request.invitationId);
    const checked = checkJoinRequest(this.region.identity, this.stored.get(key) ?? null, request, channel, nowMs);
    this.checked.push(checked);
    if (!checked.again) this.stored.set(key, { ...this.stored.get(key)!, takenBy: checked.takenBy });
    return this.answer(makeJoinAnswer(this.region.addon, this.admission(), checked, nowMs));
  }

  async open(credentials: HostCredentials = this.credentials): Promise<this> {
    this.listener = tls.createServer({ ...tlsOptions(credentials), rejectUnauthorized: false, ALPNProtocols: [JOIN_PROTOCOL] }, (socket) => {
      socket.on('error', () => {});
      serveJoin(socket, (request, channel) => this.admit(request, channel), 2000).catch((error: unknown) => this.refusals.push(error));
    });
    this.port = await listen(this.listener);
    return this;
  }

  close(): void {
    this.listener?.close();
    for (const { handle } of this.ring) this.region.addon.secretDrop(handle);
  }
}

export async function dial(port: number): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: 'TLSv1.3', ALPNProtocols: [JOIN_PROTOCOL] });
  socket.on('error', () => {});
  await new Promise<void>((resolve, reject) => { socket.once('secureConnect', resolve).once('error', reject); });
  return socket;
}

/** What is behind a handle is the ring's key of that name. */
export function assertRingKey(addon: NativeAddon, name: string, handle: Handle): void {
  assert.equal(Buffer.from(addon.hmac(handle, new Uint8Array([1]))).toString('hex'), createHmac('sha256', bytesOf(name)).update(new Uint8Array([1])).digest('hex'), name);
}
