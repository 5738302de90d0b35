/** The host's key ring: random, versioned keys, each wrapped by the root as an entry of its own, so that later ones need no new format. */
import { timingSafeEqual } from 'node:crypto';
import { fromHex, toHex, utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { Ring } from '../../operations/context.js';
import { macInput, ringAad } from './document.js';
import type { RingEntry, SealDocument, UnsignedDocument } from './document.js';
import type { SecretScope } from './scope.js';

const RING_KEY_BYTES = 32;
const MAC_INFO = utf8Bytes('quorate/seal/mac');

export const PAGE = 'page';
export const RECORD_NAME = 'recordName';
export const domainEntry = (domain: string): string => `domain/${domain}`;

/** The opened ring. Whoever opened it calls close(). */
export class OpenRing implements Ring {
  /** Of the seal.json that it came from: 32 hexadecimal digits. */
  readonly storeId: string;
  readonly #addon: NativeAddon;
  readonly #current: Map<string, Handle>;
  readonly #all: Handle[];

  constructor(addon: NativeAddon, storeId: string, current: Map<string, Handle>, all: Handle[]) {
    this.storeId = storeId;
    this.#addon = addon;
    this.#current = current;
    this.#all = all;
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

  close(): void {
    for (const handle of this.#all.splice(0)) this.#addon.secretDrop(handle);
    this.#current.clear();
  }
}

/** Fresh keys under `root`: version 1 of each name. */
export function makeRing(addon: NativeAddon, storeId: string, root: Handle, domains: readonly string[]): { entries: RingEntry[]; ring: OpenRing } {
  const current = new Map<string, Handle>();
  const all: Handle[] = [];
  try {
    const entries = [PAGE, RECORD_NAME, ...domains.map(domainEntry)].map((name) => {
      const handle = addon.secretRandom(RING_KEY_BYTES);
      all.push(handle);
      current.set(name, handle);
      return { name, version: 1, wrapped: toHex(addon.sealSecret(root, ringAad(storeId, name, 1), handle)) };
    });
    return { entries, ring: new OpenRing(addon, storeId, current, all) };
  } catch (error) {
    for (const handle of all) addon.secretDrop(handle);
    throw error;
  }
}

/** STORE_CORRUPT when an entry does not open. */
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
    const ring = new OpenRing(addon, document.storeId, current, all);
    void [ring.pageKey, ring.recordNameKey];
    return ring;
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
