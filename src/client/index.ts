/** `import { connect } from 'quorate/client'` */
export { type ErrorCode, ERRORS, type ErrorRow, QuorateError } from '../base/errors.js';
export type {
  HashName, KeySchemeName, KeyStateName, KeyTypeName, MaterialFormatName, PublicFormatName, ReasonName, SealTypeName, WrapMechanismName,
} from '../protocol/names.js';
export type { Access, AppOptions, Expectation, PinInfo, PrincipalChange, Role, ShredInfo } from './access.js';
export type { AuditCountInfo, AuditEntryInfo } from '../protocol/auditEntry.js';
export type { Audit, AuditPage, AuditProof, AuditVerdict, ReadAuditOptions, VerifyAuditOptions } from './audit.js';
export { describeToken, type Narrowing, narrowToken, type TokenDescription, type TokenOptions } from './accessToken.js';
export type { CallOptions } from './caller.js';
export { type ConnectOptions, connect, QuorateClient, SessionKey } from './client.js';
export type { DaemonStatus, InitOptions, InitResult, UnsealOptions } from './daemon.js';
export type { CreateKeyOptions, DeparturePage, ImportExportedOptions, InventoryKeyInfo, InventoryPage, KeyPage, Keys, ListKeysOptions } from './keys.js';
export type { BackupList, Backups, BackupState, BackupVerdict, RestoreOptions, RestoreResult } from './backups.js';
export type { HostPlaces, InitRegionOptions, InviteOptions, JoinOptions, JoinResult, RebuildOptions, RebuildResult, Region, RegionState, RotationState } from './region.js';
export type { ConfigureSecretOptions, ExportedSecret, FetchedSecret, ImportExportedSecretOptions, InventorySecretInfo, PutSecretOptions, SecretChange, SecretInfo, SecretInventoryPage, Secrets, SecretStateName, SecretVersionInfo } from './secrets.js';
export type { ByteSource } from './streams.js';
export type { CreateTokenOptions, TokenInfo, Tokens } from './tokens.js';
export type {
  Bytes, ChangeOptions, DecryptOptions, Durability, Encrypted, EncryptOptions, KeyAttributes, KeyChange, KeyInfo, KeyRef, KeyVersionInfo,
  SessionKeyAttributes, SignOptions, VerifyOptions, WrapOptions, Written,
} from './types.js';
