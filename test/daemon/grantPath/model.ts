/**
 * What each answer has to be: the state as the campaign made it, Cedar asked plainly about it (test/iam/plainCedar.ts), and SP 800-57's rule of
 * states in two lines. Nothing of the daemon's own deciding is used.
 */
import type { ErrorCode } from '../../../src/base/errors.js';
import type { DecisionRequest, KeyFacts, Resource } from '../../../src/iam/decision.js';
import type { RoleHeld } from '../../../src/iam/roles.js';
import { OPERATIONS, type OperationName } from '../../../src/protocol/operations.gen.js';
import { PlainCedar } from '../../iam/plainCedar.js';

export type StateName = 'preActive' | 'active' | 'deactivated' | 'compromised';

export interface ModelKey {
  readonly domain: string;
  name: string;
  readonly id: string;
  readonly type: string;
  readonly scheme: string;
  readonly exportable: boolean;
  labels: Record<string, string>;
  state: StateName;
  /** Whole seconds in milliseconds; 0: no schedule. */
  deactivatesMs: number;
  /** Its destruction is scheduled, far away. */
  pending: boolean;
  /** What it sealed, signed or authenticated while it could. */
  material: { readonly ciphertext?: Uint8Array; readonly signature?: Uint8Array; readonly mac?: Uint8Array };
}

/** Who connects. */
export interface Peer {
  readonly title: string;
  readonly domain: string;
  readonly uid: number;
  readonly socket: string;
  /** '' on the daemon's own socket. */
  readonly app: string;
  /** Principal of the access token that it presents. */
  readonly tokenOf: string | null;
  /** What the token lets through at most. */
  readonly scope: { readonly methodsUse: true; readonly folder: string } | null;
}

export interface Ask {
  readonly peer: Peer;
  readonly method: OperationName;
  /** How the request names its key; '' for what is about no key. */
  readonly ref: string;
  /** The exportable key that Wrap wraps. */
  readonly target: string;
  readonly body: Uint8Array;
}

/** Apply protection: an active key alone. All else processes what is protected already. */
const APPLIES: ReadonlySet<string> = new Set(['Encrypt', 'Sign', 'Mac', 'GenerateDataKey', 'Wrap']);
const DOES: Readonly<Record<string, readonly string[]>> = {
  managed: ['Encrypt', 'Decrypt', 'GenerateDataKey', 'Wrap'], ecdsa: ['Sign', 'Verify'], 'hmac-sha256': ['Mac', 'VerifyMac'],
};
export const SECOND_MS = 1000;

export class Model {
  /** Policies of each domain, by name. */
  readonly texts = new Map<string, Map<string, string>>([['system', new Map()], ['default', new Map()], ['payments', new Map()]]);
  readonly roles = new Map<string, RoleHeld[]>();
  /** `uid:1000` to the principal that holds it. */
  readonly mappings = new Map<string, string>();
  readonly keys: ModelKey[] = [];
  evaluations = 0;
  readonly #adminUid: number;
  readonly #gid = process.getegid!();
  #plain: PlainCedar | null = null;
  #timed = false;
  readonly #known = new Map<string, boolean>();

  constructor(adminUid: number) {
    this.#adminUid = adminUid;
  }

  policiesChanged(): void {
    this.#plain = null;
  }

  find(domain: string, ref: string): ModelKey | undefined {
    return this.keys.find((k) => k.domain === domain && (k.name === ref || k.id === ref));
  }

  principalOf({ app, tokenOf, uid }: Peer): string {
    return tokenOf ?? (app === '' ? (this.mappings.get(`uid:${uid}`) ?? `uid:${uid}`) : `app:${app}`);
  }

  rolesOf(peer: Peer): RoleHeld[] {
    const stored = this.roles.get(this.principalOf(peer)) ?? [];
    const isAdmin = peer.uid === this.#adminUid && peer.tokenOf === null && peer.app === '';
    return isAdmin ? [...stored, { role: 'administrator', domain: '' }] : stored;
  }

  request(peer: Peer, action: string, resource: Resource, timeMs: number): DecisionRequest {
    const { app, domain, uid, socket, tokenOf } = peer;
    const context = { uid, gid: this.#gid, pid: process.pid, socket, token: tokenOf !== null, source: 'local', timeMs, ...(app === '' ? {} : { app }) };
    return { domain, principal: this.principalOf(peer), roles: this.rolesOf(peer), action, resource, context };
  }

  /** Plain Cedar's answer. The same question about the same policies in the same second is not put twice: times in policies are whole seconds. */
  allows(request: DecisionRequest): boolean {
    if (this.#plain === null) {
      this.#plain = new PlainCedar(this.texts);
      this.#known.clear();
      this.#timed = [...this.texts.values()].some((texts) => [...texts.values()].some((text) => text.includes('context.time')));
    }
    const { timeMs } = request.context;
    const second = !this.#timed ? 0 : timeMs % SECOND_MS === 0 ? timeMs : Math.floor(timeMs / SECOND_MS) * SECOND_MS + 1;
    const asked = JSON.stringify([request, second], (name, value: unknown) => (name === 'timeMs' ? undefined : value));
    let allowed = this.#known.get(asked);
    if (allowed === undefined) {
      allowed = this.#plain.decide(request).allowed;
      this.#known.set(asked, allowed);
      this.evaluations++;
    }
    return allowed;
  }

  stateAt({ state, deactivatesMs, pending }: ModelKey, timeMs: number): StateName {
    const settled = state === 'active' && deactivatesMs !== 0 && deactivatesMs <= timeMs ? 'deactivated' : state;
    return settled === 'active' && pending ? 'deactivated' : settled;
  }

  /** When time alone next changes an answer: a moment that a policy names, or a key's schedule. Infinity: not as things are. */
  nextMomentMs(): number {
    const nowMs = Date.now();
    const texts = [...this.texts.values()].flatMap((each) => [...each.values()]).filter((text) => text.includes('context.time'));
    const named = texts.flatMap((text) => [...text.matchAll(/datetime\("([^"]*)"\)/g)].map((found) => Date.parse(found[1]!)));
    return Math.min(...[...named, ...this.keys.map((key) => key.deactivatesMs)].filter((ms) => ms > nowMs));
  }

  factsOf(key: ModelKey | undefined, ref: string, timeMs: number): KeyFacts {
    if (key === undefined) return { name: ref, id: '', type: '', scheme: '', state: 'new', exportable: false, labels: {} };
    const { name, id, type, scheme, exportable, labels } = key;
    return { name, id, type, scheme, exportable, labels, state: this.stateAt(key, timeMs) };
  }

  /** Answers that are right at this moment. Wrap asks for two keys, and says of either what it hears first. */
  expected(ask: Ask, timeMs: number): ErrorCode[] {
    const first = this.#keyAnswer(ask, ask.ref, timeMs, false);
    if (ask.method !== 'Wrap') return [first];
    const both = [first, this.#keyAnswer(ask, ask.target, timeMs, true)].filter((code) => code !== 'OK');
    return both.length === 0 ? ['OK'] : both;
  }

  #keyAnswer({ peer, method }: Ask, ref: string, timeMs: number, isTarget: boolean): ErrorCode {
    const { resource: kind, hot } = OPERATIONS[method];
    const key = kind === 'key' ? this.find(peer.domain, ref) : undefined;
    const facts = this.factsOf(key, ref, timeMs);
    // keys:use has no keys:export.
    if (peer.scope !== null && (isTarget || !(hot && kind === 'key' && facts.name.startsWith(peer.scope.folder)))) return 'DENIED';
    if (!this.allows(this.request(peer, isTarget ? 'keys:export' : OPERATIONS[method].action, kind === 'key' ? { kind: 'key', key: facts } : { kind: 'domain' }, timeMs))) return 'DENIED';
    if (kind !== 'key' || (!hot && key !== undefined)) return 'OK';
    if (key === undefined) return 'KEY_NOT_FOUND';
    const { state } = facts;
    if (state === 'preActive' || (state !== 'active' && APPLIES.has(method))) return 'KEY_STATE_DENIED';
    if (isTarget) return key.exportable ? 'OK' : 'KEY_NOT_EXPORTABLE';
    return DOES[key.scheme]!.includes(method) ? 'OK' : 'KEY_USAGE_DENIED';
  }
}
