/** SecretInventory: every secret of a domain with its versions, those that are gone among them, their owner and last uses, and the policies that open it. No values. */
import { create } from '@bufbuild/protobuf';
import { LIMITS } from '../base/limits.js';
import { actionsOf } from '../iam/actions.js';
import { InventorySecretSchema, type SecretInventoryRequest, type SecretInventoryResponse, SecretInventoryResponseSchema } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { decodeSecret, secretId, secretIdText, type SecretRecord, viewSecret } from '../secrets/record.js';
import { secretSeen } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { knownUses, POLICIES_MAX, VERSIONS_MAX } from './inventory.js';
import { type Candidate, Question, scan } from './pages.js';
import { SECRET } from './secretRecords.js';
import { holdsValue } from './secrets.js';

/** Whoever may export it has its value too. */
const OPENS = [...actionsOf('secrets:use')!, OPERATIONS.ExportSecret.action];

interface Found extends Candidate {
  readonly record: SecretRecord;
  readonly generation: number;
}

/** By path, each once. BAD_REQUEST (page_token) */
export async function secretInventory(context: OperationContext, caller: Caller, request: SecretInventoryRequest): Promise<SecretInventoryResponse> {
  const { domain, clock, store, access } = context;
  const size = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const question = new Question(context, 'secretInventory', domain);
  const place = question.requirePlace(request.pageToken);
  const uses = await knownUses(context);
  const nowMs = clock.nowMs();
  const revision = store.revision();
  const shown: Found[] = [];
  let versions = 0;
  const { after } = await scan<Found>(context, caller, size, place, {
    action: OPERATIONS.SecretInventory.action,
    read: async (behind, limit) => {
      const page = await store.list(domain, SECRET, { after: behind, limit });
      const found = page.records.map(({ name, value, generation }) => ({ place: name.id, record: decodeSecret(value), generation }));
      return { looked: found.length, found: found.map((one) => ({ ...one, listed: { kind: 'secret' as const, secret: secretSeen(one.record) } })), after: page.after };
    },
    take: (candidate, seen) => {
      if (seen) shown.push(candidate);
      if (seen) versions += candidate.record.versions.length;
      return versions < VERSIONS_MAX;
    },
  });
  const policies = shown.length === 0 ? [] : await access.policies.opening(domain, 'secret', shown.map(({ record }) => record.path), OPENS, POLICIES_MAX);
  const secrets = shown.map(({ record, generation }, i) => create(InventorySecretSchema, {
    secret: viewSecret(record, generation, nowMs),
    id: secretId(domain, record.path),
    owner: ownerOf(record),
    uses: uses.of(secretIdText(domain, record.path)).map(([version, lastMs]) => ({ version, lastMs: BigInt(lastMs) })),
    // Nothing opens what is no more.
    ...(holdsValue(record) ? { policies: [...policies[i]!.by], policiesMore: policies[i]!.more } : {}),
  }));
  return create(SecretInventoryResponseSchema, { secrets, nextPageToken: question.token(after), usesSinceMs: BigInt(uses.sinceMs), revision: BigInt(revision), nowMs: BigInt(nowMs) });
}

function ownerOf({ labels, versions, lastVersion }: SecretRecord): string {
  return labels['owner'] ?? versions.find(({ version }) => version === lastVersion)?.principal ?? '';
}
