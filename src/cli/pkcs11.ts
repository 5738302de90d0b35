/** `quorate pkcs11`: what a Cryptoki application is told, the module's path and the socket. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { PinInfo } from '../client/index.js';
import { Failure } from './failure.js';
import { readNewPin } from './prompt.js';
import { act, type Session, timeText } from './session.js';
import { printTable } from './table.js';

const MODULE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'build', 'native', 'libquorate-pkcs11.so');

export function addPkcs11Commands(program: Command): void {
  const pkcs11 = program.command('pkcs11').description('the PKCS#11 module, for OpenSSH, OpenSSL and others');
  pkcs11.command('path').description('where the module is: ssh-keygen -D $(quorate pkcs11 path)').action(act(printPath));
  pkcs11.command('env').description('what applications need in their environment: eval "$(quorate pkcs11 env)"').action(act(printEnvironment));
  const pin = pkcs11.command('pin').description('PINs: what an application that logs in stands for');
  pin.command('set').description('set a PIN, in the place of one that is there or is locked')
    .argument('<holder>', 'who connects: user:NAME, uid:N, app:NAME')
    .option('--as <principal>', 'whom the PIN stands for; else the holder itself')
    .option('--pin-file <file>', 'the PIN, 8 to 256 bytes; - for standard input; else it is asked for')
    .addHelpText('after', '\nIt is good in the domain that --domain names, else in default.')
    .action(act(setPin));
  pin.command('ls').description('list PINs').action(act(listPins));
  pin.command('rm').description('remove a PIN; whoever is logged in with it is logged out').argument('<holder>', 'as set').action(act(removePin));
}

async function setPin(session: Session, holder: string, options: { as?: string; pinFile?: string }): Promise<void> {
  const client = await session.client();
  const { as: principal = holder } = options;
  if (session.dryRun) return session.wouldDo(`set a PIN of ${holder}`, { holder, principal, domain: session.domain ?? '' });
  const typed = await readNewPin(options.pinFile);
  try {
    const pin = await client.access.putPin(holder, principal, typed, { domain: session.domain, ...session.change });
    await session.print(`${pin.holder} in ${pin.domain} acts as ${pin.principal} when it gives the PIN`, pin, pin.holder);
  } finally {
    typed.fill(0);
  }
}

async function listPins(session: Session): Promise<void> {
  const pins = await (await session.client()).access.pins();
  const row = (p: PinInfo): string[] => [p.holder, p.domain, p.principal, p.locked ? 'locked' : p.failures === 0 ? 'ok' : `${p.failures} wrong`, timeText(p.createdMs)];
  await printTable(session, pins, ['HOLDER', 'DOMAIN', 'PRINCIPAL', 'STATE', 'SET'], row, 'no PINs');
}

async function removePin(session: Session, holder: string): Promise<void> {
  const client = await session.client();
  const where = session.domain ?? 'default';
  if (session.dryRun) return session.wouldDo(`remove the PIN of ${holder} in ${where}`, { holder, domain: where });
  await client.access.removePin(holder, { domain: session.domain, ...session.change });
  await session.print(`the PIN of ${holder} in ${where} is removed`, { holder, domain: where }, holder);
}

/** INPUT_UNREADABLE when it is not built. */
function modulePath(): string {
  if (!existsSync(MODULE)) throw new Failure('INPUT_UNREADABLE', `${MODULE} is not there`, { next: 'Build it with: npm run build' });
  return MODULE;
}

async function printPath(session: Session): Promise<void> {
  const module = modulePath();
  await session.print(module, { module });
}

/** PKCS11_MODULE_PATH is what libp11, OpenSSL's engine, reads. */
async function printEnvironment(session: Session): Promise<void> {
  const variables = { PKCS11_MODULE_PATH: modulePath(), QUORATE_SOCKET: session.socket };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'`);
  await session.print(lines.join('\n'), variables);
}
