/**
 * Grants against changes. A grant that was prepared from a record as it was before a change must not reach the plane after that change has
 * voided the key there: it would be used for up to a minute against an answer that said otherwise.
 * So a change marks its key from before its commit until after the void; a preparation that met the mark, at any moment, starts again.
 */

export interface Ticket {
  readonly id: string;
  stale: boolean;
}

interface Running {
  count: number;
  readonly done: Promise<void>;
  readonly finish: () => void;
}

export class ChangeGate {
  readonly #running = new Map<string, Running>();
  readonly #tickets = new Map<string, Set<Ticket>>();

  #mark(id: string): void {
    for (const ticket of this.#tickets.get(id) ?? []) ticket.stale = true;
  }

  /** Before the commit. */
  begin(id: string): void {
    this.#mark(id);
    const running = this.#running.get(id);
    if (running !== undefined) {
      running.count++;
      return;
    }
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    this.#running.set(id, { count: 1, done, finish });
  }

  /** After the plane has been told. */
  end(id: string): void {
    this.#mark(id);
    const running = this.#running.get(id);
    if (running === undefined || --running.count > 0) return;
    this.#running.delete(id);
    running.finish();
  }

  /** When no change of the key is under way, and before anything else runs: a ticket that becomes stale with the next change. */
  async enter(id: string): Promise<Ticket> {
    for (let running = this.#running.get(id); running !== undefined; running = this.#running.get(id)) await running.done;
    const ticket: Ticket = { id, stale: false };
    const tickets = this.#tickets.get(id);
    if (tickets === undefined) this.#tickets.set(id, new Set([ticket]));
    else tickets.add(ticket);
    return ticket;
  }

  leave(ticket: Ticket): void {
    const tickets = this.#tickets.get(ticket.id);
    tickets?.delete(ticket);
    if (tickets?.size === 0) this.#tickets.delete(ticket.id);
  }
}
