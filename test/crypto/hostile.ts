/**
 * A child of arguments.test.ts: throws random values at every exported function. It must end by itself with 0: a crash, an
 * abort or a hang is what the parent looks for. argv: seed, runs for each function.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { QuorateError } from '../../src/base/errors.js';
import { addon } from '../../src/crypto/addon.js';

const seed = Number(process.argv[2]);
const numRuns = Number(process.argv[3]);
const work = mkdtempSync(path.join(os.tmpdir(), 'quorate-hostile-'));
process.chdir(work);  // random texts are also paths

addon.openArena(4 << 20);
addon.planeStart({ release: 'hostile' }, () => {});

/** Take no argument: there is nothing to refuse. */
const WITHOUT = new Set(['kernels', 'arenaStats', 'arenaRanges', 'selfTest', 'hpkeKeyPair', 'hardenProcess', 'secretCount', 'planeStats', 'planeVoidGrants', 'planeSessions']);
type Call = (...args: unknown[]) => unknown;
const calls: [string, Call, number][] = [];
for (const [prefix, table] of [['', addon], ['primitives.', addon.primitives]] as const) {
  for (const [name, value] of Object.entries(table)) if (typeof value === 'function') calls.push([prefix + name, value as Call, 9]);
}

/** ES2024, which the types here do not know yet. */
const Resizable = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer;
class Mine extends Error {}
const hostileObject = (): unknown => new Proxy({}, { get: () => { throw new Mine(); }, getPrototypeOf: () => { throw new Mine(); } });
const detached = (): Uint8Array => {
  const view = new Uint8Array(32);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
};
const revoked = (): unknown => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};

/** An argument is made when it is passed: fast-check looks into values, and some of these do not bear it. */
type Make = () => unknown;
const made = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<Make> => arbitrary.map((value) => () => value);

/** No function takes any of these anywhere. */
const never: fc.Arbitrary<Make> = fc.oneof(
  made(fc.constantFrom<unknown>(undefined, null, Symbol('s'), 10n, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 0.5, -0.5, 2 ** 53, 1e308, 5e-324, 'nul\0byte')),
  fc.constantFrom<Make>(() => new Float64Array(4), () => new Int8Array(16), () => new Uint8ClampedArray(16), () => new DataView(new ArrayBuffer(16)), () => new ArrayBuffer(16), hostileObject, revoked,
    () => new Date(), () => /x/, () => new Map(), () => Promise.resolve(1), () => Object('x'), () => Object(1), () => ({ valueOf: () => 1, toString: () => 'x' })),
);
/** Some of these are right in some places: then the calls behind the checks see them. */
const handles = [1, 2, 3].map(() => addon.secretRandom(32));
const handle = fc.nat(2).map((i) => handles[i]);
const sometimes: fc.Arbitrary<Make> = fc.oneof(
  never,
  made(fc.oneof(fc.boolean(), fc.nat(300), fc.integer(), fc.double(), handle, fc.constantFrom(0, 1, 2, 3, 12, 16, 32, 4096))),
  made(fc.uint8Array({ maxLength: 200 })), fc.constantFrom(12, 16, 24, 32, 64, 80, 128, 256).map((n) => () => new Uint8Array(n)),
  fc.constantFrom<Make>(detached, () => new Uint8Array(new SharedArrayBuffer(32)), () => Buffer.alloc(32), () => new Uint8Array(new Resizable(64, { maxByteLength: 128 }), 8)),
  made(fc.string({ maxLength: 20 }).map((s) => s.replaceAll('/', '_'))), made(fc.constantFrom('', 'sealed', 'ready', 'portable', 'x'.repeat(9000))),
  made(fc.array(fc.oneof(handle, fc.anything()), { maxLength: 4 })), made(fc.object()), made(fc.constant(() => undefined)),
  made(fc.record({ type: fc.nat(14), scheme: fc.nat(16), handle, domain: fc.constant('d'), keyId: fc.constant(new Uint8Array(16)), version: fc.nat(3), release: fc.constant('r'), exportable: fc.boolean(), current: fc.boolean(), spki: fc.uint8Array({ maxLength: 100 }), ivs: fc.nat() })),
);

const expectedError = (error: unknown): boolean => error instanceof QuorateError || (error as { quorate?: boolean }).quorate === true || error instanceof Mine || error instanceof TypeError;
const settle: Promise<unknown>[] = [];

for (const [name, call, most] of calls) {
  if (!WITHOUT.has(name)) {
    fc.assert(fc.property(fc.array(never, { maxLength: most }), (args) => {
      try {
        call(...args.map((make) => make()));
      } catch (error) {
        if (expectedError(error)) return;
        throw error;
      }
      throw new Error(`${name} took ${args.length} impossible arguments`);
    }), { seed, numRuns });
  }
  if (name === 'planeStop' || name === 'openArena' || name === 'generateKey') continue;  // a long grace, a second arena, RSA for minutes
  fc.assert(fc.property(fc.array(sometimes, { minLength: 1, maxLength: most }), (args) => {
    try {
      const result = call(...args.map((make) => make()));
      if (result instanceof Promise) settle.push(result.catch((error: unknown) => { if (!expectedError(error)) throw error; }));
    } catch (error) {
      if (!expectedError(error)) throw new Error(`${name}: ${String(error)}`, { cause: error });
    }
    // A refused or failed call leaves the handles that later calls need, or has consumed them; make them good again.
    for (const [i, one] of handles.entries()) {
      try {
        addon.secretSize(one);
      } catch {
        handles[i] = addon.secretRandom(32);
      }
    }
  }), { seed, numRuns });
}

await Promise.all(settle);
addon.planeStop(0);
rmSync(work, { recursive: true, force: true });
process.stdout.write(`${calls.length} functions\n`);
