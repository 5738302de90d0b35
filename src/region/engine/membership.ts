/** The engine's members: who they are, how each does, and every change to them. A change that was perhaps applied is OUTCOME_UNKNOWN: list(), then decide. */
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { assert } from '../../base/assert.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { attempt } from './attempts.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { judge } from './failures.js';
import { AlarmRequest_AlarmAction, AlarmType, Cluster, Maintenance } from './gen/etcd_pb.js';
import type { Member } from './gen/etcd_pb.js';
import { RpcFailure, UnaryCall } from './rpc.js';
import { exact, headerOf } from './terms.js';

export interface EngineMemberInfo {
  readonly id: bigint;
  /** '' until it has started for the first time. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly learner: boolean;
}

export interface EngineAlarm {
  readonly memberId: bigint;
  readonly kind: 'space' | 'corruption';
}

/** What one member says of itself. */
export interface EngineStatus {
  readonly address: string;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly version: string;
  readonly revision: number;
  /** 0n: it knows none. */
  readonly leaderId: bigint;
  readonly term: bigint;
  readonly learner: boolean;
  readonly databaseBytes: number;
  /** Without what compaction has freed inside the file. */
  readonly databaseBytesInUse: number;
  readonly errors: readonly string[];
}

const KINDS: Partial<Record<AlarmType, EngineAlarm['kind']>> = { [AlarmType.NOSPACE]: 'space', [AlarmType.CORRUPT]: 'corruption' };

function memberOf(member: Member): EngineMemberInfo {
  return { id: member.id, name: member.name, peerUrls: member.peerUrls, clientUrls: member.clientUrls, learner: member.isLearner };
}

export class Membership {
  private readonly endpoints: Endpoints;

  constructor(endpoints: Endpoints) {
    this.endpoints = endpoints;
  }

  /** Linearizable. ENGINE_UNAVAILABLE */
  async list(timeoutMs: number): Promise<readonly EngineMemberInfo[]> {
    const { response } = await attempt(this.endpoints, Cluster.method.memberList, { linearizable: true }, { timeoutMs, repeat: 'always', harmless: true, leader: true });
    return response.members.map(memberOf);
  }

  /** A learner: it follows and does not vote until promote(). Waits while a voter has not been connected for five seconds, so give it ten. ENGINE_UNAVAILABLE, ENGINE_REFUSED, OUTCOME_UNKNOWN */
  async addLearner(peerAddress: string, timeoutMs: number): Promise<{ member: EngineMemberInfo; all: readonly EngineMemberInfo[] }> {
    const response = await this.change(Cluster.method.memberAdd, { peerUrls: [`https://${peerAddress}`], isLearner: true }, timeoutMs);
    assert(response.member !== undefined, 'etcd answers with the member');
    return { member: memberOf(response.member), all: response.members.map(memberOf) };
  }

  /** ENGINE_REFUSED while it has not caught up: ask again. ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN */
  async promote(id: bigint, timeoutMs: number): Promise<void> {
    await this.change(Cluster.method.memberPromote, { id }, timeoutMs);
  }

  /** ENGINE_REFUSED when there is no such member, or too few others are up. ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN */
  async remove(id: bigint, timeoutMs: number): Promise<void> {
    await this.change(Cluster.method.memberRemove, { id }, timeoutMs);
  }

  /** ENGINE_UNAVAILABLE, ENGINE_REFUSED, OUTCOME_UNKNOWN */
  async update(id: bigint, peerAddress: string, timeoutMs: number): Promise<void> {
    await this.change(Cluster.method.memberUpdate, { id, peerUrls: [`https://${peerAddress}`] }, timeoutMs);
  }

  async alarms(timeoutMs: number): Promise<readonly EngineAlarm[]> {
    const { response } = await attempt(this.endpoints, Maintenance.method.alarm, { action: AlarmRequest_AlarmAction.GET }, { timeoutMs, repeat: 'always', harmless: true, leader: true });
    return response.alarms.flatMap(({ memberId, alarm }) => (KINDS[alarm] === undefined ? [] : [{ memberId, kind: KINDS[alarm] }]));
  }

  /** After the cause is gone: an alarm for space stops every write until it is cleared. */
  async clearAlarm({ memberId, kind }: EngineAlarm, timeoutMs: number): Promise<void> {
    const alarm = kind === 'space' ? AlarmType.NOSPACE : AlarmType.CORRUPT;
    await attempt(this.endpoints, Maintenance.method.alarm, { action: AlarmRequest_AlarmAction.DEACTIVATE, memberId, alarm }, { timeoutMs, repeat: 'always', harmless: true, leader: true });
  }

  /** The addresses that this client knows, the local one first. */
  addresses(): readonly string[] {
    return this.endpoints.all.map(({ address }) => address);
  }

  /** Of the member at one of addresses(), without a detour over another. ENGINE_UNAVAILABLE */
  async status(address: string, timeoutMs: number): Promise<EngineStatus> {
    const response = await this.ask(address, Maintenance.method.status, {}, timeoutMs);
    const { revision, clusterId, memberId } = headerOf(response.header);
    return {
      address, memberId, clusterId, revision, version: response.version, leaderId: response.leader, term: response.raftTerm, learner: response.isLearner,
      databaseBytes: exact(response.dbSize), databaseBytesInUse: exact(response.dbSizeInUse), errors: response.errors,
    };
  }

  /** Gives freed space back to the disk. The member answers nobody else meanwhile: one at a time, the leader last. ENGINE_UNAVAILABLE */
  async defragment(address: string, timeoutMs: number): Promise<void> {
    await this.ask(address, Maintenance.method.defragment, {}, timeoutMs);
  }

  /** A hash over all keys of a member up to a revision (0: its present one); members whose compaction stands alike have the same. ENGINE_UNAVAILABLE, ENGINE_COMPACTED */
  async hash(address: string, revision: number, timeoutMs: number): Promise<{ hash: number; revision: number; compactRevision: number }> {
    const response = await this.ask(address, Maintenance.method.hashKV, { revision: BigInt(revision) }, timeoutMs);
    return { hash: response.hash, revision: headerOf(response.header).revision, compactRevision: exact(response.compactRevision) };
  }

  /** Asks the leader, at its address, to hand over: before it is stopped on purpose. ENGINE_UNAVAILABLE, ENGINE_REFUSED */
  async moveLeader(address: string, targetId: bigint, timeoutMs: number): Promise<void> {
    await this.ask(address, Maintenance.method.moveLeader, { targetId }, timeoutMs);
  }

  private async change<I extends DescMessage, O extends DescMessage>(method: DescMethodUnary<I, O>, request: MessageInitShape<I>, timeoutMs: number): Promise<MessageShape<O>> {
    return (await attempt(this.endpoints, method, request, { timeoutMs, repeat: 'whenCertain', harmless: false, leader: true })).response;
  }

  private async ask<I extends DescMessage, O extends DescMessage>(address: string, method: DescMethodUnary<I, O>, request: MessageInitShape<I>, timeoutMs: number): Promise<MessageShape<O>> {
    const endpoint: Endpoint | undefined = this.endpoints.all.find((one) => one.address === address);
    assert(endpoint !== undefined, 'an address of this client');
    try {
      return await new UnaryCall(endpoint.client(), method, request, { connectMs: Math.min(timeoutMs, LIMITS.engine_attempt_ms), timeoutMs, leader: false }).response;
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      throw new QuorateError(judge(error).code, `${address}: ${error.detail}`, { cause: error });
    }
  }
}
