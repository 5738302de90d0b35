/** The host's key ring: random, versioned keys, each wrapped by the root as an entry of its own, so that later ones need no new format. */
import { timingSafeEqual } from 'node:crypto';
import { fromHex, toHex, utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { Ring } from '../../operations/context.js';
import { macInput, ringAad } from './document.js';
import type { RingEntry, SealDocument, UnsignedDocument } from './document.js';
import { SecretScope } from './scope.js';

const RING_KEY_BYTES = 32;
const MAC_INFO = utf8Bytes('quorate/seal/mac');

export const PAGE = 'page';
export const RECORD_NAME = 'recordName';
/** Seals the leaves of the audit log, and the seed (Ed25519) that signs its checkpoints. */
export const AUDIT_SEAL = 'audit/seal';
export const AUDIT_SIGN = 'audit/sign';
export const domainEntry = (domain: string): string => `domain/${domain}`;
/** What every ring has, beside its domains' keys. */
export const RING_NAMES = [PAGE, RECORD_NAME, AUDIT_SEAL, AUDIT_SIGN] as const;

/** The opened ring, and the root key that further entries are wrapped by. Whoever opened it calls close(). */
export class OpenRing implements Ring {
  /** Of the seal.json that it came from: 32 hexadecimal digits. */
  readonly storeId: string;
  readonly #addon: NativeAddon;
  readonly #root: Handle;
  readonly #current: Map<string, Handle>;
  readonly #all: Handle[];

  /** All handles are this object's from here on. */
  constructor(addon: NativeAddon, storeId: string, root: Handle, current: Map<string, Handle>, all: Handle[]) {
    this.storeId = storeId;
    this.#addon = addon;
    this.#root = root;
    this.#current = current;
    this.#all = [...all, root];
  }

  has(name: string): boolean {
    return this.#current.has(name);
  }

  /** Fresh keys for the names that are not there: the document with them, which the caller writes before adopt() makes them usable. ARENA_FULL */
  extend(document: SealDocument, names: readonly string[]): { document: SealDocument; adopt(): void; drop(): void } {
    const fresh = new Map<string, Handle>();
    const drop = (): void => { for (const handle of fresh.values()) this.#addon.secretDrop(handle); };
    const scope = new SecretScope(this.#addon);
    try {
      const entries = names.filter((name) => !this.has(name)).map((name) => {
        const handle = this.#addon.secretRandom(RING_KEY_BYTES);
        fresh.set(name, handle);
        return wrapEntry(this.#addon, document.storeId, this.#root, name, handle);
      });
      const { mac: _old, ...unsigned } = document;
      const signed = signDocument(this.#addon, scope, this.#root, { ...unsigned, ring: [...document.ring, ...entries] });
      const adopt = (): void => {
        for (const [name, handle] of fresh) {
          this.#current.set(name, handle);
          this.#all.push(handle);
        }
      };
      return { document: signed, adopt, drop };
    } catch (error) {
      drop();
      throw error;
    } finally {
      scope.close();
    }
  }

  #of(name: string): Handle {
    const handle = this.#current.get(name);
    if (handle === undefined) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${name}`);
    return handle;
  }

  domainKey(domain: string): Handle {
    return this.#of(domainEntry(domain));
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

  close(): void {
    for (const handle of this.#all.splice(0)) this.#addon.secretDrop(handle);
    this.#current.clear();
  }
}

function wrapEntry(addon: NativeAddon, storeId: string, root: Handle, name: string, handle: Handle): RingEntry {
  return { name, version: 1, wrapped: toHex(addon.sealSecret(root, ringAad(storeId, name, 1), handle)) };
}

/** Fresh keys under `root`, which the ring keeps: version 1 of each name. */
export function makeRing(addon: NativeAddon, storeId: string, root: Handle, domains: readonly string[]): { entries: RingEntry[]; ring: OpenRing } {
  const current = new Map<string, Handle>();
  const all: Handle[] = [];
  try {
    const entries = [...RING_NAMES, ...domains.map(domainEntry)].map((name) => {
      const handle = addon.secretRandom(RING_KEY_BYTES);
      all.push(handle);
      current.set(name, handle);
      return wrapEntry(addon, storeId, root, name, handle);
    });
    return { entries, ring: new OpenRing(addon, storeId, root, current, all) };
  } catch (error) {
    for (const handle of all) addon.secretDrop(handle);
    throw error;
  }
}

/** The ring keeps `root`, unless this throws. STORE_CORRUPT when an entry does not open. */
export function openRing(addon: NativeAddon, document: SealDocument, root: Handle): OpenRing {
  const current = new Map<string, Handle>();
  const versions = new Map<string, number>();
  const all: Handle[] = [];
  try {
    for (const entry of document.ring) {
      const handle = addon.openSecret(root, ringAad(document.storeId, entry.name, entry.version), fromHex(entry.wrapped)!);
      all.push(handle);
      if (entry.version > (versions.get(entry.name) ?? 0)) {
        versions.set(entry.name, entry.version);
        current.set(entry.name, handle);
      }
    }
    for (const name of [PAGE, RECORD_NAME]) if (!current.has(name)) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${name}`);
    return new OpenRing(addon, document.storeId, root, current, all);
  } catch (error) {
    for (const handle of all) addon.secretDrop(handle);
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
