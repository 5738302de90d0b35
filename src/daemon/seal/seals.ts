/** Makes a store's seals and ring, and opens the ring again with any one of them. No files here but root.key's and the credential's bytes. */
import { randomBytes } from 'node:crypto';
import { toHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import { DOCUMENT_VERSION } from './document.js';
import type { RecoverySeal, SealDocument, SealEntry, SealName } from './document.js';
import { makeRing, openRing, signDocument, verifyDocument } from './ring.js';
import type { OpenRing } from './ring.js';
import * as roots from './roots.js';
import type { RingKey } from '../../region/trust/entries.js';
import type { SecretScope } from './scope.js';

const ROOT_BYTES = 32;
const STORE_ID_BYTES = 16;

export interface Sharing {
  readonly count: number;
  readonly threshold: number;
}

/** What `init` was asked for. A field that is null makes no such seal. The secrets stay the caller's. */
export interface InitPlan {
  readonly adminUid: number;
  readonly createdMs: number;
  /** 32 bytes, already on disk as root.key. */
  readonly developmentKek: Handle | null;
  readonly credential: Handle | null;
  readonly passphrase: Handle | null;
  readonly custodians: Sharing | null;
  readonly recovery: Sharing | null;
  /** Entries that the region, or a backup, has given; in the scope until the ring has them. */
  readonly given?: readonly RingKey[];
  /** Of the store that a backup holds; without it a new one. */
  readonly storeId?: string;
  /** The kit that a backup was opened by: it opens the restored host as well. */
  readonly kit?: Omit<RecoverySeal, 'wrappedRoot' | 'ephemeral'>;
}

export interface Created {
  readonly document: SealDocument;
  /** Opened; the caller closes it. */
  readonly ring: OpenRing;
  /** ASCII texts in the arena; the caller's. */
  readonly recoveryShares: Handle[];
  readonly custodianShares: Handle[];
}

/** BAD_REQUEST naming the field. */
export function checkPlan(addon: NativeAddon, plan: InitPlan): void {
  const refuse = (field: string, fact: string): never => { throw new QuorateError('BAD_REQUEST', fact, { field }); };
  if (plan.passphrase !== null) {
    const bytes = addon.secretSize(plan.passphrase);
    if (bytes < LIMITS.passphrase_bytes_min || bytes > LIMITS.passphrase_bytes_max) {
      refuse('passphrase', `the passphrase has ${bytes} bytes; it needs ${LIMITS.passphrase_bytes_min} to ${LIMITS.passphrase_bytes_max}`);
    }
  }
  if (plan.credential !== null && addon.secretSize(plan.credential) < roots.CREDENTIAL_BYTES_MIN) {
    refuse('credential', `the credential has ${addon.secretSize(plan.credential)} bytes; it needs ${roots.CREDENTIAL_BYTES_MIN} that nobody can guess`);
  }
  for (const [sharing, field, what] of [[plan.custodians, 'share', 'custodians'], [plan.recovery, 'recovery', 'the recovery kit']] as const) {
    if (sharing === null) continue;
    const { count, threshold } = sharing;
    if (count < 1 || count > LIMITS.shares_max) refuse(`${field}_count`, `${what}: ${count} shares; 1 to ${LIMITS.shares_max} are possible`);
    if (threshold < 1 || threshold > count) refuse(`${field}_threshold`, `${what}: ${threshold} of ${count} shares is not possible`);
  }
  if (plan.developmentKek === null && plan.credential === null && plan.passphrase === null && plan.custodians === null) {
    refuse('seals', 'no seal was asked for: a passphrase, a credential, or custodians\' shares');
  }
}

/** Everything random is chosen here, natively where it is secret; nothing is written. BAD_REQUEST, ARENA_FULL */
export async function createSeals(addon: NativeAddon, scope: SecretScope, plan: InitPlan, domains: readonly string[]): Promise<Created> {
  checkPlan(addon, plan);
  const storeId = plan.storeId ?? toHex(randomBytes(STORE_ID_BYTES));
  const root = scope.keep(addon.secretRandom(ROOT_BYTES));
  const seals: SealEntry[] = [];
  const give = (texts: Handle[]): Handle[] => texts.map((text) => scope.release(text));
  if (plan.developmentKek !== null) seals.push(roots.makeDevelopment(addon, storeId, root, plan.developmentKek));
  if (plan.credential !== null) seals.push(roots.makeCredential(addon, scope, storeId, root, plan.credential));
  if (plan.passphrase !== null) seals.push(await roots.makePassphrase(addon, scope, storeId, root, plan.passphrase));
  const custodians = plan.custodians === null ? null : roots.makeShamir(addon, scope, storeId, root, plan.custodians.count, plan.custodians.threshold);
  if (custodians !== null) seals.push(custodians.seal);
  const recovery = plan.recovery === null ? null : await roots.makeRecovery(addon, scope, storeId, root, plan.recovery.count, plan.recovery.threshold);
  if (recovery !== null) seals.push(recovery.seal);
  if (plan.kit !== undefined) {
    const { seal, kek } = await roots.toKit(addon, scope, plan.kit);
    seals.push(roots.finish<RecoverySeal>(addon, storeId, root, kek, seal));
  }
  const { entries, ring } = makeRing(addon, storeId, root, domains, plan.given);
  for (const { handle } of plan.given ?? []) scope.release(handle);
  let document: SealDocument;
  try {
    document = signDocument(addon, scope, root, {
      format: 'quorate-seal', version: DOCUMENT_VERSION, storeId, adminUid: plan.adminUid, createdMs: plan.createdMs, seals, ring: entries,
    });
    scope.release(root);
  } catch (error) {
    scope.release(root);
    ring.close();
    throw error;
  }
  return { document, ring, recoveryShares: give(recovery?.kit.texts ?? []), custodianShares: give(custodians?.shares.texts ?? []) };
}

export function findSeal<N extends SealName>(document: SealDocument, name: N): Extract<SealEntry, { type: N }> | null {
  return (document.seals.find((s) => s.type === name) as Extract<SealEntry, { type: N }> | undefined) ?? null;
}

/** The ring, with the root key in it, under a KEK that one seal gave; null when the KEK is wrong. STORE_CORRUPT when seal.json was changed. */
export function openWithKek(addon: NativeAddon, scope: SecretScope, document: SealDocument, seal: SealEntry, kek: Handle): OpenRing | null {
  const root = roots.openRoot(addon, scope, document.storeId, seal, kek);
  if (root === null) return null;
  verifyDocument(addon, scope, root, document);
  const ring = openRing(addon, document, root);
  scope.release(root);
  return ring;
}
