/**
 * Folders by what they are and not by what leads to them: each is opened below the one before, and no symbolic link is followed. Paths through
 * /proc/self/fd do what openat() does, which Node lacks: a folder that is moved or replaced while it is written to changes nothing for who has it open.
 */
import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { Dirent } from 'node:fs';

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;
export const FOLDER_MODE = 0o700;

export class OpenFolder {
  readonly handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.handle = handle;
  }

  static async root(folder: string): Promise<OpenFolder> {
    return new OpenFolder(await open(folder, FOLDER));
  }

  /** The path of a name in it, while it is open. */
  at(name: string): string {
    return `/proc/self/fd/${this.handle.fd}/${name}`;
  }

  /** ELOOP or ENOTDIR where the name is a symbolic link, or no folder. */
  async child(name: string): Promise<OpenFolder> {
    return new OpenFolder(await open(this.at(name), FOLDER | constants.O_NOFOLLOW));
  }

  /** As child(), but made where there is none, with its mode whatever the umask is. Durable once this folder is synced. */
  async madeChild(name: string): Promise<OpenFolder> {
    try {
      return await this.child(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    try {
      await mkdir(this.at(name), FOLDER_MODE);
      await chmod(this.at(name), FOLDER_MODE);
    } catch (error) {
      // Another writer was first.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    return this.child(name);
  }

  entries(): Promise<Dirent[]> {
    return readdir(this.at('.'), { withFileTypes: true });
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
