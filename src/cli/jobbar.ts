/** A bar for a job of the daemon's that takes longer than a moment: how far it is, is asked on a connection of its own. */
import type { SingleBar } from 'cli-progress';
import type { QuorateClient } from '../client/index.js';
import type { Session } from './session.js';

const ASK_MS = 500;
const MIB = 1024 * 1024;

export async function watched<T>(session: Session, client: QuorateClient, what: string, work: () => Promise<T>): Promise<T> {
  if (process.stderr.isTTY !== true || session.format !== 'text') return work();
  let bar: SingleBar | null = null;
  const timer = setInterval(() => {
    void client.backups.progress().then(async ({ what: runs, done, total }) => {
      if (runs === '' || Number(total) === 0) return;
      if (bar === null) {
        const { default: cliProgress } = await import('cli-progress');
        bar = new cliProgress.SingleBar({ format: `${what} {bar} {percentage}% {value}/{total} MiB, {eta_formatted} left`, stream: process.stderr, clearOnComplete: true, hideCursor: true }, cliProgress.Presets.shades_classic);
        bar.start(Math.ceil(Number(total) / MIB), 0);
      }
      bar.update(Math.floor(Number(done) / MIB));
    }).catch(() => undefined);
  }, ASK_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    (bar as SingleBar | null)?.stop();
  }
}
