/** Where a region's hosts are reached, as the commands take it. */
import type { HostPlaces } from '../client/index.js';

/** peer, engine for clients, engine for members: one behind the other. */
export const PORT = 7420;
/** The engine starts, records are written into it, a copy is fetched. */
export const PATIENCE_MS = 150_000;
/** A whole copy comes over whatever there is between two sites; the daemon gives up by itself when it stands still. */
export const JOIN_PATIENCE_MS = 3_600_000;

export function placesOf(address: string, port: number = PORT, engine = true): HostPlaces {
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  return engine ? { peer: `${host}:${port}`, engine: `${host}:${port + 1}`, enginePeer: `${host}:${port + 2}` } : { peer: `${host}:${port}` };
}
