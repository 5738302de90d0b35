/**
 * `quorate completion`: a script for the shell, made of the tree of commands. Words that are known come from the script itself;
 * names of keys are asked of the daemon.
 */
import { Argument, type Command, type Option } from 'commander';
import { LIMITS } from '../base/limits.js';
import { act, type Session, writeOut } from './session.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export function addCompletion(program: Command): void {
  program.command('completion').description('a completion script: source <(quorate completion bash)')
    .addArgument(new Argument('<shell>', 'whose').choices(SHELLS))
    .action(act(async (_session: Session, shell: Shell) => writeOut(SCRIPTS[shell](treeOf(program)))));
}

interface Word {
  readonly word: string;
  readonly about: string;
}
interface Flag extends Word {
  /** All its spellings. */
  readonly spellings: readonly string[];
  readonly takes: Value | null;
}
type Value = { readonly kind: 'key' | 'file' | 'text' } | { readonly kind: 'choice'; readonly choices: readonly string[] };
interface Node {
  /** The words that lead here, without `quorate`. */
  readonly path: string;
  readonly commands: readonly Word[];
  readonly flags: readonly Flag[];
  readonly arguments: readonly Value[];
}

function treeOf(program: Command): Node[] {
  const globals = program.options.map(flagOf);
  const walk = (command: Command, words: string[]): Node[] => [
    {
      path: words.join(' '),
      commands: command.commands.filter((c) => c.name() !== 'help').map((c) => ({ word: c.name(), about: c.description() })),
      flags: [...(command === program ? [] : command.options.map(flagOf)), ...globals],
      arguments: command.registeredArguments.map((a) => takenBy(a.name(), a.argChoices)),
    },
    ...command.commands.flatMap((c) => walk(c, [...words, c.name()])),
  ];
  return walk(program, []);
}

function flagOf(option: Option): Flag {
  const spellings = [option.short, option.long].filter((s): s is string => s !== undefined && s !== null);
  const takes = option.required || option.optional ? optionValue(option) : null;
  return { word: option.long ?? spellings[0]!, spellings, about: option.description, takes };
}

function optionValue(option: Option): Value {
  if (option.long === '--format') return { kind: 'choice', choices: ['text', 'json', 'name'] };
  return takenBy(/<([^>]+)>/.exec(option.flags)?.[1] ?? '', option.argChoices);
}

const KEY_ARGUMENTS: readonly string[] = ['key', 'target'];
const FILE_ARGUMENTS: readonly string[] = ['file', 'files', 'folder', 'path', 'token-file'];

function takenBy(name: string, choices: readonly string[] | undefined): Value {
  if (choices !== undefined) return { kind: 'choice', choices };
  return { kind: KEY_ARGUMENTS.includes(name) ? 'key' : FILE_ARGUMENTS.includes(name) ? 'file' : 'text' };
}

/** At most a page, and not long: a shell waits for it. */
const KEYS = `quorate key ls --format name --timeout 2s --limit ${LIMITS.page_size_max}`;

function bashAction(value: Value): string {
  if (value.kind === 'key') return `COMPREPLY=($(compgen -W "$(${KEYS} 2>/dev/null)" -- "$cur"))`;
  if (value.kind === 'choice') return `COMPREPLY=($(compgen -W '${value.choices.join(' ')}' -- "$cur"))`;
  return value.kind === 'file' ? 'COMPREPLY=($(compgen -f -- "$cur"))' : 'COMPREPLY=()';
}

function bash(tree: Node[]): string {
  const paths = tree.filter((n) => n.path !== '').map((n) => `'${n.path}'`).join('|');
  const valued = new Set(tree.flatMap((n) => n.flags.filter((f) => f.takes !== null).flatMap((f) => f.spellings)));
  const cases = tree.map((n) => {
    const byFlag = n.flags.filter((f) => f.takes !== null).map((f) => `        ${f.spellings.join('|')}) ${bashAction(f.takes!)}; return ;;`).join('\n');
    const words = [...n.commands.map((c) => c.word)].join(' ');
    const flags = n.flags.flatMap((f) => f.spellings).join(' ');
    const args = n.arguments.map((a, i) => `        ${i === n.arguments.length - 1 ? '*' : i}) ${bashAction(a)} ;;`).join('\n');
    const positional = n.arguments.length > 0 ? `      case "$seen" in\n${args}\n      esac` : `      COMPREPLY=($(compgen -W '${words}' -- "$cur"))`;
    return `    '${n.path}')\n      case "$prev" in\n${byFlag}\n      esac\n      if [[ "$cur" == -* ]]; then COMPREPLY=($(compgen -W '${flags}' -- "$cur")); return; fi\n${positional} ;;`;
  }).join('\n');
  return `# bash completion of quorate: source <(quorate completion bash)
_quorate() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" path='' seen=0 i word try
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      ${[...valued].join('|')}) ((i++)); continue ;;
      -*) continue ;;
    esac
    try="\${path:+$path }$word"
    case "$try" in
      ${paths}) path="$try"; seen=0 ;;
      *) ((seen++)) ;;
    esac
  done
  case "$path" in
${cases}
  esac
}
complete -o filenames -F _quorate quorate
`;
}

const quoted = (text: string): string => `'${text.replaceAll('\'', '\'\\\'\'')}'`;

function zshAction(value: Value): string {
  if (value.kind === 'key') return ':key:_quorate_keys';
  if (value.kind === 'choice') return `:choice:(${value.choices.join(' ')})`;
  return value.kind === 'file' ? ':file:_files' : ':text: ';
}

function zsh(tree: Node[]): string {
  const about = (text: string): string => text.replace(/[[\]:\\]/g, '\\$&');
  const functions = tree.map((n) => {
    const name = `_quorate${n.path === '' ? '' : `_${n.path.replaceAll(/[ -]/g, '_')}`}`;
    const flags = n.flags.flatMap((f) => f.spellings.map((s) => quoted(`${s}[${about(f.about)}]${f.takes === null ? '' : zshAction(f.takes)}`)));
    const args = n.arguments.map((a, i) => quoted(`${i === n.arguments.length - 1 ? '*' : i + 1}${zshAction(a)}`));
    if (n.commands.length === 0) return `${name}() {\n  _arguments -s ${[...flags, ...args].join(' \\\n    ')}\n}`;
    const list = n.commands.map((c) => quoted(`${c.word}:${about(c.about)}`)).join(' ');
    const next = n.commands.map((c) => `      ${c.word}) ${name}_${c.word.replaceAll('-', '_')} ;;`).join('\n');
    return `${name}() {\n  local state line\n  _arguments -C ${[...flags, "'1: :->command'", "'*:: :->rest'"].join(' \\\n    ')}\n  case "$state" in
    command) local -a list=(${list}); _describe command list ;;
    rest) case "$line[1]" in\n${next}\n    esac ;;\n  esac\n}`;
  });
  return `#compdef quorate
# zsh completion of quorate: source <(quorate completion zsh)
_quorate_keys() {
  local -a keys=(\${(f)"$(${KEYS} 2>/dev/null)"})
  compadd -a keys
}
${functions.join('\n')}
if [ "$funcstack[1]" = _quorate ]; then _quorate "$@"; else compdef _quorate quorate; fi
`;
}

function fish(tree: Node[]): string {
  const lines = tree.flatMap((n) => {
    const when = n.path === '' ? '__quorate_at' : `__quorate_at ${n.path}`;
    const flags = n.flags.map((f) => {
      const parts = f.spellings.map((s) => (s.startsWith('--') ? `-l ${s.slice(2)}` : `-s ${s.slice(1)}`));
      return `complete -c quorate -n ${quoted(when)} ${parts.join(' ')}${f.takes === null ? '' : fishAction(f.takes, ' -x')} -d ${quoted(f.about)}`;
    });
    const commands = n.commands.map((c) => `complete -c quorate -n ${quoted(when)} -f -a ${c.word} -d ${quoted(c.about)}`);
    const args = n.arguments.slice(0, 1).map((a) => `complete -c quorate -n ${quoted(when)}${fishAction(a, ' -f')}`);
    return [...commands, ...args, ...flags];
  });
  const paths = tree.filter((n) => n.path !== '').map((n) => quoted(n.path)).join(' ');
  return `# fish completion of quorate: quorate completion fish | source
function __quorate_at
    set -l path ''
    for word in (commandline -opc)[2..]
        string match -q -- '-*' $word; and continue
        set -l try (string trim "$path $word")
        contains -- $try ${paths}; and set path $try
    end
    test "$path" = "$argv"
end
${lines.join('\n')}
`;
}

function fishAction(value: Value, only: string): string {
  if (value.kind === 'key') return `${only} -a '(${KEYS} 2>/dev/null)'`;
  if (value.kind === 'choice') return `${only} -a ${quoted(value.choices.join(' '))}`;
  return value.kind === 'file' ? ' -r -F' : only;
}

const SCRIPTS: Readonly<Record<Shell, (tree: Node[]) => string>> = { bash, zsh, fish };
