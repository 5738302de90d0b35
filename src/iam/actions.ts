/** Actions and their groups, as policies name them: the operation table with src/iam/places.ts. */
import { QuorateError } from '../base/errors.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { EXTRA_ACTIONS, PLACES } from './places.js';
import { type ActionRow, nounOf, schemaActions, schemaGroups, schemaText, type SchemaAction } from './schema.js';

const ROWS: readonly ActionRow[] = [
  ...Object.values(OPERATIONS).map(({ action, resource }) => ({ action, resource })),
  ...Object.entries(EXTRA_ACTIONS).map(([action, resource]) => ({ action, resource })),
];

/** Every action that policies decide about. */
export const ACTIONS: ReadonlyMap<string, SchemaAction> = schemaActions(ROWS, PLACES);
/** Group to the groups above it. */
export const ACTION_GROUPS: ReadonlyMap<string, readonly string[]> = schemaGroups(ACTIONS);
export const SCHEMA = schemaText(ROWS, PLACES);

const MEMBERS = new Map<string, ReadonlySet<string>>();
for (const group of ACTION_GROUPS.keys()) {
  MEMBERS.set(group, new Set([...ACTIONS].filter(([, row]) => row.groups.includes(group)).map(([action]) => action)));
}

/** The actions that `name`, an action or a group, stands for; null when it is neither. */
export function actionsOf(name: string): ReadonlySet<string> | null {
  return MEMBERS.get(name) ?? (ACTIONS.has(name) ? new Set([name]) : null);
}

const simple = (text: string): string => text.toLowerCase().replaceAll('-', '');
const NAMES = [...ACTIONS.keys(), ...ACTION_GROUPS.keys()];

/** The names that `text` may mean: a name itself, or the last part of some, of which one of keys is the only one meant. */
export function meantBy(text: string, names: readonly string[]): string[] {
  const wanted = simple(text);
  const full = names.find((name) => simple(name) === wanted);
  if (full !== undefined) return [full];
  if (wanted.includes(':') || wanted === '*') return [];
  const short = names.filter((name) => simple(name.slice(name.indexOf(':') + 1)) === wanted);
  const ofKeys = short.find((name) => nounOf(name) === 'keys');
  return ofKeys === undefined ? short : [ofKeys];
}

/**
 * What a person writes for an action or a group: its name (`keys:encrypt`, `keys:use`), or its last part alone (`encrypt`, `use`), where
 * keys come first and any other noun must be the only one that has it. `data-key` is `dataKey`. BAD_REQUEST
 */
export function parseAction(text: string, field = 'action'): string {
  const meant = meantBy(text, NAMES);
  const shown = JSON.stringify(text.slice(0, 64));
  if (meant.length > 1) throw new QuorateError('BAD_REQUEST', `${shown} may be ${meant.join(' or ')}`, { field });
  const [found] = meant;
  if (found === undefined)
    throw new QuorateError('BAD_REQUEST', `${shown} is no action that policies decide about, such as keys:encrypt, encrypt or keys:use`, {
      field,
    });
  return found;
}
