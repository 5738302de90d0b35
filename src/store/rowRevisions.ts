/** Looks up what rows are at. Whoever asks while a look is under way shares the next one: a trip to the database takes far longer than its work. */
import { nameKey } from './batch.js';
import type { Connection } from './connection.js';
import { tuples } from './sql.js';
import type { RecordName } from './store.js';

/** What a precondition compares; both 0 when there is no such record. */
export interface RowRevision {
  readonly generation: number;
  /** The engine's mod revision. */
  readonly revision: number;
}

interface Asked {
  readonly names: readonly RecordName[];
  readonly resolve: (rows: RowRevision[]) => void;
  readonly reject: (error: unknown) => void;
}

const ABSENT: RowRevision = { generation: 0, revision: 0 };

export class RowRevisions {
  readonly #connection: () => Promise<Connection>;
  #asked: Asked[] = [];
  #isLooking = false;

  constructor(connection: () => Promise<Connection>) {
    this.#connection = connection;
  }

  /** One for each name, in their order, as of after this call. */
  of(names: readonly RecordName[]): Promise<RowRevision[]> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ names, resolve, reject });
      if (!this.#isLooking) void this.#look();
    });
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    while (this.#asked.length > 0) {
      const asked = this.#asked.splice(0);
      try {
        const found = await this.#find(asked.flatMap(({ names }) => names));
        for (const { names, resolve } of asked) resolve(names.map((name) => found.get(nameKey(name)) ?? ABSENT));
      } catch (error) {
        for (const { reject } of asked) reject(error);
      }
    }
    this.#isLooking = false;
  }

  async #find(names: readonly RecordName[]): Promise<Map<string, RowRevision>> {
    if (names.length === 0) return new Map();
    const connection = await this.#connection();
    const wanted = new Map(names.map(({ domain, kind, id }) => [nameKey({ domain, kind, id }), [domain, kind, id]]));
    const rows = await connection.all(`SELECT domain, kind, id, generation, revision FROM records WHERE (domain, kind, id) IN (VALUES ${tuples(wanted.values())})`);
    return new Map(rows.map((row) => [nameKey(row as unknown as RecordName), { generation: Number(row['generation']), revision: Number(row['revision']) }]));
  }
}
