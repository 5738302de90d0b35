#include "pkcs11/mechanisms.h"

#include <algorithm>
#include <array>

namespace quorate::pkcs11 {

namespace {

using enum Hash;

constexpr MechanismRow kRows[] = {
#define NONE none
#define AES aes
#define SECRET secret
#define RSA rsa
#define EC ec
#define EDWARDS edwards
#define MONTGOMERY montgomery
#define ENCRYPT kEncrypt
#define DECRYPT kDecrypt
#define SIGN kSign
#define VERIFY kVerify
#define DIGEST kDigest
#define WRAP kWrap
#define UNWRAP kUnwrap
#define DERIVE kDerive
#define GENERATE kGenerate
#define GENERATE_PAIR kGeneratePair
#define FAMILY(key) KeyFamily::key
#define M(name, number, kind, hash, key, least, most, uses) {number, MechanismKind::kind, hash, FAMILY(key), least, most, static_cast<uint32_t>(uses)},
#include "core/mechanisms.def"
#undef FAMILY
#undef NONE
#undef AES
#undef SECRET
#undef RSA
#undef EC
#undef EDWARDS
#undef MONTGOMERY
#undef ENCRYPT
#undef DECRYPT
#undef SIGN
#undef VERIFY
#undef DIGEST
#undef WRAP
#undef UNWRAP
#undef DERIVE
#undef GENERATE
#undef GENERATE_PAIR
};

constexpr size_t kNumbers = 0x210c;
static_assert(std::all_of(std::begin(kRows), std::end(kRows), [](const MechanismRow& row) { return row.type < kNumbers; }) && std::size(kRows) < 255);
// Which row, from 1: one load for each call of an Init.
constexpr auto kIndex = [] {
  std::array<uint8_t, kNumbers> out{};
  for (size_t i = 0; i < std::size(kRows); i++) out[kRows[i].type] = static_cast<uint8_t>(i + 1);
  return out;
}();

struct HashRow {
  Hash hash;
  size_t bytes;
  CK_MECHANISM_TYPE mechanism;
};
constexpr HashRow kHashes[] = {{SHA_1, 20, CKM_SHA_1}, {SHA_224, 28, CKM_SHA224}, {SHA_256, 32, CKM_SHA256}, {SHA_384, 48, CKM_SHA384}, {SHA_512, 64, CKM_SHA512}};

KeyFamily familyOf(KeyType type) {
  switch (type) {
    case KeyType::AES_128:
    case KeyType::AES_192:
    case KeyType::AES_256: return KeyFamily::aes;
    case KeyType::HMAC: return KeyFamily::secret;
    case KeyType::EC_P256:
    case KeyType::EC_P384:
    case KeyType::EC_P521: return KeyFamily::ec;
    case KeyType::ED25519: return KeyFamily::edwards;
    case KeyType::X25519: return KeyFamily::montgomery;
    case KeyType::RSA_2048:
    case KeyType::RSA_3072:
    case KeyType::RSA_4096: return KeyFamily::rsa;
    default: return KeyFamily::none;
  }
}

constexpr size_t kBlock = 16;

ResultLength cipherLength(const MechanismRow& row, const MechanismFacts& facts, bool isEncrypt, size_t modulus, size_t bytes) {
  switch (row.kind) {
    case MechanismKind::aesCbcPad: return isEncrypt ? ResultLength{(bytes / kBlock + 1) * kBlock} : ResultLength{bytes, false};
    case MechanismKind::aesGcm: return {isEncrypt ? bytes + facts.tagBytes : bytes - std::min<size_t>(bytes, facts.tagBytes)};
    case MechanismKind::rsaRaw: return {modulus};
    case MechanismKind::rsaOaep: return isEncrypt ? ResultLength{modulus} : ResultLength{modulus - 2 * hashBytes(facts.oaepHash) - 2, false};
    default: return {bytes};
  }
}

size_t signatureLength(const MechanismRow& row, const MechanismFacts& facts, KeyType key) {
  switch (row.kind) {
    case MechanismKind::hmac:
    case MechanismKind::digest: return hashBytes(row.hash);
    case MechanismKind::aesCmac: return kBlock;
    case MechanismKind::hmacGeneral:
    case MechanismKind::aesCmacGeneral: return facts.macBytes;
    case MechanismKind::ecdsa:
    case MechanismKind::eddsa: return 2 * ((keyBits(key) + 7) / 8);
    default: return keyBits(key) / 8;
  }
}

}  // namespace

std::span<const MechanismRow> mechanisms() { return kRows; }

const MechanismRow* mechanismRow(CK_MECHANISM_TYPE type) { return type < kNumbers && kIndex[type] != 0 ? &kRows[kIndex[type] - 1] : nullptr; }

CK_FLAGS MechanismRow::flags() const {
  constexpr std::pair<uint32_t, CK_FLAGS> kFlags[] = {{kEncrypt, CKF_ENCRYPT}, {kDecrypt, CKF_DECRYPT}, {kSign, CKF_SIGN}, {kVerify, CKF_VERIFY}, {kDigest, CKF_DIGEST},
                                                      {kWrap, CKF_WRAP}, {kUnwrap, CKF_UNWRAP}, {kDerive, CKF_DERIVE}, {kGenerate, CKF_GENERATE}, {kGeneratePair, CKF_GENERATE_KEY_PAIR}};
  CK_FLAGS out = 0;
  for (const auto& [use, flag] : kFlags)
    if ((uses & use) != 0) out |= flag;
  if (kind == MechanismKind::aesGcm) out |= CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
  if ((uses & kSign) != 0) out |= CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY;
  if (key == KeyFamily::ec) out |= CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;
  if (key == KeyFamily::edwards || key == KeyFamily::montgomery) out |= CKF_EC_F_P | CKF_EC_NAMEDCURVE;
  return out;
}

bool MechanismRow::takes(KeyType type) const {
  const KeyFamily family = familyOf(type);
  return family == key || (kind == MechanismKind::ecdh && family == KeyFamily::montgomery);
}

bool MechanismRow::isStreamed() const {
  switch (kind) {
    case MechanismKind::rsaPkcs:
    case MechanismKind::rsaPss:
    case MechanismKind::ecdsa: return hash != HASH_UNSPECIFIED;
    case MechanismKind::digest:
    case MechanismKind::hmac:
    case MechanismKind::hmacGeneral:
    case MechanismKind::aesCmac:
    case MechanismKind::aesCmacGeneral:
    case MechanismKind::aesEcb:
    case MechanismKind::aesCbc:
    case MechanismKind::aesCbcPad:
    case MechanismKind::aesCtr: return true;
    default: return false;
  }
}

size_t hashBytes(Hash hash) {
  for (const HashRow& row : kHashes)
    if (row.hash == hash) return row.bytes;
  return 0;
}

Hash hashOf(CK_MECHANISM_TYPE digest) {
  for (const HashRow& row : kHashes)
    if (row.mechanism == digest) return row.hash;
  return HASH_UNSPECIFIED;
}

ResultLength resultLength(const MechanismRow& row, const MechanismFacts& facts, Use use, KeyType key, size_t inputBytes) {
  if (use == kEncrypt || use == kDecrypt) return cipherLength(row, facts, use == kEncrypt, keyBits(key) / 8, inputBytes);
  return {signatureLength(row, facts, key)};
}

}  // namespace quorate::pkcs11
