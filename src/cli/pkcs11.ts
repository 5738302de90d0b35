/** `quorate pkcs11`: what a Cryptoki application is told, the module's path and the socket. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { Failure } from './failure.js';
import { act, type Session } from './session.js';

const MODULE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'build', 'native', 'libquorate-pkcs11.so');

export function addPkcs11Commands(program: Command): void {
  const pkcs11 = program.command('pkcs11').description('the PKCS#11 module, for OpenSSH, OpenSSL and others');
  pkcs11.command('path').description('where the module is: ssh-keygen -D $(quorate pkcs11 path)').action(act(printPath));
  pkcs11.command('env').description('what applications need in their environment: eval "$(quorate pkcs11 env)"').action(act(printEnvironment));
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
