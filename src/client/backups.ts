/** Backups: what lies where, whether it is sound, and how it comes back. */
import type {
  BackupProgressResponse, BackupStatusResponse, ListBackupsResponse, ProveBackupResponse, RestoreBackupResponse, RunBackupResponse, VerifyBackupResponse,
} from '../protocol/gen/quorate_pb.js';
import { numberOf, SEAL_TYPES } from '../protocol/names.js';
import type { SealTypeName } from '../protocol/names.js';
import { type Plain, plain } from './access.js';
import type { Caller, CallOptions } from './caller.js';
import { type Bytes, bytesOf } from './types.js';

export type BackupState = Plain<BackupStatusResponse>;
export type BackupList = Plain<ListBackupsResponse>;
export type BackupVerdict = Plain<VerifyBackupResponse>;

export interface RestoreOptions extends CallOptions {
  /** A destination of the daemon's configuration. May be left out where there is one alone. */
  place?: string;
  /** Whose backups: 32 hexadecimal digits. May be left out where there are one store's alone. */
  store?: string;
  /** Unix milliseconds: the last state that is not later. Default the newest. */
  atMs?: number;
  /** Segments behind that time cannot be read, and what was revoked in them is not known. */
  acceptDamaged?: boolean;
  /** Of the recovery kit, as it was printed. Each call gives one; the last one that is needed restores. */
  share?: Bytes;
  /** Forgets the shares given so far. */
  reset?: boolean;
  /** Of the restored store. Default: passphrase. */
  seals?: Exclude<SealTypeName, 'development' | 'recovery'>[];
  passphrase?: Bytes;
  credential?: Uint8Array;
  shareCount?: number;
  shareThreshold?: number;
  /** Nothing is done: what would be restored. It takes the shares all the same. */
  planOnly?: boolean;
}

export type RestoreResult = Omit<Plain<RestoreBackupResponse>, 'custodianShares'> & { readonly custodianShares: Uint8Array[] };

export class Backups {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** At once. CONFIG_INVALID, CONFLICT (another host writes them), BACKUP_UNAVAILABLE, BACKUP_REFUSED, BACKUP_FULL */
  async run({ full, ...options }: CallOptions & { full?: boolean } = {}): Promise<Plain<RunBackupResponse>> {
    return plain(await this.#caller.call('RunBackup', { full }, options));
  }

  async status(options: CallOptions = {}): Promise<BackupState> {
    return plain(await this.#caller.call('BackupStatus', {}, options));
  }

  /** The points in time that can be restored, as the destinations say now. CONFIG_INVALID */
  async list(options: CallOptions = {}): Promise<BackupList> {
    return plain(await this.#caller.call('ListBackups', {}, options));
  }

  /** Every segment read to its end, every record opened; `quick`: names, hashes of the chain and lengths alone. */
  async verify({ place, quick, ...options }: CallOptions & { place?: string; quick?: boolean } = {}): Promise<BackupVerdict> {
    return plain(await this.#caller.call('VerifyBackup', { place, quick }, options));
  }

  /** The newest backup into a scratch store, and a look at it. */
  async prove({ place, ...options }: CallOptions & { place?: string } = {}): Promise<Plain<ProveBackupResponse>> {
    return plain(await this.#caller.call('ProveBackup', { place }, options));
  }

  /** Makes this daemon's store. ALREADY_INITIALISED, UNSEAL_FAILED, every BACKUP_ code, BAD_REQUEST: nothing was made, and the same call goes on */
  async restore({ place, store, atMs, acceptDamaged, share, reset, seals = ['passphrase'], passphrase, credential, shareCount, shareThreshold, planOnly, ...options }: RestoreOptions): Promise<RestoreResult> {
    const reply = await this.#caller.call('RestoreBackup', {
      place, store, atMs: atMs === undefined ? undefined : BigInt(atMs), acceptDamaged, share: bytesOf(share, 'share'), reset, seals: seals.map((seal) => numberOf(SEAL_TYPES, seal, 'seals')),
      passphrase: bytesOf(passphrase, 'passphrase'), credential, shareCount, shareThreshold, planOnly,
    }, options);
    // Apart: plain() would make texts of them.
    const { custodianShares, ...rest } = reply;
    return { ...(plain(rest) as Omit<Plain<RestoreBackupResponse>, 'custodianShares'>), custodianShares };
  }

  /** Of the long work that is under way, in bytes. */
  async progress(options: CallOptions = {}): Promise<Plain<BackupProgressResponse>> {
    return plain(await this.#caller.call('BackupProgress', {}, options));
  }
}
