/** Sees every message before the evaluator's own program does: some end the thread, one keeps it busy for ever. */
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';

interface Asked {
  readonly kind: string;
  readonly principal?: string;
  readonly text?: string;
}

function suffer({ kind, principal, text }: Asked): void {
  if ((kind === 'decide' && principal === 'app:exit') || (kind === 'check' && text?.includes('poison') === true)) process.exit(3);
  if (kind === 'decide' && principal === 'app:hang') for (;;) Math.random();
}

threads.parentPort!.on('message', suffer);
const receive = threads.receiveMessageOnPort;
threads.receiveMessageOnPort = (port) => {
  const found = receive(port);
  if (found !== undefined) suffer(found.message as Asked);
  return found;
};
syncBuiltinESMExports();
