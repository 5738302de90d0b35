/**
 * The matrix of DESIGN section 5: every method, every shipped role, allowed or denied. A method without a row does not compile, and fails the
 * first test here.
 */
import { assert } from 'chai';
import type { Resource } from '../../src/iam/decision.js';
import type { Evaluator } from '../../src/iam/evaluator.js';
import { EXTRA_ACTIONS } from '../../src/iam/places.js';
import { ROLES, type Role } from '../../src/iam/roles.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import { Random, randomDocument, randomRequest } from './random.js';
import { DOMAIN, HOST, key, request, role, secret, startEvaluator, store } from './requests.js';

/** Initials of the roles that may: Administrator, Operator, audiTor, Key-administrator, key-User, Secret-administrator, V secret-user; `everyone`: whoever it is but an operator; `open`: not asked. */
const MATRIX: Record<OperationName | keyof typeof EXTRA_ACTIONS, string> = {
  Hello: 'open', Ping: 'open', Status: 'open', Health: 'open', OpenSession: 'open', WhoAmI: 'open',
  Init: 'AO', Unseal: 'AO', Seal: 'AO', Metrics: 'AO', RotateRoot: 'A',
  ListSessions: 'AOT', KillSession: 'AO',
  CreateDomain: 'A', ListDomains: 'AOT', ShredDomain: 'A', CancelShred: 'A', GetShred: 'AOT', 'domains:shredNow': 'A',
  PutPrincipal: 'A', ListPrincipals: 'AT', RemovePrincipal: 'A',
  AddApp: 'A', ListApps: 'AT', RemoveApp: 'A',
  CreateToken: 'A', ListTokens: 'AT', RevokeToken: 'A', RotateTokenKey: 'A',
  SetDualControl: 'A', ListProposals: 'AT', DecideProposal: 'A', BreakGlass: 'open',
  PutPolicy: 'A', GetPolicy: 'ATKS', ListPolicies: 'ATKS', RemovePolicy: 'A', TestPolicy: 'ATKS', Allow: 'A', CanI: 'ATKS',
  FetchSecret: 'AV', PutSecret: 'AS', GetSecret: 'ATSV', ListSecrets: 'ATSV', UpdateSecret: 'AS', ActivateSecret: 'AS', DeactivateSecret: 'AS', DestroySecret: 'AS', UndeleteSecret: 'AS', ExportSecret: 'A', ImportExportedSecret: 'AS', SecretInventory: 'ATS', 'secrets:destroyNow': 'A',
  ReadAudit: 'AOT', VerifyAudit: 'AOT', ProveAudit: 'AOT', RepairAudit: 'AO', GetReceipt: 'open',
  InitRegion: 'AO', InviteHost: 'AO', JoinRegion: 'AO', RegionStatus: 'AO', RemoveHost: 'AO', DrainHost: 'AO', ClearAlarms: 'AO', RebuildRegion: 'AO', RegionQuarantine: 'AO', RotateRing: 'AO', RotationStatus: 'AO',
  RunBackup: 'AO', BackupStatus: 'AOT', ListBackups: 'AOT', VerifyBackup: 'AO', ProveBackup: 'AO', RestoreBackup: 'AO', BackupProgress: 'open',
  CreateKey: 'AK', ListKeys: 'ATKU', GetKey: 'ATKU', UpdateKey: 'AK', ActivateKey: 'AK', DeactivateKey: 'AK', CompromiseKey: 'AK',
  DestroyKey: 'AK', UndeleteKey: 'AK', RotateKey: 'AK', RevokeKeyVersion: 'AK', ExportPublicKey: 'ATKU', ImportKey: 'AK', ImportWrappedKey: 'AK', ExportKey: 'A', ImportExportedKey: 'AK', BeginDeparture: 'A', ListDeparture: 'A', Inventory: 'ATK',
  'keys:destroyNow': 'A', 'keys:trust': 'A',
  Encrypt: 'AU', Decrypt: 'AU', Sign: 'AU', Verify: 'AU', Mac: 'AU', VerifyMac: 'AU', GenerateDataKey: 'AU', Wrap: 'AU', Unwrap: 'AU', Derive: 'AU', Rewrap: 'AU',
  EncryptStream: 'AU', DecryptStream: 'AU',
  Random: 'AU', StreamChunk: 'everyone', StreamClose: 'everyone',
  CreateSessionKey: 'AU', ImportSessionKey: 'AU', DestroySessionKey: 'everyone',
  MechanismEncrypt: 'AU', MechanismDecrypt: 'AU', MechanismSign: 'AU', MechanismVerify: 'AU', MechanismDigest: 'AU', WrapObject: 'AU',
  MechanismUpdate: 'everyone', MechanismCancel: 'everyone',
  GenerateObject: 'AU', CreateObject: 'AU', CopyObject: 'AU', UnwrapObject: 'AU', DeriveObject: 'AU', SetSessionObject: 'AU', GetObjectValue: 'A', ObjectsEpoch: 'open',
  StoreObject: 'AK', SetObject: 'AK', DestroyObject: 'AK', SyncObjects: 'ATKU',
  'objects:list': 'ATKU', 'objects:create': 'AK', 'objects:update': 'AK', 'objects:destroy': 'AK',
  OpenPinSession: 'open', ChangePin: 'open', PutPin: 'A', ListPins: 'AT', RemovePin: 'A', AuthenticateUse: 'open',
};
const INITIALS: Record<Role, string> = { administrator: 'A', operator: 'O', auditor: 'T', 'key-administrator': 'K', 'key-user': 'U', 'secret-administrator': 'S', 'secret-user': 'V' };

const RESOURCES: Record<string, Resource> = { key: key('orders/card'), newKey: key('orders/new', { id: '', state: 'new' }), keys: key('orders/card'), secret: secret('app/db'), secrets: secret('app/db'), domain: DOMAIN, session: DOMAIN, host: HOST };

interface Row {
  readonly name: string;
  readonly action: string;
  readonly resource: string;
  readonly who: string;
}
const rows: Row[] = [
  ...Object.values(OPERATIONS).map(({ name, action, resource }) => ({ name, action, resource, who: MATRIX[name] })),
  ...(Object.keys(EXTRA_ACTIONS) as (keyof typeof EXTRA_ACTIONS)[]).map((action) => ({ name: action, action, resource: EXTRA_ACTIONS[action], who: MATRIX[action] })),
];
const decided = rows.filter((row) => row.who !== 'open');

function expected({ who }: Row, name: Role | null): boolean {
  if (who === 'everyone') return name !== 'operator';
  return name !== null && who.includes(INITIALS[name]);
}

describe('roles', function () {
  this.timeout(60_000);
  let evaluator: Evaluator;
  before(async () => {
    evaluator = await startEvaluator();
  });
  after(() => evaluator.close());

  it('have a row for every method, and none too many', () => {
    assert.sameMembers(Object.keys(MATRIX), [...Object.keys(OPERATIONS), ...Object.keys(EXTRA_ACTIONS)]);
    for (const { name, resource, who } of rows) {
      assert.equal(who === 'open', resource === '', name);
      if (who === 'open') assert.isTrue(OPERATIONS[name as OperationName].openToAll, name);
      else if (who !== 'everyone') assert.match(who, /^A?O?T?K?U?S?V?$/, name);
    }
  });

  for (const name of [...ROLES, null]) {
    it(`${name ?? 'no role'}: every method is allowed or denied as the table says`, async () => {
      const roles = name === null ? [] : [role(name)];
      for (const row of decided) {
        const { allowed, errors } = await evaluator.decide(request('user:alice', row.action, RESOURCES[row.resource]!, { roles }));
        assert.equal(allowed, expected(row, name), `${row.name} by ${name}`);
        assert.isEmpty(errors);
      }
    });
  }

  it('of one domain count there and nowhere else, and never on the host', async () => {
    for (const name of ROLES) {
      for (const row of decided) {
        const own = await evaluator.decide(request('user:alice', row.action, RESOURCES[row.resource]!, { roles: [role(name, 'default')] }));
        const other = await evaluator.decide(request('user:alice', row.action, RESOURCES[row.resource]!, { roles: [role(name, 'payments')] }));
        assert.equal(own.allowed, row.resource !== 'host' && expected(row, name), `${row.name} by default/${name}`);
        assert.equal(other.allowed, row.who === 'everyone' && name !== 'operator', `${row.name} by payments/${name}`);
      }
    }
  });

  it('of an operator forbid, whatever other roles permit', async () => {
    for (const domain of ['', 'default', 'payments']) {
      for (const row of decided.filter(({ action }) => /^(keys|secrets|crypto|session|iam):|^policies:(put|remove)$/.test(action))) {
        for (const other of ROLES) {
          const roles = [role(other), role('operator', domain)];
          const { allowed, determining } = await evaluator.decide(request('user:alice', row.action, RESOURCES[row.resource]!, { roles }));
          assert.isFalse(allowed, `${row.name} by ${other} and ${domain}/operator`);
          assert.deepEqual(determining, ['built-in/separation']);
        }
      }
    }
  });
});

describe('separation', function () {
  this.timeout(120_000);

  it('holds whatever policies say: no random policy lets an operator touch a key', async () => {
    const evaluator = await startEvaluator();
    const seed = Number(process.env['QUORATE_SEED'] ?? 20_260_601);
    const r = new Random(seed);
    let permitted = 0;
    for (let world = 0; world < 8; world++) {
      for (const domain of ['system', 'default', 'payments']) {
        const wide = `permit (principal, action, resource);\npermit (principal in Role::"*/operator", action in Action::"keys:*", resource);`;
        const texts = [wide, ...Array.from({ length: 10 }, () => randomDocument(r, domain))];
        await evaluator.load(domain, texts.map((text, i) => ({ name: `p${i}`, text })));
      }
      const asked = Array.from({ length: 150 }, () => randomRequest(r)).filter(({ action }) => /^(keys|crypto|session|iam):|^policies:(put|remove)$/.test(action));
      for (const one of asked) {
        const roles = [...one.roles.filter((held) => held.role !== 'operator'), role('operator', r.pick(['', 'default', 'payments']))];
        const [free, bound] = await Promise.all([evaluator.decide({ ...one, roles: [] }), evaluator.decide({ ...one, roles })]);
        if (free.allowed) permitted++;
        assert.isFalse(bound.allowed, `seed ${seed}: ${JSON.stringify({ ...one, roles })}`);
      }
    }
    assert.isAbove(permitted, 50, 'the same requests are allowed to others');
    await evaluator.close();
  });

  it('cannot be stored over', async () => {
    const evaluator = await startEvaluator();
    await store(evaluator, 'separation', 'permit (principal, action, resource);');
    const { allowed, determining } = await evaluator.decide(request('user:alice', 'keys:encrypt', key('a'), { roles: [role('operator')] }));
    assert.isFalse(allowed);
    assert.deepEqual(determining, ['built-in/separation']);
    await evaluator.close();
  });
});
