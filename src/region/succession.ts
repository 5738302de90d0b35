/**
 * That an incarnation of a region was followed by a later one, in words that its own hosts believe: signed with the seed of its own CA, which
 * is in the ring of each of its hosts and in no file. A certificate's key, which is in a file, cannot say it. docs/decisions/0034.
 */
import { createPublicKey, verify, X509Certificate } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { assert } from '../base/assert.js';
import { concatBytes, fromHex, toHex, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { type Lineage as LineageMessage, type SignedSuccession, SignedSuccessionSchema, type Succession as SuccessionMessage, SuccessionSchema } from '../protocol/gen/region_pb.js';
import { isLineage, type Lineage } from '../store/lineage.js';

export interface Succession {
  /** 32 hexadecimal digits. */
  readonly regionId: string;
  readonly former: Lineage;
  /** The later one: its counter is higher. */
  readonly lineage: Lineage;
  /** Of the former one. */
  readonly baseRevision: number;
  readonly baseHost: string;
}

const CONTEXT = utf8Bytes('quorate/region/succession\0');
const BYTES_MAX = 1024;

export function lineageMessage({ counter, id, cluster }: Lineage): { counter: bigint; id: Uint8Array; cluster: bigint } {
  return { counter: BigInt(counter), id: fromHex(id) ?? new Uint8Array(), cluster: BigInt(`0x${cluster}`) };
}

/** Of a message that says none: one that isLineage() refuses. */
export function lineageOfMessage(told: LineageMessage | undefined): Lineage {
  return { counter: Number(told?.counter ?? 0n), id: toHex(told?.id ?? new Uint8Array()), cluster: (told?.cluster ?? 0n).toString(16).padStart(16, '0') };
}

const signedPart = (bytes: Uint8Array): Uint8Array => concatBytes(CONTEXT, bytes);

/** `seed`: of the former incarnation's CA. */
export function signSuccession(addon: Pick<NativeAddon, 'ed25519Sign'>, seed: Handle, { regionId, former, lineage, baseRevision, baseHost }: Succession): Uint8Array {
  assert(lineage.counter > former.counter, 'a later incarnation has a higher counter');
  const succession = toBinary(SuccessionSchema, create(SuccessionSchema, {
    region: fromHex(regionId)!, former: lineageMessage(former), lineage: lineageMessage(lineage), baseRevision: BigInt(baseRevision), baseHost,
  }));
  const signature = addon.ed25519Sign(seed, signedPart(succession));
  return toBinary(SignedSuccessionSchema, create(SignedSuccessionSchema, { succession, signature }));
}

/** What it says, whoever signed it. PEER_REFUSED: it says nothing. */
function readSuccession(signed: SignedSuccession): Succession {
  const bad = (): never => { throw new QuorateError('PEER_REFUSED', 'what it says of a later incarnation cannot be read'); };
  let message: SuccessionMessage;
  try {
    message = fromBinary(SuccessionSchema, signed.succession);
  } catch {
    return bad();
  }
  const [former, lineage] = [lineageOfMessage(message.former), lineageOfMessage(message.lineage)];
  if (message.region.length !== 16 || !isLineage(former) || !isLineage(lineage) || lineage.counter <= former.counter) return bad();
  return { regionId: toHex(message.region), former, lineage, baseRevision: Number(message.baseRevision), baseHost: message.baseHost };
}

export interface Believes {
  readonly regionId: string;
  readonly lineage: Lineage;
  /** Its own CA's certificates, DER. */
  readonly cas: readonly Uint8Array[];
}

/**
 * The succession to this very incarnation of this very region, by its own CA. PEER_REFUSED: another region's or another incarnation's, or it
 * is not signed with the CA's seed.
 */
export function verifySuccession(bytes: Uint8Array, { regionId, lineage, cas }: Believes): Succession {
  let signed: SignedSuccession;
  try {
    if (bytes.length > BYTES_MAX) throw new Error('too long');
    signed = fromBinary(SignedSuccessionSchema, bytes);
  } catch (error) {
    throw new QuorateError('PEER_REFUSED', 'what it says of a later incarnation cannot be read', { cause: error });
  }
  const said = readSuccession(signed);
  // The cluster's id is the engine's word, which is not known yet when a rebuild begins.
  if (said.regionId !== regionId || said.former.counter !== lineage.counter || said.former.id !== lineage.id) throw new QuorateError('PEER_REFUSED', 'it tells of the end of another incarnation than this host\'s');
  const isSigned = cas.some((ca) => verify(null, signedPart(signed.succession), createPublicKey(new X509Certificate(ca).publicKey.export({ type: 'spki', format: 'pem' })), signed.signature));
  if (!isSigned) throw new QuorateError('PEER_REFUSED', 'what it says of a later incarnation is not signed with the seed of this region\'s CA');
  return said;
}
