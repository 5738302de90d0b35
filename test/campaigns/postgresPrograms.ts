/** Programs that connect to PostgreSQL again and again, note down every connection, and are given the password in each way that `quorate run` has; and who judges what they noted. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** How a program comes to its password. `unchanged` is told nothing of a rotation: the judge must condemn it. */
export const WAYS = ['environment', 'file', 'signal', 'unchanged'] as const;
export type Way = (typeof WAYS)[number];

/** `--secret PGUSER=... --secret PGPASSWORD=...` and so on, up to the command. */
export function optionsOf(way: Way, secret: string, every: string): string[] {
  const environment = ['--secret', `PGUSER=${secret}#user`, '--secret', `PGPASSWORD=${secret}#password`];
  switch (way) {
    case 'environment': return [...environment, '--on-change', 'restart', '--every', every];
    // libpq reads it at each connection; the name of the role is no secret.
    case 'file': return ['--secret', `PGUSER=${secret}#user`, '--file', `PGPASSFILE=${secret}#pgpass`, '--on-change', 'restart', '--every', every];
    // Which secret is looked at; the program takes it from a file that `quorate template` writes.
    case 'signal': return ['--file', `WATCHED=${secret}`, '--on-change', 'signal', '--every', every];
    case 'unchanged': return environment;
  }
}

/** `service=app` makes libpq read role and password from there, at each connection. */
const serviceTemplate = (secret: string): string => `[app]\nuser={{ secret "${secret}#user" }}\npassword={{ secret "${secret}#password" }}\n`;

/** TERM ends it between two connections, so that each one that began is noted. The first digits of a password say which one it was. */
const SCRIPT = `
trap 'over=1' TERM
trap 'reload=1' HUP
over=0 reload=0
render() { quorate template "$HERE.tmpl" -o "$HERE.service" >/dev/null; }
which_password() {
  if [ -n "\${PGSERVICEFILE:-}" ]; then sed -n 's/^password=\\(........\\).*/\\1/p' "$PGSERVICEFILE"
  elif [ -n "\${PGPASSFILE:-}" ]; then sed 's/.*:\\(........\\)[^:]*$/\\1/' "$PGPASSFILE"
  else printf %s "\${PGPASSWORD:0:8}"; fi
}
if [ "$WAY" = signal ]; then export PGSERVICEFILE="$HERE.service" PGSERVICE=app; render; fi
mine=$(which_password)
while [ $over = 0 ]; do
  if [ $reload = 1 ]; then reload=0; render; mine=$(which_password); fi
  began=$EPOCHREALTIME
  said=$(psql -XAtqwc 'select current_user' 2>&1); status=$?
  printf '%s %s %s %s %s\\n' "$began" "$EPOCHREALTIME" "$mine" "$status" "\${said//[[:space:]]/ }" >> "$HERE.log" || exit 1
  sleep 0.02
done
`;

/** Writes what the program needs beside `here`, which is a path without an ending. */
export function programFor(here: string, secret: string): string {
  writeFileSync(`${here}.tmpl`, serviceTemplate(secret));
  writeFileSync(`${here}.sh`, SCRIPT);
  return `${here}.sh`;
}

export interface Connection {
  readonly beganMs: number;
  readonly endedMs: number;
  /** The first eight characters of the password. */
  readonly password: string;
  readonly good: boolean;
  /** The role, or what went wrong. */
  readonly said: string;
}

export function connectionsIn(here: string): Connection[] {
  if (!existsSync(`${here}.log`)) return [];
  return readFileSync(path.resolve(`${here}.log`), 'utf8').split('\n').slice(0, -1).map((line) => {
    const [began, ended, password, status, ...said] = line.split(' ');
    return { beganMs: Number(began) * 1000, endedMs: Number(ended) * 1000, password: password!, good: status === '0', said: said.join(' ') };
  });
}

export interface Rotation {
  /** The first eight characters of the password that it brought. */
  readonly password: string;
  /** Before anything was changed. */
  readonly beganMs: number;
  /** When the secret had its new version. */
  readonly putMs: number;
}

export interface Judgement {
  readonly connections: number;
  /** Between the change in the database and the switch: what one role cannot avoid. */
  readonly failedBefore: number;
  /** Everything else that failed. */
  readonly failedAfter: number;
  /** From the put to the first connection with the new password, of each rotation but the first, which nobody waited for. */
  readonly switchMs: readonly number[];
  /** Empty: it holds. */
  readonly faults: readonly string[];
}

/**
 * `rotations` in their order; the first password was there before the program. With `oneRole` a connection by the password before may fail once the rotation has begun;
 * nothing else may, no password may come again once a later one was used, and each must have been used, for the first time with success.
 */
export function judge(connections: readonly Connection[], rotations: readonly Rotation[], oneRole: boolean): Judgement {
  const faults: string[] = [];
  const firstAt = new Map<number, number>();
  let [latest, failedBefore, failedAfter] = [0, 0, 0];
  for (const [i, { beganMs, endedMs, password, good, said }] of connections.entries()) {
    const number = rotations.findIndex((rotation) => rotation.password === password);
    if (number < 0) faults.push(`connection ${i}: nobody gave it the password ${password}`);
    else if (number < latest) faults.push(`connection ${i}: password ${number} after password ${latest}`);
    latest = Math.max(latest, number);
    if (!firstAt.has(number)) firstAt.set(number, beganMs);
    if (good) continue;
    const next = rotations[number + 1];
    if (oneRole && next !== undefined && endedMs >= next.beganMs) failedBefore++;
    else {
      failedAfter++;
      faults.push(`connection ${i}, password ${number}: ${said}`);
    }
  }
  for (const number of rotations.keys()) if (!firstAt.has(number)) faults.push(`password ${number} was never used`);
  const switchMs = rotations.flatMap(({ putMs }, number) => (number > 0 && firstAt.has(number) ? [firstAt.get(number)! - putMs] : []));
  return { connections: connections.length, failedBefore, failedAfter, switchMs, faults };
}
