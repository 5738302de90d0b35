/** `quorate key`: the changes of a key's life. */
import { type Command, Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { KeyChange, KeyInfo, QuorateClient } from '../client/index.js';
import { REASONS, type ReasonName } from '../protocol/names.js';
import { refuseExisting } from './attributes.js';
import { printChange } from './keytext.js';
import { act, parseCount, parseTime, type Session, timeText } from './session.js';

export function addKeyLifeCommands(key: Command): void {
  const command = (name: string, what: string): Command => key.command(name).description(what).argument('<key>', 'name or id');
  command('rename', 'another name; what it encrypted stays readable').argument('<new-name>', 'the new name').action(act(rename));
  command('label', 'set labels (key=value) and remove them (key-)').argument('<labels...>', 'key=value, or key- to remove one').action(act(label));
  command('rotate', 'add a version, which encrypts and signs from now on').action(act(rotate));
  command('activate', 'preActive to active')
    .option('--at <time>', 'then instead of now: 2027-01-31T12:00:00Z, 12h, 7d', parseTime)
    .action(act(activate));
  command('deactivate', 'it decrypts and verifies, and no more')
    .addOption(new Option('--reason <reason>', 'why').choices(Object.keys(REASONS)))
    .option('--at <time>', 'then instead of now', parseTime)
    .action(act(deactivate));
  command('compromise', 'mark it compromised, for good').action(act(compromise));
  command('destroy', 'schedule its destruction; undelete cancels it until then')
    .option('--days <n>', `days until then, default ${LIMITS.destroy_days_default}`, parseCount('--days', LIMITS.destroy_days_min, LIMITS.destroy_days_max))
    .option('--now', 'at once: nothing brings it back')
    .action(act(destroy));
  command('undelete', 'cancel a scheduled destruction').action(act(undelete));
  command('revoke', 'one version may not be used any more')
    .argument('<version>', 'its number', parseCount('version', 1, 0xffff_ffff))
    .action(act(revoke));
}

interface Step {
  /** After "would", and in the question. */
  what: (key: KeyInfo) => string;
  run: (client: QuorateClient) => Promise<KeyChange>;
  /** What cannot be taken back, asked before it is done. */
  warning?: string;
}

/** A change of one key: shown with --dry-run, asked about where it is final, else done. */
async function change(session: Session, ref: string, step: Step): Promise<void> {
  const client = await session.client();
  const asks = step.warning !== undefined && !session.yes;
  if (session.dryRun || asks) {
    const key = await client.keys.get(ref);
    if (session.dryRun) return session.wouldDo(step.what(key), { key });
    const { confirm } = await import('./prompt.js');
    if (!(await confirm(`${step.warning} ${capitalise(step.what(key))}?`))) throw new QuorateError('USAGE', 'not confirmed');
  }
  await printChange(session, await step.run(client));
}

const capitalise = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const named = (key: KeyInfo): string => `${key.name} (${key.type}, v${key.version}, ${key.state})`;

async function rename(session: Session, ref: string, newName: string): Promise<void> {
  if (session.dryRun) await refuseExisting(session, newName);
  await change(session, ref, { what: (key) => `rename ${named(key)} to ${newName}`, run: (c) => c.keys.rename(ref, newName, session.change) });
}

async function label(session: Session, ref: string, labels: string[]): Promise<void> {
  const setLabels: Record<string, string> = {};
  const removeLabels: string[] = [];
  for (const text of labels) {
    const at = text.indexOf('=');
    if (at > 0) setLabels[text.slice(0, at)] = text.slice(at + 1);
    else if (at < 0 && text.length > 1 && text.endsWith('-')) removeLabels.push(text.slice(0, -1));
    else throw new QuorateError('USAGE', `a label is key=value, or key- to remove it, not ${text}`);
  }
  await change(session, ref, { what: (key) => `label ${named(key)}: ${labels.join(' ')}`, run: (c) => c.keys.update(ref, { setLabels, removeLabels }, session.change) });
}

async function rotate(session: Session, ref: string): Promise<void> {
  await change(session, ref, { what: (key) => `rotate ${named(key)} to v${key.version + 1}`, run: (c) => c.keys.rotate(ref, session.change) });
}

async function activate(session: Session, ref: string, { at: atMs }: { at?: number }): Promise<void> {
  await change(session, ref, { what: (key) => `activate ${named(key)}${when(atMs)}`, run: (c) => c.keys.activate(ref, { atMs, ...session.change }) });
}

async function deactivate(session: Session, ref: string, { reason, at: atMs }: { reason?: ReasonName; at?: number }): Promise<void> {
  await change(session, ref, { what: (key) => `deactivate ${named(key)}${when(atMs)}`, run: (c) => c.keys.deactivate(ref, { reason, atMs, ...session.change }) });
}

function when(atMs: number | undefined): string {
  return atMs === undefined ? '' : ` ${timeText(atMs)}`;
}

async function compromise(session: Session, ref: string): Promise<void> {
  await change(session, ref, { what: (key) => `mark ${named(key)} compromised`, run: (c) => c.keys.compromise(ref, session.change) });
}

async function destroy(session: Session, ref: string, { days, now }: { days?: number; now?: boolean }): Promise<void> {
  if (now === true && days !== undefined) throw new QuorateError('USAGE', '--now and --days exclude each other');
  await change(session, ref, {
    what: (key) => `destroy ${named(key)}${now === true ? ' now' : ` in ${days ?? LIMITS.destroy_days_default} days`}`,
    run: (c) => c.keys.destroy(ref, { pendingDays: days, now, ...session.change }),
    warning: now === true ? 'What was encrypted with it can never be read again.' : 'When the time has passed, what was encrypted with it can never be read again.',
  });
}

async function undelete(session: Session, ref: string): Promise<void> {
  await change(session, ref, { what: (key) => `undelete ${named(key)}`, run: (c) => c.keys.undelete(ref, session.change) });
}

async function revoke(session: Session, ref: string, version: number): Promise<void> {
  await change(session, ref, { what: (key) => `revoke v${version} of ${named(key)}`, run: (c) => c.keys.revokeVersion(ref, version, session.change) });
}
