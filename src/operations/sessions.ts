/** WhoAmI, ListSessions, KillSession. */
import { create } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import {
  KillSessionResponseSchema,
  ListSessionsResponseSchema,
  SessionSchema,
  WhoAmIResponseSchema,
  type KillSessionRequest,
  type KillSessionResponse,
  type ListSessionsRequest,
  type ListSessionsResponse,
  type WhoAmIRequest,
  type WhoAmIResponse,
} from '../protocol/gen/quorate_pb.js';
import type { Caller, OperationContext } from './context.js';

export async function whoAmI(context: OperationContext, caller: Caller, _request: WhoAmIRequest): Promise<WhoAmIResponse> {
  return create(WhoAmIResponseSchema, {
    principal: caller.principal,
    domain: context.domain,
    roles: context.access.directory.roles(caller.principal, caller.token === null ? caller.uid : null).map(({ role, domain }) => (domain === '' ? role : `${role}@${domain}`)),
    session: BigInt(caller.session),
    expiresMs: BigInt(caller.token?.expiresMs ?? 0),
    app: caller.app,
  });
}

export async function listSessions(context: OperationContext, _caller: Caller, _request: ListSessionsRequest): Promise<ListSessionsResponse> {
  const sessions = context.access.sessions().map((s) => create(SessionSchema, {
    id: BigInt(s.session),
    principal: s.principal,
    domain: s.domain,
    uid: s.uid,
    pid: s.pid,
    socket: s.socket,
    token: s.token,
    openedMs: BigInt(s.openedMs),
    idleMs: BigInt(s.idleMs),
    requests: BigInt(s.requests),
    sessionKeys: s.sessionKeys,
    streams: s.streams,
  }));
  return create(ListSessionsResponseSchema, { sessions });
}

/** Its session keys and streams are wiped, its connection closed. SESSION_NOT_FOUND */
export async function killSession(context: OperationContext, _caller: Caller, request: KillSessionRequest): Promise<KillSessionResponse> {
  if (!context.access.killSession(Number(request.id))) throw new QuorateError('SESSION_NOT_FOUND', `session ${request.id}`, { field: 'id' });
  return create(KillSessionResponseSchema);
}
