// The table of mechanisms, and which of them fits which key and parameters (mechanism.h).
#include <algorithm>
#include <array>

#include "core/mechanism.h"

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

}  // namespace

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
