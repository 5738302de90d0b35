/** Keeps a connection to one other host, and sends this host's pushes and watermarks on it. */
import { X509Certificate } from 'node:crypto';
import tls, { type TLSSocket } from 'node:tls';
import { codeOfNumber } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { fromHex } from '../../base/bytes.js';
import type { PeerHelloReply } from '../../protocol/gen/region_pb.js';
import { sameLineage } from '../../store/lineage.js';
import { incarnationName, type PeerCredentials, type PeerOptions, type Reasons, tlsOptions } from './context.js';
import { Link } from './link.js';
import { dispatch, frameOf, type Handlers, lineageMessage, readLineage } from './messages.js';

export interface PeerAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface DiallerOptions extends PeerOptions {
  readonly reasons: Reasons;
  /** For the next dial. */
  currentCredentials(): PeerCredentials;
  /** The first thing that goes out when the peer has answered. */
  watermark(): Uint8Array;
}

/** Of a client's socket Node takes the certificate off the chain as it gives it out, and would give the next one of the chain when asked again. */
function keepCertificate(socket: TLSSocket): void {
  const { raw } = socket.getPeerCertificate() as { raw?: Buffer };
  const shown = raw === undefined ? undefined : new X509Certificate(raw);
  socket.getPeerX509Certificate = () => shown;
}

export class Dialler {
  readonly address: PeerAddress;
  readonly #options: DiallerOptions;
  #socket: TLSSocket | null = null;
  #link: Link | null = null;
  /** The peer has taken the Hello. */
  #isUp = false;
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #upMs = 0;
  #heardMs = 0;
  #stopped = false;
  #reason = 'not dialled yet';
  #isQuarantined = false;

  constructor(address: PeerAddress, options: DiallerOptions) {
    this.address = address;
    this.#options = options;
    this.#dial();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Why it is not up; '' when it is. */
  get reason(): string {
    return this.#isUp ? '' : this.#reason;
  }

  /** Its last answer said so. */
  get isQuarantined(): boolean {
    return this.#isQuarantined;
  }

  get dropped(): number {
    return this.#link?.dropped ?? 0;
  }

  get waitingBytes(): number {
    return this.#link?.waitingBytes ?? 0;
  }

  push(frame: Uint8Array): void {
    if (this.#isUp) this.#link?.send(frame);
  }

  confirm(frame: Uint8Array): void {
    if (this.#isUp) this.#link?.sendNewest(frame);
  }

  #dial(): void {
    const { name, host, port } = this.address;
    const { identify, currentCredentials } = this.#options;
    const credentials = currentCredentials();
    // Names are identify()'s duty: the one here tells a host of a later incarnation which CA this host trusts. Without a session to resume, each connection shows its certificate.
    const socket = tls.connect({ host, port, servername: incarnationName(this.#options.lineage()), checkServerIdentity: () => undefined, ...tlsOptions(credentials), rejectUnauthorized: true });
    this.#socket = socket;
    this.#isUp = false;
    this.#timer = setTimeout(() => this.#failed(socket, 'no answer in time'), LIMITS.region_dial_ms_max);
    const onError = (error: NodeJS.ErrnoException): void => this.#failed(socket, `${error.code ?? error.message}`);
    const onEarlyEnd = (): void => this.#failed(socket, 'the peer closed the connection during the handshake');
    socket.once('error', onError);
    socket.once('close', onEarlyEnd);
    socket.once('secureConnect', () => {
      keepCertificate(socket);
      try {
        identify(socket, name);
      } catch (error) {
        this.#failed(socket, (error as Error).message);
        return;
      }
      socket.off('error', onError);
      socket.off('close', onEarlyEnd);
      this.#greet(socket);
    });
  }

  #greet(socket: TLSSocket): void {
    const { region, host, lineage, superseded } = this.#options;
    const handlers: Handlers<'acceptor'> = {
      HelloReply: (message, status) => this.#answered(socket, message, status),
      Heard: () => undefined,
    };
    const link = new Link(socket, {
      onFrame: (frame) => {
        this.#heardMs = this.#options.clock.monotonicMs();
        dispatch('acceptor', handlers, frame);
      },
      onClose: (reason) => this.#failed(socket, reason),
    });
    this.#link = link;
    link.send(frameOf('Hello', { protocol: LIMITS.region_protocol_version, region: fromHex(region)!, host, lineage: lineageMessage(lineage()), succession: superseded?.() ?? undefined })!);
  }

  #answered(socket: TLSSocket, reply: PeerHelloReply, status: number): void {
    const { events, lineage, log, clock, watermark } = this.#options;
    const { name } = this.address;
    const theirs = readLineage(reply.lineage);
    if (reply.succession.length > 0) events.onSuccession(name, reply.succession);
    if (!sameLineage(theirs, lineage())) events.onForeign(name, theirs);
    this.#isQuarantined = codeOfNumber(status) === 'QUARANTINED';
    if (status !== 0) {
      this.#failed(socket, `it answers ${codeOfNumber(status)}`);
      return;
    }
    if (this.#options.isOwnKey?.(socket, name) === false) {
      this.#failed(socket, `its certificate in the name of ${name} is of another key than that host's`);
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isUp = true;
    this.#upMs = this.#heardMs = clock.monotonicMs();
    log.info('peer reached', { peer: name });
    if (reply.rememberedLineage !== undefined) events.onRemembered(name, { lineage: readLineage(reply.rememberedLineage), revision: Number(reply.rememberedRevision) });
    this.#link?.sendNewest(watermark());
  }

  /** Called a few times a second. The acceptor answers what it hears: one that does not is not there any more. */
  tick(): void {
    if (!this.#isUp || this.#socket === null) return;
    if (this.#options.clock.monotonicMs() - this.#heardMs > LIMITS.region_silence_ms) this.#failed(this.#socket, `silent for ${LIMITS.region_silence_ms} ms`);
  }

  #failed(socket: TLSSocket, reason: string): void {
    if (this.#socket !== socket || this.#stopped) return;
    const { clock, reasons } = this.#options;
    // A peer that takes a Hello and fails soon after is no better than one that refuses it.
    this.#failures = this.#isUp && clock.monotonicMs() - this.#upMs > LIMITS.region_dial_pause_ms_max ? 0 : this.#failures + 1;
    this.#drop();
    this.#reason = reason;
    reasons.warn('peer lost', this.address.name, reason);
    const most = Math.min(LIMITS.region_dial_pause_ms_max, LIMITS.region_dial_pause_ms_min * 2 ** Math.min(this.#failures, 10));
    this.#timer = setTimeout(() => this.#dial(), most * (0.5 + Math.random() / 2));
  }

  #drop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isUp = false;
    this.#link?.close();
    this.#link = null;
    // A late error of a socket that nobody listens to would end the process.
    this.#socket?.on('error', () => undefined);
    this.#socket?.destroy();
    this.#socket = null;
  }

  /** The peer's certificate, or this host's incarnation, may be another one now. */
  recheck(): void {
    if (this.#socket === null || this.#link === null) return;
    try {
      this.#options.identify(this.#socket, this.address.name);
    } catch (error) {
      this.#failed(this.#socket, (error as Error).message);
    }
  }

  redial(reason: string): void {
    if (this.#socket !== null) this.#failed(this.#socket, reason);
  }

  stop(): void {
    this.#stopped = true;
    this.#reason = 'stopped';
    this.#drop();
  }
}
