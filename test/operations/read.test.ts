import { expect } from 'chai';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { KeyState, KeyType, type ListKeysResponse } from '../../src/protocol/gen/quorate_pb.js';
import { addonOrSkip } from '../arena.js';
import { Operations } from './fixture.js';

describe('operations: read', () => {
  let addon: NativeAddon;
  let o: Operations;
  before(async function () {
    this.timeout(30_000);
    addon = addonOrSkip(this);
    o = await new Operations(addon).open();
    for (let i = 0; i < 25; i++)
      await o.create({ name: `a/k${String(i).padStart(2, '0')}`, type: i % 5 === 0 ? KeyType.HMAC : KeyType.AES_256 });
    await o.create({ name: 'b', type: KeyType.AES_256, preActive: true });
    await o.create({ name: 'été', type: KeyType.AES_256 });
  });
  after(() => o?.close());

  const list = (init: object): Promise<ListKeysResponse> => o.call('ListKeys', init as never);
  const names = (r: ListKeysResponse): string[] => r.keys.map((k) => k.name);

  async function all(init: object): Promise<{ names: string[]; pages: number }> {
    const found: string[] = [];
    let pageToken = '';
    let pages = 0;
    do {
      const page = await list({ ...init, pageToken });
      found.push(...names(page));
      pageToken = page.nextPageToken;
      pages++;
    } while (pageToken !== '' && pages < 100);
    return { names: found, pages };
  }

  it('lists all by name, in pages of the size asked for', async () => {
    const whole = await all({});
    expect(whole.names).to.have.lengthOf(27);
    expect(whole.names).to.deep.equal([...whole.names].sort());
    expect(whole.pages).to.equal(1);
    for (const pageSize of [1, 7, 27, 28, 1_000_000]) expect((await all({ pageSize })).names, `${pageSize}`).to.deep.equal(whole.names);
    expect(names(await list({ pageSize: 7 }))).to.have.lengthOf(7);
  });

  it('filters by prefix, state and type', async () => {
    expect((await all({ prefix: 'a/k1', pageSize: 3 })).names).to.deep.equal(Array.from({ length: 10 }, (_, i) => `a/k1${i}`));
    expect((await all({ prefix: 'é' })).names).to.deep.equal(['été']);
    expect((await all({ state: KeyState.PRE_ACTIVE, pageSize: 2 })).names).to.deep.equal(['b']);
    expect((await all({ type: KeyType.HMAC, pageSize: 2 })).names).to.deep.equal(['a/k00', 'a/k05', 'a/k10', 'a/k15', 'a/k20']);
    expect((await all({ prefix: 'zz' })).names).to.deep.equal([]);
    expect(await o.code('ListKeys', { prefix: 'a\n' })).to.equal('NAME_INVALID');
  });

  it('takes only its own page tokens, for the question that they continue', async () => {
    const { nextPageToken } = await list({ pageSize: 3, prefix: 'a/' });
    expect(names(await list({ pageSize: 3, prefix: 'a/', pageToken: nextPageToken }))[0]).to.equal('a/k03');
    const flipped = Buffer.from(nextPageToken, 'base64url');
    flipped[0]! ^= 1;
    const bad = [
      { prefix: 'b', pageToken: nextPageToken },
      { prefix: 'a/', state: KeyState.ACTIVE, pageToken: nextPageToken },
      { prefix: 'a/', pageToken: `${nextPageToken}!` },
      { prefix: 'a/', pageToken: `${nextPageToken}\n` },
      { prefix: 'a/', pageToken: 'AAAA' },
      { prefix: 'a/', pageToken: flipped.toString('base64url') },
      { prefix: 'a/', pageToken: 'a/k05' },
      { prefix: 'a/', pageToken: nextPageToken.slice(0, -2) },
    ];
    for (const init of bad) expect(await o.code('ListKeys', init), JSON.stringify(init)).to.equal('BAD_REQUEST');
  });

  it('finds nothing that is not there', async () => {
    expect(await o.code('GetKey', { key: 'nothing' })).to.equal('KEY_NOT_FOUND');
    expect(await o.code('GetKey', { key: '00000000000000000000000000000000' })).to.equal('KEY_NOT_FOUND');
    expect(await o.code('GetKey', { key: 'session:1' })).to.equal('KEY_NOT_FOUND');
    expect(await o.code('GetKey', { key: '' })).to.equal('BAD_REQUEST');
    expect(await o.code('GetKey', { key: 'a b' })).to.equal('NAME_INVALID');
    expect((await o.call('GetKey', { key: 'b' })).durability).to.equal(undefined);
  });
});
