/** The other end of a socket for credentials, as systemd is one: a process of its own, which may be anybody. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Arguments: socket, then the addresses (hexadecimal, '-' for none), asked one after the other. Prints the length and the first 64 KiB of each, in hexadecimal. */
const ASKER = `
import os, socket, sys
mode, path = sys.argv[1], sys.argv[2]
def begin(address):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    if address != '-': s.bind(bytes.fromhex(address))
    s.connect(path)
    return s
def whole(s):
    got, n = b'', 0
    while True:
        try: d = s.recv(65536)
        except ConnectionResetError: break
        if not d: break
        n += len(d)
        got = (got + d)[:65536]
    print(n, got.hex(), flush=True)
if mode == 'together':
    all = [begin(a) for a in sys.argv[3:]]
    for s in all: whole(s)
else:
    for a in sys.argv[3:]:
        s = begin(a)
        if mode == 'sends': s.send(b'GET / HTTP/1.0\\r\\n\\r\\n' * 1000)
        else: s.shutdown(socket.SHUT_WR)
        if mode != 'hangs-up': whole(s)
`;

export interface Given {
  readonly length: number;
  /** At most 64 KiB of it. */
  readonly bytes: Buffer;
}

let last = process.pid * 4096;
/** As systemd binds its socket. */
export const addressOf = (unit: string, credential: string): Buffer => Buffer.from(`\0${(++last).toString(16)}/unit/${unit}/${credential}`, 'latin1');

export interface AskOptions {
  /** Words in front of the command: who asks. */
  readonly as?: readonly string[];
  readonly mode?: 'asks' | 'sends' | 'hangs-up' | 'together';
}

/** What came to the end of each stream. '': from a socket without an address. */
export async function askAll(socket: string, addresses: readonly (Buffer | '')[], { as = [], mode = 'asks' }: AskOptions = {}): Promise<Given[]> {
  const command = [...as, '/usr/bin/python3', '-c', ASKER, mode, socket, ...addresses.map((address) => (address === '' ? '-' : address.toString('hex')))];
  const child = spawn(command[0]!, command.slice(1), { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
  let out = '';
  let said = '';
  child.stdout.on('data', (d: Buffer) => { out += d.toString(); });
  child.stderr.on('data', (d: Buffer) => { said += d.toString(); });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${said}`);
  return out.split('\n').slice(0, -1).map((line) => {
    const [length, hex] = line.split(' ');
    return { length: Number(length), bytes: Buffer.from(hex!, 'hex') };
  });
}

/** Of one unit's credential, by root. */
export async function ask(socket: string, unit: string, credential: string, options: AskOptions = {}): Promise<Given> {
  return (await askAll(socket, [addressOf(unit, credential)], options))[0]!;
}

/** More than a credential may have: systemd fails, and the unit does not start. */
export const CREDENTIAL_BYTES_MAX = 1024 * 1024;

/** The code of a refusal; null: it is none. */
export function refusalOf({ length, bytes }: Given): string | null {
  const match = /^quorate refused this credential: ([A-Z_]+)\n\0/.exec(bytes.toString('latin1'));
  return match === null || length <= CREDENTIAL_BYTES_MAX ? null : match[1]!;
}
