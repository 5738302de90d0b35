/**
 * Where each action stands among the groups of its noun. Every action of the operation table that a policy decides about has its row: the
 * compiler refuses a method without one, and one too many.
 */
import type { OPERATIONS } from '../protocol/operations.gen.js';

type Row = (typeof OPERATIONS)[keyof typeof OPERATIONS];
/** Actions of methods that policies decide about. */
export type MethodAction = Exclude<Row, { resource: '' }>['action'];
/** Actions that no method has: what a request may ask for beside its method's own. */
export const EXTRA_ACTIONS = {
  'keys:destroyNow': 'key', 'keys:trust': 'key', 'domains:shredNow': 'host', 'secrets:destroyNow': 'secret',
  'objects:list': 'domain', 'objects:create': 'domain', 'objects:update': 'domain', 'objects:destroy': 'domain',
} as const;
export type Action = MethodAction | keyof typeof EXTRA_ACTIONS;

/** The group `<noun>:<place>`; 'alone' is in `<noun>:*` only, where every action of the noun is. */
export type Place = 'use' | 'read' | 'manage' | 'alone';

export const PLACES: Readonly<Record<Action, Place>> = {
  'daemon:init': 'alone',
  'daemon:unseal': 'alone',
  'daemon:seal': 'alone',
  'daemon:metrics': 'read',

  'sessions:list': 'alone',
  'sessions:kill': 'alone',

  'domains:create': 'alone',
  'domains:list': 'alone',
  'domains:shred': 'alone',
  'domains:shredNow': 'alone',
  'domains:cancelShred': 'alone',

  'iam:putPrincipal': 'manage',
  'iam:listPrincipals': 'read',
  'iam:removePrincipal': 'manage',
  'iam:addApp': 'manage',
  'iam:listApps': 'read',
  'iam:removeApp': 'manage',
  'iam:createToken': 'manage',
  'iam:listTokens': 'read',
  'iam:revokeToken': 'manage',
  'iam:rotateTokenKey': 'manage',
  'iam:setDualControl': 'manage',
  'iam:listProposals': 'read',
  'iam:decideProposal': 'manage',
  'iam:putPin': 'manage',
  'iam:listPins': 'read',
  'iam:removePin': 'manage',

  'policies:put': 'manage',
  'policies:get': 'read',
  'policies:list': 'read',
  'policies:remove': 'manage',
  'policies:test': 'read',
  'policies:canI': 'read',

  'audit:read': 'alone',
  'audit:verify': 'alone',
  'audit:prove': 'alone',
  'audit:repair': 'alone',

  'root:rotate': 'alone',

  'region:init': 'alone',
  'region:invite': 'alone',
  'region:join': 'alone',
  'region:status': 'alone',
  'region:remove': 'alone',
  'region:drain': 'alone',
  'region:repair': 'alone',
  'region:rebuild': 'alone',
  'region:quarantine': 'alone',
  'region:rotateRing': 'alone',
  'region:rotationStatus': 'alone',

  'backup:run': 'alone',
  'backup:status': 'read',
  'backup:list': 'read',
  'backup:verify': 'alone',
  'backup:proveRestore': 'alone',
  'backup:restore': 'alone',

  'keys:encrypt': 'use',
  'keys:decrypt': 'use',
  'keys:sign': 'use',
  'keys:verify': 'use',
  'keys:mac': 'use',
  'keys:verifyMac': 'use',
  'keys:dataKey': 'use',
  'keys:wrap': 'use',
  'keys:unwrap': 'use',
  'keys:derive': 'use',
  'keys:rewrap': 'use',
  'keys:copy': 'use',
  'keys:get': 'read',
  'keys:list': 'read',
  'keys:public': 'read',
  'keys:create': 'manage',
  'keys:import': 'manage',
  'keys:update': 'manage',
  'keys:activate': 'manage',
  'keys:deactivate': 'manage',
  'keys:compromise': 'manage',
  'keys:destroy': 'manage',
  'keys:undelete': 'manage',
  'keys:rotate': 'manage',
  'keys:revokeVersion': 'manage',
  'keys:destroyNow': 'alone',
  'keys:export': 'alone',
  'keys:depart': 'alone',
  'keys:inventory': 'alone',
  'keys:trust': 'alone',

  'secrets:fetch': 'use',
  'secrets:get': 'read',
  'secrets:list': 'read',
  'secrets:write': 'manage',
  'secrets:update': 'manage',
  'secrets:activate': 'manage',
  'secrets:deactivate': 'manage',
  'secrets:destroy': 'manage',
  'secrets:undelete': 'manage',
  'secrets:importValues': 'manage',
  'secrets:destroyNow': 'alone',
  'secrets:exportValues': 'alone',
  'secrets:takeStock': 'alone',

  'objects:list': 'read',
  'objects:create': 'manage',
  'objects:update': 'manage',
  'objects:destroy': 'manage',

  'crypto:random': 'alone',
  'crypto:stream': 'alone',
  'crypto:digest': 'alone',
  'crypto:operation': 'alone',

  'session:createKey': 'alone',
  'session:importKey': 'alone',
  'session:destroyKey': 'alone',
};
