/** A small scanner for C++: where functions begin and how many lines they have. */
export interface CppFunction {
  line: number;
  lines: number;
}

/** Comments, strings and character literals become spaces; lines stay. */
function blank(source: string): string {
  return source.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|R"\(([\s\S]*?)\)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'/g, (m) => m.replace(/[^\n]/g, ' '));
}

const CONTROL = /\b(if|for|while|switch|catch)\s*\([^{}]*$/;

export function cppFunctions(source: string): CppFunction[] {
  const text = blank(source);
  const lineOf = (at: number): number => text.slice(0, at).split('\n').length;
  const out: CppFunction[] = [];
  const open: { at: number; isFunction: boolean }[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{') {
      const before = text.slice(Math.max(0, i - 600), i);
      const statement = before.slice(Math.max(before.lastIndexOf(';'), before.lastIndexOf('}'), before.lastIndexOf('{')) + 1);
      const inFunction = open.some((o) => o.isFunction);
      const isFunction = !inFunction && /\)\s*(const|noexcept|override|final|mutable|->[^{]*|:[^{]*|\s)*$/.test(statement) && !CONTROL.test(statement) && !/\b(namespace|struct|class|enum|union)\b[^()]*$/.test(statement);
      // A brace initialiser in a constructor's list is not a body.
      const start = text.length - text.slice(i - statement.length).trimStart().length;
      open.push({ at: Math.min(start, i), isFunction });
    } else if (text[i] === '}') {
      const begun = open.pop();
      if (begun?.isFunction) out.push({ line: lineOf(begun.at), lines: lineOf(i) - lineOf(begun.at) + 1 });
    }
  }
  return out;
}
