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
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';

/** Where somebody has given it something, and where it is; what is bound to a domain is nowhere else. */
function domainsOf({ access, domain }: OperationContext, { principal, uid, app, token }: Caller): string[] {
  if (app !== '' || (token !== null && token.domain !== '')) return [domain];
  const held = new Set(access.directory.roles(principal, token === null ? uid : null).map((role) => role.domain));
  const named = access.policies.domainsNaming(principal);
  const isEverywhere = held.has('') || named.has(SYSTEM_DOMAIN);
  return [...access.domains].filter((name) => isEverywhere || name === domain || held.has(name) || named.has(name));
}

export async function whoAmI(context: OperationContext, caller: Caller, _request: WhoAmIRequest): Promise<WhoAmIResponse> {
  const expiresMs = caller.token?.expiresMs ?? 0;
  return create(WhoAmIResponseSchema, {
    principal: caller.principal,
    domain: context.domain,
    roles: context.access.directory.roles(caller.principal, caller.token === null ? caller.uid : null).map(({ role, domain }) => (domain === '' ? role : `${role}@${domain}`)),
    session: BigInt(caller.session),
    expiresMs: BigInt(expiresMs === Infinity ? 0 : expiresMs),
    app: caller.app,
    domains: domainsOf(context, caller),
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
