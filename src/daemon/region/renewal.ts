/** A host's certificate, renewed by the host itself: the CA's seed is in the ring of all. etcd reads the files anew for each connection. */
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { issueHostCertificate, renewDue } from '../../region/trust/ca.js';
import type { CredentialFiles, HostCredentials } from '../../region/trust/credentials.js';
import { factsOf, parseCertificate } from '../../region/trust/certificate.js';
import { peerCredentials } from './engine.js';
import { caSeedOf } from './incarnation.js';
import type { RegionIdentity } from '../../region/trust/names.js';
import type { OpenRegion } from './desk.js';

export interface Renewing {
  readonly addon: NativeAddon;
  readonly log: Logger;
  readonly files: CredentialFiles;
  readonly identity: RegionIdentity;
  /** Where others reach this host, without ports. */
  readonly addresses: readonly string[];
}

/** What of an open store it takes. */
export interface Renewed {
  readonly host: string;
  readonly ring: Pick<OpenRegion['ring'], 'entries'>;
  readonly store: Pick<OpenRegion['store'], 'setCredentials'>;
  credentials: HostCredentials;
}

/** False: it is not due. Files first, then connections from now on; those that are open go on. STORE_IO, STORE_FULL, CONFIG_INVALID: the old one stays */
export function renewCertificate({ addon, log, files, identity, addresses }: Renewing, open: Renewed, nowMs: number): boolean {
  const { host, ring, store, credentials: { certificate: old, ca, keyPem } } = open;
  if (!renewDue(old, nowMs)) return false;
  const { spki } = factsOf(parseCertificate(old)!);
  const certificate = issueHostCertificate({ addon, seed: caSeedOf(addon, ring, ca) }, ca, identity, { host, spki, addresses }, nowMs);
  const credentials = { keyPem, certificate, ca };
  files.saveRenewed(credentials);
  open.credentials = credentials;
  store.setCredentials(peerCredentials(credentials));
  log.info('the certificate was renewed');
  return true;
}
