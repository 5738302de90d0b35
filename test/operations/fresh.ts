/** What most tests of operations begin and end with. */
import { expect } from 'chai';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { addonOrSkip } from '../arena.js';
import { Operations } from './fixture.js';

/** In a describe: each test gets operations over a store of its own, and must leave no handle behind. */
export function freshOperations(use: (o: Operations) => void | Promise<void>): void {
  let addon: NativeAddon;
  let o: Operations;
  before(function () {
    addon = addonOrSkip(this);
  });
  beforeEach(async () => {
    o = await new Operations(addon).open();
    await use(o);
  });
  afterEach(async () => {
    expect(o.handles(), 'handles left behind').to.equal(0);
    await o.close();
    expect(addon.secretCount()).to.equal(o.baseline);
  });
}
