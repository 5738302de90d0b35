/** Principals, domains, policies, proposals: over a real store, the real evaluator, and authorization as the dispatcher does it. */
import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import type { QuorateError } from '../../src/base/errors.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { authorize, standingOf } from '../../src/operations/authorize.js';
import type { Caller } from '../../src/operations/context.js';
import { prepareGrant } from '../../src/operations/operations.js';
import { requireSecond } from '../../src/operations/proposals.js';
import { KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import { addonOrSkip } from '../arena.js';
import { caller, codeOf, Operations } from './fixture.js';

type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;

describe('operations: who may do what', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let o: Operations;
  before(function () { addon = addonOrSkip(this); });
  beforeEach(async () => { o = await new Operations(addon).open(); });
  afterEach(() => o.close());

  const billing = (over: Partial<Caller> = {}): Caller => caller(2000, { principal: 'app:billing', app: 'billing', ...over });

  /** As the dispatcher does it. */
  async function ask<N extends OperationName>(name: N, init: Input<N>, who: Caller = caller()): Promise<unknown> {
    const fields = OPERATIONS[name].mutates ? { idempotencyKey: o.key(), ...(init as object) } : init;
    const request = create(OPERATIONS[name].input as DescMessage, fields as never);
    const asked = { ...who, epoch: o.access.epoch };
    await authorize(o.context, asked, name, request);
    await requireSecond(o.context, asked, name, request);
    return o.call(name, fields as Input<N>, asked);
  }
  const code = <N extends OperationName>(name: N, init: Input<N>, who?: Caller): Promise<string> => codeOf(ask(name, init, who));
  const uses = (method: OperationName, key: string, who: Caller): Promise<string> => codeOf(o.grantAs({ ...who, epoch: o.access.epoch }, method, key));

  describe('by default', () => {
    it('nobody but the administrator may do anything, and learns nothing of which keys there are', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      for (const key of ['k', 'no-such-key', 'f'.repeat(32)]) {
        expect(await code('GetKey', { key }, billing())).to.equal('DENIED');
        expect(await uses('Encrypt', key, billing())).to.equal('DENIED');
      }
      expect(((await ask('ListKeys', {}, billing())) as { keys: unknown[] }).keys).to.deep.equal([]);
      expect(await code('CreateKey', { name: 'x', type: KeyType.AES_256 }, billing())).to.equal('DENIED');
      expect(await code('GetKey', { key: 'no-such-key' })).to.equal('KEY_NOT_FOUND');
      expect(await uses('Encrypt', 'no-such-key', caller())).to.equal('KEY_NOT_FOUND');
    });

    it('root is nobody', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      expect(((await ask('ListKeys', {}, caller(0))) as { keys: unknown[] }).keys).to.deep.equal([]);
      expect(await code('GetKey', { key: 'k' }, caller(0))).to.equal('DENIED');
    });
  });

  describe('allow and deny', () => {
    it('take effect with the next call, and a denial is stronger', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k' });
      expect(await uses('Encrypt', 'k', billing())).to.equal('OK');
      expect(await uses('Decrypt', 'k', billing())).to.equal('DENIED');
      await ask('Allow', { principal: 'app:billing', action: 'use', key: '*' });
      expect(await uses('Decrypt', 'k', billing())).to.equal('OK');
      await ask('Allow', { principal: 'app:billing', action: 'decrypt', key: 'k', deny: true });
      expect(await uses('Decrypt', 'k', billing())).to.equal('DENIED');
      expect(await uses('Encrypt', 'k', billing())).to.equal('OK');
    });

    it('a grant that was decided before a change does not hold after it', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k' });
      const held: (() => boolean)[] = [];
      await o.grantAs({ ...billing(), epoch: o.access.epoch }, 'Encrypt', 'k', (grant) => { held.push(grant.holds); });
      expect(held[0]!()).to.equal(true);
      await ask('Allow', { principal: 'app:other', action: 'encrypt', key: 'k' });
      expect(held[0]!(), 'a policy about another principal').to.equal(true);
      await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k', deny: true });
      expect(held[0]!()).to.equal(false);
    });

    it('a refusal ends with what it was decided on: a moment of a policy or of the key, and at once with a permission for one request', async () => {
      const secondMs = 1000 * Math.ceil(o.clock.nowMs() / 1000);
      await o.create({ name: 'k', type: KeyType.HMAC });
      await o.create({ name: 'waits', type: KeyType.AES_256, preActive: true, activatesMs: BigInt(secondMs + 2000) });
      const lasts = async (key: string, beforeMs: number): Promise<[string, number]> => {
        o.clock.wall = secondMs + 2000 - beforeMs;
        const who = { ...billing(), epoch: o.access.epoch };
        const standing = standingOf(o.context, who);
        const refused = await codeOf(prepareGrant(o.context, who, o.upcall('Encrypt', key), standing));
        return [refused, standing.lifeMs()];
      };
      const permits = async (when: string): Promise<unknown> => ask('PutPolicy', { name: 'p', text: `permit (principal, action == Action::"keys:encrypt", resource) when { ${when} };` });
      await permits('context.uid == 2000');
      expect(await lasts('k', 300)).to.deep.equal(['KEY_USAGE_DENIED', 1000]);
      expect(await lasts('none', 300)).to.deep.equal(['KEY_NOT_FOUND', 1000]);
      expect(await lasts('waits', 300)).to.deep.equal(['KEY_STATE_DENIED', 300]);
      await permits(`context.time < datetime("${new Date(secondMs + 2000).toISOString()}")`);
      for (const [key, code] of [['k', 'KEY_USAGE_DENIED'], ['none', 'KEY_NOT_FOUND'], ['waits', 'KEY_STATE_DENIED']] as const) expect(await lasts(key, 300)).to.deep.equal([code, 300]);
      await permits('context has pid && context.pid == 1');
      for (const [key, code] of [['k', 'KEY_USAGE_DENIED'], ['none', 'KEY_NOT_FOUND'], ['waits', 'KEY_STATE_DENIED']] as const) expect(await lasts(key, 300)).to.deep.equal([code, 0]);
    });

    it('deny takes the allow of the same words away, and the other way round', async () => {
      await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k' });
      const denied = (await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k', deny: true })) as { removed: string[] };
      expect(denied.removed).to.deep.equal(['allow/app:billing/keys:encrypt/k']);
      await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k' });
      const { policies } = (await ask('ListPolicies', {})) as { policies: { name: string }[] };
      expect(policies.map((p) => p.name)).to.deep.equal(['allow/app:billing/keys:encrypt/k']);
    });

    it('variants of a denied name are denied or no names', async () => {
      await o.create({ name: 'pay/card', type: KeyType.AES_256 });
      await ask('Allow', { principal: 'app:billing', action: 'use', key: '*' });
      await ask('Allow', { principal: 'app:billing', action: 'use', key: 'pay/*', deny: true });
      const { key } = (await ask('GetKey', { key: 'pay/card' })) as { key: { id: Uint8Array } };
      const id = Buffer.from(key.id).toString('hex');
      for (const variant of ['pay/card', id, id.toUpperCase()]) expect(await uses('Encrypt', variant, billing()), variant).to.equal('DENIED');
      for (const variant of ['PAY/CARD', 'Pay/card']) expect(await uses('Encrypt', variant, billing()), variant).to.equal('KEY_NOT_FOUND');
      for (const variant of ['pay/card/', '/pay/card', 'pay//card', 'pay%2Fcard', 'pay/./card', 'pay/../pay/card', 'pay/ca\u0301rd', 'pay/card ']) {
        expect(await uses('Encrypt', variant, billing()), variant).to.equal('NAME_INVALID');
      }
    });

    it('renaming carries no key out of what forbids it', async () => {
      await o.create({ name: 'secret/a', type: KeyType.AES_256 });
      await ask('Allow', { principal: 'user:carol', action: 'manage', key: '*' });
      await ask('Allow', { principal: 'user:carol', action: 'keys:create', key: 'open/*', deny: true });
      const carol = caller(3000, { principal: 'user:carol' });
      expect(await code('UpdateKey', { key: 'secret/a', newName: 'open/a' }, carol)).to.equal('DENIED');
      expect(await code('UpdateKey', { key: 'secret/a', newName: 'secret/b' }, carol)).to.equal('OK');
    });

    it('a list shows what the caller may see, and no more', async () => {
      for (const name of ['a', 'b', 'c/d', 'c/e']) await o.create({ name, type: KeyType.AES_256 });
      await ask('Allow', { principal: 'app:billing', action: 'read', key: 'c/*' });
      await ask('Allow', { principal: 'app:billing', action: 'keys:list', key: 'a' });
      await ask('Allow', { principal: 'app:billing', action: 'keys:list', key: 'c/e', deny: true });
      const { keys } = (await ask('ListKeys', {}, billing())) as { keys: { name: string }[] };
      expect(keys.map((k) => k.name)).to.deep.equal(['a', 'c/d']);
    });

    it('what wraps may not leave for that: the key that is wrapped needs keys:export', async () => {
      await o.create({ name: 'kek', type: KeyType.AES_256, exportable: true });
      await ask('PutPrincipal', { ref: 'app:billing', addRoles: [{ role: 'key-user' }, { role: 'key-administrator' }] });
      const leaves = (key: string, who: Caller): Promise<string> => codeOf(o.grantAs({ ...who, epoch: o.access.epoch }, 'Wrap', key, undefined, { target: true }));
      expect(await uses('Wrap', 'kek', billing())).to.equal('OK');
      for (const key of ['kek', 'no-such-key']) expect(await leaves(key, billing()), key).to.equal('DENIED');
      await ask('Allow', { principal: 'app:billing', action: 'export', key: 'kek' });
      expect(await leaves('kek', billing())).to.equal('OK');
      await ask('Allow', { principal: 'app:billing', action: 'wrap', key: '*', deny: true });
      expect(await leaves('kek', billing()), 'neither is the other').to.equal('OK');
      await ask('PutPrincipal', { ref: 'app:billing', addRoles: [{ role: 'operator' }] });
      expect(await leaves('kek', billing())).to.equal('DENIED');
    });

    it('destroying now is an action of its own', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('PutPrincipal', { ref: 'user:carol', addRoles: [{ role: 'key-administrator', domain: 'default' }] });
      const carol = caller(3000, { principal: 'user:carol' });
      expect(await code('DestroyKey', { key: 'k', now: true }, carol)).to.equal('DENIED');
      expect(await code('DestroyKey', { key: 'k' }, carol)).to.equal('OK');
    });
  });

  describe('policies', () => {
    it('that are not valid change nothing and say where', async () => {
      const failed = await ask('PutPolicy', { name: 'p', text: 'permit (\n  principal,\n  action == Action::"keys:encrpt",\n  resource\n);' }).catch((error: unknown) => error);
      expect((failed as QuorateError).code).to.equal('POLICY_INVALID');
      expect((failed as QuorateError).detail).to.match(/line 3/);
      expect(await code('GetPolicy', { name: 'p' })).to.equal('POLICY_NOT_FOUND');
    });

    it('survive a start', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('Allow', { principal: 'app:billing', action: 'encrypt', key: 'k' });
      await ask('PutPrincipal', { ref: 'user:carol', addMappings: ['uid:3000'], addRoles: [{ role: 'auditor', domain: '' }] });
      await o.restart();
      expect(await uses('Encrypt', 'k', billing())).to.equal('OK');
      expect(o.access.directory.holderOf('uid:3000')).to.equal('user:carol');
      expect(await code('ListKeys', {}, caller(3000, { principal: 'user:carol' }))).to.equal('OK');
    });

    it('dry runs are checked and stored by nobody', async () => {
      expect(await code('PutPolicy', { name: 'p', text: 'permit (principal, action, resource);', dryRun: true })).to.equal('OK');
      expect(await code('GetPolicy', { name: 'p' })).to.equal('POLICY_NOT_FOUND');
    });

    it('are tried against expectations before they are stored', async () => {
      const text = 'permit (principal == App::"billing", action == Action::"keys:encrypt", resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" };';
      const answer = (await ask('TestPolicy', { name: 'p', text, expectations: [
        { principal: 'app:billing', action: 'encrypt', key: 'k', allowed: true, labels: { env: 'prod' } },
        { principal: 'app:billing', action: 'encrypt', key: 'k', allowed: true, labels: { env: 'dev' } },
      ] })) as { passed: boolean; outcomes: { allowed: boolean }[] };
      expect(answer.passed).to.equal(false);
      expect(answer.outcomes.map((x) => x.allowed)).to.deep.equal([true, false]);
    });

    it('a policy that forbids everyone keeps the administrator out too, until the glass is broken', async () => {
      await ask('PutPolicy', { name: 'no', text: 'forbid (principal, action, resource);' });
      expect(await code('RemovePolicy', { name: 'no' })).to.equal('DENIED');
      o.access.allowRepairs('uid:1000', 1000);
      expect(await code('CreateKey', { name: 'x', type: KeyType.AES_256 }), 'it uses no key').to.equal('DENIED');
      expect(await code('RemovePolicy', { name: 'no' })).to.equal('OK');
      o.clock.pass(1001);
      expect(o.access.mayRepair('uid:1000')).to.equal(false);
    });

    it('can-i asks of oneself freely, of others with permission', async () => {
      expect(await code('CanI', { action: 'encrypt', key: 'k' }, billing())).to.equal('OK');
      expect(await code('CanI', { principal: 'user:carol', action: 'encrypt', key: 'k' }, billing())).to.equal('DENIED');
      expect(await code('CanI', { principal: 'user:carol', action: 'encrypt', key: 'k' })).to.equal('OK');
    });
  });

  describe('domains', () => {
    it('have names and policies of their own', async () => {
      await ask('CreateDomain', { name: 'pay' });
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('Allow', { principal: 'app:billing', action: 'use', key: '*' });
      const inPay = { ...o.context, domain: 'pay' };
      const seen = await codeOf(authorize(inPay, { ...billing(), epoch: o.access.epoch }, 'GetKey', create(OPERATIONS.GetKey.input, { key: 'k' })));
      expect(seen).to.equal('DENIED');
      expect(await code('CreateDomain', { name: 'pay' })).to.equal('DOMAIN_EXISTS');
      for (const name of ['system', 'Pay', '-a', '', 'a'.repeat(64), 'a.b']) expect(await code('CreateDomain', { name }), name).to.equal('NAME_INVALID');
    });

    it('a policy reaches no other domain and not the host', async () => {
      for (const resource of ['Domain::"pay"', 'Key::"pay/k"', 'Host::"host"']) {
        const op = resource.startsWith('Key') ? '==' : resource.startsWith('Host') ? '==' : 'in';
        expect(await code('PutPolicy', { name: 'p', text: `permit (principal, action, resource ${op} ${resource});` }), resource).to.equal('POLICY_INVALID');
      }
    });
  });

  describe('principals', () => {
    it('no two hold one mapping', async () => {
      await ask('PutPrincipal', { ref: 'user:a', addMappings: ['uid:5'] });
      expect(await code('PutPrincipal', { ref: 'user:b', addMappings: ['uid:5'] })).to.equal('MAPPING_EXISTS');
      await ask('PutPrincipal', { ref: 'user:a', removeMappings: ['uid:5'] });
      expect(await code('PutPrincipal', { ref: 'user:b', addMappings: ['uid:5'] })).to.equal('OK');
      await ask('RemovePrincipal', { ref: 'user:b' });
      expect(await code('PutPrincipal', { ref: 'user:a', addMappings: ['uid:5'] })).to.equal('OK');
    });

    it('are checked', async () => {
      expect(await code('PutPrincipal', { ref: 'alice' })).to.equal('PRINCIPAL_INVALID');
      expect(await code('PutPrincipal', { ref: 'app:x', addMappings: ['uid:5'] })).to.equal('BAD_REQUEST');
      expect(await code('PutPrincipal', { ref: 'user:x', addMappings: ['root'] })).to.equal('BAD_REQUEST');
      expect(await code('PutPrincipal', { ref: 'user:x', addRoles: [{ role: 'king' }] })).to.equal('BAD_REQUEST');
      expect(await code('PutPrincipal', { ref: 'user:x', addRoles: [{ role: 'auditor', domain: 'nowhere' }] })).to.equal('DOMAIN_NOT_FOUND');
      expect(await code('RemovePrincipal', { ref: 'user:x' })).to.equal('PRINCIPAL_NOT_FOUND');
      const many = Array.from({ length: LIMITS.mappings_per_principal_max + 1 }, (_, i) => `uid:${i}`);
      expect(await code('PutPrincipal', { ref: 'user:x', addMappings: many })).to.equal('LIMIT_EXCEEDED');
    });

    it('an operator uses no key, whatever else it may do', async () => {
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('PutPrincipal', { ref: 'user:olga', addRoles: [{ role: 'operator' }, { role: 'administrator' }, { role: 'key-user' }] });
      await ask('Allow', { principal: 'user:olga', action: 'keys:*', key: '*' });
      const olga = caller(4000, { principal: 'user:olga' });
      expect(await uses('Encrypt', 'k', olga)).to.equal('DENIED');
      expect(await code('GetKey', { key: 'k' }, olga)).to.equal('DENIED');
      expect(await code('PutPrincipal', { ref: 'user:olga', removeRoles: [{ role: 'operator' }] }, olga)).to.equal('DENIED');
      expect(await code('ListSessions', {}, olga)).to.equal('OK');
    });
  });

  describe('dual control', () => {
    const carol = caller(3000, { principal: 'user:carol' });
    const dave = caller(3001, { principal: 'user:dave' });
    beforeEach(async () => {
      for (const ref of ['user:carol', 'user:dave']) await ask('PutPrincipal', { ref, addRoles: [{ role: 'administrator' }] });
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await ask('SetDualControl', { actions: ['keys:destroyNow'] });
    });
    const propose = async (who = carol): Promise<string> => {
      const error = await ask('DestroyKey', { key: 'k', now: true }, who).then(() => null, (e: unknown) => e as QuorateError);
      expect(error?.code).to.equal('APPROVAL_REQUIRED');
      return /proposal ([0-9a-f]{32})/.exec(error!.detail)![1]!;
    };
    const state = async (): Promise<number> => (await o.get('k')).state;

    it('keeps the request until another principal of another uid approves it', async () => {
      const before = await state();
      const id = await propose();
      expect(await state()).to.equal(before);
      expect(await code('DecideProposal', { id, approve: true }, carol)).to.equal('DENIED');
      expect(await code('DecideProposal', { id, approve: true }, { ...dave, uid: 3000 }), 'the same person under another name').to.equal('DENIED');
      expect(await code('DecideProposal', { id, approve: true }, billing())).to.equal('DENIED');
      expect(await code('DecideProposal', { id, approve: true }, dave)).to.equal('OK');
      expect((await o.get('k')).destroysMs >= 0n && (await state()) !== before).to.equal(true);
      expect(await code('DecideProposal', { id, approve: true }, dave)).to.equal('PROPOSAL_NOT_FOUND');
    });

    it('runs as its proposer\'s, who must still be allowed it', async () => {
      const id = await propose();
      await ask('PutPrincipal', { ref: 'user:carol', removeRoles: [{ role: 'administrator' }] });
      expect(await code('DecideProposal', { id, approve: true }, dave)).to.equal('DENIED');
    });

    it('expires, and can be rejected, by its proposer too', async () => {
      const id = await propose();
      expect(await code('DecideProposal', { id, approve: false }, carol)).to.equal('OK');
      const second = await propose(dave);
      o.clock.pass(LIMITS.proposal_life_ms + 1);
      expect(await code('DecideProposal', { id: second, approve: true }, carol)).to.equal('PROPOSAL_NOT_FOUND');
    });

    it('guards itself while it is on', async () => {
      expect(await code('SetDualControl', { actions: [] }, carol)).to.equal('APPROVAL_REQUIRED');
      expect(await code('SetDualControl', { actions: ['keys:encrypt'] }, carol)).to.be.oneOf(['APPROVAL_REQUIRED', 'BAD_REQUEST']);
    });

    it('keeps no key material: what would have to be kept is refused', async () => {
      await o.call('SetDualControl', { actions: ['keys:import'], idempotencyKey: o.key() });
      const request = create(OPERATIONS.ImportKey.input, { name: 'i', type: KeyType.AES_256, idempotencyKey: o.key() });
      expect(await codeOf(requireSecond(o.context, carol, 'ImportKey', request))).to.equal('DENIED');
      expect((await o.call('ListProposals', {})).proposals).to.deep.equal([]);
      expect(await code('ImportWrappedKey', { name: 'i', type: KeyType.AES_256, wrappingKey: 'k' }, carol)).to.equal('APPROVAL_REQUIRED');
    });

    it('leaves what it is not about alone', async () => {
      expect(await code('DestroyKey', { key: 'k' }, carol)).to.equal('OK');
    });
  });
});
