#include "pkcs11/mechanisms.h"

#include <cstring>

namespace quorate::pkcs11 {

namespace {

constexpr CK_FLAGS kBoth = CKF_SIGN | CKF_VERIFY;
constexpr CK_FLAGS kCurve = kBoth | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;
constexpr Hash kOpen = Hash::HASH_UNSPECIFIED;
using enum InputForm;

// SHA-1 is absent: the daemon neither makes nor accepts signatures over it (SP 800-131A).
constexpr MechanismRow kRows[] = {
    {CKM_ECDSA, KeyScheme::ECDSA, digest, kOpen, 256, 521, kCurve},
    {CKM_ECDSA_SHA224, KeyScheme::ECDSA, message, Hash::SHA_224, 256, 521, kCurve},
    {CKM_ECDSA_SHA256, KeyScheme::ECDSA, message, Hash::SHA_256, 256, 521, kCurve},
    {CKM_ECDSA_SHA384, KeyScheme::ECDSA, message, Hash::SHA_384, 256, 521, kCurve},
    {CKM_ECDSA_SHA512, KeyScheme::ECDSA, message, Hash::SHA_512, 256, 521, kCurve},
    {CKM_EDDSA, KeyScheme::EDDSA, message, kOpen, 255, 255, kBoth | CKF_EC_F_P | CKF_EC_NAMEDCURVE},
    {CKM_RSA_PKCS, KeyScheme::RSA_PKCS1, digestInfo, kOpen, 2048, 4096, kBoth},
    {CKM_SHA224_RSA_PKCS, KeyScheme::RSA_PKCS1, message, Hash::SHA_224, 2048, 4096, kBoth},
    {CKM_SHA256_RSA_PKCS, KeyScheme::RSA_PKCS1, message, Hash::SHA_256, 2048, 4096, kBoth},
    {CKM_SHA384_RSA_PKCS, KeyScheme::RSA_PKCS1, message, Hash::SHA_384, 2048, 4096, kBoth},
    {CKM_SHA512_RSA_PKCS, KeyScheme::RSA_PKCS1, message, Hash::SHA_512, 2048, 4096, kBoth},
    {CKM_RSA_PKCS_PSS, KeyScheme::RSA_PSS, digest, kOpen, 2048, 4096, kBoth},
    {CKM_SHA224_RSA_PKCS_PSS, KeyScheme::RSA_PSS, message, Hash::SHA_224, 2048, 4096, kBoth},
    {CKM_SHA256_RSA_PKCS_PSS, KeyScheme::RSA_PSS, message, Hash::SHA_256, 2048, 4096, kBoth},
    {CKM_SHA384_RSA_PKCS_PSS, KeyScheme::RSA_PSS, message, Hash::SHA_384, 2048, 4096, kBoth},
    {CKM_SHA512_RSA_PKCS_PSS, KeyScheme::RSA_PSS, message, Hash::SHA_512, 2048, 4096, kBoth},
};

struct HashRow {
  Hash hash;
  size_t bytes;
  CK_MECHANISM_TYPE mechanism;
  CK_ULONG mgf;
};
constexpr HashRow kHashes[] = {
    {Hash::SHA_224, 28, CKM_SHA224, CKG_MGF1_SHA224},
    {Hash::SHA_256, 32, CKM_SHA256, CKG_MGF1_SHA256},
    {Hash::SHA_384, 48, CKM_SHA384, CKG_MGF1_SHA384},
    {Hash::SHA_512, 64, CKM_SHA512, CKG_MGF1_SHA512},
};

Hash hashOfLength(size_t bytes) {
  for (const HashRow& row : kHashes)
    if (row.bytes == bytes) return row.hash;
  return kOpen;
}

CK_RV choosePss(const CK_MECHANISM& mechanism, const KeyEntry& key, Chosen* out) {
  CK_RSA_PKCS_PSS_PARAMS params;
  if (mechanism.pParameter == nullptr || mechanism.ulParameterLen != sizeof(params)) return CKR_MECHANISM_PARAM_INVALID;
  std::memcpy(&params, mechanism.pParameter, sizeof(params));
  for (const HashRow& row : kHashes) {
    if (row.mechanism != params.hashAlg || row.mgf != params.mgf) continue;
    const bool fits = params.sLen >= 1 && params.sLen <= keyBits(key.type) / 8 - row.bytes - 2;
    if (!fits || (out->row->hash != kOpen && out->row->hash != row.hash)) return CKR_MECHANISM_PARAM_INVALID;
    out->hash = row.hash;
    out->saltBytes = static_cast<uint32_t>(params.sLen);
    return CKR_OK;
  }
  return CKR_MECHANISM_PARAM_INVALID;
}

}  // namespace

std::span<const MechanismRow> mechanisms() { return kRows; }

const MechanismRow* mechanismRow(CK_MECHANISM_TYPE type) {
  for (const MechanismRow& row : kRows)
    if (row.type == type) return &row;
  return nullptr;
}

size_t keyBits(KeyType type) {
  switch (type) {
    case KeyType::EC_P256: return 256;
    case KeyType::EC_P384: return 384;
    case KeyType::EC_P521: return 521;
    case KeyType::ED25519: return 255;
    case KeyType::RSA_2048: return 2048;
    case KeyType::RSA_3072: return 3072;
    case KeyType::RSA_4096: return 4096;
    default: return 0;
  }
}

size_t signatureBytes(KeyType type) {
  const size_t bytes = (keyBits(type) + 7) / 8;
  return keyBits(type) < 2048 ? 2 * bytes : bytes;
}

size_t hashBytes(Hash hash) {
  for (const HashRow& row : kHashes)
    if (row.hash == hash) return row.bytes;
  return 0;
}

CK_RV choose(const CK_MECHANISM& mechanism, const KeyEntry& key, Chosen* out) {
  out->row = mechanismRow(mechanism.mechanism);
  if (out->row == nullptr) return CKR_MECHANISM_INVALID;
  // A key keeps to one scheme; the scheme stands for the type too.
  if (out->row->scheme != key.scheme) return CKR_KEY_TYPE_INCONSISTENT;
  if (out->row->scheme == KeyScheme::RSA_PSS) return choosePss(mechanism, key, out);
  // Parameters of EdDSA ask for Ed25519ctx or Ed25519ph, which are not the plain one.
  if (mechanism.ulParameterLen != 0) return CKR_MECHANISM_PARAM_INVALID;
  out->hash = out->row->hash;
  return CKR_OK;
}

CK_RV inputOf(const Chosen& chosen, std::string_view given, SignInput* out) {
  *out = {given, chosen.row->input != message, chosen.hash};
  switch (chosen.row->input) {
    case message: return CKR_OK;
    case digestInfo:
      if (!readDigestInfo(given, &out->bytes)) return CKR_DATA_INVALID;
      out->hash = hashOfLength(out->bytes.size());
      return CKR_OK;
    case digest:
      if (chosen.hash == kOpen) out->hash = hashOfLength(given.size());
      return out->hash != kOpen && given.size() == hashBytes(out->hash) ? CKR_OK : CKR_DATA_LEN_RANGE;
  }
  return CKR_GENERAL_ERROR;
}

}  // namespace quorate::pkcs11
