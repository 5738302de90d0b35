/** Audit entries as lines for people. What came from a caller is shown so that it can neither move the cursor nor pass for another field. */
import type { AuditCountInfo, AuditEntryInfo } from '../client/index.js';

/** Control and format characters (among them those that turn the direction of writing), line separators, halves of characters. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu;

export function visible(text: string): string {
  return text.replaceAll(UNSEEN, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
}

/** In quotes unless it is one plain word. */
function word(text: string): string {
  return /^[\w./:@*+-]+$/.test(text) ? text : visible(JSON.stringify(text));
}

function countText(count: AuditCountInfo): string {
  const key = count.keyId === '' ? '' : ` with ${count.keyId} v${count.version}`;
  return `${word(count.method)}${key} ${word(count.status)} x${count.count}, session ${count.session}`;
}

function whatText(entry: AuditEntryInfo): string {
  const who = word(entry.principal === '' ? `uid:${entry.uid}` : entry.principal);
  const about = entry.resource === '' ? '' : ` ${word(entry.resource)}`;
  switch (entry.kind) {
    case 'call':
    case 'denied': return `${who} ${word(entry.method)}${about} ${word(entry.status)}`;
    case 'grant': return `${who} may ${word(entry.method)}${about}`;
    case 'counts': return entry.counts.map(countText).join('; ') || 'nothing';
    case 'session': return `session ${entry.session} is ${who}, uid ${entry.uid}, pid ${entry.pid}`;
    case 'gap': return 'SOMETHING IS MISSING BEFORE THIS';
    case 'started': case 'stopped': case 'sealed': case 'unsealed': return `the daemon was ${entry.kind}`;
    default: return visible(entry.kind);
  }
}

/** Without a newline. */
export function entryText(entry: AuditEntryInfo): string {
  const more = [
    entry.domain === '' || entry.domain === 'default' ? '' : `domain=${word(entry.domain)}`,
    visible(entry.detail),
    entry.token === '' ? '' : `token=${word(entry.token)}`,
    entry.proposal === '' ? '' : `proposal=${word(entry.proposal)}`,
    entry.reason === '' ? '' : `(${visible(entry.reason)})`,
    entry.repeats === 0 ? '' : `and ${entry.repeats} more of the same`,
  ];
  return [String(entry.index), entry.time || '-', whatText(entry), ...more.filter((part) => part !== '')].join(' ');
}
