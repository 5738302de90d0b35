/** What a new key is given, by `key create`, `key import` and `unwrap` alike. */
import { type Command, Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { KeyAttributes } from '../client/index.js';
import { KEY_SCHEMES, KEY_TYPES, type KeySchemeName, type KeyTypeName } from '../protocol/names.js';
import type { Session } from './session.js';

/** `isMandatory` false: what is brought may say its type itself. */
export function withAttributes(command: Command, isMandatory = true): Command {
  return command
    .addOption(new Option('--type <type>', 'what it is').choices(Object.keys(KEY_TYPES)).makeOptionMandatory(isMandatory))
    .addOption(new Option('--scheme <scheme>', 'what it does, for good; default: the type\'s own').choices(Object.keys(KEY_SCHEMES)))
    .option('--label <key=value>', 'a label; may be repeated', parseLabel)
    .option('--exportable', 'it may leave, wrapped by another key')
    .option('--pre-active', 'do not activate it yet');
}

export interface AttributeOptions {
  type: KeyTypeName;
  scheme?: KeySchemeName;
  label?: Record<string, string>;
  exportable?: boolean;
  preActive?: boolean;
}

export function attributesOf(options: AttributeOptions): KeyAttributes {
  return { type: options.type, scheme: options.scheme, labels: options.label, exportable: options.exportable, preActive: options.preActive };
}

export function parseLabel(text: string, labels: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new QuorateError('USAGE', `a label is key=value, not ${text}`);
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) };
}

/** For a dry run: what a real one would answer. KEY_EXISTS */
export async function refuseExisting(session: Session, name: string): Promise<void> {
  const client = await session.client();
  const exists = await client.keys.get(name).then(() => true, (error: unknown) => {
    if (error instanceof QuorateError && error.code === 'KEY_NOT_FOUND') return false;
    throw error;
  });
  if (exists) throw new QuorateError('KEY_EXISTS', `there is a key ${name}`);
}
