/** Who may do what: domains, principals, applications, sessions, policies. Answers are plain objects of the wire's messages. */
import type { Message } from '@bufbuild/protobuf';
import type {
  App, CanIResponse, DecideProposalResponse, Domain, GetShredResponse, Pin, Policy, PolicyExpectation, PolicyOutcome, Principal, Proposal, RoleAssignment,
  Session as WireSession, Shred, WhoAmIResponse,
} from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';
import type { Input, Output } from './call.js';
import type { Caller, CallOptions } from './caller.js';

/** A message as an application sees it: no schema names, times and counts as numbers, bytes as hexadecimal text. */
export type Plain<T> = T extends bigint ? number : T extends Uint8Array ? string : T extends readonly (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof Omit<T, '$typeName' | '$unknown'>]: Plain<T[K]> } : T;

export function plain<T>(value: T): Plain<T> {
  if (typeof value === 'bigint') return Number(value) as Plain<T>;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex') as Plain<T>;
  if (Array.isArray(value)) return value.map(plain) as Plain<T>;
  if (typeof value !== 'object' || value === null) return value as Plain<T>;
  return Object.fromEntries(Object.entries(value).filter(([k]) => !k.startsWith('$')).map(([k, v]) => [k, plain(v as unknown)])) as Plain<T>;
}

export type PinInfo = Plain<Pin>;
export type ShredInfo = Plain<Shred>;
export interface AppOptions extends CallOptions { domain?: string; socket?: string; mode?: number; owner?: number; group?: number }
export interface PrincipalChange { addMappings?: string[]; removeMappings?: string[]; addRoles?: Role[]; removeRoles?: Role[] }
/** `domain` empty: every domain. */
export interface Role { role: string; domain?: string }
export type Expectation = Partial<Plain<PolicyExpectation>> & { principal: string; action: string; allowed: boolean };

/** Every method: DENIED, SEALED, AUDIT_UNAVAILABLE and the codes of its operation; APPROVAL_REQUIRED under dual control. */
export class Access {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  async #plain<N extends OperationName>(name: N, request: Input<N>, options: CallOptions = {}): Promise<Plain<Output<N>>> {
    return plain((await this.#caller.call(name, request, options)) as Message) as unknown as Plain<Output<N>>;
  }

  /** Who this connection is to the daemon. */
  whoAmI(options?: CallOptions): Promise<Plain<WhoAmIResponse>> { return this.#plain('WhoAmI', {}, options); }

  async createDomain(name: string, options?: CallOptions): Promise<Plain<Domain>> { return (await this.#plain('CreateDomain', { name }, options)).domain as Plain<Domain>; }
  /** The domain is closed at once, its key destroyed after `pendingDays` (0: 30) or `now`. DOMAIN_NOT_FOUND, DOMAIN_SHREDDED, SCHEDULE_INVALID, BAD_REQUEST */
  async shredDomain(name: string, { now = false, pendingDays = 0, ...options }: { now?: boolean; pendingDays?: number } & CallOptions = {}): Promise<Plain<Shred>> {
    return (await this.#plain('ShredDomain', { name, now, pendingDays }, options)).shred as Plain<Shred>;
  }
  /** Until it is due. DOMAIN_NOT_FOUND, DOMAIN_SHREDDED, BAD_REQUEST */
  async cancelShred(name: string, options?: CallOptions): Promise<void> { await this.#plain('CancelShred', { name }, options); }
  /** How far it is, and a page of the certificate's inventory. */
  async shred(name: string, page: { pageToken?: string; pageSize?: number } = {}): Promise<Plain<GetShredResponse> & { shred: Plain<Shred> }> {
    return (await this.#plain('GetShred', { name, ...page })) as Plain<GetShredResponse> & { shred: Plain<Shred> };
  }
  async domains(): Promise<Plain<Domain>[]> { return (await this.#plain('ListDomains', {})).domains; }

  async putPrincipal(ref: string, change: PrincipalChange = {}, options?: CallOptions): Promise<Plain<Principal>> {
    return (await this.#plain('PutPrincipal', { ref, ...change } as Input<'PutPrincipal'>, options)).principal as Plain<Principal>;
  }
  async principals(): Promise<Plain<Principal>[]> { return (await this.#plain('ListPrincipals', {})).principals; }
  async removePrincipal(ref: string, options?: CallOptions): Promise<void> { await this.#plain('RemovePrincipal', { ref }, options); }

  async addApp(name: string, { domain, socket, mode, owner, group, ...options }: AppOptions = {}): Promise<Plain<App>> {
    return (await this.#plain('AddApp', { name, domain, socket, mode, owner, group }, options)).app as Plain<App>;
  }
  async apps(): Promise<Plain<App>[]> { return (await this.#plain('ListApps', {})).apps; }
  async removeApp(name: string, options?: CallOptions): Promise<void> { await this.#plain('RemoveApp', { name }, options); }

  async sessions(): Promise<Plain<WireSession>[]> { return (await this.#plain('ListSessions', {})).sessions; }
  async killSession(id: number): Promise<void> { await this.#plain('KillSession', { id: BigInt(id) }); }

  /** Whoever connects as `holder` and gives this PIN to a PKCS#11 application acts as `principal` in that domain. PIN_INVALID, PRINCIPAL_INVALID, DOMAIN_NOT_FOUND, LIMIT_EXCEEDED */
  async putPin(holder: string, principal: string, pin: Uint8Array, { domain, ...options }: CallOptions & { domain?: string } = {}): Promise<PinInfo> {
    return (await this.#plain('PutPin', { holder, principal, pin, domain }, options)).pin as PinInfo;
  }
  async pins(): Promise<PinInfo[]> { return (await this.#plain('ListPins', {})).pins; }
  /** Connections that act under it end. PIN_NOT_FOUND */
  async removePin(holder: string, { domain, ...options }: CallOptions & { domain?: string } = {}): Promise<void> { await this.#plain('RemovePin', { holder, domain }, options); }

  async allow(principal: string, action: string, key: string, options?: CallOptions): Promise<{ policy: Plain<Policy>; removed: string[] }> {
    const { policy, removed } = await this.#plain('Allow', { principal, action, key }, options);
    return { policy: policy as Plain<Policy>, removed };
  }
  async deny(principal: string, action: string, key: string, options?: CallOptions): Promise<{ policy: Plain<Policy>; removed: string[] }> {
    const { policy, removed } = await this.#plain('Allow', { principal, action, key, deny: true }, options);
    return { policy: policy as Plain<Policy>, removed };
  }
  /** `principal` left out: the caller. */
  canI(action: string, key: string, principal = ''): Promise<Plain<CanIResponse>> { return this.#plain('CanI', { principal, action, key }); }

  async putPolicy(name: string, text: string, { dryRun, ifGeneration, ...options }: CallOptions & { dryRun?: boolean; ifGeneration?: number } = {}): Promise<Plain<Policy>> {
    const generation = ifGeneration === undefined ? {} : { ifGeneration: BigInt(ifGeneration) };
    return (await this.#plain('PutPolicy', { name, text, dryRun, ...generation }, options)).policy as Plain<Policy>;
  }
  async policy(name: string): Promise<Plain<Policy>> { return (await this.#plain('GetPolicy', { name })).policy as Plain<Policy>; }
  async *policies(filter: { principal?: string; builtIn?: boolean } = {}): AsyncGenerator<Plain<Policy>, void, undefined> {
    let pageToken = '';
    do {
      const page = await this.#plain('ListPolicies', { ...filter, pageToken });
      yield* page.policies;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }
  async removePolicy(name: string, options?: CallOptions): Promise<void> { await this.#plain('RemovePolicy', { name }, options); }
  /** As if `text` were stored under `name`; nothing is changed. */
  async testPolicy(name: string, text: string, expectations: Expectation[]): Promise<{ outcomes: Plain<PolicyOutcome>[]; passed: boolean }> {
    return this.#plain('TestPolicy', { name, text, expectations });
  }

  async dualControl(actions: string[], options?: CallOptions): Promise<string[]> { return (await this.#plain('SetDualControl', { actions }, options)).actions; }
  /** Those that wait, and the actions that need two. */
  async proposals(): Promise<{ proposals: Plain<Proposal>[]; actions: string[] }> { return this.#plain('ListProposals', {}); }
  async decide(id: string, approve: boolean, options?: CallOptions): Promise<Plain<DecideProposalResponse>> { return this.#plain('DecideProposal', { id, approve }, options); }
  /** One share of the recovery kit, ASCII as printed; with enough of them the caller may mend policies and principals for an hour. UNSEAL_FAILED */
  async breakGlass(share: Uint8Array | null, reset = false): Promise<{ given: number; needed: number; untilMs: number; principal: string }> {
    const { sharesGiven: given, sharesNeeded: needed, untilMs, principal } = await this.#plain('BreakGlass', { share: share ?? undefined, reset });
    return { given, needed, untilMs, principal };
  }
}

export type { App, Domain, Policy, Principal, Proposal, RoleAssignment };
