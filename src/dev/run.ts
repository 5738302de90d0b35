/** `quorate dev region` in the foreground: brings it up, answers the other `quorate dev` commands, and ends all that it has started. */
import { QuorateError } from '../base/errors.js';
import { provideEngine } from '../region/engine/program.js';
import { type ControlRequest, serveControl } from './control.js';
import { DevRegion } from './devRegion.js';
import { Network } from './network.js';
import { planRegion, type RegionPlan, type RegionWish } from './plan.js';

export interface RunOptions extends RegionWish {
  readonly folder: string;
  readonly say: (line: string) => void;
}

/** null: on loopback. CONFIG_INVALID where namespaces cannot be had */
function openNetwork({ network: id, hosts }: RegionPlan): Network | null {
  if (id === null) return null;
  const { network, reason } = Network.open(id);
  if (network === null) throw new QuorateError('CONFIG_INVALID', `no network namespaces: ${reason}`);
  for (const { name } of hosts) network.add(name);
  return network;
}

function answerFor(region: DevRegion, { command, host = '', other = '', oneWay = false }: ControlRequest, isReady: boolean, end: () => void): unknown {
  switch (command) {
    case 'status': return { ready: isReady, hosts: region.states() };
    case 'kill': return region.kill(host);
    case 'start': return region.start(host);
    case 'wipe': return region.wipe(host);
    case 'rebuild': return region.rebuild(host);
    case 'partition': return region.cut(host, other, oneWay);
    case 'heal': return region.heal();
    case 'env': return region.environment(host);
    case 'stop': return void setImmediate(end);
  }
}

/** Until SIGINT, SIGTERM or `quorate dev stop`. ENGINE_UNUSABLE, CONFIG_INVALID, ALREADY_RUNNING, and what a host says when it does not come up */
export async function runDevRegion({ folder, say, ...wish }: RunOptions): Promise<void> {
  const program = provideEngine();
  const plan = await planRegion(folder, wish);
  let isReady = false;
  let region: DevRegion | null = null;
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => { end = resolve; });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  // First: of two in one folder the second must not touch the network of the first.
  const control = await serveControl(folder, async (request) => (region === null ? { ready: false, hosts: [] } : answerFor(region, request, isReady, end)));
  let network: Network | null = null;
  try {
    network = openNetwork(plan);
    region = new DevRegion(folder, plan, program, network, say);
    const up = region.up().then(() => {
      isReady = true;
      say(`ready: ${plan.hosts.length} hosts in ${folder}; speak to one with: eval "$(quorate dev env ${plan.hosts[0]!.name})"`);
    });
    await Promise.race([up, ended]);
    if (isReady) await ended;
  } finally {
    // Last: who asks whether it still runs hears yes until everything has ended.
    await region?.stop();
    network?.close();
    control.close();
    say('ended; what the hosts keep is still there');
  }
}
