/**
 * Folders by what they are and not by what leads to them: each is opened below the one before, and no symbolic link is followed. Paths through
 * /proc/self/fd do what openat() does, which Node lacks: a folder that is moved or replaced while it is written to changes nothing for who has it open.
 */
import { constants } from 'node:fs';
import { mkdir, open, readdir } from 'node:fs/promises';
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

  /** As child(), but made where there is none, with its mode whatever the umask is, and durably. */
  async madeChild(name: string): Promise<OpenFolder> {
    try {
      return await this.child(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    await mkdir(this.at(name), FOLDER_MODE).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    const made = await this.child(name);
    try {
      await made.handle.chmod(FOLDER_MODE);
      await this.handle.sync();
    } catch (error) {
      await made.close();
      throw error;
    }
    return made;
  }

  entries(): Promise<Dirent[]> {
    return readdir(this.at('.'), { withFileTypes: true });
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
