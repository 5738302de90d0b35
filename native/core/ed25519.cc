// Ed25519 (RFC 8032, FIPS 186-5 7), pure; and what it shares with X25519.
#include <openssl/core_names.h>

#include <algorithm>
#include <array>

#include "core/curve25519.h"

namespace quorate {
namespace {

Code publicOf(const KeyRow&, Bytes stored, Buffer* publicKey) {
  const Pkey pair(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, stored.data(), stored.size()));
  Buffer octets(kCurve25519Bytes);
  size_t length = octets.size();
  if (!pair || !EVP_PKEY_get_raw_public_key(pair.get(), octets.data(), &length)) return Code::INTERNAL;
  *publicKey = std::move(octets);
  return Code::OK;
}

// The y of the points whose order divides 8, little-endian, x's sign aside: for such a public key some signatures fit
// every message. The last two are of order 8.
constexpr uint8_t kSmallOrder[5][kCurve25519Bytes] = {
    {0x00},
    {0x01},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}};

// Whether RFC 8032 5.1.3 decodes y: (y^2 - 1) / (d y^2 + 1) is a square modulo p. libcrypto 3.0 has no call that says so.
bool isOnCurve(Bytes y) {
  std::array<uint8_t, kCurve25519Bytes> bigEndian;
  std::reverse_copy(y.begin(), y.end(), bigEndian.begin());
  BnContext context(BN_CTX_new());
  Bn value = publicNumber(bigEndian), p(BN_new()), d(BN_new()), u(BN_new()), v(BN_new());
  if (!context || !value || !p || !d || !u || !v) return false;
  BN_CTX* const c = context.get();
  const bool made = BN_set_bit(p.get(), 255) && BN_sub_word(p.get(), 19) &&
                    // d = -121665 / 121666
                    BN_set_word(d.get(), 121666) && BN_mod_inverse(d.get(), d.get(), p.get(), c) && BN_mul_word(d.get(), 121665) &&
                    BN_sub(d.get(), p.get(), d.get()) && BN_nnmod(d.get(), d.get(), p.get(), c);
  if (!made || BN_ucmp(value.get(), p.get()) >= 0) return false;
  // u / v is a square exactly when u * v is; u = 0 (y = 1 or -1) is of small order and does not come here.
  return BN_mod_sqr(u.get(), value.get(), p.get(), c) && BN_mod_mul(v.get(), u.get(), d.get(), p.get(), c) && BN_add_word(v.get(), 1) &&
         BN_sub_word(u.get(), 1) && BN_mod_mul(u.get(), u.get(), v.get(), p.get(), c) && BN_kronecker(u.get(), p.get(), c) == 1;
}

Code checkPublic(const KeyRow&, Bytes publicKey, std::string* detail) {
  if (publicKey.size() != kCurve25519Bytes) return keyInvalid(detail, "the public key does not have 32 bytes");
  std::array<uint8_t, kCurve25519Bytes> y;
  std::copy(publicKey.begin(), publicKey.end(), y.begin());
  y[31] &= 0x7f;
  for (const auto& small : kSmallOrder) {
    if (std::equal(y.begin(), y.end(), small)) return keyInvalid(detail, "the public point is of small order");
  }
  if (!isOnCurve(y)) return keyInvalid(detail, "the public point is not on the curve");
  return Code::OK;
}

// The public half enters the signature, so signing without it costs another multiplication.
struct PreparedPublic final : PreparedPart {
  Buffer octets;
};

Code prepare(const KeyRow& row, Bytes stored, std::unique_ptr<PreparedPart>* out) {
  auto made = std::make_unique<PreparedPublic>();
  const Code code = publicOf(row, stored, &made->octets);
  if (code == Code::OK) *out = std::move(made);
  return code;
}

Code sign(const KeyRow& row, const SignOptions&, Bytes stored, PreparedPart* prepared, Bytes message, Buffer* signature) {
  Buffer publicKey;
  if (prepared != nullptr) {
    publicKey = static_cast<PreparedPublic*>(prepared)->octets;
  } else {
    const Code code = publicOf(row, stored, &publicKey);
    if (code != Code::OK) return code;
  }
  const Pkey pair = curve25519Pair("ED25519", stored, publicKey);
  const DigestContext context(EVP_MD_CTX_new());
  Buffer result(64);
  size_t length = result.size();
  if (!pair || !context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, pair.get()) != 1 ||
      EVP_DigestSign(context.get(), result.data(), &length, message.data(), message.size()) != 1 || length != result.size()) {
    return Code::INTERNAL;
  }
  *signature = std::move(result);
  return Code::OK;
}

Code verify(const KeyRow&, const SignOptions&, Bytes publicKey, Bytes message, Bytes signature, bool* valid) {
  *valid = false;
  const Pkey pair(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, publicKey.data(), publicKey.size()));
  if (!pair) return Code::KEY_INVALID;
  if (signature.size() != 64) return Code::OK;
  const DigestContext context(EVP_MD_CTX_new());
  if (!context || EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pair.get()) != 1) return Code::INTERNAL;
  // Cofactorless; an S of the order and more is refused in there (RFC 8032 8.4, malleability).
  *valid = EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  return Code::OK;
}

Code pairwise(const KeyRow& row, Bytes stored, Bytes publicKey) {
  constexpr std::array<uint8_t, 7> kMessage = {0x71, 0x75, 0x6f, 0x72, 0x61, 0x74, 0x65};
  const SignOptions options{.type = row.type, .scheme = KeyScheme::EDDSA};
  Buffer signature;
  bool valid = false;
  if (sign(row, options, stored, nullptr, kMessage, &signature) == Code::OK) verify(row, options, publicKey, kMessage, signature, &valid);
  return valid ? Code::OK : Code::SELF_TEST_FAILED;
}

}  // namespace

Pkey curve25519Pair(const char* name, Bytes privateKey, Bytes publicKey) {
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, name, nullptr));
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1) return nullptr;
  OSSL_PARAM parts[] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, const_cast<uint8_t*>(privateKey.data()), privateKey.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<uint8_t*>(publicKey.data()), publicKey.size()),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* pair = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &pair, EVP_PKEY_KEYPAIR, parts) != 1) return nullptr;
  return Pkey(pair);
}

Code curve25519ReadInner(const KeyRow&, Bytes inner, Bytes* stored, Bytes* publicInside, std::string* detail) {
  DerReader in(inner);
  if (!in.read(der::kOctetString, stored) || !in.atEnd()) return keyInvalid(detail, "CurvePrivateKey is not strict DER");
  *publicInside = {};
  return Code::OK;
}

void curve25519WriteInner(const KeyRow&, Bytes stored, Bytes, DerWriter* writer) { writer->element(der::kOctetString, stored); }

Code curve25519Generate(const KeyRow&, Secret* stored) { return Secret::random(kCurve25519Bytes, stored); }

Code curve25519CheckPrivate(const KeyRow&, Bytes stored, std::string* detail) {
  return stored.size() == kCurve25519Bytes ? Code::OK : keyInvalid(detail, "the private key does not have 32 bytes");
}

const AsymmetricVerbs kEd25519Verbs = {
    .signatures = {KeyScheme::EDDSA, KeyScheme::EDDSA},
    .signsMessage = true,
    .generate = curve25519Generate,
    .readInner = curve25519ReadInner,
    .writeInner = curve25519WriteInner,
    .checkPrivate = curve25519CheckPrivate,
    .publicOf = publicOf,
    .checkPublic = checkPublic,
    .pairwise = pairwise,
    .prepare = prepare,
    .sign = sign,
    .verify = verify,
    .agree = nullptr,
};

}  // namespace quorate
