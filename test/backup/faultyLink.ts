/** A real connection that fails as networks do: between a client and a server on loopback, told what to do next. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

export interface LinkFault {
  /** Takes connections and passes nothing on. */
  readonly silent?: boolean;
  /** Ends each connection when it opens. */
  readonly closed?: boolean;
  /** Ends each connection once so many bytes went to the server, or came from it. */
  readonly cutAfterSent?: number;
  readonly cutAfterReceived?: number;
  /** Each piece of an answer waits so long. */
  readonly delayMs?: number;
  /** Flips a bit in the byte at that place of what goes to the server, in each connection. */
  readonly flipAt?: number;
  /** Answers are changed by it, piece by piece, to others that are as long. */
  readonly rewrite?: (text: string) => string;
  /** So many connections have it, then none. */
  readonly times?: number;
}

export class FaultyLink {
  readonly #server: Server;
  readonly #target: number;
  readonly #open = new Set<Socket>();
  #fault: LinkFault = {};
  #left = 0;
  connections = 0;
  flips = 0;
  /** Requests that came with a digest of their bodies. */
  digests = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async to(port: number): Promise<FaultyLink> {
    const link = new FaultyLink(port);
    link.#server.listen(0, '127.0.0.1');
    await once(link.#server, 'listening');
    return link;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From the next connection on; those that are open are ended, as they would not have it. */
  set(fault: LinkFault): void {
    this.#fault = fault;
    this.#left = fault.times ?? Number.POSITIVE_INFINITY;
    this.connections = 0;
    this.flips = 0;
    this.digests = 0;
    for (const socket of this.#open) socket.destroy();
  }

  async stop(): Promise<void> {
    this.set({});
    this.#server.close();
    await once(this.#server, 'close');
  }

  #keep(socket: Socket): void {
    this.#open.add(socket);
    socket.on('error', () => undefined).once('close', () => this.#open.delete(socket));
  }

  #accept(client: Socket): void {
    this.connections++;
    const fault = this.#left-- > 0 ? this.#fault : {};
    this.#keep(client);
    if (fault.closed) return void client.destroy();
    if (fault.silent) return void client.resume();
    const server = connect(this.#target, '127.0.0.1');
    this.#keep(server);
    client.once('close', () => server.destroy());
    server.once('close', () => client.destroySoon());
    let sent = 0;
    let received = 0;
    client.on('data', (piece: Buffer) => {
      const at = (fault.flipAt ?? -1) - sent;
      if (at >= 0 && at < piece.length) {
        piece[at]! ^= 1;
        this.flips++;
      }
      if (/^content-md5: [\w+/]{22}==\r$/im.test(piece.toString('latin1', 0, 4096))) this.digests++;
      sent += piece.length;
      if (sent > (fault.cutAfterSent ?? Number.POSITIVE_INFINITY)) return void client.destroy();
      if (!server.write(piece)) server.once('drain', () => client.resume()) && client.pause();
    });
    server.on('data', (piece: Buffer) => {
      const room = (fault.cutAfterReceived ?? Number.POSITIVE_INFINITY) - received;
      received += piece.length;
      const seen = fault.rewrite === undefined ? piece : Buffer.from(fault.rewrite(piece.toString('latin1')), 'latin1');
      const pass = (): void => {
        if (piece.length <= room) return void client.write(seen);
        client.end(seen.subarray(0, Math.max(0, room)));
        server.destroy();
      };
      if (fault.delayMs === undefined) pass();
      else setTimeout(pass, fault.delayMs);
    });
  }
}
