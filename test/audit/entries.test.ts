import { createHash, randomBytes } from 'node:crypto';
import { create, type DescField, type DescMessage, fromBinary, type Message, ScalarType, toBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { DESCRIBED, describe as describeRequest } from '../../src/audit/describe.js';
import { callEntry, type EntryOutcome, gapEntry, grantEntry, isDenial, lifecycleEntry, sessionEntry } from '../../src/audit/entries.js';
import { ERRORS } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { AddAppRequestSchema, type AuditEntry, AuditEntrySchema, AuditKind, CreateKeyRequestSchema, CreateTokenRequestSchema, GetKeyRequestSchema, PutPrincipalRequestSchema } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';

const CALLER = { uid: 1000, pid: 4242, session: 17, domain: 'default' };
const ALICE = { ref: 'user:alice' };
const OK: EntryOutcome = { code: 'OK' };
const NOW = 1_790_000_000_123;
const read = (bytes: Uint8Array): AuditEntry => fromBinary(AuditEntrySchema, bytes);
const rowOf = (name: OperationName): (typeof OPERATIONS)[OperationName] => OPERATIONS[name];

/** What was put into a request, and in which field. */
interface Planted {
  readonly path: string;
  readonly bytes: Buffer;
  readonly text: string;
}

/** Every field full, down to the last nested one; each with content of its own that can be found again. */
function full(message: DescMessage, planted: Planted[], path = ''): Record<string, unknown> {
  const plant = (at: string): Planted => {
    const bytes = randomBytes(18);
    const one = { path: at, bytes, text: `q${bytes.toString('hex')}` };
    planted.push(one);
    return one;
  };
  const scalar = (type: ScalarType, at: string): unknown => {
    if (type === ScalarType.STRING) return plant(at).text;
    if (type === ScalarType.BYTES) return new Uint8Array(plant(at).bytes);
    if (type === ScalarType.BOOL) return true;
    return type === ScalarType.UINT64 ? 77n : 77;
  };
  const value = (field: DescField, at: string): unknown => {
    if (field.fieldKind === 'scalar') return scalar(field.scalar, at);
    if (field.fieldKind === 'enum') return field.enum.values.at(-1)!.number;
    if (field.fieldKind === 'message') return create(field.message, full(field.message, planted, `${at}.`) as never);
    if (field.fieldKind === 'map') return { [plant(`${at}.key`).text]: scalar((field as { scalar: ScalarType }).scalar, `${at}.value`) };
    if (field.listKind === 'message') return [create(field.message, full(field.message, planted, `${at}.`) as never)];
    return [field.listKind === 'enum' ? 1 : scalar((field as { scalar: ScalarType }).scalar, at)];
  };
  return Object.fromEntries(message.fields.map((field) => [field.localName, value(field, `${path}${field.name}`)]));
}

/** The planted content that can be read out of an entry, in any of the ways in which bytes are written. */
function foundIn(entry: Uint8Array, planted: readonly Planted[]): string[] {
  const raw = Buffer.from(entry);
  const text = raw.toString('latin1');
  const lower = text.toLowerCase();
  return planted.filter(({ bytes, text: word }) => raw.includes(bytes) || text.includes(word) || lower.includes(bytes.toString('hex'))
    || text.includes(bytes.toString('base64')) || text.includes(bytes.toString('base64url'))).map(({ path }) => path);
}

/** The paths that a method may show, by its row. */
function listed(name: OperationName): string[] {
  const { resource, detail = [] } = DESCRIBED[name];
  const fields = rowOf(name).input.fields as readonly DescField[];
  return [...(resource === undefined ? [] : [resource]), ...detail].flatMap((field) => {
    const desc = fields.find((f) => f.name === field)!;
    if (desc.fieldKind === 'map') return [`${field}.key`];
    const { message } = desc as { message?: DescMessage };
    return message === undefined ? [field] : message.fields.map((f) => `${field}.${f.name}`);
  });
}

/** Public keys, of which the log has the SHA-256. */
const FINGERPRINTED: readonly string[] = ['recipient'];

describe('what of a request is in the log', () => {
  for (const name of Object.keys(OPERATIONS) as OperationName[]) {
    it(`${name}: the fields of its row, and nothing else`, () => {
      const planted: Planted[] = [];
      const { input } = rowOf(name);
      const request = create(input as DescMessage, full(input, planted) as never);
      const outcomes: EntryOutcome[] = [OK, { code: 'DENIED', reason: 'no policy allows it' }, { code: 'BAD_REQUEST' }];
      for (const outcome of outcomes) {
        const found = foundIn(callEntry(rowOf(name), request, CALLER, ALICE, outcome, NOW), planted);
        const textual = planted.map(({ path }) => path).filter((path) => listed(name).includes(path) && !FINGERPRINTED.includes(path));
        assert.sameMembers(found, textual);
      }
    });
  }

  it('of a recipient the fingerprint is', () => {
    const recipient = new Uint8Array(randomBytes(40));
    const { detail } = describeRequest('ExportKey', create(OPERATIONS.ExportKey.input, { key: 'k', recipient }));
    assert.equal(detail, `recipient=sha256:${createHash('sha256').update(recipient).digest('hex')}`);
  });

  it('finds what it looks for, however it is written', () => {
    const planted: Planted[] = [];
    full(GetKeyRequestSchema, planted);
    const { bytes, text } = planted[0]!;
    for (const form of [bytes, Buffer.from(text), Buffer.from(bytes.toString('hex')), Buffer.from(bytes.toString('base64')), Buffer.from(bytes.toString('base64url')), Buffer.from(bytes.toString('hex').toUpperCase())]) {
      assert.deepEqual(foundIn(Buffer.concat([Buffer.of(1, 2), form]), planted), ['key']);
    }
    assert.deepEqual(foundIn(Buffer.from('nothing'), planted), []);
  });

  it('lists no field that could hold a secret: no bytes, nothing sensitive, nothing that is named like one', () => {
    for (const name of Object.keys(OPERATIONS) as OperationName[]) {
      const { resource, detail = [] } = DESCRIBED[name];
      const { input, sensitiveIn } = rowOf(name);
      for (const field of [resource, ...detail].filter((f) => f !== undefined)) {
        const desc = (input.fields as readonly DescField[]).find((f) => f.name === field);
        assert.isDefined(desc, `${name} has no field ${field}`);
        if (!FINGERPRINTED.includes(field)) assert.notStrictEqual((desc as { scalar?: ScalarType }).scalar, ScalarType.BYTES, `${name}.${field}`);
        assert.notInclude(sensitiveIn as readonly number[], desc!.number);
        if ((desc as { scalar?: ScalarType }).scalar === ScalarType.BOOL) continue;
        assert.notMatch(field, /plaintext|context|passphrase|credential|share$|secret|material$|chain|text|wrapped|cipher|message|digest|signature|salt|info|idempotency|token$|expectations/);
      }
    }
  });

  it('writes plain words plainly, others in quotes, enums by name, times as ISO 8601, of labels the names', () => {
    const create1 = create(CreateKeyRequestSchema, { name: 'billing/2026', type: 3, scheme: 1, labels: { team: 'payments', 'a b': '' }, exportable: true, activatesMs: 1_790_000_000_000n });
    assert.deepEqual(describeRequest('CreateKey', create1), {
      resource: 'billing/2026', detail: 'type=aes-256 scheme=managed labels=team,"a b" exportable=true activates_ms=2026-09-21T14:13:20.000Z',
    });
    const put = create(PutPrincipalRequestSchema, { ref: 'user:bob', addMappings: ['name:bob', 'x=y z'], addRoles: [{ role: 'operator' }, { role: 'key-user', domain: 'shop' }] });
    assert.equal(describeRequest('PutPrincipal', put).detail, 'add_mappings=name:bob,"x=y z" add_roles=operator,shop/key-user');
    const token = create(CreateTokenRequestSchema, { principal: 'service:ci', lifeMs: 1000n, scope: { actions: ['keys:use'], keys: ['ci/*'], uid: 0 } });
    assert.deepEqual(describeRequest('CreateToken', token), { resource: 'service:ci', detail: 'life_ms=1000 scope={actions=keys:use keys=ci/* uid=0}' });
    assert.deepEqual(describeRequest('AddApp', create(AddAppRequestSchema, { name: 'billing', mode: 0o660, group: 0 })), { resource: 'billing', detail: 'mode=0660 group=0' });
    // A secret typed where its path belongs.
    for (const path of ['app/db=hunter2', 'h'.repeat(129), '']) assert.deepEqual(describeRequest('GetSecret', create(OPERATIONS.GetSecret.input, { path })), { resource: '', detail: '' });
    assert.equal(describeRequest('GetSecret', create(OPERATIONS.GetSecret.input, { path: 'app/db' })).resource, 'app/db');
    assert.deepEqual(describeRequest('GetKey', null), { resource: '', detail: '' });
    assert.deepEqual(describeRequest('CreateKey', create(CreateKeyRequestSchema, { name: 'x', type: 99 as never, activatesMs: 2n ** 64n - 1n })).detail, 'type=99 activates_ms=18446744073709551615');
  });
});

describe('entries', () => {
  /** The same bytes again: nothing in another order, nothing at its default written. */
  const canonical = (bytes: Uint8Array): AuditEntry => {
    const entry = read(bytes);
    assert.equal(Buffer.from(toBinary(AuditEntrySchema, entry)).toString('hex'), Buffer.from(bytes).toString('hex'));
    assert.isUndefined(entry.$unknown);
    let last = 0;
    for (let at = 0; at < bytes.length; ) {
      // Every field number is below 16 or takes two bytes; the lengths of these entries are below 128.
      const tag = bytes[at]! & 0x80 ? (bytes[at]! & 0x7f) | (bytes[at + 1]! << 7) : bytes[at]!;
      assert.isAtLeast(tag >> 3, last);
      last = tag >> 3;
      at += bytes[at]! & 0x80 ? 2 : 1;
      if ((tag & 7) === 2) at += 1 + bytes[at]!;
      else {
        while (bytes[at]! & 0x80) at += 1;
        at += 1;
      }
    }
    return entry;
  };

  it('says who did what to what, and how it ended', () => {
    const request = create(GetKeyRequestSchema, { key: 'invoices' });
    const outcome: EntryOutcome = { code: 'OK', keyId: new Uint8Array(16).fill(7), version: 3, id: new Uint8Array(16).fill(9), proposal: 'p1', detail: 'extra=1' };
    const entry = canonical(callEntry(rowOf('GetKey'), request, CALLER, { ref: 'service:ci', token: 'jti-1', app: 'billing' }, outcome, NOW, 2));
    assert.deepInclude(entry, {
      kind: AuditKind.AUDIT_CALL, timeMs: BigInt(NOW), principal: 'service:ci', uid: 1000, pid: 4242, session: 17n, domain: 'default', method: 34, action: 'keys:get',
      resource: 'invoices', version: 3, status: 0, token: 'jti-1', app: 'billing', repeats: 2n, detail: 'extra=1', proposal: 'p1', reason: '',
    });
    assert.equal(entry.keyId[0], 7);
    assert.equal(entry.id[0], 9);
    const failed = canonical(callEntry(rowOf('GetKey'), request, CALLER, ALICE, { code: 'KEY_NOT_FOUND' }, NOW));
    assert.equal(failed.kind, AuditKind.AUDIT_CALL);
    assert.equal(failed.status, ERRORS.KEY_NOT_FOUND.number);
    const denied = canonical(callEntry(rowOf('GetKey'), request, CALLER, ALICE, { code: 'DENIED', reason: 'no policy allows it', resource: 'other' }, NOW));
    assert.deepInclude(denied, { kind: AuditKind.AUDIT_DENIED, reason: 'no policy allows it', resource: 'other' });
    assert.isTrue(isDenial('TOKEN_REJECTED'));
    assert.isFalse(isDenial('OK'));
  });

  it('says grants, sessions, and what became of the daemon', () => {
    const grant = canonical(grantEntry(rowOf('Encrypt'), CALLER, ALICE, { keyName: 'invoices', keyId: new Uint8Array(16).fill(1), lifeMs: 60_000 }, NOW));
    assert.deepInclude(grant, { kind: AuditKind.AUDIT_GRANT, method: 64, action: 'keys:encrypt', resource: 'invoices', detail: 'life_ms=60000', principal: 'user:alice' });
    const session = canonical(sessionEntry(CALLER, { ref: 'app:billing', app: 'billing' }, '/run/q.sock', NOW));
    assert.deepInclude(session, { kind: AuditKind.AUDIT_SESSION, session: 17n, app: 'billing', detail: 'socket="/run/q.sock"' });
    assert.equal(canonical(lifecycleEntry('unsealed', 'seal=passphrase', NOW)).kind, AuditKind.AUDIT_UNSEALED);
    assert.equal(canonical(lifecycleEntry('started', '', NOW)).kind, AuditKind.AUDIT_STARTED);
    assert.equal(canonical(gapEntry('leaves 3 to 9', NOW)).kind, AuditKind.AUDIT_GAP);
  });

  it('is the same bytes on every machine', () => {
    const golden = callEntry(rowOf('GetKey'), create(GetKeyRequestSchema, { key: 'invoices' }), CALLER, ALICE, { code: 'DENIED', reason: 'no' }, NOW);
    // By protoc --encode, of the same fields as text.
    assert.equal(Buffer.from(golden).toString('hex'), '080210fbd8c1a28c34220a757365723a616c69636528e8073092213811420764656661756c74482252086b6579733a6765745a08696e766f6963657370077a026e6f');
  });

  it('stays within its limit, whatever was asked, and cuts no character in two', () => {
    const long = '\u{1f511}'.repeat(200_000);
    const entry = callEntry(rowOf('GetKey'), create(GetKeyRequestSchema, { key: long }), { ...CALLER, domain: long }, { ref: long, token: long, app: long }, {
      code: 'DENIED', reason: long, detail: long, proposal: long, id: new Uint8Array(16).fill(1), keyId: new Uint8Array(16).fill(1), version: 0xffff_ffff,
    }, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    assert.isAtMost(entry.byteLength, LIMITS.audit_entry_bytes_max);
    const { reason, principal, resource } = read(entry);
    for (const text of [reason, principal]) assert.match(text, /^\u{1f511}+$/u);
    assert.isAbove(reason.length, 500);
    assert.match(resource, /^\u{1f511}+\.\.\.$/u);
    const labels = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`label-${i}-${'x'.repeat(300)}`, '']));
    assert.isAtMost(callEntry(rowOf('CreateKey'), create(CreateKeyRequestSchema, { name: 'x', labels }) as Message, CALLER, ALICE, OK, NOW).byteLength, LIMITS.audit_entry_bytes_max);
  });
});
