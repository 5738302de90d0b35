/**
 * Dual control: SetDualControl, ListProposals, DecideProposal. A request for an action that needs two is kept as a proposal; when another
 * principal, of another uid, approves it, it runs as its proposer's, who must still be allowed it.
 */
import { randomBytes } from 'node:crypto';
import { create, fromBinary, toBinary, type DescMessage, type Message } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { StoredProposalSchema, type StoredProposal } from '../protocol/gen/records_pb.js';
import {
  DecideProposalResponseSchema,
  ListProposalsResponseSchema,
  ProposalSchema,
  SetDualControlResponseSchema,
  type DecideProposalRequest,
  type DecideProposalResponse,
  type ExportKeyRequest,
  type ExportSecretRequest,
  type ListProposalsRequest,
  type ListProposalsResponse,
  type Proposal,
  type SetDualControlRequest,
  type SetDualControlResponse,
  type ShredDomainRequest,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';
import type { RecordName } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { requireDeparture } from './departureRecords.js';
import { mutate, storing, wasAnswered } from './mutate.js';
import { fingerprintOf } from './recipients.js';
import { DESTROY_NOW, DESTROY_SECRET_NOW, EXPORT, needsSecond, SHRED_NOW, type Target, targetsOf } from './targets.js';

const FORMAT = 1;
const SETTING: RecordName = { domain: SYSTEM_DOMAIN, kind: 'setting', id: 'dualControl' };
const SET_DUAL_CONTROL = OPERATIONS.SetDualControl.action;

const recordName = (id: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'proposal', id });

/** Actions that can be put under dual control: of methods that write, and whose requests hold no secret that would have to be kept. */
export function dualControlActions(): string[] {
  const rows = Object.values(OPERATIONS).filter((row) => row.mutates && !row.whenSealed && row.sensitiveIn.length === 0 && row.sensitiveOut.length === 0);
  const actions = new Set<string>(rows.map((row) => row.action));
  for (const action of ['iam:decideProposal', SET_DUAL_CONTROL]) actions.delete(action);
  return [...actions, DESTROY_NOW, DESTROY_SECRET_NOW, SHRED_NOW].sort();
}

export async function loadDualControl(context: OperationContext): Promise<string[]> {
  const stored = await context.store.get(SETTING);
  return stored === null ? [] : fromBinary(SetDualControlResponseSchema, stored.value).actions;
}

/** While any action needs two, so does changing which. BAD_REQUEST, CONFLICT, STORE_FULL, STORE_IO */
export async function setDualControl(context: OperationContext, caller: Caller, request: SetDualControlRequest): Promise<SetDualControlResponse> {
  const possible = dualControlActions();
  const unknown = request.actions.find((a) => !possible.includes(a));
  if (unknown !== undefined) throw new QuorateError('BAD_REQUEST', `${unknown.slice(0, 64)} cannot be put under dual control; possible: ${possible.join(', ')}`, { field: 'actions' });
  const actions = [...new Set(request.actions)].sort();
  const response = await mutate(context, caller, 'SetDualControl', request, async () => {
    const stored = await context.store.get(SETTING);
    const answer = create(SetDualControlResponseSchema, { actions });
    const change = { name: SETTING, value: toBinary(SetDualControlResponseSchema, answer), ifGeneration: stored?.generation ?? 0 };
    return { response: answer, commit: storing(context, [change]) };
  });
  const { dualControl } = context.access;
  const exported = dualControl.has(EXPORT);
  dualControl.clear();
  // What was granted to wrap with lets keys out until it is void.
  if (!exported && actions.includes(EXPORT)) context.access.identitiesChanged();
  if (actions.length > 0) for (const action of [...actions, SET_DUAL_CONTROL]) dualControl.add(action);
  return response;
}

/** Keeps the request and throws APPROVAL_REQUIRED, which names the proposal. The same request again finds the same proposal. */
export async function propose(context: OperationContext, caller: Caller, name: OperationName, action: string, request: Message, summary: string): Promise<never> {
  const { id: method, input } = OPERATIONS[name];
  const bytes = toBinary(input as DescMessage, request);
  const waiting = await readProposals(context);
  const same = waiting.find((p) => p.method === method && p.proposer === caller.principal && p.domain === context.domain && Buffer.from(p.request).equals(bytes));
  if (same !== undefined) throw new QuorateError('APPROVAL_REQUIRED', `proposal ${same.id} waits for another principal`);
  if (waiting.length >= LIMITS.proposals_max) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.proposals_max} proposals wait already`);
  const nowMs = context.clock.nowMs();
  const proposal = create(StoredProposalSchema, {
    format: FORMAT, id: randomBytes(16).toString('hex'), method, request: bytes, domain: context.domain, action, summary,
    proposer: caller.principal, proposerUid: caller.uid, createdMs: BigInt(nowMs), expiresMs: BigInt(nowMs + LIMITS.proposal_life_ms),
  });
  await context.store.commit([{ name: recordName(proposal.id), value: toBinary(StoredProposalSchema, proposal), ifGeneration: 0 }], null);
  throw new QuorateError('APPROVAL_REQUIRED', `proposal ${proposal.id} waits for another principal`);
}

/** What the approver reads of a request beside its action: the key, and to whom it shall leave. */
function about(name: OperationName, request: Message, target: Target): string {
  const on = target.kind === 'key' || target.kind === 'object' ? ` ${target.ref}` : target.kind === 'newKey' ? ` ${target.name}` : target.kind === 'secret' ? ` ${target.path}` : '';
  const { recipient } = request as unknown as { recipient?: Uint8Array };
  if (name === 'ShredDomain') return ` ${JSON.stringify((request as ShredDomainRequest).name)}${(request as ShredDomainRequest).now ? ' at once' : ''}`;
  const what = name === 'BeginDeparture' ? ' all exportable keys and all secrets' : on;
  return recipient === undefined ? what : `${what} to sha256:${fingerprintOf(recipient)}`;
}

/** APPROVAL_REQUIRED for what dual control is on, once it is kept as a proposal. What was answered before, and what a departure stands for that was approved, needs no other. */
export async function requireSecond(context: OperationContext, caller: Caller, name: OperationName, request: Message): Promise<void> {
  const { dualControl } = context.access;
  if (dualControl.size === 0) return;
  const target = targetsOf(name, request).find((t) => needsSecond(dualControl, name, t.action));
  if (target === undefined) return;
  // A proposal is a record, and key material is in none. ImportKey has ImportWrappedKey's action.
  if (OPERATIONS[name].sensitiveIn.length > 0) throw new QuorateError('DENIED', `${target.action} needs two principals, and no proposal keeps key material: bring the key wrapped`);
  const leaves = name === 'ExportKey' ? (request as ExportKeyRequest) : name === 'ExportSecret' ? (request as ExportSecretRequest) : null;
  if (leaves !== null && leaves.departure !== '') return requireDeparture(context, caller, leaves);
  if (await wasAnswered(context, caller, name, request)) return;
  await propose(context, caller, name, target.action, request, `${target.action}${about(name, request, target)}`);
}

function decode(bytes: Uint8Array): StoredProposal {
  const proposal = fromBinary(StoredProposalSchema, bytes);
  if (proposal.format !== FORMAT) throw new QuorateError('STORE_SCHEMA_NEWER', `a proposal has format ${proposal.format}`);
  return proposal;
}

/** Those that have not expired, oldest first; the others are removed. */
async function readProposals(context: OperationContext): Promise<StoredProposal[]> {
  const waiting: StoredProposal[] = [];
  const nowMs = BigInt(context.clock.nowMs());
  let after = '';
  do {
    const page = await context.store.list(SYSTEM_DOMAIN, 'proposal', { after, limit: LIMITS.page_size_max });
    for (const { name, value, generation } of page.records) {
      const proposal = decode(value);
      if (proposal.expiresMs > nowMs) waiting.push(proposal);
      else await context.store.commit([{ name, value: null, ifGeneration: generation }], null).catch(() => undefined); // another request removed it
    }
    after = page.after;
  } while (after !== '');
  return waiting.sort((a, b) => Number(a.createdMs - b.createdMs));
}

function view(p: StoredProposal): Proposal {
  const { id, action, summary, proposer, createdMs, expiresMs, domain } = p;
  return create(ProposalSchema, { id, action, summary, proposer, createdMs, expiresMs, domain });
}

export async function listProposals(context: OperationContext, _caller: Caller, _request: ListProposalsRequest): Promise<ListProposalsResponse> {
  return create(ListProposalsResponseSchema, { proposals: (await readProposals(context)).map(view), actions: [...context.access.dualControl].sort() });
}

/** PROPOSAL_NOT_FOUND, DENIED (its proposer, or the same uid), and what the proposed request answers. */
export async function decideProposal(context: OperationContext, caller: Caller, request: DecideProposalRequest): Promise<DecideProposalResponse> {
  return mutate(context, caller, 'DecideProposal', request, async () => {
    const stored = await context.store.get(recordName(request.id));
    const proposal = stored === null ? null : decode(stored.value);
    if (stored === null || proposal === null || proposal.expiresMs <= BigInt(context.clock.nowMs())) throw new QuorateError('PROPOSAL_NOT_FOUND', request.id.slice(0, 64), { field: 'id' });
    const own = proposal.proposer === caller.principal || proposal.proposerUid === caller.uid;
    // Its proposer may take it back, and no more.
    if (own && (request.approve || proposal.proposer !== caller.principal)) throw new QuorateError('DENIED', `${caller.principal} (uid ${caller.uid}) may not approve what ${proposal.proposer} (uid ${proposal.proposerUid}) proposed`);
    if (request.approve) await context.access.runApproved(proposal, caller);
    const change = { name: recordName(proposal.id), value: null, ifGeneration: stored.generation };
    return { response: create(DecideProposalResponseSchema, { proposal: view(proposal), done: request.approve }), commit: storing(context, [change]) };
  });
}
