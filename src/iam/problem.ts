/** What is wrong with a policy document, and where. */
export interface Problem {
  /** From 1. */
  readonly line: number;
  /** In characters, from 1. */
  readonly column: number;
  readonly message: string;
}

const SHOWN_MAX = 20;
/** Cedar's words may hold a whole type. */
const MESSAGE_MAX = 400;

/** One line each: `line 3, column 12: ...`. */
export function describeProblems(problems: readonly Problem[]): string {
  const lines = problems
    .slice(0, SHOWN_MAX)
    .map(
      (p) => `line ${p.line}, column ${p.column}: ${p.message.length > MESSAGE_MAX ? `${p.message.slice(0, MESSAGE_MAX)}...` : p.message}`,
    );
  if (problems.length > SHOWN_MAX) lines.push(`and ${problems.length - SHOWN_MAX} more`);
  return lines.join('\n');
}
