/** Writes that no call of a connection asked for, each with an audit entry of its own: the daemon's, and those that run as somebody else's. */
import type { Message } from '@bufbuild/protobuf';
import type { OperationName } from '../protocol/operations.gen.js';

/** Who acts where nobody called. */
export const DAEMON = 'daemon';

export interface Deed {
  readonly method: OperationName;
  readonly domain: string;
  readonly principal: string;
  readonly uid: number;
  readonly pid: number;
  readonly request: Message | null;
  /** Without a request: the key's name. */
  readonly resource?: string;
  /** 16 bytes. */
  readonly keyId?: Uint8Array;
  /** `field=value`, behind what is said of the request. */
  readonly detail: string;
  readonly proposal?: string;
}

/** Of one deed. It ends in done() or failed(), or in neither: then what its transaction left in the store is appended at the next start. */
export interface JournalEntry {
  /** For the transaction, as the context of the write has it. */
  readonly write: () => { readonly id: Uint8Array; readonly bytes: Uint8Array };
  /** It is durable. Called in the turn in which that is known: the leaf stands before those of whatever follows. */
  done(): void;
  failed(error: unknown): void;
}

export interface Journal {
  begin(deed: Deed): JournalEntry;
}
