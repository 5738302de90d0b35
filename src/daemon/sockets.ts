/** The sockets that the plane listens on: those that the service manager handed over, else one of our own with mode 0600. */
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { requirePrivateFolder } from '../base/paths.js';
import type { Environment, SocketChoice } from '../base/paths.js';
import type { NativeAddon } from '../crypto/addon.js';
import { CREDENTIALS_FD_NAME } from './credentials.js';
import type { Activated } from './notify.js';

const SOCKET_MODE = 0o600;

/**
 * Where the daemon reaches itself, when the manager's socket is closed to it: that is root's, mode 0600, and the daemon is not. In the folder that the
 * manager made for it, under a name that no application can have. null: where clients connect. ALREADY_RUNNING, SOCKET_UNUSABLE
 */
export function listenToSelf(addon: NativeAddon, activated: readonly Activated[], env: Environment = process.env, uid: number = process.getuid!()): string | null {
  const folder = env['RUNTIME_DIRECTORY'] ?? '';
  if (activated.length === 0 || uid === 0 || !path.isAbsolute(folder) || folder.includes(':')) return null;
  const socket = path.join(folder, '.self-check');
  addon.planeListen(socket, SOCKET_MODE);
  return socket;
}

const isForClients = ({ name }: Activated): boolean => name !== CREDENTIALS_FD_NAME;

/** Where clients connect: to the first of the manager's sockets that has a path, else to the daemon's own. */
export function socketOf(choice: SocketChoice, activated: readonly Activated[]): string {
  return activated.find((one) => isForClients(one) && one.path !== '')?.path ?? choice.path;
}

/** Where clients connect. ALREADY_RUNNING, SOCKET_UNUSABLE */
export function listen(addon: NativeAddon, choice: SocketChoice, activated: readonly Activated[]): string[] {
  const own = activated.filter(isForClients);
  if (own.length > 0) {
    return own.map(({ fd, path: bound }) => {
      addon.planeListenFd(fd);
      return bound === '' ? choice.path : bound;
    });
  }
  if (choice.source === 'temporary') requirePrivateFolder(path.dirname(choice.path));
  try {
    addon.planeListen(choice.path, SOCKET_MODE);
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'ALREADY_RUNNING') throw error;
    throw new QuorateError('ALREADY_RUNNING', `a daemon answers on ${choice.path}`, { cause: error });
  }
  return [choice.path];
}
