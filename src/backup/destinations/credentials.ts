/** Who this host is to a destination: a file that is read again when it changes, else the environment. Nothing of it is ever in an error. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { parse, TomlError } from 'smol-toml';
import { QuorateError } from '../../base/errors.js';
import type { Environment } from '../../base/paths.js';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** '' for those that last. */
  readonly sessionToken: string;
}

const FILE_BYTES_MAX = 64 * 1024;
const SETTINGS: readonly string[] = ['access_key_id', 'secret_access_key', 'session_token'];

function parsed(file: string, text: string): Credentials {
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    // Not what the parser says: it quotes the line, which may be the secret's.
    throw new QuorateError('BACKUP_REFUSED', `${file} is no TOML${error instanceof TomlError ? ` (line ${error.line}, column ${error.column})` : ''}`);
  }
  const wrong = Object.keys(table).find((name) => !SETTINGS.includes(name) || typeof table[name] !== 'string');
  if (wrong !== undefined) throw new QuorateError('BACKUP_REFUSED', `${file} has ${SETTINGS.includes(wrong) ? `a ${wrong} that is no string` : `a setting that is not known; there are ${SETTINGS.join(', ')}`}`);
  const value = (name: string): string => (table[name] as string | undefined) ?? '';
  const missing = SETTINGS.slice(0, 2).find((name) => value(name) === '');
  if (missing !== undefined) throw new QuorateError('BACKUP_REFUSED', `${file} has no ${missing}`);
  return { accessKeyId: value('access_key_id'), secretAccessKey: value('secret_access_key'), sessionToken: value('session_token') };
}

export class CredentialSource {
  readonly #file: string;
  readonly #env: Environment;
  #seen = '';
  #credentials: Credentials | null = null;

  /** `file` is absolute; '' for AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment. */
  constructor(file: string, env: Environment = process.env) {
    this.#file = file;
    this.#env = env;
  }

  /** The same object as before while nothing changed. BACKUP_REFUSED, naming the file and what is wrong with it. */
  async current(): Promise<Credentials> {
    if (this.#file === '') return this.#fromEnvironment();
    const file = await open(this.#file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
      throw new QuorateError('BACKUP_REFUSED', `${this.#file} cannot be read (${error.code})`, { cause: error });
    });
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > FILE_BYTES_MAX) throw new QuorateError('BACKUP_REFUSED', `${this.#file} is no file of credentials`);
      // The group may read: it is how a service is given a file that it cannot change, and how systemd's access lists look.
      if ((stat.mode & 0o027) !== 0) throw new QuorateError('BACKUP_REFUSED', `${this.#file} is open to others (mode ${(stat.mode & 0o777).toString(8)}): run chmod 600 on it`);
      const seen = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.ctimeMs}`;
      if (this.#credentials === null || seen !== this.#seen) this.#credentials = parsed(this.#file, await file.readFile('utf8'));
      this.#seen = seen;
      return this.#credentials;
    } finally {
      await file.close();
    }
  }

  #fromEnvironment(): Credentials {
    const [accessKeyId, secretAccessKey] = [this.#env['AWS_ACCESS_KEY_ID'] ?? '', this.#env['AWS_SECRET_ACCESS_KEY'] ?? ''];
    if (accessKeyId === '' || secretAccessKey === '') throw new QuorateError('BACKUP_REFUSED', 'there are no credentials: set credentials_file, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
    this.#credentials ??= { accessKeyId, secretAccessKey, sessionToken: this.#env['AWS_SESSION_TOKEN'] ?? '' };
    return this.#credentials;
  }
}
