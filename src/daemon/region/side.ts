/** What the daemon's life cycle and its part in a region ask of each other. */
import type { OperationContext } from '../../operations/context.js';
import type { RingKey } from '../../region/trust/entries.js';
import type { Store } from '../../store/store.js';
import type { OpenRing } from '../seal/ring.js';
import type { InitPlan } from '../seal/seals.js';

/** What the region's half of the daemon is asked while a store is opened. */
export interface RegionSide {
  /** null: this host is in no region, or not yet. SOCKET_UNUSABLE, ENGINE_UNAVAILABLE (there is no copy yet, and none comes) ... */
  openStore(ring: OpenRing): Promise<Store | null>;
  /** What operations work with on this store; as it is on a single host. */
  contextOf(context: OperationContext, ring: OpenRing): OperationContext;
  /** All that the store knows has been read: from here on changes of other hosts are followed. */
  follow(context: OperationContext): Promise<void>;
  /** The store is about to be closed. */
  stop(): void;
}

/** What the region has given to a host that joins. */
export interface Admitted {
  /** In the scope. */
  readonly given: readonly RingKey[];
  /** Of a restored store: what it is called, whose kit opens it, and its database, made under `given`'s page key. */
  readonly storeId?: string;
  readonly kit?: InitPlan['kit'];
  readonly database?: string;
  /** Writes the host's files, durably. */
  save(): void;
  /** Takes them away again: the store could not be made. */
  undo(): void;
}
