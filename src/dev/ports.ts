/**
 * Ports for servers that will be ended and started again: below the range that the kernel takes for connections, where a peer that dials in vain
 * would sooner or later be given the port itself.
 */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { QuorateError } from '../base/errors.js';

const LOWEST = 10_240;
const HIGHEST = 32_767;
const TRIES_MAX = 2000;

/** The first one of the kernel's range. */
function firstEphemeral(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'ascii').split(/\s+/)[0]) || HIGHEST + 1;
  } catch {
    return HIGHEST + 1;
  }
}

function listen(address: string, port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(null)).listen(port, address, () => resolve(server));
  });
}

/** Ports that nobody listens on now, each once. SOCKET_UNUSABLE */
export async function freePorts(count: number, address = '127.0.0.1'): Promise<number[]> {
  const end = Math.min(HIGHEST + 1, Math.max(LOWEST + TRIES_MAX, firstEphemeral()));
  const held: Server[] = [];
  const ports: number[] = [];
  try {
    for (let tried = 0; ports.length < count; tried++) {
      if (tried >= TRIES_MAX) throw new QuorateError('SOCKET_UNUSABLE', `no ${count} free ports on ${address} from ${LOWEST} to ${end - 1}`);
      const port = randomInt(LOWEST, end);
      const server = await listen(address, port);
      if (server === null) continue;
      held.push(server);
      ports.push(port);
    }
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => { server.close(resolve); })));
  }
  return ports;
}
