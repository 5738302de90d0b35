/**
 * What a host shows to the others: its TLS key, its certificate and the CA's. They lie in files because etcd reads them too. The TLS key is one of
 * the documented exceptions to "no key in JavaScript"; it proves a host's name for a month and opens nothing that is stored.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { closeSync, fsyncSync, lstatSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Server, TlsOptions } from 'node:tls';
import { QuorateError } from '../../base/errors.js';
import type { Der } from './certificate.js';

const FILE_BYTES_MAX = 64 * 1024;

export interface HostCredentials {
  /** PKCS#8, PEM. */
  readonly keyPem: string;
  readonly certificate: Der;
  readonly ca: Der;
}

/** P-256. `spki` is what a certificate is asked for. */
export function makeHostKey(): { keyPem: string; spki: Der } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), spki: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })) };
}

export function certificatePem(certificate: Der): string {
  return new X509Certificate(certificate).toString();
}

/** host.crt has the CA's certificate behind the host's: a host that joins knows the CA by its fingerprint alone, and must be shown it. */
const chainPem = (credentials: HostCredentials): string => certificatePem(credentials.certificate) + certificatePem(credentials.ca);

/**
 * For tls.createServer, tls.connect and SecureContexts: TLS 1.3, a certificate of this CA asked for and required in either direction. A server that
 * hosts join at sets rejectUnauthorized to false and asks peerIdentity on every other connection. Names are peerIdentity's duty, so a client gives
 * checkServerIdentity: () => undefined with it.
 */
export function tlsOptions(credentials: HostCredentials): TlsOptions & { minVersion: 'TLSv1.3' } {
  return {
    key: credentials.keyPem, cert: chainPem(credentials), ca: certificatePem(credentials.ca), minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3',
    requestCert: true, rejectUnauthorized: true,
  };
}

/** For the connections that come from now on; those that are open go on with what they had. */
export function reloadServer(server: Server, credentials: HostCredentials): void {
  const { key, cert, ca, minVersion, maxVersion } = tlsOptions(credentials);
  server.setSecureContext({ key, cert, ca, minVersion, maxVersion });
}

// ---- Files

function failed(file: string, error: unknown): QuorateError {
  if (error instanceof QuorateError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new QuorateError(isFull ? 'STORE_FULL' : 'STORE_IO', isFull ? `no room for ${file} (${code})` : `${file} cannot be read or written (${code})`, { cause: error });
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function replaceFile(file: string, content: string | Uint8Array, mode: number): void {
  const beside = `${file}.new`;
  rmSync(beside, { force: true });
  const fd = openSync(beside, 'wx', mode);
  try {
    const bytes = Buffer.from(content as string);
    for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
    bytes.fill(0);
  } finally {
    closeSync(fd);
  }
  renameSync(beside, file);
}

/** The three files in one folder (0700) of the host's. A renewal writes host.crt and ca.crt alone: the key stays, so that no reader can meet a pair that does not fit. */
export class CredentialFiles {
  readonly folder: string;
  readonly key: string;
  readonly certificate: string;
  readonly ca: string;
  /** For etcd alone, DER. */
  readonly revocations: string;

  constructor(folder: string) {
    this.folder = folder;
    this.key = path.join(folder, 'host.key');
    this.certificate = path.join(folder, 'host.crt');
    this.ca = path.join(folder, 'ca.crt');
    this.revocations = path.join(folder, 'revoked.crl');
  }

  /** Durable when it returns. host.crt comes last: where it is, all are. STORE_IO, STORE_FULL */
  save(credentials: HostCredentials): void {
    this.#write(() => {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      replaceFile(this.key, credentials.keyPem, 0o600);
      this.#replaceCertificates(credentials);
    });
  }

  /** STORE_IO, STORE_FULL */
  saveRevocations(list: Uint8Array): void {
    this.#write(() => {
      replaceFile(this.revocations, list, 0o644);
      syncFolder(this.folder);
    });
  }

  /** STORE_IO, STORE_FULL */
  saveRenewed(credentials: HostCredentials): void {
    this.#write(() => this.#replaceCertificates(credentials));
  }

  #replaceCertificates(credentials: HostCredentials): void {
    replaceFile(this.ca, certificatePem(credentials.ca), 0o644);
    replaceFile(this.certificate, chainPem(credentials), 0o644);
    syncFolder(this.folder);
  }

  #write(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw failed(this.folder, error);
    }
  }

  /** null when this host has none. STORE_IO; STORE_CORRUPT: cut short, of two hosts, or a key that others can read */
  load(): HostCredentials | null {
    if (lstatSync(this.certificate, { throwIfNoEntry: false }) === undefined) return null;
    const keyPem = this.#read(this.key);
    if ((lstatSync(this.key).mode & 0o077) !== 0) throw new QuorateError('STORE_CORRUPT', `${this.key} can be read by others: it proves nothing any more`);
    const certificate = this.#certificate(this.certificate);
    const ca = this.#certificate(this.ca);
    let fits: boolean;
    try {
      fits = certificate.publicKey.equals(createPublicKey(createPrivateKey(keyPem)));
    } catch (error) {
      throw new QuorateError('STORE_CORRUPT', `${this.key} is not a private key`, { cause: error });
    }
    if (!fits) throw new QuorateError('STORE_CORRUPT', `${this.key} and ${this.certificate} do not belong together`);
    return { keyPem, certificate: new Uint8Array(certificate.raw), ca: new Uint8Array(ca.raw) };
  }

  #read(file: string): string {
    try {
      const bytes = readFileSync(file);
      if (bytes.byteLength > FILE_BYTES_MAX) throw new QuorateError('STORE_CORRUPT', `${file} is longer than ${FILE_BYTES_MAX} bytes`);
      return bytes.toString('latin1');
    } catch (error) {
      throw failed(file, error);
    }
  }

  /** The first one in the file. */
  #certificate(file: string): X509Certificate {
    const text = this.#read(file);
    try {
      return new X509Certificate(text);
    } catch (error) {
      throw new QuorateError('STORE_CORRUPT', `${file} is not a certificate`, { cause: error });
    }
  }
}
