/**
 * What a policy's conditions look at, from Cedar's JSON form of them. It decides what a decision may be remembered by: a shape that is not
 * known here counts as looking at everything.
 */
import type { Expr, PolicyJson } from './cedar.js';

export interface Reads {
  /** The resource itself (its name, what it is in), not only attributes and tags of it. */
  readonly resource: boolean;
  readonly attributes: readonly string[];
  readonly tags: readonly string[];
  readonly principal: boolean;
  /** Attributes of the context, `time` only where it is used otherwise than compared with a constant. */
  readonly context: readonly string[];
  /** The context as a whole. */
  readonly wholeContext: boolean;
  /** Unix milliseconds at which a comparison of context.time with a constant changes its result, ascending. */
  readonly times: readonly number[];
}

interface Found {
  resource: boolean;
  principal: boolean;
  wholeContext: boolean;
  readonly attributes: Set<string>;
  readonly tags: Set<string>;
  readonly context: Set<string>;
  readonly times: Set<number>;
}

const COMPARISONS = new Set(['==', '!=', '<', '<=', '>', '>=']);
/** Fields of an operator that are expressions. */
const OPERANDS = ['left', 'right', 'arg', 'if', 'then', 'else', 'in'] as const;
/** Fields that are not. */
const PLAIN = new Set(['attr', 'pattern', 'entity_type']);

type Node = Readonly<Record<string, unknown>>;
const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value);

function variable(expr: unknown): string | null {
  if (!isNode(expr)) return null;
  const name = expr['Var'];
  return typeof name === 'string' ? name : null;
}

const DATETIME = /^(\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}(?:\.\d{3})?)?)(Z|[+-]\d{4})?$/;

/** Unix milliseconds of a literal datetime("..."); null for anything else. */
function constantTime(expr: unknown): number | null {
  const args = isNode(expr) ? expr['datetime'] : undefined;
  const text = Array.isArray(args) && args.length === 1 && isNode(args[0]) ? args[0]['Value'] : undefined;
  const match = typeof text === 'string' ? DATETIME.exec(text) : null;
  if (match === null) return null;
  const zone = match[2] === undefined || match[2] === 'Z' ? 'Z' : `${match[2].slice(0, 3)}:${match[2].slice(3)}`;
  const ms = Date.parse(match[1]!.includes('T') ? `${match[1]}${zone}` : match[1]!);
  return Number.isSafeInteger(ms) ? ms : null;
}

function isContextTime(expr: unknown): boolean {
  const access = isNode(expr) ? expr['.'] : undefined;
  return isNode(access) && access['attr'] === 'time' && variable(access['left']) === 'context';
}

/** context.time against a constant: before, at and after it the result may differ. */
function timeComparison(op: string, operands: Node, found: Found): boolean {
  if (!COMPARISONS.has(op)) return false;
  const { left, right } = operands;
  const constant = isContextTime(left) ? constantTime(right) : isContextTime(right) ? constantTime(left) : null;
  if (constant === null) return false;
  found.times.add(constant).add(constant + 1);
  return true;
}

function everything(found: Found): void {
  found.resource = found.principal = found.wholeContext = true;
}

function bare(name: string, found: Found): void {
  if (name === 'resource') found.resource = true;
  else if (name === 'principal') found.principal = true;
  else if (name === 'context') found.wholeContext = true;
  else if (name !== 'action') everything(found);
}

/** `x.attr`, `x has attr`, `x has a.b`. */
function attribute(operands: Node, found: Found): void {
  const name = variable(operands['left']);
  const attr: unknown = Array.isArray(operands['attr']) ? operands['attr'][0] : operands['attr'];
  if (name === null) visit(operands['left'], found);
  else if (typeof attr !== 'string' || (name !== 'resource' && name !== 'context')) bare(name, found);
  else (name === 'resource' ? found.attributes : found.context).add(attr);
}

function tag(operands: Node, found: Found): void {
  const { left, right } = operands;
  const text = isNode(right) ? right['Value'] : undefined;
  if (variable(left) === 'resource' && typeof text === 'string') found.tags.add(text);
  else {
    visit(left, found);
    visit(right, found);
  }
}

function operator(op: string, operands: unknown, found: Found): void {
  if (Array.isArray(operands)) {
    for (const each of operands) visit(each, found);
    return;
  }
  if (!isNode(operands)) {
    everything(found);
    return;
  }
  // Of what kind the resource is, every decision is about.
  if (op === 'is' && variable(operands['left']) === 'resource' && (operands['in'] ?? null) === null) return;
  if (op === '.' || op === 'has') attribute(operands, found);
  else if (op === 'getTag' || op === 'hasTag') tag(operands, found);
  else if (op === 'Record') for (const each of Object.values(operands)) visit(each, found);
  else if (!timeComparison(op, operands, found)) {
    if (!Object.keys(operands).every((name) => PLAIN.has(name) || (OPERANDS as readonly string[]).includes(name))) everything(found);
    for (const name of OPERANDS) if (operands[name] !== undefined && operands[name] !== null) visit(operands[name], found);
  }
}

function visit(expr: unknown, found: Found): void {
  const entries = isNode(expr) ? Object.entries(expr) : [];
  if (entries.length !== 1) {
    everything(found);
    return;
  }
  const [op, operands] = entries[0]!;
  if (op === 'Value') return;
  if (op === 'Var') bare(String(operands), found);
  else operator(op, operands, found);
}

export function readsOf(conditions: PolicyJson['conditions']): Reads {
  const found: Found = {
    resource: false,
    principal: false,
    wholeContext: false,
    attributes: new Set(),
    tags: new Set(),
    context: new Set(),
    times: new Set(),
  };
  for (const { body } of conditions) visit(body satisfies Expr, found);
  return {
    resource: found.resource,
    principal: found.principal,
    wholeContext: found.wholeContext,
    attributes: [...found.attributes],
    tags: [...found.tags],
    context: [...found.context],
    times: [...found.times].sort((a, b) => a - b),
  };
}

/** How deep the conditions nest as Cedar evaluates them, one after the other. Its evaluator recurses on that, and its stack ends at 250. */
export function depthOf(conditions: PolicyJson['conditions']): number {
  const depth = (node: unknown): number => {
    if (typeof node !== 'object' || node === null) return 0;
    const below = Math.max(0, ...Object.values(node).map(depth));
    // Operands are objects of their own between two operators, and `has a.b.c` is three of them.
    if (Array.isArray(node)) return below;
    const chain = 'attr' in node && Array.isArray(node.attr) ? node.attr.length : 0;
    return below + chain + ('left' in node || 'arg' in node || 'if' in node ? 0 : 1);
  };
  return conditions.reduce((sum, { body }) => sum + 1 + depth(body), 0);
}
