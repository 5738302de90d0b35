/** The operations of the Keys service, and what the plane asks for. The daemon has authorized the caller before it comes here. */
import type { Message } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';
import { addApp, listApps, removeApp } from './apps.js';
import { importExportedKey } from './arrivals.js';
import { proveAudit, readAudit, repairAudit, verifyAudit, type AuditContext, type AuditReader } from './audit.js';
import type { Caller, OperationContext } from './context.js';
import { beginDeparture, listDeparture } from './departures.js';
import { createDomain, listDomains } from './domains.js';
import { exportKey } from './exports.js';
import { handleIn, withHandles } from './handles.js';
import {
  activateKey,
  compromiseKey,
  deactivateKey,
  destroyKey,
  revokeKeyVersion,
  rotateKey,
  undeleteKey,
  updateKey,
} from './keysChange.js';
import { createKey, importKey, importWrappedKey } from './keysCreate.js';
import { inventory } from './inventory.js';
import { secretInventory } from './secretInventory.js';
import { exportSecret } from './secretExports.js';
import { importExportedSecret } from './secretArrivals.js';
import { exportPublicKey, getKey, listKeys } from './keysRead.js';

import { authenticateUse, changePin, listPins, openPinSession, putPin, removePin } from './pins.js';
import { allow, canI, getPolicy, listPolicies, putPolicy, removePolicy, testPolicy } from './policies.js';
import { destroyObject, setObject } from './objects.js';
import { storeObject } from './objectStore.js';
import { syncObjects } from './objectSync.js';
import { listPrincipals, putPrincipal, removePrincipal } from './principals.js';
import { decideProposal, listProposals, setDualControl } from './proposals.js';
import { getReceipt } from './receipts.js';
import { activateSecret, deactivateSecret, destroySecret, getSecret, listSecrets, putSecret, undeleteSecret, updateSecret } from './secrets.js';
import { killSession, listSessions, whoAmI } from './sessions.js';
import { rotateTokenKey } from './tokenKeys.js';
import { cancelShred, getShred, shredDomain } from './shreds.js';
import { createToken, listTokens, revokeToken } from './tokens.js';

export { prepareGrant, type PreparedGrant } from './grants.js';
export { reserveIvs } from './ivs.js';
export { sweep, sweepHost, type Swept } from './sweep.js';

/** Of the log, for whoever asks. AUDIT_UNAVAILABLE where there is none */
function audited<Request, Response>(
  read: (context: AuditContext, reader: AuditReader, request: Request) => Promise<Response>,
): (context: OperationContext, caller: Caller, request: Request) => Promise<Response> {
  return async ({ audit }, { session, principal }, request) => {
    if (audit === undefined) throw new QuorateError('AUDIT_UNAVAILABLE', 'this daemon keeps no audit log');
    return read({ audit }, { session, principal }, request);
  };
}

const METHODS = {
  WhoAmI: whoAmI,
  ListSessions: listSessions,
  KillSession: killSession,
  CreateDomain: createDomain,
  ListDomains: listDomains,
  ShredDomain: shredDomain,
  CancelShred: cancelShred,
  GetShred: getShred,
  PutPrincipal: putPrincipal,
  ListPrincipals: listPrincipals,
  RemovePrincipal: removePrincipal,
  AddApp: addApp,
  ListApps: listApps,
  RemoveApp: removeApp,
  CreateToken: createToken,
  ListTokens: listTokens,
  RevokeToken: revokeToken,
  RotateTokenKey: rotateTokenKey,
  SetDualControl: setDualControl,
  ListProposals: listProposals,
  DecideProposal: decideProposal,
  PutPolicy: putPolicy,
  GetPolicy: getPolicy,
  ListPolicies: listPolicies,
  RemovePolicy: removePolicy,
  TestPolicy: testPolicy,
  Allow: allow,
  CanI: canI,
  GetReceipt: getReceipt,
  ReadAudit: audited(readAudit),
  VerifyAudit: audited(verifyAudit),
  ProveAudit: audited(proveAudit),
  RepairAudit: audited(repairAudit),
  CreateKey: createKey,
  ListKeys: listKeys,
  GetKey: getKey,
  UpdateKey: updateKey,
  ActivateKey: activateKey,
  DeactivateKey: deactivateKey,
  CompromiseKey: compromiseKey,
  DestroyKey: destroyKey,
  UndeleteKey: undeleteKey,
  RotateKey: rotateKey,
  RevokeKeyVersion: revokeKeyVersion,
  ExportPublicKey: exportPublicKey,
  ImportKey: importKey,
  ImportWrappedKey: importWrappedKey,
  ImportExportedKey: importExportedKey,
  ExportKey: exportKey,
  PutSecret: putSecret,
  GetSecret: getSecret,
  ListSecrets: listSecrets,
  UpdateSecret: updateSecret,
  ActivateSecret: activateSecret,
  DeactivateSecret: deactivateSecret,
  DestroySecret: destroySecret,
  UndeleteSecret: undeleteSecret,
  ExportSecret: exportSecret,
  ImportExportedSecret: importExportedSecret,
  SecretInventory: secretInventory,
  BeginDeparture: beginDeparture,
  ListDeparture: listDeparture,
  Inventory: inventory,
  StoreObject: storeObject,
  SetObject: setObject,
  DestroyObject: destroyObject,
  SyncObjects: syncObjects,
  OpenPinSession: openPinSession,
  ChangePin: changePin,
  PutPin: putPin,
  ListPins: listPins,
  RemovePin: removePin,
  AuthenticateUse: authenticateUse,
};

type Operation = (context: OperationContext, caller: Caller, request: Message) => Promise<Message>;

/**
 * The response message of one method. The caller has been authorized. `request` is that method's request message; its sensitive fields hold arena handles
 * (8 bytes, little endian), which are dropped when this returns or throws. UNKNOWN_METHOD, and each operation's codes.
 */
export async function perform(context: OperationContext, caller: Caller, name: OperationName, request: Message): Promise<Message> {
  const { input, sensitiveIn } = OPERATIONS[name];
  return withHandles(context.addon, async (keep) => {
    for (const field of input.fields) {
      if ((sensitiveIn as readonly number[]).includes(field.number))
        keep(handleIn((request as unknown as Record<string, Uint8Array>)[field.localName] as Uint8Array, field.name));
    }
    const operation = (METHODS as Partial<Record<OperationName, unknown>>)[name] as Operation | undefined;
    if (operation === undefined) throw new QuorateError('UNKNOWN_METHOD', `${name} is none of the operations`);
    return operation(context, caller, request);
  });
}
