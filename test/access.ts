/** Access control as the daemon has it, for tests that run operations or parts of the daemon themselves. */
import { after } from 'mocha';
import type { Clock } from '../src/base/clock.js';
import { createLogger, type Logger } from '../src/base/logger.js';
import type { NativeAddon } from '../src/crypto/addon.js';
import { LiveAccess } from '../src/daemon/access.js';
import type { OperationRow } from '../src/daemon/authorize.js';
import { Evaluator } from '../src/iam/evaluator.js';
import type { Caller, OperationContext } from '../src/operations/context.js';
import { perform } from '../src/operations/operations.js';

const quiet = createLogger('error', 'text', () => undefined);

/** One thread for all tests of a file: starting Cedar takes a tenth of a second. */
let shared: { evaluator: Evaluator; voided: number[]; plane: NativeAddon | null } | null = null;

function evaluator(addon: NativeAddon | null): NonNullable<typeof shared> {
  if (shared === null) {
    const made = { voided: [] as number[], plane: addon, evaluator: null as unknown as Evaluator };
    made.evaluator = new Evaluator({
      log: quiet,
      onVoid: (slices) => {
        made.voided.push(...slices);
        for (const slice of slices) made.plane?.planeVoidSlice(slice);
      },
    });
    shared = made;
  }
  shared.plane = addon;
  return shared;
}

after(async () => {
  await shared?.evaluator.close();
  shared = null;
});

export interface AccessOfTests {
  readonly access: LiveAccess;
  /** Slices that were voided, in order. */
  readonly voided: number[];
}

/** `plane`: whether the addon's plane runs. */
export function makeAccess(addon: NativeAddon, options: { adminUid: number; clock: Clock; socket?: string; plane: boolean; log?: Logger }): AccessOfTests {
  const { adminUid, clock, socket = '/nowhere/quorate.sock', plane, log = quiet } = options;
  const held = evaluator(plane ? addon : null);
  // Without a plane there is nothing to tell.
  const silent = { planeVoidGrants: () => undefined, planeSetIdentity: () => undefined, planeEndIdentity: () => undefined, planeSessions: () => [] };
  const access = new LiveAccess({
    addon: plane ? addon : { ...addon, ...silent }, clock, log, policies: held.evaluator, names: addon, socket, ownUid: process.getuid!(),
    perform: (context: OperationContext, caller: Caller, row: OperationRow, request) => perform(context, caller, row.name, request),
  }, adminUid);
  return { access, voided: held.voided };
}
