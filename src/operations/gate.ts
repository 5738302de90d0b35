/**
 * Grants against changes. A grant that was prepared from a record as it was before a change must not reach the plane after that change has
 * voided the key there: it would be used for up to a minute against an answer that said otherwise.
 * So a change marks its key from before its commit until after the void. A preparation that began before starts again; one that comes while
 * the mark stands waits for its end.
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
  /** Changes that have ended, of any key: what was found absent before may be there now. */
  ended = 0;
  readonly #running = new Map<string, Running>();
  readonly #tickets = new Map<string, Set<Ticket>>();

  /** Before the commit. */
  begin(id: string): void {
    for (const ticket of this.#tickets.get(id) ?? []) ticket.stale = true;
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
    this.ended++;
    const running = this.#running.get(id);
    if (running === undefined || --running.count > 0) return;
    this.#running.delete(id);
    running.finish();
  }

  /** Once no change of the key is under way: a ticket that becomes stale when the next one begins. */
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
