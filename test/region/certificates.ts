/** A CA and certificates of hosts, made with the openssl command. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { QuorateError } from '../../src/base/errors.js';
import type { PeerCredentials } from '../../src/region/peer/peers.js';

export interface TestCa {
  /** A new certificate with each call. */
  host(name: string): PeerCredentials;
  drop(): void;
}

export function testCa(): TestCa {
  const folder = mkdtempSync(path.join(tmpdir(), 'quorate-ca-'));
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const read = (file: string): string => readFileSync(path.join(folder, file), 'utf8');
  openssl('req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=ca', '-days', '2');
  writeFileSync(path.join(folder, 'host.cnf'), 'extendedKeyUsage = serverAuth, clientAuth\nbasicConstraints = critical, CA:false\n');
  return {
    host(name) {
      openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'host.key', '-out', 'host.csr', '-subj', `/CN=${name}`);
      openssl('x509', '-req', '-in', 'host.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'host.crt', '-days', '2', '-extfile', 'host.cnf');
      return { key: read('host.key'), cert: read('host.crt'), ca: read('ca.crt') };
    },
    drop: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Who is allowed, by common name and, where it matters, by serial. */
export function identifier(members: ReadonlySet<string>, revoked: ReadonlySet<string> = new Set()): (socket: TLSSocket, expected: string | null) => string {
  return (socket, expected) => {
    const shown = socket.getPeerX509Certificate();
    const name = /CN=(\S+)/.exec(shown?.subject ?? '')?.[1] ?? '';
    if (!members.has(name)) throw new QuorateError('PEER_REFUSED', `${name} is no member`);
    if (expected !== null && expected !== name) throw new QuorateError('PEER_REFUSED', `${expected} was called, ${name} has answered`);
    if (revoked.has(shown!.serialNumber)) throw new QuorateError('PEER_REFUSED', `the certificate of ${name} was revoked`);
    return name;
  };
}
