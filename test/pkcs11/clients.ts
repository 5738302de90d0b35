/** A daemon with the module before it, and programs of other people's that use it. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { Place } from '../daemon/process.js';
import { buildModule } from './programs.js';

export interface Done {
  readonly status: number | null;
  readonly out: string;
  /** Both streams. */
  readonly said: string;
}

export class Clients {
  readonly place = new Place();
  module = '';

  async start(): Promise<void> {
    this.module = buildModule('plain');
    await this.place.start({ args: ['--dev'] });
  }

  stop(): Promise<void> {
    return this.place.remove();
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, ...this.place.env, QUORATE_SOCKET: this.place.socket };
  }

  file(name: string, content?: string | Uint8Array): string {
    const file = path.join(this.place.folder, name);
    if (content !== undefined) writeFileSync(file, content);
    return file;
  }

  run(command: string, args: string[], more: { env?: NodeJS.ProcessEnv; input?: string } = {}): Done {
    const done = spawnSync(command, args, { cwd: this.place.folder, encoding: 'utf8', env: { ...this.env, ...more.env }, timeout: 120_000, ...(more.input === undefined ? {} : { input: more.input }) });
    return { status: done.status, out: done.stdout, said: `${done.stdout}${done.stderr}${done.error === undefined ? '' : String(done.error)}` };
  }

  /** The same, and it must succeed. */
  must(command: string, args: string[], more: { env?: NodeJS.ProcessEnv; input?: string } = {}): Done {
    const done = this.run(command, args, more);
    assert.equal(done.status, 0, `${command} ${args.join(' ')}\n${done.said}`);
    return done;
  }

  tool(...args: string[]): Done {
    return this.must('pkcs11-tool', ['--module', this.module, ...args]);
  }
}
