/**
 * Goes to the hosts of earlier incarnations, one after the other, and tells them that these are over: one that was turned on again may know no
 * address of a present host. One that answers of an incarnation of its own, which followed the same one, is heard: then two were rebuilt from one.
 */
import tls from 'node:tls';
import { fromHex } from '../../base/bytes.js';
import { LIMITS } from '../../base/limits.js';
import { type FormerFace, incarnationName, type PeerOptions, tlsOptions } from './context.js';
import { Link } from './link.js';
import { dispatch, frameOf, type Handlers, lineageMessage } from './messages.js';

export interface FormerHost {
  readonly host: string;
  readonly port: number;
  readonly face: FormerFace;
}

export class Herald {
  readonly #options: PeerOptions;
  #next = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #end: (() => void) | null = null;

  constructor(options: PeerOptions) {
    this.#options = options;
  }

  /** Called a few times a second: one visit at a time, and one in `region_herald_ms`. */
  tick(): void {
    const { clock, formerHosts } = this.#options;
    const nowMs = clock.monotonicMs();
    if (formerHosts === undefined || this.#end !== null || nowMs - this.#lastMs < LIMITS.region_herald_ms) return;
    const hosts = formerHosts();
    const host = hosts[this.#next++ % Math.max(1, hosts.length)];
    if (host === undefined) return;
    this.#lastMs = nowMs;
    this.#visit(host);
  }

  #visit({ host, port, face }: FormerHost): void {
    const { region, host: self, lineage, events, log } = this.#options;
    const socket = tls.connect({ host, port, servername: incarnationName(face.lineage), checkServerIdentity: () => undefined, ...tlsOptions(face.credentials), rejectUnauthorized: true });
    const timer = setTimeout(() => this.#end?.(), LIMITS.region_dial_ms_max);
    this.#end = () => {
      clearTimeout(timer);
      this.#end = null;
      socket.destroy();
    };
    // Most of them are off, for good: that is not worth a word.
    socket.on('error', () => this.#end?.());
    socket.once('secureConnect', () => {
      let name: string;
      try {
        name = face.identify(socket);
      } catch {
        this.#end?.();
        return;
      }
      const handlers: Handlers<'acceptor'> = {
        HelloReply: (reply) => {
          log.debug('a host of an earlier incarnation was told', { peer: name, incarnation: face.lineage.counter });
          if (reply.succession.length > 0) events.onSuccession(name, reply.succession);
          this.#end?.();
        },
        Heard: () => undefined,
      };
      const link = new Link(socket, { onFrame: (frame) => dispatch('acceptor', handlers, frame), onClose: () => this.#end?.() });
      link.send(frameOf('Hello', { protocol: LIMITS.region_protocol_version, region: fromHex(region)!, host: self, lineage: lineageMessage(lineage()), succession: face.succession })!);
    });
  }

  stop(): void {
    this.#end?.();
    this.#lastMs = Number.POSITIVE_INFINITY;
  }
}
