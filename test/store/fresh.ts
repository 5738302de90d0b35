/** What tests of the store begin and end with. */
import type { NativeAddon } from '../../src/crypto/addon.js';
import { addonOrSkip } from '../arena.js';
import { Fixture } from './fixture.js';

/** In a describe: a folder for each test. */
export function freshFixture(use: (f: Fixture) => void): void {
  let addon: NativeAddon;
  let f: Fixture;
  before(function () {
    addon = addonOrSkip(this);
  });
  beforeEach(() => {
    f = new Fixture(addon);
    use(f);
  });
  afterEach(() => f.close());
}
