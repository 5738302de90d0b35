/**
 * A policy document: Cedar text with one policy or more, stored under a name in a domain. compileDocument() makes of it what the index needs;
 * checkDocument() is what a text must pass before it is stored. Both call Cedar, so both run in a worker.
 *
 * A Cedar that throws, rather than answering with errors, has overrun its stack and is not to be used again: such an exception goes up, and
 * ends the worker.
 */
import type { DetailedError, EntityUidJson, PolicyJson, PrincipalConstraint, ResourceConstraint } from './cedar.js';
import * as cedar from './cedar.js';
import { utf8Bytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import { ACTIONS, actionsOf, SCHEMA } from './actions.js';
import { confinementFaults } from './confine.js';
import { depthOf, type Reads, readsOf } from './expression.js';
import { type EntityUid, uidText } from './principal.js';
import { describeProblems, type Problem } from './problem.js';
import { offsetOfByte, placeAt, splitPolicies, type Statement, unseenAt } from './source.js';

export interface CompiledPolicy {
  /** One policy, as Cedar reads it. */
  readonly text: string;
  /** Which principals and resources it can be about: see selectors in src/iam/selectors.ts. */
  readonly principal: string;
  readonly resource: string;
  /** null: every action. */
  readonly actions: ReadonlySet<string> | null;
  /** The one principal that it is about, null: it may be about others. */
  readonly subject: EntityUid | null;
  readonly reads: Reads;
  readonly permits: boolean;
  /** Whether its scopes alone do not decide. */
  readonly conditional: boolean;
}

/** The text cannot be read as policies. */
export class DocumentError extends Error {
  override readonly name = 'DocumentError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(describeProblems(problems));
    this.problems = problems;
  }
}

export function uidOf(json: EntityUidJson): EntityUid {
  return '__entity' in json ? json.__entity : json;
}

function selector(constraint: PrincipalConstraint | ResourceConstraint): string {
  switch (constraint.op) {
    case 'All':
      return '*';
    case '==':
    case 'in':
      if (!('entity' in constraint)) throw new DocumentError([{ line: 1, column: 1, message: 'a template, not a policy' }]);
      return `${constraint.op} ${uidText(uidOf(constraint.entity))}`;
    case 'is': {
      const within = constraint.in;
      if (within === undefined || within === null) return `is ${constraint.entity_type}`;
      if (!('entity' in within)) throw new DocumentError([{ line: 1, column: 1, message: 'a template, not a policy' }]);
      return `is ${constraint.entity_type} in ${uidText(uidOf(within.entity))}`;
    }
  }
}

/** Entities that the action clause names. */
export function actionNames(constraint: PolicyJson['action']): string[] | null {
  if (constraint.op === 'All') return null;
  const entities = 'entities' in constraint ? constraint.entities : 'entity' in constraint ? [constraint.entity] : [];
  return entities.map((entity) => uidOf(entity).id);
}

function actionSet(constraint: PolicyJson['action']): ReadonlySet<string> | null {
  const names = actionNames(constraint);
  if (names === null) return null;
  // `action == <group>` is about the group itself, which no request is.
  const members = (name: string): Iterable<string> => (constraint.op === '==' && !ACTIONS.has(name) ? [] : (actionsOf(name) ?? []));
  return new Set(names.flatMap((name) => [...members(name)]));
}

function compile(text: string, json: PolicyJson): CompiledPolicy {
  const { principal } = json;
  return {
    text,
    principal: selector(principal),
    resource: selector(json.resource),
    actions: actionSet(json.action),
    subject: principal.op === '==' && 'entity' in principal ? uidOf(principal.entity) : null,
    reads: readsOf(json.conditions),
    permits: json.effect === 'permit',
    conditional: json.conditions.length > 0,
  };
}

/** Cedar's words with the name that this code gave the policy taken out. */
function words(error: DetailedError): string {
  const message = error.message
    .replace(/^failed to parse polic\S+ (?:with id \S+ )?from string: /, '')
    .replace(/^for policy `[^`]*`[,:] /, '');
  const label = error.sourceLocations?.find((s) => s.label !== null)?.label;
  return [message, label, error.help].filter((part) => part !== null && part !== undefined && part !== '').join('; ');
}

function problemsOf(document: string, statement: Statement, error: DetailedError): Problem {
  const byte = error.sourceLocations?.[0]?.start;
  // Cedar places what is about the policy as a whole at its first byte, which may be a comment's.
  const within = byte === undefined || byte === 0 ? statement.begins : statement.offset + offsetOfByte(statement.text, byte);
  return { ...placeAt(document, within), message: words(error) };
}

/** One parsed policy of a document. */
export interface Parsed {
  readonly statement: Statement;
  readonly json: PolicyJson;
}

function shapeFault(statement: Statement): string | null {
  if (statement.nesting > LIMITS.policy_nesting_max)
    return `brackets and ifs nest ${statement.nesting} deep, at most ${LIMITS.policy_nesting_max} are allowed`;
  return null;
}

function parse(text: string): { parsed: Parsed[]; problems: Problem[] } {
  const parsed: Parsed[] = [];
  const problems: Problem[] = [];
  for (const statement of splitPolicies(text)) {
    const at = (message: string): void => void problems.push({ ...placeAt(text, statement.begins), message });
    const fault = shapeFault(statement);
    if (fault !== null) {
      at(fault);
      continue;
    }
    const answer = cedar.policyToJson(statement.text);
    if (answer.type === 'failure') {
      problems.push(...answer.errors.map((error) => problemsOf(text, statement, error)));
      continue;
    }
    const depth = depthOf(answer.json.conditions);
    if (depth > LIMITS.policy_depth_max)
      at(
        `the conditions are ${depth} operators deep, at most ${LIMITS.policy_depth_max} are allowed: use [..].contains(..), or several policies`,
      );
    else parsed.push({ statement, json: answer.json });
  }
  return { parsed, problems };
}

/** A stored text, which was checked before. DocumentError when it is not one all the same. */
export function compileDocument(text: string): CompiledPolicy[] {
  const { parsed, problems } = parse(text);
  if (problems.length > 0) throw new DocumentError(problems);
  return parsed.map(({ statement, json }) => compile(statement.text, json));
}

/** Of Cedar's warnings those that mean a policy that decides nothing: a forbid that never matches is worse than none. Cedar gives no codes. */
const DECIDES_NOTHING = /unable to find an applicable action|policy is impossible/;

function validate(document: string, parsed: readonly Parsed[]): Problem[] {
  const staticPolicies = Object.fromEntries(parsed.map(({ statement }, i) => [String(i), statement.text]));
  const answer = cedar.validate({ schema: SCHEMA, policies: { staticPolicies }, validationSettings: { mode: 'strict' } });
  if (answer.type === 'failure') return answer.errors.map((error) => ({ line: 1, column: 1, message: words(error) }));
  const errors = answer.validationErrors;
  // An unknown action is said once, not also as "nothing applies".
  const blamed = new Set(errors.map((e) => e.policyId));
  const nothing = answer.validationWarnings.filter((w) => !blamed.has(w.policyId) && DECIDES_NOTHING.test(w.error.message));
  const first = nothing.filter((w, i) => nothing.findIndex((o) => o.policyId === w.policyId) === i);
  return [...errors, ...first].map(({ policyId, error }) => problemsOf(document, parsed[Number(policyId)]!.statement, error));
}

function sizeProblem(text: string): Problem | null {
  const bytes = utf8Bytes(text).length;
  if (bytes > LIMITS.policy_bytes_max)
    return { line: 1, column: 1, message: `the text has ${bytes} bytes, at most ${LIMITS.policy_bytes_max} are allowed` };
  const unseen = unseenAt(text);
  if (unseen >= 0)
    return {
      ...placeAt(text, unseen),
      message: `U+${text.codePointAt(unseen)!.toString(16).toUpperCase().padStart(4, '0')} is not seen: text that reads as something else is not let in`,
    };
  return null;
}

const inOrder = (a: Problem, b: Problem): number => a.line - b.line || a.column - b.column;

/** A text about to be stored in `domain`. Empty: it may be. */
export function checkDocument(
  domain: string,
  text: string,
): { readonly problems: readonly Problem[]; readonly policies: readonly CompiledPolicy[] } {
  const refused = (...problems: Problem[]): { problems: Problem[]; policies: [] } => ({ problems: problems.sort(inOrder), policies: [] });
  const size = sizeProblem(text);
  if (size !== null) return refused(size);
  const { parsed, problems } = parse(text);
  if (problems.length > 0) return refused(...problems);
  if (parsed.length === 0) return refused({ line: 1, column: 1, message: 'there is no policy in it' });
  if (parsed.length > LIMITS.policy_statements_max) {
    return refused({
      ...placeAt(text, parsed[LIMITS.policy_statements_max]!.statement.begins),
      message: `${parsed.length} policies, at most ${LIMITS.policy_statements_max} are allowed under one name`,
    });
  }
  const faults = parsed.flatMap((each) =>
    confinementFaults(domain, each).map(({ offset, message }) => ({ ...placeAt(text, offset), message })),
  );
  const invalid = [...validate(text, parsed), ...faults];
  if (invalid.length > 0) return refused(...invalid);
  return { problems: [], policies: parsed.map(({ statement, json }) => compile(statement.text, json)) };
}
