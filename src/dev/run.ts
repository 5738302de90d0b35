/** `quorate dev region` in the foreground: brings it up, answers the other `quorate dev` commands, and ends all that it has started. */
import { provideEngine } from '../region/engine/program.js';
import { type ControlRequest, serveControl } from './control.js';
import { DevRegion } from './devRegion.js';
import { planRegion } from './plan.js';

export interface RunOptions {
  readonly folder: string;
  readonly zones: number;
  readonly replica: boolean;
  readonly say: (line: string) => void;
}

/** Until SIGINT, SIGTERM or `quorate dev stop`. ENGINE_UNUSABLE, CONFIG_INVALID, ALREADY_RUNNING, and what a host says when it does not come up */
export async function runDevRegion({ folder, zones, replica, say }: RunOptions): Promise<void> {
  const program = provideEngine();
  const { plan } = await planRegion(folder, zones, replica);
  const region = new DevRegion(folder, plan, program, say);
  let isReady = false;
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => { end = resolve; });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  const answer = async ({ command, host = '' }: ControlRequest): Promise<unknown> => {
    switch (command) {
      case 'status': return { ready: isReady, hosts: region.states() };
      case 'kill': return region.kill(host);
      case 'start': return region.start(host);
      case 'wipe': return region.wipe(host);
      case 'rebuild': return region.rebuild(host);
      case 'env': return region.environment(host);
      case 'stop': return void setImmediate(end);
    }
  };
  const control = await serveControl(folder, answer);
  try {
    const up = region.up().then(() => {
      isReady = true;
      say(`ready: ${plan.hosts.length} hosts in ${folder}; speak to one with: eval "$(quorate dev env ${plan.hosts[0]!.name})"`);
    });
    await Promise.race([up, ended]);
    if (isReady) await ended;
  } finally {
    // Last: who asks whether it still runs hears yes until everything has ended.
    await region.stop();
    control.close();
    say('ended; what the hosts keep is still there');
  }
}
