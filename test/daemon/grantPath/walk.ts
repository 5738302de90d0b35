/**
 * Requests of all speakers under way while something changes: what was asked before the change was answered may be answered by either state,
 * what was asked after it by the new one alone, down to the first request. Grants that the plane remembers make nearly all of the answers.
 */
import type { ErrorCode } from '../../../src/base/errors.js';
import type { OperationName } from '../../../src/protocol/operations.gen.js';
import { DOMAINS, Random } from '../../iam/random.js';
import { bodyOf } from '../wire.js';
import { type Change, isRefusal, type Kind, KINDS, randomChange } from './changes.js';
import { type Ask, type ModelKey, type Peer, SECOND_MS } from './model.js';
import { KEYS, MESSAGE, type Scene } from './scene.js';
import type { Answer } from './speaker.js';

export interface WalkOptions {
  readonly seed: number;
  readonly requests: number;
  /** Of each speaker, between two changes. */
  readonly burst: number;
}

export interface WalkTally {
  requests: number;
  changes: number;
  refusedChanges: number;
  /** A moment of a policy or a schedule lay within the request: both answers are right. */
  undecided: number;
  codes: Record<string, number>;
}

/** Asks that one speaker repeats, so that grants are there when something changes. */
const HOT = 16;
/** Of them, new in each round. */
const FRESH = 8;
/**
 * What ends by the time alone is given for so many milliseconds, counted from the moment at which it was installed: a little after it was decided.
 * Whoever asks while it is being decided hears the same decision.
 */
const SLACK_MS = 150;

/** Of the rounds in which policies or schedules have a moment so near. */
const QUIET = 0.5;
const NEAR_MS = 3000;
const FITTING: Readonly<Record<string, readonly OperationName[]>> = {
  'aes-256': ['Encrypt', 'Encrypt', 'Decrypt', 'Decrypt', 'GenerateDataKey', 'Wrap'], hmac: ['Mac', 'VerifyMac'], 'ec-p256': ['Sign', 'Verify'],
};
const MISFIT: readonly OperationName[] = ['Encrypt', 'Mac', 'Sign', 'GenerateDataKey'];
const OF_MATERIAL: ReadonlySet<OperationName> = new Set(['Decrypt', 'Verify', 'VerifyMac']);

interface HotAsk extends Ask {
  /** The key that a ciphertext or a signature is of. */
  readonly of: ModelKey | undefined;
}

function bodyFor(method: OperationName, ref: string, target: string, { material }: Partial<ModelKey>): Uint8Array {
  switch (method) {
    case 'Encrypt': return bodyOf('Encrypt', { key: ref, plaintext: MESSAGE });
    case 'Decrypt': return bodyOf('Decrypt', { key: ref, ciphertext: material!.ciphertext! });
    case 'GenerateDataKey': return bodyOf('GenerateDataKey', { key: ref, length: 32 });
    case 'Wrap': return bodyOf('Wrap', { key: ref, target });
    case 'Mac': return bodyOf('Mac', { key: ref, message: MESSAGE });
    case 'VerifyMac': return bodyOf('VerifyMac', { key: ref, message: MESSAGE, mac: material!.mac! });
    case 'Sign': return bodyOf('Sign', { key: ref, message: MESSAGE });
    case 'Verify': return bodyOf('Verify', { key: ref, message: MESSAGE, signature: material!.signature! });
    case 'GetKey': return bodyOf('GetKey', { key: ref });
    default: return bodyOf('Random', { length: 16 });
  }
}

interface Made {
  readonly beganMs: number;
  readonly endedMs: number;
  /** Its half in the model. */
  readonly settle: () => void;
}

export class Walk {
  readonly tally: WalkTally = { requests: 0, changes: 0, refusedChanges: 0, undecided: 0, codes: {} };
  readonly #scene: Scene;
  readonly #options: WalkOptions;
  readonly #r: Random;
  readonly #hot: HotAsk[][];
  readonly #last: string[] = [];
  #expected = new Map<Ask, Map<number, readonly ErrorCode[]>>();

  constructor(scene: Scene, options: WalkOptions) {
    this.#scene = scene;
    this.#options = options;
    this.#r = new Random(options.seed);
    this.#hot = scene.speakers.map(() => []);
  }

  async run(): Promise<WalkTally> {
    for (const domain of DOMAINS) {
      for (const row of KEYS) this.#scene.model.keys.push(await this.#scene.createKey(domain, row, { exportable: this.#r.chance(0.5), preActive: false, labels: { env: 'prod' } }));
    }
    while (this.tally.requests < this.#options.requests) await this.#round();
    return this.tally;
  }

  #ask(peer: Peer): HotAsk {
    const r = this.#r;
    const kind = r.next();
    if (kind < 0.04) return { peer, method: 'Random', ref: '', target: '', body: bodyFor('Random', '', '', {}), of: undefined };
    const [name, type] = r.pick(KEYS);
    const key = this.#scene.model.find(peer.domain, name);
    let method = kind < 0.06 ? 'GetKey' : kind < 0.12 ? r.pick(MISFIT) : r.pick(FITTING[type]!);
    const { ciphertext, mac, signature } = key?.material ?? {};
    if (OF_MATERIAL.has(method) && (ciphertext ?? mac ?? signature) === undefined) method = type === 'hmac' ? 'Mac' : type === 'aes-256' ? 'Encrypt' : 'Sign';
    // A ciphertext alone names its key by id.
    const isAlone = method === 'Decrypt' && r.chance(0.3);
    const ref = key !== undefined && (isAlone || r.chance(0.25)) ? key.id : name;
    const target = method === 'Wrap' ? r.pick(KEYS.filter(([, t]) => t === 'hmac'))[0] : '';
    const body = bodyFor(method, isAlone ? '' : ref, target, key ?? {});
    return { peer, method, ref, target, body, of: OF_MATERIAL.has(method) ? key : undefined };
  }

  /** Asks that stay, but for a few; a signature of a key whose name another has is no longer asked about. */
  #refresh(at: number): HotAsk[] {
    const { peer } = this.#scene.speakers[at]!;
    const kept = this.#hot[at]!.filter(({ of, ref }) => !this.#r.chance(0.08) && (of === undefined || this.#scene.model.find(peer.domain, ref) === of));
    while (kept.length < HOT) kept.push(this.#ask(peer));
    this.#hot[at] = kept;
    return kept;
  }

  async #round(): Promise<void> {
    const { speakers } = this.#scene;
    const bursts = speakers.map(({ peer }, at) => {
      const hot = this.#refresh(at);
      // Those that are new are being decided all the time, when something changes, too; they are asked again when it has.
      const fresh = Array.from({ length: FRESH }, () => this.#ask(peer));
      this.#hot[at] = [...hot.slice(fresh.length), ...fresh];
      return Array.from({ length: this.#options.burst }, () => (this.#r.chance(0.25) ? this.#r.pick(fresh) : this.#r.pick(hot)));
    });
    const momentMs = this.#scene.model.nextMomentMs();
    const isQuiet = momentMs - Date.now() < NEAR_MS && this.#r.chance(QUIET);
    if (isQuiet) {
      // Nothing changes but the time: what policies and schedules end is to end in what the plane remembers of these very requests.
      await this.#hear(bursts, []);
      await new Promise((resolve) => setTimeout(resolve, momentMs - Date.now() + SLACK_MS));
      return this.#hear(bursts, []);
    }
    await this.#hear(bursts, this.#kinds());
  }

  /** Asks, makes the changes meanwhile, and judges what was answered. */
  async #hear(bursts: readonly HotAsk[][], kinds: readonly Kind[]): Promise<void> {
    const { speakers } = this.#scene;
    const said = Promise.all(speakers.map(({ voice }, at) => voice.say(bursts[at]!)));
    await new Promise((resolve) => setTimeout(resolve, this.#r.below(8)));
    const made: Made[] = [];
    // One right after the other: what the first voided is being decided anew when the second comes. The model is behind until all is heard.
    for (const kind of kinds) made.push(await this.#change(randomChange(this.#r, this.#scene, kind)));
    const answers = await said;
    const open = answers.flatMap((all, at) => all.map((answer, i) => [bursts[at]![i]!, answer] as const));
    for (const [, { code }] of open) this.tally.codes[code] = (this.tally.codes[code] ?? 0) + 1;
    this.#judge(open, made);
    this.tally.requests += open.length;
  }

  #kinds(): Kind[] {
    const kinds: Kind[] = [...KINDS];
    return Array.from({ length: 1 + this.#r.below(3) }, () => kinds.splice(this.#r.below(kinds.length), 1)[0]!);
  }

  /**
   * What was decided on must be so at one moment between asking and hearing: before a change, between two, after them. Grants and refusals alike are
   * held against what changed while they were decided, so that nothing more has to be let pass: no refusal of a moment ago, and no BUSY.
   */
  #judge(all: readonly (readonly [HotAsk, Answer])[], made: readonly Made[]): void {
    let open = all;
    for (let i = 0; i <= made.length; i++) {
      const began = made[i - 1]?.beganMs ?? 0;
      const ends = made[i]?.endedMs ?? Infinity;
      const isPossible = ({ sentMs, heardMs }: Answer): boolean => heardMs >= began && sentMs <= ends;
      open = open.filter(([ask, answer]) => !(isPossible(answer) && this.#matches(ask, answer)));
      const next = made[i];
      const isOver = ({ heardMs }: Answer): boolean => next === undefined || heardMs < next.beganMs;
      for (const [ask, answer] of open.filter(([, each]) => isOver(each))) throw new Error(this.#reproduction(ask, answer, next === undefined ? 'after' : 'before'));
      if (next === undefined) return;
      next.settle();
      this.#expected = new Map();
    }
  }

  async #change(change: Change): Promise<Made> {
    const beganMs = Date.now();
    this.#last.push(change.title);
    if (this.#last.length > 6) this.#last.shift();
    try {
      const settle = await change.make();
      this.tally.changes++;
      return { beganMs, endedMs: Date.now(), settle };
    } catch (error) {
      if (!isRefusal(error)) throw new Error(`seed ${this.#options.seed}: ${change.title}: ${String(error)}`);
      this.tally.refusedChanges++;
      this.#last.pop();
      return { beganMs, endedMs: Date.now(), settle: () => undefined };
    }
  }

  #expectedAt(ask: Ask, timeMs: number): readonly ErrorCode[] {
    const second = timeMs % SECOND_MS === 0 ? timeMs : Math.floor(timeMs / SECOND_MS) * SECOND_MS + 1;
    let moments = this.#expected.get(ask);
    if (moments === undefined) {
      moments = new Map();
      this.#expected.set(ask, moments);
    }
    let codes = moments.get(second);
    if (codes === undefined) {
      codes = this.#scene.model.expected(ask, timeMs);
      moments.set(second, codes);
    }
    return codes;
  }

  /** Whether it is right at a moment between asking and hearing. A moment of a policy or a schedule, in whole seconds, may be as little ago as SLACK_MS. */
  #matches(ask: Ask, { code, sentMs, heardMs }: Answer): boolean {
    if (this.#expectedAt(ask, heardMs).includes(code)) return true;
    for (let at = Math.ceil((sentMs - SLACK_MS) / SECOND_MS) * SECOND_MS; at <= heardMs; at += SECOND_MS) {
      if (!this.#expectedAt(ask, at).includes(code) && !this.#expectedAt(ask, at - 1).includes(code)) continue;
      this.tally.undecided++;
      return true;
    }
    return false;
  }

  /** What is needed to see it again by hand: the last changes, the question, and the policies without which the plain answer differs. */
  #reproduction({ peer, method, ref, target }: Ask, { code, sentMs, heardMs }: Answer, which: string): string {
    const { model } = this.#scene;
    const ask = { peer, method, ref, target, body: new Uint8Array() };
    const wanted = model.expected(ask, heardMs);
    const matter: string[] = [];
    for (const [domain, texts] of model.texts) {
      for (const [name, text] of [...texts]) {
        texts.delete(name);
        model.policiesChanged();
        if (String(model.expected(ask, heardMs)) !== String(wanted)) matter.push(`${domain} ${name}: ${text}`);
        texts.set(name, text);
      }
    }
    model.policiesChanged();
    const facts = model.factsOf(model.find(peer.domain, ref), ref, heardMs);
    return [
      `seed ${this.#options.seed}, after ${this.tally.requests} requests: ${peer.title} as ${model.principalOf(peer)}: ${method} ${ref} ${target}`,
      `answered ${code}, ${which} the change it is ${wanted.join(' or ')}; sent ${sentMs}, heard ${heardMs}`,
      `roles ${JSON.stringify(model.rolesOf(peer))}; key ${JSON.stringify(facts)}`,
      ...this.#last.map((title, i) => `change ${i - this.#last.length + 1}: ${title.trim()}`),
      ...matter.map((one) => `it matters: ${one.trim()}`),
    ].join('\n');
  }
}
