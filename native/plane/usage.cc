#include "plane/usage.h"

#include <initializer_list>

namespace quorate {

namespace {

struct SchemeRow {
  KeyScheme scheme;
  std::initializer_list<KeyType> types;
  std::initializer_list<Method> methods;
};

using enum KeyType;
using enum KeyScheme;

const SchemeRow kSchemes[] = {
    {KEY_SCHEME_UNSPECIFIED, {}, {Method::FetchSecret}},  // a secret's value, which is no key: of no type, and nothing else is done with it
    {MANAGED, {AES_256}, {Method::Encrypt, Method::Decrypt, Method::GenerateDataKey, Method::Wrap, Method::Unwrap, Method::Rewrap, Method::EncryptStream, Method::DecryptStream}},
    {AES_GCM, {AES_128, AES_192, AES_256}, {Method::Encrypt, Method::Decrypt}},
    {AES_CBC, {AES_128, AES_192, AES_256}, {Method::Encrypt, Method::Decrypt}},
    {AES_CTR, {AES_128, AES_192, AES_256}, {Method::Encrypt, Method::Decrypt}},
    {AES_KW, {AES_128, AES_192, AES_256}, {Method::Wrap, Method::Unwrap}},
    {AES_CMAC, {AES_128, AES_192, AES_256}, {Method::Mac, Method::VerifyMac}},
    {HMAC_SHA256, {HMAC}, {Method::Mac, Method::VerifyMac}},
    {HMAC_SHA384, {HMAC}, {Method::Mac, Method::VerifyMac}},
    {HMAC_SHA512, {HMAC}, {Method::Mac, Method::VerifyMac}},
    {ECDSA, {EC_P256, EC_P384, EC_P521}, {Method::Sign, Method::Verify}},
    {EDDSA, {ED25519}, {Method::Sign, Method::Verify}},
    {ECDH, {EC_P256, EC_P384, EC_P521, X25519}, {Method::Derive}},
    {RSA_PSS, {RSA_2048, RSA_3072, RSA_4096}, {Method::Sign, Method::Verify}},
    {RSA_PKCS1, {RSA_2048, RSA_3072, RSA_4096}, {Method::Sign, Method::Verify}},
    {PKCS11,
     {AES_128, AES_192, AES_256, HMAC, EC_P256, EC_P384, EC_P521, ED25519, X25519, RSA_2048, RSA_3072, RSA_4096},
     {Method::MechanismEncrypt, Method::MechanismDecrypt, Method::MechanismSign, Method::MechanismVerify, Method::WrapObject, Method::CopyObject, Method::UnwrapObject, Method::DeriveObject,
      Method::GetObjectValue}},
    {RSA_OAEP, {RSA_2048, RSA_3072, RSA_4096}, {Method::Encrypt, Method::Decrypt, Method::Wrap, Method::Unwrap}},
};

constexpr unsigned kSchemeCount = 17, kTypeCount = 13, kMethodCount = 128;

// The table as bits, built once: a lookup on the hot path is one load.
struct Bits {
  bool method[kSchemeCount][kMethodCount] = {};
  bool type[kSchemeCount][kTypeCount] = {};
  Bits() {
    for (const SchemeRow& row : kSchemes) {
      for (const Method m : row.methods) method[static_cast<uint32_t>(row.scheme)][static_cast<uint16_t>(m)] = true;
      for (const KeyType t : row.types) type[static_cast<uint32_t>(row.scheme)][static_cast<uint32_t>(t)] = true;
    }
  }
};
const Bits kBits;

}  // namespace

bool schemeAllows(KeyScheme scheme, Method method) {
  const auto s = static_cast<uint32_t>(scheme);
  const auto m = static_cast<uint16_t>(method);
  return s < kSchemeCount && m < kMethodCount && kBits.method[s][m];
}

bool typeHasScheme(KeyType type, KeyScheme scheme) {
  const auto s = static_cast<uint32_t>(scheme);
  const auto t = static_cast<uint32_t>(type);
  return s < kSchemeCount && t < kTypeCount && kBits.type[s][t];
}

KeyScheme defaultScheme(KeyType type) {
  switch (type) {
    case AES_256: return MANAGED;
    case AES_128:
    case AES_192: return AES_GCM;
    case HMAC: return HMAC_SHA256;
    case EC_P256:
    case EC_P384:
    case EC_P521: return ECDSA;
    case ED25519: return EDDSA;
    case X25519: return ECDH;
    case RSA_2048:
    case RSA_3072:
    case RSA_4096: return RSA_PSS;
    default: return KEY_SCHEME_UNSPECIFIED;
  }
}

bool needsPrivate(Method method) {
  return method == Method::Sign || method == Method::Decrypt || method == Method::Unwrap || method == Method::Derive;
}

}  // namespace quorate
