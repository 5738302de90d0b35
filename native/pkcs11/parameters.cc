// The parameters of mechanisms: structures of the application's, with their pointers and lengths.
#include <algorithm>
#include <cstring>

#include "pkcs11/mechanisms.h"

namespace quorate::pkcs11 {

namespace {

namespace F = fields::MechanismRequest;
constexpr CK_ULONG kIvBytes = 12, kBlock = 16;

template <class T>
bool read(const CK_MECHANISM& mechanism, T* out) {
  if (mechanism.pParameter == nullptr || mechanism.ulParameterLen != sizeof(T)) return false;
  std::memcpy(out, mechanism.pParameter, sizeof(T));
  return true;
}

// Bytes that a structure points to; false when they are not there, or more than `most`.
bool readBytes(const void* at, CK_ULONG bytes, CK_ULONG most, std::string_view* out) {
  if (bytes > most || (at == nullptr && bytes != 0)) return false;
  *out = {static_cast<const char*>(at), at == nullptr ? 0 : bytes};
  return true;
}

Hash mgfOf(CK_ULONG mgf) {
  constexpr Hash kMgfs[] = {Hash::HASH_UNSPECIFIED, Hash::SHA_1, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512, Hash::SHA_224};
  return mgf < std::size(kMgfs) ? kMgfs[mgf] : Hash::HASH_UNSPECIFIED;
}

void writeHashes(Hash hash, Hash mgf, Request* request) {
  request->number(F::hash, static_cast<uint64_t>(hash));
  request->number(F::mgf, static_cast<uint64_t>(mgf));
}

CK_RV writePss(const CK_MECHANISM& mechanism, const MechanismRow& row, Request* request) {
  CK_RSA_PKCS_PSS_PARAMS params;
  if (!read(mechanism, &params)) return CKR_MECHANISM_PARAM_INVALID;
  const Hash hash = hashOf(params.hashAlg), mgf = mgfOf(params.mgf);
  const bool fits = hash != Hash::HASH_UNSPECIFIED && mgf != Hash::HASH_UNSPECIFIED && (row.hash == Hash::HASH_UNSPECIFIED || row.hash == hash);
  if (!fits || params.sLen > limits::secret_bytes_max) return CKR_MECHANISM_PARAM_INVALID;
  writeHashes(hash, mgf, request);
  request->number(F::salt_bytes, params.sLen);
  return CKR_OK;
}

CK_RV writeOaep(const CK_RSA_PKCS_OAEP_PARAMS& params, Request* request, MechanismFacts* facts) {
  const Hash hash = hashOf(params.hashAlg), mgf = mgfOf(params.mgf);
  std::string_view label;
  if (hash == Hash::HASH_UNSPECIFIED || mgf == Hash::HASH_UNSPECIFIED) return CKR_MECHANISM_PARAM_INVALID;
  if (params.source != CKZ_DATA_SPECIFIED && (params.source != 0 || params.ulSourceDataLen != 0)) return CKR_MECHANISM_PARAM_INVALID;
  if (!readBytes(params.pSourceData, params.ulSourceDataLen, limits::context_bytes_max, &label)) return CKR_MECHANISM_PARAM_INVALID;
  writeHashes(hash, mgf, request);
  if (!label.empty()) request->bytes(F::label, label);
  facts->oaepHash = hash;
  return CKR_OK;
}

CK_RV writeOaep(const CK_MECHANISM& mechanism, Request* request, MechanismFacts* facts) {
  CK_RSA_PKCS_OAEP_PARAMS params;
  return read(mechanism, &params) ? writeOaep(params, request, facts) : CKR_MECHANISM_PARAM_INVALID;
}

CK_RV writeRsaAes(const CK_MECHANISM& mechanism, Request* request, MechanismFacts* facts) {
  CK_RSA_AES_KEY_WRAP_PARAMS params;
  if (!read(mechanism, &params) || params.pOAEPParams == nullptr) return CKR_MECHANISM_PARAM_INVALID;
  if (params.ulAESKeyBits != 128 && params.ulAESKeyBits != 192 && params.ulAESKeyBits != 256) return CKR_MECHANISM_PARAM_INVALID;
  request->number(F::bits, params.ulAESKeyBits);
  return writeOaep(*params.pOAEPParams, request, facts);
}

// 48 bytes: with ulIvBits, as 2.40 errata 1 and 3.0 have it. Java tries again with these when 40 are refused. ulIvBits itself is not looked at:
// it says ulIvLen once more, and callers leave it as their heap had it (pkcs11js with CK_PARAMS_AES_GCM).
CK_RV writeGcm(const CK_MECHANISM& mechanism, Request* request, MechanismFacts* facts) {
  CK_GCM_PARAMS params;
  std::string_view iv, aad;
  if (!read(mechanism, &params)) return CKR_MECHANISM_PARAM_INVALID;
  if (!readBytes(params.pIv, params.ulIvLen, kIvBytes, &iv) || iv.size() != kIvBytes) return CKR_MECHANISM_PARAM_INVALID;
  if (!readBytes(params.pAAD, params.ulAADLen, limits::message_bytes_max, &aad)) return CKR_MECHANISM_PARAM_INVALID;
  if (params.ulTagBits < 96 || params.ulTagBits > 128 || params.ulTagBits % 8 != 0) return CKR_MECHANISM_PARAM_INVALID;
  request->bytes(F::iv, iv);
  if (!aad.empty()) request->bytes(F::aad, aad);
  request->number(F::tag_bits, params.ulTagBits);
  facts->tagBytes = static_cast<uint32_t>(params.ulTagBits / 8);
  return CKR_OK;
}

CK_RV writeCtr(const CK_MECHANISM& mechanism, Request* request) {
  CK_AES_CTR_PARAMS params;
  if (!read(mechanism, &params) || params.ulCounterBits < 1 || params.ulCounterBits > 128) return CKR_MECHANISM_PARAM_INVALID;
  request->bytes(F::iv, {reinterpret_cast<const char*>(params.cb), sizeof(params.cb)});
  request->number(F::counter_bits, params.ulCounterBits);
  return CKR_OK;
}

CK_RV writeCbc(const CK_MECHANISM& mechanism, Request* request) {
  CK_BYTE iv[kBlock];
  if (!read(mechanism, &iv)) return CKR_MECHANISM_PARAM_INVALID;
  request->bytes(F::iv, {reinterpret_cast<const char*>(iv), sizeof(iv)});
  return CKR_OK;
}

CK_RV writeMacLength(const CK_MECHANISM& mechanism, size_t most, Request* request, MechanismFacts* facts) {
  CK_ULONG bytes;
  if (!read(mechanism, &bytes) || bytes < 1 || bytes > most) return CKR_MECHANISM_PARAM_INVALID;
  request->number(F::mac_bytes, bytes);
  facts->macBytes = static_cast<uint32_t>(bytes);
  return CKR_OK;
}

CK_RV writeEcdh(const CK_MECHANISM& mechanism, Request* request) {
  CK_ECDH1_DERIVE_PARAMS params;
  std::string_view shared, peer;
  if (!read(mechanism, &params)) return CKR_MECHANISM_PARAM_INVALID;
  if (!readBytes(params.pSharedData, params.ulSharedDataLen, limits::context_bytes_max, &shared)) return CKR_MECHANISM_PARAM_INVALID;
  if (!readBytes(params.pPublicData, params.ulPublicDataLen, limits::context_bytes_max, &peer) || peer.empty()) return CKR_MECHANISM_PARAM_INVALID;
  constexpr std::pair<CK_ULONG, Hash> kKdfs[] = {{CKD_NULL, Hash::HASH_UNSPECIFIED}, {CKD_SHA1_KDF, Hash::SHA_1}, {CKD_SHA224_KDF, Hash::SHA_224},
                                                 {CKD_SHA256_KDF, Hash::SHA_256}, {CKD_SHA384_KDF, Hash::SHA_384}, {CKD_SHA512_KDF, Hash::SHA_512}};
  for (const auto& [kdf, hash] : kKdfs) {
    if (kdf != params.kdf) continue;
    if (kdf == CKD_NULL && !shared.empty()) return CKR_MECHANISM_PARAM_INVALID;
    if (kdf != CKD_NULL) request->number(F::kdf, static_cast<uint64_t>(hash));
    if (!shared.empty()) request->bytes(F::shared, shared);
    request->bytes(F::peer_public, peer);
    return CKR_OK;
  }
  return CKR_MECHANISM_PARAM_INVALID;
}

// The initial value of RFC 3394 and RFC 5649 may be given; no other is taken.
CK_RV checkWrapIv(const CK_MECHANISM& mechanism, std::string_view standard) {
  std::string_view iv;
  if (!readBytes(mechanism.pParameter, mechanism.ulParameterLen, standard.size(), &iv)) return CKR_MECHANISM_PARAM_INVALID;
  return iv.empty() || iv == standard ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

}  // namespace

CK_RV writeParameters(const CK_MECHANISM& mechanism, const MechanismRow& row, bool byMessage, Request* request, MechanismFacts* facts) {
  if (mechanism.pParameter == nullptr && mechanism.ulParameterLen != 0) return CKR_MECHANISM_PARAM_INVALID;
  switch (row.kind) {
    case MechanismKind::rsaPss: return writePss(mechanism, row, request);
    case MechanismKind::rsaOaep: return writeOaep(mechanism, request, facts);
    case MechanismKind::rsaAesKeyWrap: return writeRsaAes(mechanism, request, facts);
    case MechanismKind::aesGcm:
      if (!byMessage) return writeGcm(mechanism, request, facts);
      return mechanism.ulParameterLen == 0 || mechanism.ulParameterLen == sizeof(CK_GCM_MESSAGE_PARAMS) ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    case MechanismKind::aesCtr: return writeCtr(mechanism, request);
    case MechanismKind::aesCbc:
    case MechanismKind::aesCbcPad: return writeCbc(mechanism, request);
    case MechanismKind::hmacGeneral: return writeMacLength(mechanism, hashBytes(row.hash), request, facts);
    case MechanismKind::aesCmacGeneral: return writeMacLength(mechanism, kBlock, request, facts);
    case MechanismKind::ecdh: return writeEcdh(mechanism, request);
    case MechanismKind::aesKeyWrap: return checkWrapIv(mechanism, "\xa6\xa6\xa6\xa6\xa6\xa6\xa6\xa6");
    case MechanismKind::aesKeyWrapPad: return checkWrapIv(mechanism, "\xa6\x59\x59\xa6");
    // Parameters of EdDSA ask for Ed25519ctx or Ed25519ph, which are not the plain one.
    default: return mechanism.ulParameterLen == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
  }
}

}  // namespace quorate::pkcs11
