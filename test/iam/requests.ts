/** Requests and evaluators for the tests of policies. */
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { createLogger, type Logger } from '../../src/base/logger.js';
import type { DecisionRequest, KeyFacts, Listed, RequestContext, Resource, SecretFacts } from '../../src/iam/decision.js';
import { Evaluator, type EvaluatorOptions } from '../../src/iam/evaluator.js';
import type { RoleHeld } from '../../src/iam/roles.js';

export const NOW_MS = Date.UTC(2026, 5, 1, 12);

export const CONTEXT: RequestContext = { uid: 1000, gid: 1000, socket: '/run/quorate/quorate.sock', token: false, source: 'local', timeMs: NOW_MS };

export function keyOf(name: string, facts: Partial<KeyFacts> = {}): KeyFacts {
  return { name, id: '00112233445566778899aabbccddeeff', type: 'aes-256', scheme: 'managed', state: 'active', exportable: false, labels: {}, ...facts };
}

export const HOST: Resource = { kind: 'host' };
export const listed = (name: string): Listed => ({ kind: 'key', key: keyOf(name) });
export const secret = (path: string, facts: Partial<SecretFacts> = {}): Resource => ({ kind: 'secret', secret: { path, exists: true, labels: {}, ...facts } });
export const DOMAIN: Resource = { kind: 'domain' };
export const key = (name: string, facts: Partial<KeyFacts> = {}): Resource => ({ kind: 'key', key: keyOf(name, facts) });

export function request(principal: string, action: string, resource: Resource, more: Partial<DecisionRequest> = {}): DecisionRequest {
  return { domain: 'default', principal, roles: [], action, resource, context: CONTEXT, ...more };
}

export const role = (name: string, domain = ''): RoleHeld => ({ role: name, domain });

export const silent: Logger = createLogger('error', 'text', () => undefined);

/** With `system`, `default` and `payments`, empty. */
export async function startEvaluator(options: Partial<EvaluatorOptions> = {}): Promise<Evaluator> {
  const evaluator = new Evaluator({ log: silent, onVoid: () => undefined, ...options });
  for (const domain of ['system', 'default', 'payments']) await evaluator.load(domain, []);
  return evaluator;
}

export async function store(evaluator: Evaluator, name: string, text: string, domain = 'default'): Promise<void> {
  evaluator.put(await evaluator.check(domain, name, text));
}

export const ENCRYPT = request('app:billing', 'keys:encrypt', key('orders/card'));
export const PERMIT = 'permit (principal == App::"billing", action == Action::"keys:encrypt", resource in KeyGroup::"default/orders");';
export const FORBID = 'forbid (principal, action == Action::"keys:encrypt", resource) when { resource.state != "active" };';

/** What it fails with; an error where it does not. */
export async function failure(work: Promise<unknown>): Promise<QuorateError> {
  try {
    await work;
  } catch (error) {
    assert.instanceOf(error, QuorateError);
    return error as QuorateError;
  }
  throw new Error('it did not fail');
}
