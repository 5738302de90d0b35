/** Takes the connections of the other hosts, and from each its pushes and watermarks. Nothing that is sent here confirms anything. */
import type { AddressInfo, Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { toHex } from '../../base/bytes.js';
import { ERRORS, QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { PeerHello } from '../../protocol/gen/region_pb.js';
import { lineageText, sameLineage } from '../../store/lineage.js';
import { type FormerFace, incarnationOf, type PeerCredentials, type PeerOptions, type Reasons, tlsOptions } from './context.js';
import { JOIN_PROTOCOL } from '../trust/exchange.js';
import { Link } from './link.js';
import { dispatch, frameOf, type Handlers, lineageMessage, MESSAGES, readLineage, readPush, readWatermark } from './messages.js';

interface Accepted {
  readonly host: string;
  readonly socket: TLSSocket;
  readonly link: Link;
  /** It is of an earlier incarnation: it is told so, and nothing else. */
  readonly former: FormerFace | null;
  /** Its Hello was taken. */
  isGreeted: boolean;
  readonly sinceMs: number;
  heardMs: number;
  answeredMs: number;
}

const HEARD = frameOf('Heard', {})!;

export class Acceptor {
  readonly #options: PeerOptions & { readonly reasons: Reasons };
  readonly #server: tls.Server;
  readonly #all = new Set<Accepted>();
  /** In their handshake or past it. */
  readonly #sockets = new Set<Socket>();
  #closed = false;

  private constructor(options: PeerOptions & { readonly reasons: Reasons }) {
    this.#options = options;
    this.#server = tls.createServer({ ...tlsOptions(options.credentials), requestCert: true, rejectUnauthorized: false, ALPNProtocols: [JOIN_PROTOCOL], handshakeTimeout: LIMITS.hello_timeout_ms,
      SNICallback: (name, done) => {
        const former = this.#formerOf(name);
        done(null, former === null ? undefined : tls.createSecureContext(tlsOptions(former.credentials)));
      },
    });
    this.#server.maxConnections = LIMITS.region_connections_max;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('secureConnection', (socket) => this.#take(socket));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      options.reasons.warn('connection refused', socket.remoteAddress ?? '', error.code ?? error.message);
      socket.destroy();
    });
  }

  /** SOCKET_UNUSABLE */
  static async listen(options: PeerOptions & { readonly reasons: Reasons }): Promise<Acceptor> {
    const acceptor = new Acceptor(options);
    const { host, port } = options.listen;
    await new Promise<void>((resolve, reject) => {
      acceptor.#server.once('error', (error: NodeJS.ErrnoException) => reject(new QuorateError('SOCKET_UNUSABLE', `${host} port ${port}: ${error.code ?? error.message}`, { cause: error })));
      acceptor.#server.listen(port, host, () => resolve());
    });
    acceptor.#server.removeAllListeners('error');
    acceptor.#server.on('error', (error: NodeJS.ErrnoException) => options.log.error('the listener for peers failed', { reason: error.code ?? error.message }));
    return acceptor;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** For the connections that come from now on. */
  setCredentials(credentials: PeerCredentials): void {
    this.#server.setSecureContext(tlsOptions(credentials));
  }

  /** A host of an earlier incarnation trusts its own CA alone: it is met under that one. */
  #formerOf(name: string | false | null | undefined): FormerFace | null {
    const { former, lineage } = this.#options;
    const asked = typeof name === 'string' ? incarnationOf(name) : null;
    if (asked === null || former === undefined || asked.counter >= lineage().counter) return null;
    return former(asked.counter, asked.id);
  }

  #take(socket: TLSSocket): void {
    socket.on('error', () => undefined);
    if (socket.alpnProtocol === JOIN_PROTOCOL && this.#options.onJoin !== undefined) {
      this.#options.onJoin(socket);
      return;
    }
    let host: string;
    const former = this.#formerOf((socket as { servername?: string | false }).servername);
    try {
      // Only a host that joins comes without a certificate of the region's.
      if (!socket.authorized) throw new QuorateError('PEER_REFUSED', `${socket.authorizationError as unknown as string}`);
      host = former === null ? this.#options.identify(socket, null) : former.identify(socket);
    } catch (error) {
      this.#options.reasons.warn('connection refused', socket.remoteAddress ?? '', (error as Error).message);
      socket.destroy();
      return;
    }
    const now = this.#options.clock.monotonicMs();
    const handlers: Handlers<'dialler'> = {
      Hello: (message) => this.#greeted(accepted, message),
      Push: (message) => this.#options.events.onPush(host, readPush(message)),
      Watermark: (message) => {
        const { clockMs, ...word } = readWatermark(message);
        const { clock, events } = this.#options;
        events.onWatermark(host, { ...word, heardMs: clock.monotonicMs(), skewMs: clockMs - clock.nowMs() });
      },
    };
    const link = new Link(socket, {
      onFrame: (frame) => {
        if (!accepted.isGreeted && frame.body.length > LIMITS.region_hello_bytes_max) throw new QuorateError('HELLO_REQUIRED', 'a long frame before Hello');
        if (accepted.isGreeted === (frame.method === HELLO_ID)) throw new QuorateError('HELLO_REQUIRED', accepted.isGreeted ? 'a second Hello' : 'the first frame was not Hello');
        dispatch('dialler', handlers, frame);
        this.#answer(accepted);
      },
      onClose: (reason) => this.#lost(accepted, reason),
    });
    const accepted: Accepted = { host, socket, link, former, isGreeted: false, sinceMs: now, heardMs: now, answeredMs: 0 };
    this.#all.add(accepted);
  }

  #greeted(accepted: Accepted, hello: PeerHello): void {
    const { region, lineage, remembered, events, log, reasons, superseded } = this.#options;
    const theirs = readLineage(hello.lineage);
    const own = lineage();
    if (hello.succession.length > 0) events.onSuccession(accepted.host, hello.succession);
    const passedOn = superseded?.() ?? null;
    const refusal =
      hello.protocol !== LIMITS.region_protocol_version ? new QuorateError('VERSION_UNSUPPORTED', `it speaks protocol ${hello.protocol}`)
      : toHex(hello.region) !== region ? new QuorateError('PEER_REFUSED', 'it belongs to another region')
      : hello.host !== accepted.host ? new QuorateError('PEER_REFUSED', `it says ${hello.host}, its certificate says ${accepted.host}`)
      : passedOn !== null ? new QuorateError('QUARANTINED', 'this host is out of office')
      : accepted.former !== null || !sameLineage(theirs, own) ? new QuorateError('INCARNATION_MISMATCH', `it is of ${lineageText(theirs)}, this host of ${lineageText(own)}`)
      : this.#options.isOwnKey?.(accepted.socket, accepted.host) === false ? new QuorateError('PEER_REFUSED', `its certificate in the name of ${accepted.host} is of another key than that host's`)
      : null;
    const known = remembered(accepted.host);
    const reply = { host: this.#options.host, lineage: lineageMessage(own), rememberedLineage: known === null ? undefined : lineageMessage(known.lineage), rememberedRevision: BigInt(known?.revision ?? 0), succession: accepted.former?.succession ?? passedOn ?? undefined };
    accepted.link.send(frameOf('HelloReply', reply, refusal === null ? 0 : ERRORS[refusal.code].number)!);
    if (refusal !== null) {
      reasons.warn('peer refused', accepted.host, refusal.message);
      this.#all.delete(accepted);
      accepted.link.end();
      if (refusal.code === 'INCARNATION_MISMATCH') events.onForeign(accepted.host, theirs);
      return;
    }
    // The newest connection speaks: frames of an older one could overtake its watermarks.
    for (const other of [...this.#all]) if (other.host === accepted.host && other !== accepted && other.isGreeted) this.#drop(other);
    accepted.isGreeted = true;
    log.info('peer connected', { peer: accepted.host });
  }

  /** Any frame is a sign of life of the link; it is answered now and then, so that the dialler sees one too. */
  #answer(accepted: Accepted): void {
    const now = this.#options.clock.monotonicMs();
    accepted.heardMs = now;
    if (!accepted.isGreeted || now - accepted.answeredMs < LIMITS.region_heartbeat_ms / 2) return;
    accepted.answeredMs = now;
    accepted.link.sendNewest(HEARD);
  }

  #lost(accepted: Accepted, reason: string): void {
    this.#all.delete(accepted);
    this.#options.reasons.warn('peer disconnected', accepted.host, reason);
  }

  #drop(accepted: Accepted): void {
    this.#all.delete(accepted);
    accepted.link.close();
  }

  tick(): void {
    const now = this.#options.clock.monotonicMs();
    for (const accepted of [...this.#all]) {
      if (!accepted.isGreeted && now - accepted.sinceMs > LIMITS.region_dial_ms_max) accepted.link.fail('it did not say Hello');
      else if (now - accepted.heardMs > LIMITS.region_silence_ms) accepted.link.fail(`silent for ${LIMITS.region_silence_ms} ms`);
    }
  }

  recheck(): void {
    for (const accepted of [...this.#all]) {
      if (accepted.former !== null) continue;
      try {
        this.#options.identify(accepted.socket, null);
      } catch (error) {
        accepted.link.fail((error as Error).message);
      }
    }
  }

  /** Hosts whose Hello was taken, sorted. */
  get hosts(): string[] {
    return [...this.#all].filter(({ isGreeted }) => isGreeted).map(({ host }) => host).sort();
  }

  dropAll(): void {
    for (const accepted of [...this.#all]) this.#drop(accepted);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.dropAll();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

const HELLO_ID: number = MESSAGES.Hello.id;
