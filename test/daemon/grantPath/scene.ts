/** A daemon with two domains, two applications, users by token and by uid, keys in folders: who speaks to it, and who changes it. */
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type QuorateClient } from '../../../src/client/index.js';
import { Place, Run } from '../process.js';
import { Model, type ModelKey, type Peer } from './model.js';
import { Voice } from './speaker.js';

const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'daemon.js');
/** It makes the changes, and no random policy is about it. */
export const WARDEN = 'service:warden';
const DAY_MS = 86_400_000;
/** Uids besides the own: the second is not in any policy's scope, and makes a sum overflow. */
const OTHER_UIDS = [1000, 4000];

/** Name, type, scheme: folders, and the type that everything under a name has whatever takes its place. */
export const KEYS: readonly (readonly [string, string, string])[] = [
  ['a', 'aes-256', 'managed'], ['b', 'hmac', 'hmac-sha256'], ['orders/a', 'aes-256', 'managed'], ['orders/b', 'ec-p256', 'ecdsa'],
  ['orders/eu/a', 'hmac', 'hmac-sha256'], ['orders/eu/card', 'aes-256', 'managed'], ['orders/us/card', 'ec-p256', 'ecdsa'], ['größe/ß', 'aes-256', 'managed'],
];
export const MESSAGE = new TextEncoder().encode('a message');

export class Scene {
  readonly model = new Model(process.getuid!());
  readonly speakers: { readonly peer: Peer; readonly voice: Voice }[] = [];
  readonly #place = new Place();
  readonly #wardens = new Map<string, QuorateClient>();
  #run!: Run;

  static async open(lines: number): Promise<Scene> {
    const scene = new Scene();
    const first = await scene.#start();
    await scene.#people(first, lines);
    await first.close();
    return scene;
  }

  warden(domain: string): QuorateClient {
    return this.#wardens.get(domain)!;
  }

  /** The own uid's client: an access token issues no other. */
  async #start(): Promise<QuorateClient> {
    const { store, socket, env, folder } = this.#place;
    this.#run = new Run([process.execPath, program, '--store', store, '--socket', socket, '--dev', '--log-level', 'error'], env);
    const first = await this.#connect();
    // Every uid can connect: who it is decides, not whether it gets so far.
    chmodSync(folder, 0o711);
    chmodSync(socket, 0o666);
    await first.access.createDomain('payments');
    await first.access.putPrincipal(WARDEN, { addRoles: [{ role: 'administrator', domain: '' }] });
    await first.access.addApp('billing', { domain: 'default' });
    await first.access.addApp('shop', { domain: 'payments' });
    const { text } = await first.tokens.create(WARDEN, { lifeMs: DAY_MS });
    const token = new TextDecoder().decode(text);
    for (const domain of ['default', 'payments']) this.#wardens.set(domain, await connect({ socket, domain, token, timeoutMs: 30_000 }));
    return first;
  }

  async #connect(): Promise<QuorateClient> {
    const { socket } = this.#place;
    for (const endMs = Date.now() + 20_000; ; ) {
      try {
        return await connect({ socket, token: null, timeoutMs: 2000 });
      } catch (error) {
        if (Date.now() > endMs || this.#run.over) throw new Error(`${String(error)}\n${this.#run.output}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #people(first: QuorateClient, lines: number): Promise<void> {
    const own = process.getuid!();
    const { socket } = this.#place;
    const app = (name: string): string => path.join(path.dirname(socket), 'apps', `${name}.sock`);
    const plain = { uid: own, socket, app: '', tokenOf: null, scope: null };
    const peers: Peer[] = [
      { ...plain, title: 'billing', domain: 'default', app: 'billing', socket: app('billing') },
      { ...plain, title: 'shop', domain: 'payments', app: 'shop', socket: app('shop') },
      ...['default', 'payments'].map((domain) => ({ ...plain, title: `alice in ${domain}`, domain, tokenOf: 'user:alice' })),
      { ...plain, title: 'ci', domain: 'default', tokenOf: 'service:ci' },
      { ...plain, title: 'ci, bounded', domain: 'default', tokenOf: 'service:ci', scope: { methodsUse: true, folder: 'orders/' } },
      ...['default', 'payments'].map((domain) => ({ ...plain, title: `the own uid in ${domain}`, domain })),
      // Only root can connect as somebody else.
      ...(own === 0 ? OTHER_UIDS.map((uid) => ({ ...plain, title: `uid ${uid}`, domain: 'default', uid })) : []),
    ];
    for (const peer of peers) {
      const scope = peer.scope === null ? {} : { actions: ['keys:use'], keys: ['orders/*'] };
      const token = peer.tokenOf === null ? null : (await first.tokens.create(peer.tokenOf, { lifeMs: DAY_MS, ...scope })).text;
      this.speakers.push({ peer, voice: await Voice.open({ ...peer, token, lines }) });
    }
  }

  /** In the place of the one that had the name. */
  async createKey(domain: string, row: (typeof KEYS)[number], more: { exportable: boolean; preActive: boolean; labels: Record<string, string> }): Promise<ModelKey> {
    const [name, type, scheme] = row;
    const { key } = await this.warden(domain).keys.create(name, { type: type as 'hmac', scheme: scheme as 'hmac-sha256', ...more });
    const made: ModelKey = { domain, name, id: key.id, type, scheme, exportable: more.exportable, labels: more.labels, state: more.preActive ? 'preActive' : 'active', deactivatesMs: 0, pending: false, material: {} };
    if (!more.preActive) await this.fill(made);
    return made;
  }

  /** What its other half is tried with; the key is active. */
  async fill(key: ModelKey): Promise<void> {
    const warden = this.warden(key.domain);
    if (key.type === 'aes-256') key.material = { ciphertext: (await warden.encrypt(key.id, MESSAGE)).ciphertext };
    else if (key.type === 'hmac') key.material = { mac: (await warden.mac(key.id, MESSAGE)).mac };
    else key.material = { signature: (await warden.sign(key.id, MESSAGE)).signature };
  }

  /** Requests that the daemon had, and those that the plane asked JavaScript about. */
  async counts(): Promise<{ requests: number; upcalls: number }> {
    const { requests, upcalls } = await this.warden('default').status();
    return { requests, upcalls };
  }

  async close(): Promise<void> {
    for (const { voice } of this.speakers) voice.close();
    await Promise.all([...this.#wardens.values()].map((warden) => warden.close()));
    await this.#run.kill('SIGTERM');
    await this.#place.remove();
  }
}
