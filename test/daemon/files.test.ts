/** What a store's folder is left with when something was cut short. */
import { expect } from 'chai';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { StoreFolder } from '../../src/daemon/files.js';

describe('the folder of a store', () => {
  it('keeps what a restore goes on with until there is a store, and then has none of it', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'quorate-folder-'));
    const store = new StoreFolder(folder);
    mkdirSync(path.join(folder, 'backup'));
    const remains = ['store.db.restore', 'store.db.restore-wal', 'backup/restore.salt'].map((name) => path.join(folder, name));
    for (const file of remains) writeFileSync(file, 'x');
    store.settle(false);
    expect(remains.every((file) => existsSync(file))).to.equal(true);
    writeFileSync(path.join(folder, 'store.db'), 'x');
    store.settle(true);
    expect(remains.some((file) => existsSync(file))).to.equal(false);
    rmSync(folder, { recursive: true });
  });
});
