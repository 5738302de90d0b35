/** `quorate proposal`, `approve`, `reject`, `dual-control`, `break-glass`: what takes more than one. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { act, type Session, timeText } from './session.js';
import { printTable } from './table.js';

export function addDualCommands(program: Command): void {
  const proposal = program.command('proposal').description('requests that wait for a second principal');
  proposal.command('ls').description('list them').action(act(list));
  program.command('approve').description('let a proposal happen, as its proposer\'s').argument('<id>').action(act((session: Session, id: string) => decide(session, id, true)));
  program.command('reject').description('drop a proposal; its proposer may too').argument('<id>').action(act((session: Session, id: string) => decide(session, id, false)));
  program.command('dual-control').description('the actions that need two principals; without arguments and --off: which they are')
    .argument('[actions...]', 'such as keys:destroyNow iam:putPrincipal')
    .option('--off', 'none any more')
    .action(act(dualControl));
  program.command('break-glass').description('with shares of the recovery kit: mend policies and principals for an hour, when they keep everybody out')
    .option('--share-file <file>', 'one share; else typed')
    .option('--reset', 'forget the shares given so far')
    .action(act(breakGlass));
}

async function list(session: Session): Promise<void> {
  const { proposals } = await (await session.client()).access.proposals();
  await printTable(session, proposals, ['ID', 'ACTION', 'WHAT', 'DOMAIN', 'PROPOSER', 'EXPIRES'], (p) => [p.id, p.action, p.summary, p.domain, p.proposer, timeText(p.expiresMs)], 'nothing waits for approval');
}

async function decide(session: Session, id: string, approve: boolean): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`${approve ? 'approve' : 'reject'} ${id}`, { id });
  const { proposal } = await client.access.decide(id, approve, session.change);
  await session.print(`${approve ? 'done' : 'dropped'}: ${proposal?.summary ?? id}`, { id, approve, proposal }, id);
}

async function dualControl(session: Session, actions: string[], options: { off?: boolean }): Promise<void> {
  const client = await session.client();
  const text = (set: readonly string[]): string => (set.length === 0 ? 'no action needs two principals' : `these need two principals: ${set.join(', ')}`);
  if (actions.length === 0 && options.off !== true) {
    const { actions: now } = await client.access.proposals();
    return session.print(text(now), { actions: now }, now.join('\n'));
  }
  if (actions.length > 0 && options.off === true) throw new QuorateError('USAGE', '--off takes no actions');
  if (session.dryRun) return session.wouldDo(`change dual control: ${text(actions)}`, { actions });
  const set = await client.access.dualControl(actions, session.change);
  await session.print(text(set), { actions: set }, set.join('\n'));
}

async function breakGlass(session: Session, options: { shareFile?: string; reset?: boolean }): Promise<void> {
  const client = await session.client();
  const { readShare } = await import('./prompt.js');
  let reset = options.reset === true;
  for (let given = ''; ; ) {
    const share = await readShare(options.shareFile, `Share${given}: `);
    if (share.byteLength === 0 && given !== '') return;
    let answer: Awaited<ReturnType<typeof client.access.breakGlass>>;
    try {
      answer = await client.access.breakGlass(share, reset);
    } finally {
      share.fill(0);
    }
    if (answer.untilMs > 0) return session.print(`${answer.principal} may mend policies and principals until ${timeText(answer.untilMs)}; the audit log has it`, answer, answer.principal);
    if (options.shareFile !== undefined) return session.print(`${answer.given} of ${answer.needed} shares given`, answer, `${answer.given}/${answer.needed}`);
    reset = false;
    given = ` (${answer.given} of ${answer.needed} given; empty: the others come later)`;
  }
}
