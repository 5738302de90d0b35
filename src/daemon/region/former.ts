/**
 * How this host speaks to those of earlier incarnations, and what it believes of a later one. They trust their own CA alone, whose seed is in
 * the ring of every host that is let in: so each of them can show a certificate by it, and sign with it that its incarnation is over.
 */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type { FormerIncarnation, RegionRecord } from '../../region/membership.js';
import type { FormerFace } from '../../region/peer/context.js';
import type { FormerHost } from '../../region/peer/herald.js';
import { signSuccession, type Succession, verifySuccession } from '../../region/succession.js';
import { issueHostCertificate, renewDue } from '../../region/trust/ca.js';
import { factsOf, parseCertificate } from '../../region/trust/certificate.js';
import type { HostCredentials } from '../../region/trust/credentials.js';
import { type RegionIdentity, splitAddress } from '../../region/trust/names.js';
import { peerIdentity } from '../../region/trust/peer.js';
import type { OpenRing } from '../seal/ring.js';
import { peerCredentials } from './engine.js';
import { caSeedOf } from './incarnation.js';

export interface FacesOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly host: string;
  readonly ring: OpenRing;
  readonly addresses: readonly string[];
  readonly identity: RegionIdentity;
  record(): RegionRecord;
  /** Whose key is shown; the certificate is made anew. */
  credentials(): HostCredentials;
}

export class FormerFaces {
  readonly #o: FacesOptions;
  readonly #made = new Map<string, { readonly certificate: Uint8Array; readonly face: FormerFace }>();

  constructor(options: FacesOptions) {
    this.#o = options;
  }

  /** Whom to tell; an address that a present host has is left out. */
  get hosts(): FormerHost[] {
    const { former, hosts } = this.#o.record();
    const present = new Set(hosts.map(({ peerAddress }) => peerAddress));
    return former.flatMap(({ lineage: { counter, id }, peers }) => {
      const face = this.of(counter, id);
      return face === null ? [] : peers.filter((address) => !present.has(address)).map((address) => ({ ...splitAddress(address), face }));
    });
  }

  /** null: there was no such incarnation, or its CA's seed is not here. */
  of(counter: number, id: string): FormerFace | null {
    const { clock, log, record } = this.#o;
    const former = record().former.find(({ lineage }) => lineage.counter === counter && lineage.id === id);
    if (former === undefined) return null;
    const known = this.#made.get(id);
    if (known !== undefined && !renewDue(known.certificate, clock.nowMs())) return known.face;
    try {
      const made = this.#make(former);
      this.#made.set(id, made);
      return made.face;
    } catch (error) {
      log.error('hosts of an earlier incarnation cannot be told that it is over', { incarnation: counter, error: String(error) });
      return null;
    }
  }

  #make({ lineage, ca, baseRevision, baseHost }: FormerIncarnation): { certificate: Uint8Array; face: FormerFace } {
    const { addon, clock, ring, host, addresses, identity, record, credentials } = this.#o;
    const seed = caSeedOf(addon, ring, ca);
    const { keyPem, certificate: own } = credentials();
    const { spki } = factsOf(parseCertificate(own)!);
    const certificate = issueHostCertificate({ addon, seed }, ca, identity, { host, spki, addresses }, clock.nowMs());
    const { regionId, lineage: later } = record();
    const face: FormerFace = {
      lineage, credentials: peerCredentials({ keyPem, certificate, ca }), succession: signSuccession(addon, seed, { regionId, former: lineage, lineage: later, baseRevision, baseHost }),
      // Whoever has a certificate by that CA, removed or not: it is only told.
      identify: (socket: TLSSocket) => peerIdentity(socket, { region: identity, cas: [ca], isMember: () => true, isRevoked: () => false }, clock.nowMs()),
    };
    return { certificate, face };
  }
}

/**
 * What puts a host with this record out of office; null: nothing that is said here does. Either its own incarnation was followed by a later
 * one, or one that it has followed itself was also followed by another of no lower counter: two were rebuilt from one, and both stop.
 * PEER_REFUSED: it is not signed by whom it has to be
 */
export function judgeSuccession(signed: Uint8Array, { regionId, lineage, ca, former }: RegionRecord): Succession | null {
  let refused: unknown;
  for (const believed of [{ lineage, cas: ca }, ...former.map((one) => ({ lineage: one.lineage, cas: [one.ca] }))]) {
    try {
      const said = verifySuccession(signed, { regionId, ...believed });
      if (believed.lineage === lineage) return said;
      const isOwn = [lineage, ...former.map((one) => one.lineage)].some(({ id }) => id === said.lineage.id);
      return isOwn || said.lineage.counter < lineage.counter ? null : said;
    } catch (error) {
      if (!(error instanceof QuorateError)) throw error;
      refused ??= error;
    }
  }
  throw refused;
}
