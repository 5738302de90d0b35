/**
 * Which hosts of a region still answer. Whoever takes a connection counts, whatever it says: better to ask a person once more than to found
 * a second region beside a live one. A host that says that it is out of office does not count.
 */
import { connect } from 'node:net';
import type { RegionRecord } from '../../region/membership.js';
import type { RegionStore } from '../../region/regionStore.js';
import { splitAddress } from '../../region/trust/names.js';

const CONNECT_MS = 1_500;

function takesConnections(address: string): Promise<boolean> {
  const { host, port } = splitAddress(address);
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_MS });
    const done = (answers: boolean): void => {
      socket.destroy();
      resolve(answers);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.once('timeout', () => done(false));
  });
}

/** A sentence for each voter, `self` left out. Takes at most as long as a connection may. */
export async function answering(store: RegionStore, record: RegionRecord, self: string): Promise<string[]> {
  const links = new Map(store.status().links.map((link) => [link.host, link]));
  const voters = record.hosts.filter(({ name, role }) => name !== self && role === 'voter' && links.get(name)?.isQuarantined !== true);
  const said = await Promise.all(voters.map(async ({ name, peerAddress, engineAddress }) => {
    const [daemon, engine] = await Promise.all([peerAddress, engineAddress].map((address) => (address === '' ? false : takesConnections(address))));
    const parts = [daemon === true ? `its daemon at ${peerAddress}` : '', engine === true ? `its engine at ${engineAddress}` : ''].filter((part) => part !== '');
    return parts.length === 0 ? '' : `${name} answers: ${parts.join(', ')}`;
  }));
  return said.filter((sentence) => sentence !== '');
}
