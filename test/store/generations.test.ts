/** Generations of a domain's key: what each has sealed opens, and says by which. */
import { assert } from 'chai';
import { utf8Bytes } from '../../src/base/bytes.js';
import { QuorateError } from '../../src/base/errors.js';
import type { Handle, NativeAddon } from '../../src/crypto/addon.js';
import { type Generation, openSecretUnder, openUnder, resealSecret, sealSecretUnder, sealUnder, versionOf } from '../../src/store/generations.js';
import { addonOrSkip } from '../arena.js';

const AAD = utf8Bytes('an identity');
const PLAIN = utf8Bytes('iban FR76');

describe('generations of a key', () => {
  let addon: NativeAddon;
  let all: Generation[];
  let current: number;
  const keys = (version = current): Generation => {
    const found = all.find((one) => one.version === version);
    if (found === undefined) throw new QuorateError('STORE_CORRUPT', `no generation ${version}`);
    return found;
  };
  const codeOf = (work: () => unknown): string => {
    try {
      work();
      return 'OK';
    } catch (error) {
      return (error as QuorateError).code;
    }
  };

  before(function () {
    addon = addonOrSkip(this);
    all = [1, 2, 0x01020304].map((version) => ({ version, handle: addon.secretFromBytes(new Uint8Array(32).fill(version)) }));
  });
  after(() => { for (const { handle } of all) addon.secretDrop(handle); });

  it('names every one but the first, and opens under the one that is named', () => {
    for (const [version, head] of [[1, '01'], [2, '0202000000'], [0x01020304, '0204030201']] as const) {
      current = version;
      const sealed = sealUnder(addon, keys, AAD, PLAIN);
      assert.equal(Buffer.from(sealed).toString('hex').slice(0, head.length), head);
      assert.equal(sealed.length, PLAIN.length + 33 + (version === 1 ? 0 : 5));
      assert.equal(versionOf(sealed), version);
      for (current of [1, 2]) assert.deepEqual(Buffer.from(openUnder(addon, keys, AAD, sealed)), Buffer.from(PLAIN));
    }
  });

  it('opens under no other, whatever the head says', () => {
    current = 2;
    const sealed = sealUnder(addon, keys, AAD, PLAIN);
    for (let at = 0; at < sealed.length; at++) {
      const changed = new Uint8Array(sealed);
      changed[at]! ^= 1;
      assert.equal(codeOf(() => openUnder(addon, keys, AAD, changed)), 'STORE_CORRUPT', `byte ${at}`);
    }
    const relabelled = new Uint8Array([2, 4, 3, 2, 1, ...sealed.subarray(5)]);
    assert.equal(codeOf(() => openUnder(addon, keys, AAD, relabelled)), 'STORE_CORRUPT');
    assert.equal(codeOf(() => openUnder(addon, keys, AAD, sealed.subarray(5))), 'STORE_CORRUPT', 'the record without its head is the first generation\'s');
    for (const bad of [[2], [2, 0, 0, 0, 0], [2, 1, 0, 0, 0]]) assert.equal(codeOf(() => versionOf(new Uint8Array(bad))), 'STORE_CORRUPT', bad.join());
  });

  it('seals a secret anew without its leaving the arena, once', () => {
    const secret: Handle = addon.secretFromBytes(new Uint8Array(32).fill(9));
    current = 1;
    const before = sealSecretUnder(addon, keys, AAD, secret);
    assert.isNull(resealSecret(addon, keys, AAD, before));
    assert.isNull(resealSecret(addon, keys, AAD, new Uint8Array(0)), 'a public half alone');
    current = 2;
    const used = addon.arenaStats().bytesUsed;
    const after = resealSecret(addon, keys, AAD, before)!;
    assert.equal(addon.arenaStats().bytesUsed, used);
    assert.equal(versionOf(after), 2);
    const again = openSecretUnder(addon, keys, AAD, after);
    assert.deepEqual(addon.hmac(again, PLAIN), addon.hmac(secret, PLAIN));
    for (const handle of [secret, again]) addon.secretDrop(handle);
  });
});
