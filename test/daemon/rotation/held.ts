/** A ring that is really wrapped, without a daemon around it. */
import type { Handle, NativeAddon } from '../../../src/crypto/addon.js';
import type { SealDocument } from '../../../src/daemon/seal/document.js';
import type { NewEntry, OpenRing } from '../../../src/daemon/seal/ring.js';
import * as roots from '../../../src/daemon/seal/roots.js';
import { withSecrets } from '../../../src/daemon/seal/scope.js';
import { createSeals, openWithKek } from '../../../src/daemon/seal/seals.js';
import type { RingKey } from '../../../src/region/trust/entries.js';

/** Ring and seal.json as the lifecycle keeps them. */
export class Held {
  document!: SealDocument;
  ring!: OpenRing;
  readonly credential: Handle;

  constructor(readonly addon: NativeAddon) {
    this.credential = addon.secretFromBytes(new Uint8Array(32).fill(5));
  }

  /** `given`: handles that the ring keeps. */
  async make(given: readonly RingKey[] = []): Promise<void> {
    const plan = { adminUid: 1000, createdMs: 1, developmentKek: null, credential: this.credential, passphrase: null, custodians: null, recovery: null, given };
    const made = await withSecrets(this.addon, (scope) => {
      for (const { handle } of given) scope.keep(handle);
      return createSeals(this.addon, scope, plan, ['default', 'system']);
    });
    this.document = made.document;
    this.ring = made.ring;
  }

  readonly extend = (ring: OpenRing, entries: readonly NewEntry[]): void => {
    const extended = ring.extend(this.document, entries);
    extended.adopt();
    this.document = extended.document;
  };

  readonly retire = (ring: OpenRing, gone: readonly RingKey[]): void => {
    const retired = ring.retire(this.document, gone);
    retired.drop();
    this.document = retired.document;
  };

  /** What seal.json says, as the next start finds it. */
  async reopened(): Promise<OpenRing> {
    return withSecrets(this.addon, (scope) => {
      const seal = this.document.seals.find((one) => one.type === 'credential')!;
      return Promise.resolve(openWithKek(this.addon, scope, this.document, seal, roots.credentialKek(this.addon, scope, seal, this.credential))!);
    });
  }

  versions(name: string): number[] {
    return this.document.ring.filter((entry) => entry.name === name).map(({ version }) => version).sort((a, b) => a - b);
  }
}
