/**
 * Host b in a process of its own: `peerChild.js CREDENTIALS PORT [FOLDER]` dials a at PORT and prints where it listens itself. With FOLDER it applies
 * what a pushes to a copy there, and confirms it.
 */
import { readFileSync } from 'node:fs';
import type { Copy } from '../../src/store/copy.js';
import type { CopyRevision } from '../../src/store/copyRows.js';
import { Order, type Revision } from '../../src/region/apply.js';
import { TestHost } from './peerFixture.js';

const [credentials = '', port = '', folder] = process.argv.slice(2);
const host = await TestHost.start('b', JSON.parse(readFileSync(credentials, 'utf8')));

async function feed(copy: Copy): Promise<void> {
  const { sealed } = await import('../store/copyFixture.js');
  const { Fixture } = await import('../store/fixture.js');
  const { addon } = await import('../../src/crypto/addon.js');
  const f = new Fixture(addon, `${folder}/none`);
  const row = sealed(f, { domain: 'default', kind: 'key', id: 'x' }, 1, new Uint8Array(600));
  const order = new Order(copy.watermark!.revision);
  let isRunning = false;
  const apply = async (): Promise<void> => {
    if (isRunning) return;
    isRunning = true;
    for (let run = order.take(); run.length > 0; run = order.take()) {
      const rows = run.map(({ revision }): CopyRevision => ({ revision, records: [{ ...row, name: { ...row.name, id: `k${revision}` } }], removed: [], results: [], expired: [] }));
      const { lineage, revision } = await copy.apply(rows);
      host.peers.confirm({ lineage, revision, withheld: '' });
    }
    isRunning = false;
  };
  host.onPush = (_from: string, revision: Revision): void => {
    order.pushed(revision);
    void apply();
  };
}

if (folder !== undefined) {
  const { addon } = await import('../../src/crypto/addon.js');
  const { Fixture } = await import('../store/fixture.js');
  const { begun } = await import('../store/copyFixture.js');
  addon.openArena(4 * 1024 * 1024);
  await feed(await begun(new Fixture(addon, folder)));
}
host.dial({ name: 'a', port: Number(port) });
process.stdout.write(`${host.port}\n`);
