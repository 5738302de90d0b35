/** How a command ends when it cannot do what was asked: `error CODE: fact. fate`, what to do next, and the exit code of the error table. */
import { type ErrorCode, QuorateError } from '../base/errors.js';

export type Format = 'text' | 'json' | 'name';

/** A failure whose fact the command knows better than the daemon: it knows the file, and what it wrote. */
export class Failure extends QuorateError {
  readonly fate: string;
  readonly next: string;

  /** `fate` and `next` default to the error table's. */
  constructor(code: ErrorCode, fact: string, options: { fate?: string; next?: string; cause?: unknown } = {}) {
    super(code, fact, { cause: options.cause });
    this.fate = options.fate ?? this.row.fate;
    this.next = options.next ?? this.row.next;
  }
}

/** The command did its work and the answer is no: `verify`, `status`, `doctor`. Nothing more is printed. */
export class Answered extends Error {
  readonly exit: number;
  constructor(exit: number) {
    super(`exit ${exit}`);
    this.exit = exit;
  }
}

/** Whoever read standard output went away. As a program that SIGPIPE ended: 128 + 13. */
export const EXIT_BROKEN_PIPE = 141;

export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof QuorateError) return new Failure(error.code, error.detail, { cause: error });
  return new Failure('INTERNAL', (error instanceof Error ? error.message : String(error)).split('\n')[0]!, { fate: '', next: 'Report it with the command and its version.', cause: error });
}

/** What goes to standard error. */
export function renderFailure(failure: Failure, format: Format): string {
  const { code, fate, next, row } = failure;
  if (format === 'json') {
    return `${JSON.stringify({ error: { code, message: row.message, detail: failure.detail, fate, next, retry: row.retry } })}\n`;
  }
  const fact = (failure.detail || row.message).replace(/\.$/, '');
  const first = [`error ${code}: ${fact}.`, fate].filter((part) => part !== '').join(' ');
  return next === '' ? `${first}\n` : `${first}\n${next}\n`;
}
