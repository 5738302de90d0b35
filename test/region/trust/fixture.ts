/** A region made in the test: its CA in the real arena, hosts with certificates. */
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import type { Handle, NativeAddon } from '../../../src/crypto/addon.js';
import { issueHostCertificate, makeCaCertificate, newRegionId } from '../../../src/region/trust/ca.js';
import type { CaKey } from '../../../src/region/trust/ca.js';
import type { Der } from '../../../src/region/trust/certificate.js';
import { makeHostKey, tlsOptions } from '../../../src/region/trust/credentials.js';
import type { HostCredentials } from '../../../src/region/trust/credentials.js';
import type { RegionIdentity } from '../../../src/region/trust/names.js';

export const DAY = 86_400_000;

export class TestRegion {
  readonly addon: NativeAddon;
  readonly seed: Handle;
  readonly ca: CaKey;
  readonly identity: RegionIdentity;
  readonly caCertificate: Der;

  constructor(addon: NativeAddon, name = 'rbx', nowMs = Date.now(), id = newRegionId()) {
    this.addon = addon;
    this.seed = addon.secretRandom(32);
    this.ca = { addon, seed: this.seed };
    this.identity = { name, id };
    this.caCertificate = makeCaCertificate(this.ca, this.identity, nowMs);
  }

  host(name: string, nowMs = Date.now(), lifeMs?: number, addresses: readonly string[] = ['127.0.0.1', 'localhost']): HostCredentials {
    const { keyPem, spki } = makeHostKey();
    return { keyPem, certificate: issueHostCertificate(this.ca, this.caCertificate, this.identity, { host: name, spki, addresses }, nowMs, lifeMs), ca: this.caCertificate };
  }

  close(): void {
    this.addon.secretDrop(this.seed);
  }
}

export function temporaryFolder(): { path: string; remove: () => void } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-trust-'));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Both ends of a connection whose handshake is done on both sides; rejects when either refuses. */
export async function connectedPair(server: tls.TlsOptions, client: tls.ConnectionOptions): Promise<{ server: tls.TLSSocket; client: tls.TLSSocket; close: () => void }> {
  const listener = tls.createServer(server);
  try {
    return await pairAt(listener, client);
  } catch (error) {
    listener.close();
    throw error;
  }
}

export async function listen(listener: tls.Server): Promise<number> {
  await new Promise<void>((resolve) => { listener.listen(0, '127.0.0.1', resolve); });
  return (listener.address() as AddressInfo).port;
}

export async function pairAt(listener: tls.Server, client: tls.ConnectionOptions): Promise<{ server: tls.TLSSocket; client: tls.TLSSocket; close: () => void }> {
  const port = listener.listening ? (listener.address() as AddressInfo).port : await listen(listener);
  const accepted = new Promise<tls.TLSSocket>((resolve, reject) => {
    listener.once('secureConnection', resolve);
    listener.once('tlsClientError', reject);
  });
  accepted.catch(() => {});
  const socket = tls.connect({ port, host: '127.0.0.1', checkServerIdentity: () => undefined, ...client });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  const other = await accepted;
  for (const each of [socket, other]) each.on('error', () => {});
  return {
    server: other, client: socket, close: () => {
      socket.destroy();
      other.destroy();
      listener.close();
    },
  };
}

/** As hosts connect to hosts. */
export const hostPair = (server: HostCredentials, client: HostCredentials): ReturnType<typeof connectedPair> => connectedPair(tlsOptions(server), tlsOptions(client) as tls.ConnectionOptions);
