/**
 * One TLS connection between two daemons, as frames. What is sent in one turn of the loop goes out in one write; while the peer does not
 * read, a bounded amount waits, what comes behind it is dropped, and of watermarks only the newest is kept. Whatever the peer does costs
 * this link and nothing else.
 */
import type { TLSSocket } from 'node:tls';
import { LIMITS } from '../../base/limits.js';
import { type Frame, FrameReader } from '../../protocol/frame.js';

export interface LinkEvents {
  /** An error that it throws closes the link. */
  onFrame(frame: Frame): void;
  /** Once, and not for a link that this side closed itself. */
  onClose(reason: string): void;
}

export class Link {
  readonly #socket: TLSSocket;
  readonly #events: LinkEvents;
  readonly #reader: FrameReader;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #newest: Uint8Array | null = null;
  #flushWaits = false;
  #blocked = false;
  #isOpen = true;
  #dropped = 0;
  #why = '';

  /** `socket`: its handshake is done, its peer is known. */
  constructor(socket: TLSSocket, events: LinkEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#reader = new FrameReader((frame) => { if (this.#isOpen) events.onFrame(frame); }, LIMITS.region_frame_bytes_max);
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.#onBytes(bytes));
    socket.on('drain', () => {
      this.#blocked = false;
      this.#flush();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => { this.#why ||= `the connection broke: ${error.code ?? error.message}`; });
    socket.on('close', () => this.#lose(this.#why || 'the peer closed the connection'));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Frames that found no room. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Bytes that wait for the peer. */
  get waitingBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  /** The frame's bytes are not copied before the turn ends. False: no room, it is dropped. */
  send(frame: Uint8Array): boolean {
    if (!this.#isOpen) return false;
    if (this.waitingBytes + frame.length > LIMITS.region_link_bytes_max) {
      this.#dropped++;
      return false;
    }
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    this.#schedule();
    return true;
  }

  /** In the place of the one before that has not gone out yet; behind all frames of the turn. */
  sendNewest(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#newest = frame;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#flushWaits || this.#blocked) return;
    this.#flushWaits = true;
    setImmediate(() => {
      this.#flushWaits = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#isOpen || this.#blocked) return;
    if (this.#newest !== null) this.#queue.push(this.#newest);
    this.#newest = null;
    if (this.#queue.length === 0) return;
    const bytes = this.#queue.length === 1 ? this.#queue[0]! : Buffer.concat(this.#queue);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#blocked = !this.#socket.write(bytes);
  }

  #onBytes(bytes: Buffer): void {
    if (!this.#isOpen) return;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** Ends it for something that the peer did, or did not do. */
  fail(reason: string): void {
    this.#lose(reason);
    this.#socket.destroy();
  }

  /** Ends it for a reason of this side's own: no onClose. What was sent in this turn may be lost. */
  close(): void {
    this.#isOpen = false;
    this.#drop();
    this.#socket.destroy();
  }

  /** As close(), after what was sent has gone out; a peer that does not take it is not waited for. */
  end(): void {
    this.#flush();
    this.#isOpen = false;
    this.#drop();
    this.#socket.setTimeout(LIMITS.region_heartbeat_ms, () => this.#socket.destroy());
    this.#socket.end();
  }

  #lose(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#drop();
    this.#events.onClose(reason);
  }

  #drop(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#newest = null;
    this.#reader.wipe();
  }
}
