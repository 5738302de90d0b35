/** Inventory: every key of a domain, destroyed ones among them, with its owner, the last use of each version, and the policies that open it. */
import { create } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { actionsOf } from '../iam/actions.js';
import { idText } from '../keys/names.js';
import { decodeRecord, type KeyRecord, viewRecord } from '../keys/record.js';
import { effectiveState, isDestroyed } from '../keys/states.js';
import { InventoryKeySchema, type InventoryRequest, type InventoryResponse, InventoryResponseSchema, KeyState } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { keyListed } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { type Candidate, Question, scan } from './pages.js';

/** Of a key: who is one of thousands is not found by reading them. */
export const POLICIES_MAX = 32;
/** A page ends where an answer would outgrow its frame. */
export const VERSIONS_MAX = 20_000;
const USES = [...actionsOf('keys:use')!];

interface Found extends Candidate {
  readonly record: KeyRecord;
  readonly generation: number;
}

/** The log cannot tell: then no use is told, and no time since when. */
export async function knownUses({ audit, log }: OperationContext): Promise<{ of(keyId: string): [number, number][]; readonly sinceMs: number }> {
  const nothing = { of: () => [], sinceMs: 0 };
  if (audit === undefined) return nothing;
  try {
    await audit.uses.catchUp();
    return audit.uses;
  } catch (error) {
    if (!(error instanceof QuorateError)) throw error;
    log.warn('the inventory has no uses: the audit log cannot be read', { code: error.code, detail: error.detail });
    return nothing;
  }
}

/** By id, so that each is shown once, whatever is renamed meanwhile. BAD_REQUEST (page_token) */
export async function inventory(context: OperationContext, caller: Caller, request: InventoryRequest): Promise<InventoryResponse> {
  const size = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const question = new Question(context, 'inventory', context.domain, String(request.state));
  const place = question.requirePlace(request.pageToken);
  const uses = await knownUses(context);
  const nowMs = context.clock.nowMs();
  const revision = context.store.revision();
  const shown: Found[] = [];
  let versions = 0;
  const { after } = await scan<Found>(context, caller, size, place, {
    action: OPERATIONS.Inventory.action,
    read: async (behind, limit) => {
      const page = await context.store.list(context.domain, 'key', { after: behind, limit });
      const all = page.records.map(({ name, value, generation }) => ({ place: name.id, record: decodeRecord(value), generation }));
      const found = all.filter(({ record }) => request.state === KeyState.KEY_STATE_UNSPECIFIED || effectiveState(record, nowMs) === request.state);
      return { looked: page.records.length, found: found.map((one) => ({ ...one, listed: keyListed(one.record, nowMs) })), after: page.after };
    },
    take: (candidate, seen) => {
      if (seen) shown.push(candidate);
      if (seen) versions += candidate.record.versions.length;
      return versions < VERSIONS_MAX;
    },
  });
  const policies = shown.length === 0 ? [] : await context.access.policies.opening(context.domain, 'key', shown.map(({ record }) => record.name), USES, POLICIES_MAX);
  const keys = shown.map(({ record, generation }, i) => create(InventoryKeySchema, {
    key: viewRecord(record, generation, nowMs),
    owner: ownerOf(record),
    uses: uses.of(idText(record.id)).map(([version, lastMs]) => ({ version, lastMs: BigInt(lastMs) })),
    // Nothing opens what is no more; its name may be another key's by now.
    ...(isDestroyed(effectiveState(record, nowMs)) ? {} : { policies: [...policies[i]!.by], policiesMore: policies[i]!.more }),
  }));
  return create(InventoryResponseSchema, { keys, nextPageToken: question.token(after), usesSinceMs: BigInt(uses.sinceMs), revision: BigInt(revision), nowMs: BigInt(nowMs) });
}

function ownerOf({ labels, creator }: KeyRecord): string {
  return labels['owner'] ?? creator;
}
