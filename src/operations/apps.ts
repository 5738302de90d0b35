/** AddApp, ListApps, RemoveApp: sockets whose connections are an application, whatever uid they come from. */
import path from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { parsePrincipal } from '../iam/principal.js';
import {
  AppResponseSchema,
  AppSchema,
  ListAppsResponseSchema,
  RemoveAppResponseSchema,
  type AddAppRequest,
  type App,
  type AppResponse,
  type ListAppsRequest,
  type ListAppsResponse,
  type RemoveAppRequest,
  type RemoveAppResponse,
} from '../protocol/gen/quorate_pb.js';
import type { RecordName } from '../store/store.js';
import { DEFAULT_DOMAIN, SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { mutate, storing } from './mutate.js';
import { readAll } from './readAll.js';

const MODE_DEFAULT = 0o660;
/** sun_path, with its zero. */
const SOCKET_PATH_BYTES_MAX = 107;

const recordName = (name: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'app', id: name });

export async function loadApps(context: OperationContext): Promise<App[]> {
  return (await readAll(context, SYSTEM_DOMAIN, 'app')).map((bytes) => fromBinary(AppSchema, bytes));
}

function asked(context: OperationContext, request: AddAppRequest): App {
  parsePrincipal(`app:${request.name}`);
  const domain = request.domain === '' ? DEFAULT_DOMAIN : request.domain;
  if (!context.access.domains.has(domain)) throw new QuorateError('DOMAIN_NOT_FOUND', domain.slice(0, 64), { field: 'domain' });
  const socket = request.socket === '' ? context.access.appSocket(request.name) : request.socket;
  if (!path.isAbsolute(socket) || path.normalize(socket) !== socket || Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX || socket.includes('\0')) {
    throw new QuorateError('BAD_REQUEST', `socket: an absolute path of at most ${SOCKET_PATH_BYTES_MAX} bytes, without . and ..`, { field: 'socket' });
  }
  const mode = request.mode === 0 ? MODE_DEFAULT : request.mode;
  if ((mode & ~0o777) !== 0) throw new QuorateError('BAD_REQUEST', 'mode: permissions alone, such as 660', { field: 'mode' });
  const { owner, group } = request;
  return create(AppSchema, { name: request.name, domain, socket, mode, owner, group, createdMs: BigInt(context.clock.nowMs()) });
}

/** BAD_REQUEST, PRINCIPAL_INVALID, DOMAIN_NOT_FOUND, APP_EXISTS, LIMIT_EXCEEDED, SOCKET_UNUSABLE, ALREADY_RUNNING, STORE_FULL, STORE_IO */
export async function addApp(context: OperationContext, caller: Caller, request: AddAppRequest): Promise<AppResponse> {
  const { access } = context;
  return mutate(context, caller, 'AddApp', request, async () => {
    const app = asked(context, request);
    if ((await context.store.get(recordName(app.name))) !== null) throw new QuorateError('APP_EXISTS', app.name, { field: 'name' });
    if (access.directory.apps().length >= LIMITS.apps_max) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.apps_max} applications are all that one host has`);
    if (access.directory.apps().some((o) => o.socket === app.socket)) throw new QuorateError('SOCKET_UNUSABLE', `${app.socket} is another application's`, { field: 'socket' });
    const store = storing(context, [{ name: recordName(app.name), value: toBinary(AppSchema, app), ifGeneration: 0 }]);
    return {
      response: create(AppResponseSchema, { app: create(AppSchema, { ...app, listening: true }) }),
      // The socket first: an application that cannot listen is not made.
      commit: async (once) => {
        access.directory.putApp(app);
        try {
          access.openApp(app);
          return await store(once);
        } catch (error) {
          access.closeApp(app.name);
          access.directory.removeApp(app.name);
          throw error;
        }
      },
    };
  });
}

export async function listApps(context: OperationContext, _caller: Caller, _request: ListAppsRequest): Promise<ListAppsResponse> {
  const { directory } = context.access;
  return create(ListAppsResponseSchema, { apps: directory.apps().map((app) => create(AppSchema, { ...app, listening: directory.isListening(app.name) })) });
}

/** Its connections are closed with its socket; policies that name it stay. APP_NOT_FOUND, STORE_FULL, STORE_IO */
export async function removeApp(context: OperationContext, caller: Caller, request: RemoveAppRequest): Promise<RemoveAppResponse> {
  const { access } = context;
  return mutate(context, caller, 'RemoveApp', request, async () => {
    const stored = await context.store.get(recordName(request.name));
    if (stored === null) throw new QuorateError('APP_NOT_FOUND', request.name.slice(0, 128), { field: 'name' });
    const store = storing(context, [{ name: recordName(request.name), value: null, ifGeneration: stored.generation }]);
    return {
      response: create(RemoveAppResponseSchema),
      commit: async (once) => {
        const durability = await store(once);
        access.closeApp(request.name);
        access.directory.removeApp(request.name);
        return durability;
      },
    };
  });
}
