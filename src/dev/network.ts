/**
 * A network namespace for each host, all on one bridge; root only. A cut is one-way: packets go to a hardware address that nobody has, so that
 * they are lost in silence, as on a broken wire.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';

/** Each has 254 addresses of 10.192.0.0/10 and what is behind it. */
const NETWORKS = 60 * 256;
const NOBODY = '02:00:00:00:00:ee';

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export class Network {
  readonly #id: number;
  readonly #places: string[] = [];
  readonly #cuts = new Set<string>();

  private constructor(id: number) {
    this.#id = id;
  }

  /** `id`: an earlier one's, whose end may have left something behind: it is taken away. Else one of this process. null with the reason where it cannot be had. */
  static open(id?: number): { network: Network | null; reason: string } {
    if (process.getuid!() !== 0) return { network: null, reason: 'only root makes network namespaces' };
    const network = new Network(id ?? process.pid % NETWORKS);
    if (id !== undefined) network.#sweep();
    try {
      ip('link', 'add', network.#bridge, 'type', 'bridge');
      ip('addr', 'add', `${network.#base}.254/24`, 'dev', network.#bridge);
      ip('link', 'set', network.#bridge, 'up');
      return { network, reason: '' };
    } catch (error) {
      network.close();
      return { network: null, reason: (error as Error).message.trim().split('\n').at(-1)! };
    }
  }

  /** One that nobody on this machine uses now. */
  static freeId(): number {
    for (;;) {
      const id = randomInt(NETWORKS);
      if (spawnSync('ip', ['link', 'show', `qb${id}`]).status !== 0) return id;
    }
  }

  #sweep(): void {
    const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
    const left = (stdout ?? '').split('\n').map((line) => line.split(' ')[0] ?? '').filter((name) => name.startsWith(this.#namespace('')));
    for (const name of left) spawnSync('ip', ['netns', 'del', name]);
    spawnSync('ip', ['link', 'del', this.#bridge]);
  }

  get #bridge(): string {
    return `qb${this.#id}`;
  }

  get #base(): string {
    return `10.${192 + (this.#id >> 8)}.${this.#id & 255}`;
  }

  #namespace(place: string): string {
    return `q${this.#id}-${place}`;
  }

  address(place: string): string {
    return Network.addressAt(this.#id, this.#places.indexOf(place));
  }

  /** Of the place that was added as the `index`th, from 0. */
  static addressAt(id: number, index: number): string {
    return `${new Network(id).#base}.${index + 1}`;
  }

  add(place: string): void {
    const namespace = this.#namespace(place);
    const link = `qv${this.#id}n${this.#places.length}`;
    this.#places.push(place);
    ip('netns', 'add', namespace);
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('link', 'set', link, 'master', this.#bridge, 'up');
    ip('-n', namespace, 'addr', 'add', `${this.address(place)}/24`, 'dev', 'eth0');
    for (const device of ['eth0', 'lo']) ip('-n', namespace, 'link', 'set', device, 'up');
  }

  /** In front of a command that runs there. */
  prefix(place: string): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.#namespace(place)}`];
  }

  /** What `from` sends to `to` is lost. */
  cut(from: string, to: string): void {
    ip('-n', this.#namespace(from), 'neigh', 'replace', this.address(to), 'lladdr', NOBODY, 'dev', 'eth0', 'nud', 'permanent');
    this.#cuts.add(`${from} ${to}`);
  }

  heal(): void {
    for (const cut of this.#cuts) {
      const [from = '', to = ''] = cut.split(' ');
      ip('-n', this.#namespace(from), 'neigh', 'del', this.address(to), 'dev', 'eth0');
    }
    this.#cuts.clear();
  }

  close(): void {
    for (const place of this.#places.splice(0)) spawnSync('ip', ['netns', 'del', this.#namespace(place)]);
    spawnSync('ip', ['link', 'del', this.#bridge]);
  }
}
