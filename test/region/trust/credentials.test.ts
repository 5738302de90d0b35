/** The files that etcd and the daemon read. */
import { chmodSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { CredentialFiles } from '../../../src/region/trust/credentials.js';
import { addonOrSkip } from '../../arena.js';
import { refused } from '../../crypto/expect.js';
import { temporaryFolder, TestRegion } from './fixture.js';

describe('region: certificate files', () => {
  let addon: NativeAddon;
  let region: TestRegion;
  let folder: ReturnType<typeof temporaryFolder>;
  let files: CredentialFiles;

  before(function () { addon = addonOrSkip(this); });
  beforeEach(() => {
    region = new TestRegion(addon);
    folder = temporaryFolder();
    files = new CredentialFiles(path.join(folder.path, 'tls'));
  });
  afterEach(() => {
    region.close();
    folder.remove();
  });

  it('are read as they were written, the key for its owner alone', () => {
    assert.isNull(files.load());
    const credentials = region.host('rbx-1');
    files.save(credentials);
    assert.deepEqual(files.load(), credentials);
    assert.deepEqual(readdirSync(files.folder).sort(), ['ca.crt', 'host.crt', 'host.key']);
    assert.equal(statSync(files.key).mode & 0o777, 0o600);
    assert.equal(statSync(files.folder).mode & 0o777, 0o700);
    assert.equal(readFileSync(files.certificate, 'utf8').match(/BEGIN CERTIFICATE/g)?.length, 2, 'the host\'s and the CA\'s');
  });

  it('a renewal leaves the key alone', () => {
    const credentials = region.host('rbx-1');
    files.save(credentials);
    const inode = statSync(files.key).ino;
    files.saveRenewed({ ...credentials });
    assert.equal(statSync(files.key).ino, inode);
    assert.deepEqual(files.load(), credentials);
  });

  it('what a crash left beside them is in nobody\'s way', () => {
    files.save(region.host('rbx-1'));
    writeFileSync(`${files.key}.new`, 'cut sho');
    const next = region.host('rbx-1');
    files.save(next);
    assert.deepEqual(files.load(), next);
  });

  it('refuses a key that others can read, of another host, cut short or missing', () => {
    const [one, two] = [region.host('rbx-1'), region.host('rbx-2')];
    files.save(one);
    chmodSync(files.key, 0o640);
    assert.match(refused(() => files.load(), 'STORE_CORRUPT').detail, /read by others/);
    files.save({ ...one, keyPem: two.keyPem });
    assert.match(refused(() => files.load(), 'STORE_CORRUPT').detail, /do not belong together/);
    for (const file of [files.key, files.certificate, files.ca]) {
      files.save(one);
      truncateSync(file, 100);
      refused(() => files.load(), 'STORE_CORRUPT');
    }
    files.save(one);
    rmSync(files.ca);
    refused(() => files.load(), 'STORE_IO');
    refused(() => new CredentialFiles(path.join(files.key, 'below')).save(one), 'STORE_IO');
  });
});
