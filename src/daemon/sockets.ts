/** The sockets that the plane listens on: those that the service manager handed over, else one of our own with mode 0600. */
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { requirePrivateFolder } from '../base/paths.js';
import type { SocketChoice } from '../base/paths.js';
import type { NativeAddon } from '../crypto/addon.js';
import { CREDENTIALS_FD_NAME } from './credentials.js';
import type { Activated } from './notify.js';

const SOCKET_MODE = 0o600;

/** Where clients connect. ALREADY_RUNNING, SOCKET_UNUSABLE */
export function listen(addon: NativeAddon, choice: SocketChoice, activated: readonly Activated[]): string[] {
  const own = activated.filter(({ name }) => name !== CREDENTIALS_FD_NAME);
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
