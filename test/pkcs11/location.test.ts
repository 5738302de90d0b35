/** The module finds the daemon where the client does: clientSocket() is the twin that it is compared with. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { clientSocket } from '../../src/base/settings.js';
import { buildModule, buildProgram, Steps } from './programs.js';

/** Texts of a configuration; SOCKET stands for where somebody listens. */
const TEXTS: readonly string[] = [
  'socket = "SOCKET"',
  "socket = 'SOCKET' # here",
  '# socket = "/nowhere"\n\n  socket="SOCKET"\r\nlog_level = "info"\n[seal]\ncredential_file = "/x"',
  '"socket" = "SOCKET"',
  'log_level = "info"\n[audit]\nsocket = "SOCKET"',
  'socket = "q.sock"',
  'socket = 7',
  'socket = "SOCKET',
  'socket = ""',
  'socket = "SOCKET" x',
  'store = "SOCKET"',
];

describe('pkcs11: where the daemon is', function () {
  this.timeout(300_000);
  let program: string;
  let module: string;
  let folder: string;
  let server: net.Server;
  let connections = 0;
  const at = (...names: string[]): string => path.join(folder, ...names);
  before(async () => {
    module = buildModule('asan');
    program = buildProgram('steps', 'asan');
    folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-location-'));
    for (const name of ['home', 'runtime', 'config/quorate', 'empty']) mkdirSync(at(name), { recursive: true });
    server = net.createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => { server.listen(at('runtime', 'quorate.sock'), resolve); });
  });
  after(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Whether the module finds who listens, and whether the client would. */
  async function compare(env: Record<string, string>): Promise<{ module: boolean; client: boolean }> {
    const whole: Record<string, string> = { HOME: at('home'), XDG_CONFIG_HOME: at('empty'), XDG_RUNTIME_DIR: at('empty'), ...env };
    let client = false;
    try {
      client = clientSocket(undefined, whole) === at('runtime', 'quorate.sock');
    } catch {
      // A configuration that is refused.
    }
    const before = connections;
    const steps = new Steps(program, { ...whole, MODULE: module });
    await steps.step('open');
    await steps.end();
    return { module: connections > before, client };
  }

  it('by what the configuration says', async () => {
    const found: boolean[] = [];
    for (const text of TEXTS) {
      writeFileSync(at('quorate.toml'), text.replaceAll('SOCKET', at('runtime', 'quorate.sock')));
      const { module: isFound, client } = await compare({ QUORATE_CONFIG: at('quorate.toml') });
      assert.equal(isFound, client, text);
      found.push(isFound);
    }
    assert.deepEqual(found, [true, true, true, true, false, false, false, false, false, false, false]);
  });

  it('in the order of the client', async () => {
    const both = async (env: Record<string, string>, expected: boolean): Promise<void> => assert.deepEqual(await compare(env), { module: expected, client: expected }, JSON.stringify(env));
    const listens = at('runtime', 'quorate.sock');
    await both({ QUORATE_SOCKET: listens }, true);
    await both({ XDG_RUNTIME_DIR: at('runtime') }, true);
    await both({ QUORATE_SOCKET: at('none.sock'), XDG_RUNTIME_DIR: at('runtime') }, false);
    await both({ XDG_RUNTIME_DIR: 'runtime' }, false);
    writeFileSync(at('config', 'quorate', 'quorate.toml'), `socket = "${at('none.sock')}"`);
    await both({ XDG_CONFIG_HOME: at('config'), XDG_RUNTIME_DIR: at('runtime') }, false);
    await both({ XDG_CONFIG_HOME: at('config'), QUORATE_SOCKET: listens }, true);
    writeFileSync(at('config', 'quorate', 'quorate.toml'), `socket = "${listens}"`);
    await both({ XDG_CONFIG_HOME: at('config') }, true);
    await both({ XDG_CONFIG_HOME: at('config'), QUORATE_CONFIG: at('quorate.toml') }, false);
    await both({ QUORATE_CONFIG: at('none.toml'), XDG_RUNTIME_DIR: at('runtime') }, false);
  });
});
