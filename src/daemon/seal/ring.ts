/** The host's key ring: random, versioned keys, each wrapped by the root as an entry of its own, so that later ones need no new format. */
import { timingSafeEqual } from 'node:crypto';
import { fromHex, toHex, utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { Ring } from '../../operations/context.js';
import { REGION_CA, REGION_ENVELOPE, type RingKey } from '../../region/trust/entries.js';
import type { Generations } from '../../store/generations.js';
import { macInput, ringAad } from './document.js';
import type { RingEntry, SealDocument, SealEntry, UnsignedDocument } from './document.js';
import { SecretScope } from './scope.js';

const RING_KEY_BYTES = 32;
const MAC_INFO = utf8Bytes('quorate/seal/mac');
const FIRST_VERSION = 1;

export const PAGE = 'page';
export const RECORD_NAME = 'recordName';
/** Seals the leaves of the audit log, and the seed (Ed25519) that signs its checkpoints. */
export const AUDIT_SEAL = 'audit/seal';
export const AUDIT_SIGN = 'audit/sign';
/** Seals the segments of backups, and the seed (Ed25519) that signs their manifests. A region's hosts share them. */
export const BACKUP_SEAL = 'backup/seal';
export const BACKUP_SIGN = 'backup/sign';
/** This host's X25519 private key: what other hosts seal new keys of the region to. */
export const REGION_ENROLMENT = 'region/enrolment';
export const domainEntry = (domain: string): string => `domain/${domain}`;
/** What a rotation has generations of: the domains' keys, the backups' and, in a region, the envelope's. */
export const isRotated = (name: string): boolean => name.startsWith('domain/') || name === REGION_ENVELOPE || name === BACKUP_SEAL;
/** What every ring has, beside its domains' keys. */
export const RING_NAMES = [PAGE, RECORD_NAME, AUDIT_SEAL, AUDIT_SIGN] as const;

/** What an entry begins with: a key that is there already, or null for a fresh one. A handle that is given is the ring's from adopt() on. */
export interface NewEntry {
  readonly name: string;
  readonly given?: { readonly version: number; readonly handle: Handle };
}

/** The opened ring, and the root key that further entries are wrapped by. Whoever opened it calls close(). */
export class OpenRing implements Ring {
  /** Of the seal.json that it came from: 32 hexadecimal digits. */
  readonly storeId: string;
  readonly #addon: NativeAddon;
  #root: Handle;
  readonly #current = new Map<string, RingKey>();
  #all: RingKey[] = [];
  readonly #active = new Set<number>();
  /** Entries that another took the place of; operations under way may hold them. */
  readonly #replaced: Handle[] = [];

  /** All handles are this object's from here on. */
  constructor(addon: NativeAddon, storeId: string, root: Handle, entries: readonly RingKey[]) {
    this.storeId = storeId;
    this.#addon = addon;
    this.#root = root;
    for (const entry of entries) this.#put(entry);
  }

  #put(entry: RingKey): void {
    const old = this.#all.find(({ name, version }) => name === entry.name && version === entry.version);
    if (old !== undefined) this.#replaced.push(old.handle);
    this.#all = [...this.#all.filter((other) => other !== old), entry];
    const current = this.#current.get(entry.name);
    if (!isRotated(entry.name)) {
      if (entry.version >= (current?.version ?? 0)) this.#current.set(entry.name, entry);
      return;
    }
    // A later generation seals nothing before every host has it: activate() says when.
    const isEarlier = current !== undefined && entry.version < current.version && !this.#active.has(current.version);
    const isActive = current !== undefined && entry.version > current.version && this.#active.has(entry.version);
    if (current === undefined || entry.version === current.version || isEarlier || isActive) this.#current.set(entry.name, entry);
  }

  has(name: string): boolean {
    return this.#current.has(name);
  }

  /** Every version of every entry; the handles stay the ring's. */
  get entries(): readonly RingKey[] {
    return this.#all;
  }

  /**
   * Entries beside those that are there, or in the place of the same version: the document with them, which the caller writes before adopt()
   * makes them usable. ARENA_FULL
   */
  extend(document: SealDocument, added: readonly NewEntry[]): { document: SealDocument; adopt(): void; drop(): void } {
    const fresh: RingKey[] = [];
    const drop = (): void => { for (const { handle } of fresh) this.#addon.secretDrop(handle); };
    const scope = new SecretScope(this.#addon);
    try {
      const entries = added.filter(({ name, given }) => given !== undefined || !this.has(name)).map(({ name, given }) => {
        const entry = given === undefined ? { name, version: FIRST_VERSION, handle: this.#addon.secretRandom(RING_KEY_BYTES) } : { name, ...given };
        fresh.push(entry);
        return wrapEntry(this.#addon, document.storeId, this.#root, entry);
      });
      const { mac: _old, ...unsigned } = document;
      const kept = document.ring.filter((old) => !entries.some(({ name, version }) => name === old.name && version === old.version));
      const signed = signDocument(this.#addon, scope, this.#root, { ...unsigned, ring: [...kept, ...entries] });
      return { document: signed, adopt: () => { for (const entry of fresh) this.#put(entry); }, drop };
    } catch (error) {
      drop();
      throw error;
    } finally {
      scope.close();
    }
  }

  /** What was rotated to this generation seals with it from here on. */
  activate(generation: number): void {
    this.#active.add(generation);
    for (const entry of this.#all) if (isRotated(entry.name) && entry.version === generation && generation > (this.#current.get(entry.name)?.version ?? 0)) this.#current.set(entry.name, entry);
  }

  /** Generations before this one, of what is rotated and has it. What a rebuild makes has versions too, all of which stay. */
  before(generation: number): RingKey[] {
    const rotated = new Set(this.#all.filter(({ name, version }) => version === generation && isRotated(name)).map(({ name }) => name));
    return this.#all.filter(({ name, version }) => version < generation && rotated.has(name));
  }

  /** Every generation of these domains' keys. */
  ofDomains(domains: ReadonlySet<string>): RingKey[] {
    return this.#all.filter(({ name }) => name.startsWith('domain/') && domains.has(name.slice('domain/'.length)));
  }

  /** The document without them, which the caller writes before drop() forgets them. */
  retire(document: SealDocument, gone: readonly RingKey[]): { document: SealDocument; drop(): void } {
    const scope = new SecretScope(this.#addon);
    try {
      const { mac: _old, ...unsigned } = document;
      const ring = document.ring.filter((entry) => !gone.some(({ name, version }) => name === entry.name && version === entry.version));
      const signed = signDocument(this.#addon, scope, this.#root, { ...unsigned, ring });
      return { document: signed, drop: () => this.#forget(gone) };
    } finally {
      scope.close();
    }
  }

  /** The document under another root, which the caller writes before adopt() drops the one of before; from then on `root` is the ring's. */
  rewrap(document: SealDocument, root: Handle, seals: readonly SealEntry[]): { document: SealDocument; adopt(): void } {
    const scope = new SecretScope(this.#addon);
    try {
      const ring = document.ring.map(({ name, version }) => {
        const entry = this.#all.find((one) => one.name === name && one.version === version);
        if (entry === undefined) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${name} of version ${version}`);
        return wrapEntry(this.#addon, document.storeId, root, entry);
      });
      const { mac: _old, ...unsigned } = document;
      const adopt = (): void => {
        this.#addon.secretDrop(this.#root);
        this.#root = root;
      };
      return { document: signDocument(this.#addon, scope, root, { ...unsigned, seals, ring }), adopt };
    } finally {
      scope.close();
    }
  }

  #forget(gone: readonly RingKey[]): void {
    this.#all = this.#all.filter((entry) => !gone.includes(entry));
    for (const { name } of gone) if (!this.#all.some((entry) => entry.name === name)) this.#current.delete(name);
    for (const { handle } of gone) this.#addon.secretDrop(handle);
  }

  #generations(name: string): Generations {
    return (version) => {
      const entry = version === undefined ? this.#current.get(name) : this.#all.find((one) => one.name === name && one.version === version);
      if (entry === undefined) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${name}${version === undefined ? '' : ` of generation ${version}`}`);
      return entry;
    };
  }

  #of(name: string): Handle {
    const entry = this.#current.get(name);
    if (entry === undefined) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${name}`);
    return entry.handle;
  }

  domainKey(domain: string): Generations {
    return this.#generations(domainEntry(domain));
  }

  get recordNameKey(): Handle {
    return this.#of(RECORD_NAME);
  }

  get pageKey(): Handle {
    return this.#of(PAGE);
  }

  get auditKeys(): { seal: Handle; sign: Handle } {
    return { seal: this.#of(AUDIT_SEAL), sign: this.#of(AUDIT_SIGN) };
  }

  /** Of a host in a region. */
  get envelopeKey(): Generations {
    return this.#generations(REGION_ENVELOPE);
  }

  get caSeed(): Handle {
    return this.#of(REGION_CA);
  }

  /** The generation in use. STORE_CORRUPT: there is none yet */
  get backupKeys(): { seal: RingKey; sign: RingKey } {
    const [seal, sign] = [this.#current.get(BACKUP_SEAL), this.#current.get(BACKUP_SIGN)];
    if (seal === undefined || sign === undefined) throw new QuorateError('STORE_CORRUPT', 'the ring has no keys for backups');
    return { seal, sign };
  }

  get enrolmentKey(): Handle {
    return this.#of(REGION_ENROLMENT);
  }

  close(): void {
    for (const { handle } of this.#all.splice(0)) this.#addon.secretDrop(handle);
    for (const handle of this.#replaced.splice(0)) this.#addon.secretDrop(handle);
    this.#addon.secretDrop(this.#root);
    this.#current.clear();
  }
}

function wrapEntry(addon: NativeAddon, storeId: string, root: Handle, { name, version, handle }: RingKey): RingEntry {
  return { name, version, wrapped: toHex(addon.sealSecret(root, ringAad(storeId, name, version), handle)) };
}

/**
 * Under `root`, which the ring keeps: version 1 of each name, fresh, but for what is given. Handles that were given are the ring's when it returns;
 * the caller's still when it throws.
 */
export function makeRing(addon: NativeAddon, storeId: string, root: Handle, domains: readonly string[], given: readonly RingKey[] = []): { entries: RingEntry[]; ring: OpenRing } {
  const fresh: RingKey[] = [];
  try {
    for (const name of [...RING_NAMES, ...domains.map(domainEntry)]) {
      if (!given.some((entry) => entry.name === name)) fresh.push({ name, version: FIRST_VERSION, handle: addon.secretRandom(RING_KEY_BYTES) });
    }
    const all = [...fresh, ...given];
    return { entries: all.map((entry) => wrapEntry(addon, storeId, root, entry)), ring: new OpenRing(addon, storeId, root, all) };
  } catch (error) {
    for (const { handle } of fresh) addon.secretDrop(handle);
    throw error;
  }
}

/** The ring keeps `root`, unless this throws. STORE_CORRUPT when an entry does not open. */
export function openRing(addon: NativeAddon, document: SealDocument, root: Handle): OpenRing {
  const all: RingKey[] = [];
  try {
    for (const { name, version, wrapped } of document.ring) {
      all.push({ name, version, handle: addon.openSecret(root, ringAad(document.storeId, name, version), fromHex(wrapped)!) });
    }
    for (const name of [PAGE, RECORD_NAME]) if (!all.some((entry) => entry.name === name)) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${name}`);
    return new OpenRing(addon, document.storeId, root, all);
  } catch (error) {
    for (const { handle } of all) addon.secretDrop(handle);
    throw error;
  }
}

function mac(addon: NativeAddon, scope: SecretScope, root: Handle, document: UnsignedDocument): string {
  const macKey = scope.keep(addon.hkdf(root, fromHex(document.storeId)!, MAC_INFO, 32));
  return toHex(addon.hmac(macKey, macInput(document)));
}

export function signDocument(addon: NativeAddon, scope: SecretScope, root: Handle, document: UnsignedDocument): SealDocument {
  return { ...document, mac: mac(addon, scope, root, document) };
}

/** STORE_CORRUPT when a field was changed by somebody without the root key, such as the admin's uid. */
export function verifyDocument(addon: NativeAddon, scope: SecretScope, root: Handle, document: SealDocument): void {
  if (!timingSafeEqual(Buffer.from(mac(addon, scope, root, document)), Buffer.from(document.mac))) {
    throw new QuorateError('STORE_CORRUPT', 'seal.json was changed: its fields do not fit its mac');
  }
}
