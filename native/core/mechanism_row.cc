// The table of mechanisms, and which of them fits which key and parameters (mechanism.h).
#include <algorithm>
#include <array>

#include "core/mechanism_parts.h"
#include "core/rsa.h"

namespace quorate {
namespace {

constexpr uint32_t ENCRYPT = kEncrypt, DECRYPT = kDecrypt, SIGN = kSign, VERIFY = kVerify, DIGEST = kDigest, WRAP = kWrap, UNWRAP = kUnwrap, DERIVE = kDerive,
                   GENERATE = kGenerate, GENERATE_PAIR = kGeneratePair;
constexpr KeyFamily NONE = KeyFamily::none, AES = KeyFamily::aes, SECRET = KeyFamily::secret, RSA = KeyFamily::rsa, EC = KeyFamily::ec,
                    EDWARDS = KeyFamily::edwards, MONTGOMERY = KeyFamily::montgomery;

constexpr MechanismRow kRows[] = {
#define M(name, number, kind, hash, key, least, most, uses) {number, MechanismKind::kind, Hash::hash, key, least, most, uses},
#include "core/mechanisms.def"
};

// All numbers are below this: one load finds a row.
constexpr uint32_t kNumbersEnd = 0x2200;
constexpr auto kIndex = [] {
  std::array<uint8_t, kNumbersEnd> index{};
  for (size_t i = 0; i < std::size(kRows); i++) index[kRows[i].number] = uint8_t(i + 1);
  return index;
}();

// Which parameters a request gives, and which a kind takes. What a mechanism does not have is not ignored: who sends it means another one.
enum Given : uint32_t {
  kIv = 1, kAad = 2, kTagBits = 4, kCounterBits = 8, kSaltBytes = 16, kMacBytes = 32, kBits = 64, kLabel = 128, kPeer = 256, kShared = 512, kHash = 1024, kMgf = 2048, kKdf = 4096,
};

uint32_t givenIn(const MechanismParams& p) {
  constexpr Hash none = Hash::HASH_UNSPECIFIED;
  const std::pair<bool, uint32_t> parts[] = {
      {!p.iv.empty(), kIv},           {!p.aad.empty(), kAad},       {p.tagBits != 0, kTagBits}, {p.counterBits != 0, kCounterBits}, {p.saltBytes != 0, kSaltBytes},
      {p.macBytes != 0, kMacBytes},   {p.bits != 0, kBits},         {!p.label.empty(), kLabel}, {!p.peerPublic.empty(), kPeer},     {!p.shared.empty(), kShared},
      {p.hash != none, kHash},        {p.mgf != none, kMgf},        {p.kdf != none, kKdf},
  };
  uint32_t given = 0;
  for (const auto& [present, bit] : parts) given |= present ? bit : 0;
  return given;
}

uint32_t takenBy(MechanismKind kind) {
  switch (kind) {
    case MechanismKind::aesCbc:
    case MechanismKind::aesCbcPad: return kIv;
    case MechanismKind::aesCtr: return kIv | kCounterBits;
    case MechanismKind::aesGcm: return kIv | kAad | kTagBits;
    case MechanismKind::aesCmacGeneral:
    case MechanismKind::hmacGeneral: return kMacBytes;
    case MechanismKind::rsaPss: return kHash | kMgf | kSaltBytes;
    case MechanismKind::rsaOaep: return kHash | kMgf | kLabel;
    case MechanismKind::rsaAesKeyWrap: return kHash | kMgf | kLabel | kBits;
    case MechanismKind::ecdh: return kPeer | kKdf | kShared;
    default: return 0;
  }
}

size_t sizeOfType(KeyType type) {
  const KeyRow* row = keyRow(type);
  return row == nullptr ? 0 : row->bytes;
}

bool isHash(Hash hash) { return hashBytes(hash) != 0; }

const char* faultOfPss(const Mechanism& mechanism, KeyType type) {
  const MechanismParams& p = mechanism.params;
  if (!isHash(p.hash) || !isHash(p.mgf)) return "PSS takes a hash and an MGF";
  if (isHash(mechanism.row->hash) && p.hash != mechanism.row->hash) return "the hash is not the mechanism's";
  return rsaPssFits(*keyRow(type), p.hash, p.saltBytes) ? nullptr : "the salt does not fit the modulus";
}

const char* faultOfOaep(const MechanismParams& p) {
  if (!isHash(p.hash) || !isHash(p.mgf)) return "OAEP takes a hash and an MGF";
  return nullptr;
}

// nullptr: the parameters fit the mechanism.
const char* faultOfParams(const Mechanism& mechanism, Use use, KeyType type) {
  const MechanismParams& p = mechanism.params;
  if ((givenIn(p) & ~takenBy(mechanism.row->kind)) != 0) return "the mechanism has no such parameter";
  switch (mechanism.row->kind) {
    case MechanismKind::aesCbc:
    case MechanismKind::aesCbcPad: return p.iv.size() == 16 ? nullptr : "the IV has 16 bytes";
    case MechanismKind::aesCtr: return p.iv.size() == 16 && p.counterBits >= 1 && p.counterBits <= 128 ? nullptr : "the counter block has 16 bytes, of which 1 to 128 bits count";
    case MechanismKind::aesGcm:
      if (p.iv.size() != 12) return "the IV has 12 bytes";
      return p.tagBits >= 96 && p.tagBits <= 128 && p.tagBits % 8 == 0 ? nullptr : "the tag has 96 to 128 bits in whole bytes";
    case MechanismKind::aesCmacGeneral: return p.macBytes >= 1 && p.macBytes <= 16 ? nullptr : "the MAC has 1 to 16 bytes";
    case MechanismKind::hmacGeneral: return p.macBytes >= 1 && p.macBytes <= hashBytes(mechanism.row->hash) ? nullptr : "the MAC is longer than the hash, or empty";
    case MechanismKind::rsaPss: return faultOfPss(mechanism, type);
    case MechanismKind::rsaOaep: return faultOfOaep(p);
    case MechanismKind::rsaAesKeyWrap:
      if (p.bits != 128 && p.bits != 192 && p.bits != 256) return "the AES key has 128, 192 or 256 bits";
      return faultOfOaep(p);
    case MechanismKind::ecdh:
      if (use == kDerive && p.peerPublic.empty()) return "the other side's public key is missing";
      return isHash(p.kdf) || p.shared.empty() ? nullptr : "shared data needs a KDF";
    default: return nullptr;
  }
}

size_t sizeOfCipher(const Mechanism& mechanism, bool encrypts, KeyType type, size_t n) {
  const size_t tag = mechanism.params.tagBits / 8;
  switch (mechanism.row->kind) {
    case MechanismKind::aesCbcPad: return encrypts ? n / 16 * 16 + 16 : n;
    case MechanismKind::aesGcm: return encrypts ? n + tag : n < tag ? 0 : n - tag;
    case MechanismKind::rsaRaw:
    case MechanismKind::rsaOaep: return sizeOfType(type);
    default: return n;
  }
}

size_t sizeOfSignature(const Mechanism& mechanism, KeyType type) {
  switch (mechanism.row->kind) {
    case MechanismKind::hmac: return hashBytes(mechanism.row->hash);
    case MechanismKind::aesCmac: return 16;
    case MechanismKind::hmacGeneral:
    case MechanismKind::aesCmacGeneral: return mechanism.params.macBytes;
    case MechanismKind::ecdsa: return 2 * sizeOfType(type);
    case MechanismKind::eddsa: return 64;
    default: return sizeOfType(type);
  }
}

size_t sizeOfWrapping(const Mechanism& mechanism, bool wraps, KeyType type, size_t n) {
  const size_t padded = wraps ? (n + 7) / 8 * 8 + 8 : n < 8 ? 0 : n - 8;
  const size_t modulus = sizeOfType(type);
  switch (mechanism.row->kind) {
    case MechanismKind::rsaOaep: return modulus;
    case MechanismKind::rsaAesKeyWrap: return wraps ? modulus + padded : padded < modulus ? 0 : padded - modulus;
    default: return padded;
  }
}

}  // namespace

Code checkMechanism(const Mechanism& mechanism, Use use, KeyType type, const char** fact) {
  const MechanismRow* row = mechanism.row;
  const char* fault = nullptr;
  if (row == nullptr || (row->uses & use) == 0) return Code::MECHANISM_INVALID;
  const bool takesKey = (use & (kDigest | kGenerate | kGeneratePair)) == 0;
  if (takesKey) {
    const KeyFamily family = familyOf(type);
    const bool agreesOnMontgomery = row->kind == MechanismKind::ecdh && family == KeyFamily::montgomery;
    if (family != row->key && !agreesOnMontgomery) return Code::KEY_USAGE_DENIED;
  }
  fault = faultOfParams(mechanism, use, type);
  if (fault == nullptr) return Code::OK;
  if (fact != nullptr) *fact = fault;
  return Code::MECHANISM_PARAM_INVALID;
}

size_t resultBytes(const Mechanism& mechanism, Use use, KeyType type, size_t inputBytes) {
  switch (use) {
    case kEncrypt:
    case kDecrypt: return sizeOfCipher(mechanism, use == kEncrypt, type, inputBytes);
    case kSign: return sizeOfSignature(mechanism, type);
    case kDigest: return hashBytes(mechanism.row->hash);
    case kWrap:
    case kUnwrap: return sizeOfWrapping(mechanism, use == kWrap, type, inputBytes);
    default: return 0;
  }
}

const MechanismRow* mechanismRow(uint32_t number) {
  if (number >= kNumbersEnd || kIndex[number] == 0) return nullptr;
  return &kRows[kIndex[number] - 1];
}

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
    case KeyType::KEY_TYPE_UNSPECIFIED: break;
  }
  return KeyFamily::none;
}

}  // namespace quorate
