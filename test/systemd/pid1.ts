/**
 * The real systemd as PID 1: in a PID, mount, cgroup, IPC and host name namespace of its own, with a /run, /tmp, /var/lib and /etc/systemd that nobody else sees, a cgroup
 * below the test's, and units of this test alone: no generator, no unit of the distribution, no bus. It is asked through its own socket.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { execFile } from 'node:child_process';
import { root } from '../daemon/process.js';

const SYSTEMD = '/lib/systemd/systemd';
const PATIENCE_MS = 60_000;
/** Inside: the folder that both sides see. */
export const SHARED = '/run/quorate-test';
const TARGETS = ['sysinit', 'basic', 'sockets', 'shutdown', 'multi-user'];

/** $1: the folder. What outlives the manager, to be removed by whoever started it: its cgroup. */
const OUTER = `set -e
mount --make-rprivate /
mkdir "$1/cgroup"
mount -t cgroup2 cgroup2 "$1/cgroup"
mkdir "$1/cgroup/$2"
echo $$ > "$1/cgroup/$2/cgroup.procs"
exec unshare --pid --fork --kill-child --cgroup --mount --uts --ipc sh "$1/inner.sh" "$@"
`;

/** $1: the folder, $3 and $4: the checkout and the folder of node, which may lie where something is put over. */
const INNER = `set -e
mount --make-rprivate /
mount -t proc proc /proc
umount "$1/cgroup"
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/probe
rmdir /sys/fs/cgroup/probe
mkdir "$1/a" "$1/b" "$1/c"
mount --bind "$1" "$1/a"
mount --rbind "$3" "$1/b"
mount --rbind "$4" "$1/c"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/nothing ${SHARED} /run/b /run/c
mount --move "$1/b" /run/b
mount --move "$1/c" /run/c
mount --move "$1/a" ${SHARED}
for folder in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
for folder in /var/lib /etc/systemd; do mount -t tmpfs -o mode=755 tmpfs $folder; done
[ -e "$3/package.json" ] || { mkdir -p "$3"; mount --move /run/b "$3"; }
[ -e "$4/bin/node" ] || { mkdir -p "$4"; mount --move /run/c "$4"; }
mkdir /etc/systemd/system
cp -r ${SHARED}/units/. /etc/systemd/system/
mount --make-rshared /
echo prepared > ${SHARED}/prepared
unset NOTIFY_SOCKET LISTEN_FDS LISTEN_PID CREDENTIALS_DIRECTORY INVOCATION_ID
export container=quorate-test SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_GENERATOR_PATH=/run/nothing SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/nothing
exec ${SYSTEMD} --system --unit=multi-user.target --log-target=console --log-level=info --show-status=0
`;

export type Units = Readonly<Record<string, string>>;

export class Pid1 {
  readonly #child: ChildProcess;
  #pid = 0;
  #said = '';

  private constructor(readonly folder: string) {
    const prefix = path.dirname(path.dirname(process.execPath));
    const args = [`quorate-test-${process.pid}-${path.basename(folder)}`, root, prefix];
    this.#child = spawn('unshare', ['--mount', 'sh', path.join(folder, 'outer.sh'), folder, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) stream.on('data', (d: Buffer) => { this.#said += d.toString(); });
  }

  /** What was installed by render-units.mjs, and `units`, by file name (a drop-in: `x.service.d/y.conf`). A text: why it cannot be had here. */
  static async boot(units: Units): Promise<Pid1 | string> {
    if (process.getuid!() !== 0) return 'only root makes such namespaces';
    if (!existsSync(SYSTEMD)) return `${SYSTEMD} is not installed`;
    for (const tool of ['unshare', 'nsenter']) if (spawnSync(tool, ['--version']).status !== 0) return `${tool} is not installed`;
    const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-pid1-'));
    chmodSync(folder, 0o755);
    const rendered = spawnSync(process.execPath, [path.join(root, 'scripts', 'render-units.mjs'), path.join(folder, 'units')], { encoding: 'utf8' });
    if (rendered.status !== 0) throw new Error(rendered.stderr);
    const targets = Object.fromEntries(TARGETS.map((name) => [`${name}.target`, `[Unit]\nDescription=${name}\nDefaultDependencies=no\n`]));
    for (const [name, text] of Object.entries({ ...targets, ...units })) {
      mkdirSync(path.dirname(path.join(folder, 'units', name)), { recursive: true });
      writeFileSync(path.join(folder, 'units', name), text);
    }
    writeFileSync(path.join(folder, 'outer.sh'), OUTER);
    writeFileSync(path.join(folder, 'inner.sh'), INNER);
    const booted = new Pid1(folder);
    try {
      if (await booted.#runs()) return booted;
    } catch (error) {
      await booted.end();
      throw error;
    }
    const said = booted.#said;
    await booted.end();
    return `no namespaces for a PID 1 can be had here: ${said.trim()}`;
  }

  /** False: it did not come as far as systemd. */
  async #runs(): Promise<boolean> {
    const prepared = path.join(this.folder, 'prepared');
    await this.until(() => existsSync(prepared) || this.#child.exitCode !== null, 'the namespaces');
    if (!existsSync(prepared)) return false;
    this.#pid = Number(readFileSync(`/proc/${this.#child.pid}/task/${this.#child.pid}/children`, 'utf8').trim().split(' ')[0]);
    await this.until(async () => (await this.systemctl('is-active', 'multi-user.target')).out === 'active', 'multi-user.target');
    return true;
  }

  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS} ms\n${this.#said}`);
      await sleep(20);
    }
  }

  /** What the manager itself said. */
  get said(): string {
    return this.#said;
  }

  /** Where a file of its own lies for this side. */
  place(file: string): string {
    return `/proc/${this.#pid}/root${file}`;
  }

  /** A command inside: its exit code and what it printed. */
  async run(...command: string[]): Promise<{ code: number; out: string }> {
    const args = ['-t', String(this.#pid), '--all', ...command];
    try {
      const { stdout } = await promisify(execFile)('nsenter', args, { timeout: PATIENCE_MS });
      return { code: 0, out: stdout.trim() };
    } catch (error) {
      const { code, stdout, stderr } = error as { code?: number | string; stdout?: string; stderr?: string };
      return { code: typeof code === 'number' ? code : -1, out: `${stdout ?? ''}${stderr ?? ''}`.trim() };
    }
  }

  systemctl(...args: string[]): Promise<{ code: number; out: string }> {
    return this.run('systemctl', '--no-pager', ...args);
  }

  async show(unit: string, property: string): Promise<string> {
    return (await this.systemctl('show', '--value', '-p', property, unit)).out;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await once(this.#child, 'close');
    }
    // The manager dies with its parent, and everything of its PID namespace with it, a moment later.
    await this.until(() => this.#pid === 0 || !existsSync(`/proc/${this.#pid}`), 'the end of PID 1');
    const cgroups = path.join(this.folder, 'left');
    mkdirSync(cgroups, { recursive: true });
    const script = 'mount -t cgroup2 cgroup2 "$1" || exit 0; [ -d "$1/$2" ] || exit 0; for i in 1 2 3 4 5 6 7 8 9; do find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null; [ -d "$1/$2" ] || exit 0; sleep 0.1; done';
    spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', cgroups, `quorate-test-${process.pid}-${path.basename(this.folder)}`]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** What was written into the shared folder. */
  read(name: string): Buffer | null {
    const file = path.join(this.folder, name);
    return existsSync(file) ? readFileSync(file) : null;
  }

  has(name: string): boolean {
    return existsSync(path.join(this.folder, name));
  }

  list(name: string): string[] {
    return existsSync(path.join(this.folder, name)) ? readdirSync(path.join(this.folder, name)).sort() : [];
  }
}
