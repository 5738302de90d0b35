/** `quorate metrics`: the daemon for a monitoring system, to standard output or into a file that node_exporter's textfile collector reads. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { DaemonStatus, QuorateClient } from '../client/index.js';
import { asOpenMetrics, Exposition } from '../protocol/exposition.js';
import { writeWhole } from './files.js';
import { act, type Session } from './session.js';

interface MetricsOptions {
  output?: string;
  openmetrics?: boolean;
}

const UP = 'Whether the daemon answers.';

export function addMetrics(program: Command): void {
  program.command('metrics').description('numbers for a monitoring system: Prometheus\' text format')
    .option('-o, --output <file>', 'into a file, which is replaced in one step: for node_exporter\'s textfile collector')
    .option('--openmetrics', 'as OpenMetrics 1.0')
    .addHelpText('after', '\nA daemon that is sealed or closed is told in a few lines; one that does not answer as quorate_up 0, and exit 69.')
    .action(act(metrics));
}

async function metrics(session: Session, options: MetricsOptions): Promise<void> {
  const put = (text: string): Promise<void> => writeWhole(options.output, Buffer.from(options.openmetrics === true ? asOpenMetrics(text) : text), false);
  let text: string;
  try {
    text = new Exposition().gauge('quorate_up', UP, 1).text() + (await textOf(await session.client()));
  } catch (error) {
    // Who watches hears of a daemon that is away; a person too, by the exit code.
    if (error instanceof QuorateError && error.code === 'CONNECT_FAILED') await put(new Exposition().gauge('quorate_up', UP, 0).text());
    throw error;
  }
  await put(text);
}

async function textOf(client: QuorateClient): Promise<string> {
  const status = await client.status();
  if (!status.initialised || status.sealed || status.auditFault !== '') return shut(status);
  return client.metrics();
}

/** What Status tells everybody, under the names that the daemon gives it. */
function shut({ initialised, sealed, auditFault, versions, kernel, arena }: DaemonStatus): string {
  return new Exposition()
    .gauge('quorate_build_info', 'What runs here.', [[{ version: versions.quorate, node: versions.node, kernel }, 1]])
    .gauge('quorate_initialised', 'Whether there is a store.', initialised ? 1 : 0)
    .gauge('quorate_sealed', 'Whether it waits to be unsealed.', sealed ? 1 : 0)
    .gauge('quorate_ready', 'Whether keys can be used.', 0)
    .gauge('quorate_arena_used_bytes', 'Locked memory in use.', arena.bytesUsed)
    .gauge('quorate_arena_size_bytes', 'Locked memory.', arena.bytesMax)
    .gauge('quorate_audit_fault', 'Whether the log cannot be written, which closes the daemon: 1 with what it is.', sealed ? [] : [[{ fault: auditFault === '' ? '' : 'closed' }, auditFault === '' ? 0 : 1]])
    .text();
}
