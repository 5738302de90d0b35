/** Versions of etcd that Quorate trusts. Older ones confirm a watch's progress too early and replay watches wrongly. */
import { QuorateError } from '../../base/errors.js';

export interface EngineVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** The first `x.y.z` of the text that stands behind "etcd Version:" or alone; null when there is none. */
export function parseVersion(text: string): EngineVersion | null {
  const found = /(?:^|etcd Version:\s*|\bv)(\d{1,4})\.(\d{1,4})\.(\d{1,4})\b/m.exec(text);
  return found === null ? null : { major: Number(found[1]), minor: Number(found[2]), patch: Number(found[3]) };
}

export function versionText(version: EngineVersion): string {
  return `${version.major}.${version.minor}.${version.patch}`;
}

/** 3.4 from 3.4.31 on, 3.5 from 3.5.13 on, every later 3.x. A 4 would have another API. */
export function isTrusted(version: EngineVersion): boolean {
  if (version.major !== 3) return false;
  if (version.minor === 4) return version.patch >= 31;
  if (version.minor === 5) return version.patch >= 13;
  return version.minor > 5;
}

/** ENGINE_UNUSABLE unless the member that says this of itself is recent enough. */
export function requireTrusted(text: string, whose: string): EngineVersion {
  const version = parseVersion(text);
  if (version === null) throw new QuorateError('ENGINE_UNUSABLE', `${whose} does not tell its version`);
  if (!isTrusted(version)) throw new QuorateError('ENGINE_UNUSABLE', `${whose} is etcd ${versionText(version)}; 3.5.13 or later (or 3.4.31 or later of 3.4) is needed`);
  return version;
}
