/**
 * Thousands of frames that no client would send. Each whole frame is answered once with a code of the table, never INTERNAL; bytes that are
 * no frames end their connection; and the daemon goes on for everybody else. QUORATE_SEED repeats a run.
 */
import fc from 'fast-check';
import { expect } from 'chai';
import { codeOfNumber, ERRORS } from '../../src/base/errors.js';
import type { ErrorCode } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import type { QuorateClient } from '../../src/client/index.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import type { OperationName } from '../../src/protocol/operations.gen.js';
import { Place } from './process.js';
import type { Run } from './process.js';
import { bodyOf, HELLO, outcome, Wire } from './wire.js';
import type { Input } from './wire.js';

const seed = Number(process.env['QUORATE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = 60;
const FRAMES_MAX = 80;

/** Seal and Init would do what they say; Hello in another version ends the connection as it should. */
const EXCLUDED: ReadonlySet<OperationName> = new Set(['Seal', 'Init', 'Hello']);
const METHODS = Object.values(OPERATIONS).filter(({ name }) => !EXCLUDED.has(name)).map(({ id }) => id as number);
const request = <N extends OperationName>(name: N, message: Input<N>): { method: number; body: Uint8Array } => ({ method: OPERATIONS[name].id, body: bodyOf(name, message) });

/** Good requests, to be damaged. */
function samples(ciphertext: Uint8Array, header: Uint8Array): { method: number; body: Uint8Array }[] {
  const [key, plaintext, message] = ['a', Buffer.from('iban FR76'), Buffer.from('iban FR76')];
  const idempotencyKey = Buffer.alloc(16, 1);
  return [
    request('Encrypt', { key, plaintext, context: Buffer.from('c') }), request('Encrypt', { key: 'gcm', plaintext, tagBytes: 12 }), request('Decrypt', { ciphertext }), request('Decrypt', { key, ciphertext }),
    request('Decrypt', { key: 'gcm', ciphertext, iv: Buffer.alloc(12), tagBytes: 16 }), request('Sign', { key: 'p', message, hash: 3, format: 2 }), request('Verify', { key: 'p', message, signature: Buffer.alloc(64, 7), format: 2 }),
    request('Mac', { key: 'm', message, macBytes: 16 }), request('VerifyMac', { key: 'm', message, mac: Buffer.alloc(32) }), request('Random', { length: 32 }), request('GenerateDataKey', { key, length: 32 }),
    request('Wrap', { key, target: 'm' }), request('Unwrap', { key, wrapped: ciphertext, type: 3, scheme: 2 }), request('Derive', { key: 'd', peerPublic: Buffer.alloc(65, 4), length: 32, info: message }),
    request('Rewrap', { key, ciphertexts: [ciphertext, ciphertext], keepContext: true }), request('EncryptStream', { key }), request('DecryptStream', { key, header }), request('StreamChunk', { stream: 1n, data: plaintext, last: true }),
    request('StreamClose', { stream: 1n }), request('CreateSessionKey', { type: 3, scheme: 2 }), request('ImportSessionKey', { type: 4, format: 1, material: Buffer.alloc(32, 9) }), request('DestroySessionKey', { key: 'session:1' }),
    request('GetKey', { key }), request('ListKeys', { pageSize: 10, prefix: 'a', pageToken: 'x' }), request('CreateKey', { name: 'n', type: 3, labels: { a: 'b' }, idempotencyKey }), request('UpdateKey', { key, setLabels: { a: 'b' }, idempotencyKey }),
    request('ImportKey', { name: 'i', type: 4, format: 1, material: Buffer.alloc(32, 9), idempotencyKey }), request('ImportWrappedKey', { name: 'w', type: 3, wrappingKey: key, wrapped: ciphertext, idempotencyKey }),
    request('ExportPublicKey', { key: 'p', format: 1 }), request('RotateKey', { key: 'r', idempotencyKey }), request('DestroyKey', { key: 'n', pendingDays: 7, idempotencyKey }), request('Unseal', { type: 3, passphrase: Buffer.from('correct horse') }),
    request('Ping', { payload: message }), request('Status', {}), request('Health', {}),
  ];
}

/** Bytes changed, cut out, put in, or cut off. */
interface Damage { kind: 'flip' | 'drop' | 'insert' | 'cut' | 'none'; at: number; byte: number }
const damages: fc.Arbitrary<Damage[]> = fc.array(fc.record({ kind: fc.constantFrom('flip', 'flip', 'drop', 'insert', 'cut', 'none'), at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), byte: fc.integer({ min: 1, max: 255 }) }), { maxLength: 3 });
function damaged(body: Uint8Array, how: readonly Damage[]): Uint8Array {
  let bytes = Buffer.from(body);
  for (const { kind, at, byte } of how) {
    const n = Math.floor(at * bytes.length);
    if (kind === 'flip' && bytes.length > 0) bytes[n]! ^= byte;
    else if (kind === 'drop') bytes = Buffer.concat([bytes.subarray(0, n), bytes.subarray(n + 1)]);
    else if (kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, n), Buffer.from([byte]), bytes.subarray(n)]);
    else if (kind === 'cut') bytes = bytes.subarray(0, n);
  }
  return bytes;
}

describe('random frames', function () {
  this.timeout(120_000);
  const place = new Place();
  let run: Run;
  let client: QuorateClient;
  let good: { method: number; body: Uint8Array }[];
  let ciphertext: Uint8Array;
  const codes = new Map<ErrorCode, number>();
  before(async () => {
    run = await place.start({ args: ['--dev'] });
    client = await place.connect();
    await Promise.all([
      client.keys.create('a', { type: 'aes-256' }), client.keys.create('gcm', { type: 'aes-256', scheme: 'aes-gcm' }), client.keys.create('p', { type: 'ec-p256' }), client.keys.create('d', { type: 'ec-p256', scheme: 'ecdh' }),
      client.keys.create('m', { type: 'hmac', exportable: true }), client.keys.create('r', { type: 'aes-256' }),
    ]);
    ({ ciphertext } = await client.encrypt('a', 'iban FR76'));
    const stream: Uint8Array[] = [];
    for await (const part of client.encryptStream('a', [Buffer.from('x')])) stream.push(part);
    good = samples(ciphertext, stream[0]!);
  });
  after(() => place.remove());

  /** Everybody else. */
  const stillServes = async (): Promise<void> => {
    expect(run.over, run.output).to.equal(false);
    expect(Buffer.from(await client.decrypt(ciphertext)).toString()).to.equal('iban FR76');
    expect(await client.status()).to.include({ sealed: false, selfTestsPassed: true });
    const wire = await Wire.open(place.socket);
    expect(await wire.ask(OPERATIONS.Health.id, new Uint8Array(0))).to.include({ code: 'OK' });
    wire.destroy();
  };

  it('are each answered once, with a code that is not INTERNAL', async () => {
    const frame = fc.oneof(
      { weight: 4, arbitrary: fc.record({ sample: fc.nat(good.length - 1), how: damages }).map(({ sample, how }) => ({ method: good[sample]!.method, body: damaged(good[sample]!.body, how) })) },
      { weight: 1, arbitrary: fc.record({ method: fc.constantFrom(...METHODS), body: fc.uint8Array({ maxLength: 200 }) }) },
      { weight: 1, arbitrary: fc.record({ method: fc.integer({ min: 0, max: 0xffff }).filter((m) => METHODS.includes(m) || !Object.values(OPERATIONS).some(({ id }) => id === m)), body: fc.uint8Array({ maxLength: 40 }) }) },
    );
    let sent = 0;
    await fc.assert(fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: FRAMES_MAX, size: 'max' }), async (frames) => {
      const wire = await Wire.open(place.socket);
      try {
        wire.write(Buffer.concat(frames.map(({ method, body }, requestId) => encodeFrame({ requestId, method, status: 0, body }))));
        expect(await wire.until((answers) => answers.length >= frames.length), 'the connection ended').to.equal(true);
        expect(wire.frames.map((f) => f.requestId).sort((a, b) => a - b)).to.deep.equal(frames.map((_, i) => i));
        for (const answer of wire.frames) {
          const { code, detail } = outcome(answer);
          expect(answer.method).to.equal(frames[answer.requestId]!.method);
          expect(answer.status, 'a number of the error table').to.equal(ERRORS[codeOfNumber(answer.status)].number);
          expect(code, `method ${answer.method}, body ${Buffer.from(frames[answer.requestId]!.body).toString('hex')}: ${detail}`).to.not.equal('INTERNAL');
          codes.set(code, (codes.get(code) ?? 0) + 1);
        }
        sent += frames.length;
      } finally {
        wire.destroy();
      }
    }), { seed, numRuns: RUNS, endOnFailure: true });
    this.tests[0]!.title += `: ${sent} frames, seed ${seed}, ${[...codes].sort((a, b) => b[1] - a[1]).map(([code, n]) => `${code} ${n}`).join(', ')}`;
    expect(sent).to.be.above(1000);
    // A run in which all was refused at the first byte would show little.
    expect([...codes.keys()]).to.include.members(['OK', 'BAD_REQUEST', 'UNKNOWN_METHOD', 'CIPHERTEXT_INVALID', 'KEY_NOT_FOUND']);
    await stillServes();
  });

  it('torn, cut, overlong, or none at all: the connection ends, nothing else does', async () => {
    const header = fc.record({ length: fc.oneof(fc.nat(64), fc.integer({ min: 0, max: 0xffff_ffff }), fc.constantFrom(7, 8, LIMITS.frame_bytes_max - 4, LIMITS.frame_bytes_max - 3)), rest: fc.uint8Array({ minLength: 8, maxLength: 8 }) })
      .map(({ length, rest }) => Buffer.concat([Buffer.from([length & 255, (length >>> 8) & 255, (length >>> 16) & 255, length >>> 24]), rest]));
    const whole = fc.record({ sample: fc.nat(good.length - 1), how: damages })
      .map(({ sample, how }) => Buffer.from(encodeFrame({ requestId: sample, method: good[sample]!.method, status: 0, body: damaged(good[sample]!.body, how) })));
    const piece = fc.oneof(header, whole, whole.map((f) => f.subarray(0, f.length >> 1)), fc.uint8Array({ maxLength: 100 }).map((b) => Buffer.from(b)));
    const script = fc.record({ greet: fc.boolean(), pieces: fc.array(piece, { maxLength: 12 }), end: fc.constantFrom('end', 'destroy', 'linger') });
    let pieces = 0;
    const lingering: Wire[] = [];
    await fc.assert(fc.asyncProperty(script, async ({ greet, pieces: parts, end }) => {
      const wire = await Wire.open(place.socket, false);
      if (greet) wire.write(HELLO);
      for (const part of parts) wire.write(part);
      pieces += parts.length;
      if (end === 'end') {
        wire.socket.end();
        await wire.until(() => false);
        for (const answer of wire.frames) expect(outcome(answer).code).to.not.equal('INTERNAL');
      } else if (end === 'linger' && lingering.length < 50) lingering.push(wire);
      else wire.destroy();
    }), { seed, numRuns: 4 * RUNS, endOnFailure: true });
    this.tests[1]!.title += `: ${4 * RUNS} connections, ${pieces} pieces, seed ${seed}`;
    await stillServes();
    for (const wire of lingering) wire.destroy();
    // What they held is given back.
    let connections = -1;
    for (let i = 0; i < 100 && connections !== 1; i++) connections = (await client.status()).connections;
    expect(connections).to.equal(1);
  });
});
