/** Run by mocha in a process of its own, whose fsync fails while the file QUORATE_FSYNC_FAULT names is there. */
import { expect } from 'chai';
import { rmSync, writeFileSync } from 'node:fs';
import { loadPolicies } from '../../src/operations/policies.js';
import { KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

describe('a deny whose fsync fails', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  it('is answered as the store has it', async () => {
    const file = process.env['QUORATE_FSYNC_FAULT']!;
    const billing = caller(2000, { principal: 'app:billing', app: 'billing', epoch: o.access.epoch });
    const allow = (deny: boolean): Promise<string> => o.code('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k', deny, idempotencyKey: o.key() });
    await o.create({ name: 'k', type: KeyType.AES_256 });
    expect(await allow(false)).to.equal('OK');
    const held: (() => boolean)[] = [];
    await o.grantAs(billing, 'Encrypt', 'k', (grant) => { held.push(grant.holds); });
    expect(held[0]!()).to.equal(true);
    writeFileSync(file, '');
    try {
      expect(await allow(true)).to.equal('OUTCOME_UNKNOWN');
    } finally {
      rmSync(file);
    }
    expect(held[0]!(), 'what was granted before is asked anew').to.equal(false);
    const stored = (await loadPolicies(o.context)).map(({ name }) => name);
    expect(stored).to.have.lengthOf(1);
    expect(await codeOf(o.grantAs({ ...billing, epoch: o.access.epoch }, 'Encrypt', 'k'))).to.equal(stored[0]!.startsWith('deny/') ? 'DENIED' : 'OK');
  });
});
