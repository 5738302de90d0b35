// X25519 (RFC 7748).
#include <array>

#include "core/curve25519.h"

namespace quorate {
namespace {

Code publicOf(const KeyRow&, Bytes stored, Buffer* publicKey) {
  const Pkey pair(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, stored.data(), stored.size()));
  Buffer octets(kCurve25519Bytes);
  size_t length = octets.size();
  if (!pair || !EVP_PKEY_get_raw_public_key(pair.get(), octets.data(), &length)) return Code::INTERNAL;
  *publicKey = std::move(octets);
  return Code::OK;
}

Code agree(const KeyRow&, Bytes stored, Bytes peer, Secret* z) {
  if (peer.size() != kCurve25519Bytes) return Code::KEY_INVALID;
  // A derivation reads the private half only, so libcrypto is spared the multiplication that its own public half would cost.
  constexpr std::array<uint8_t, kCurve25519Bytes> kUnused = {9};
  const Pkey ours = curve25519Pair("X25519", stored, kUnused);
  const Pkey theirs(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), peer.size()));
  if (!ours || !theirs) return Code::INTERNAL;
  const PkeyContext context(EVP_PKEY_CTX_new(ours.get(), nullptr));
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), theirs.get()) != 1) {
    return Code::INTERNAL;
  }
  Secret result;
  const Code code = Secret::make(kCurve25519Bytes, &result);
  if (code != Code::OK) return code;
  size_t length = result.size();
  // Fails for a peer of small order, whose result is all zeros whatever our key is (RFC 7748 6.1).
  if (EVP_PKEY_derive(context.get(), result.data(), &length) != 1 || length != result.size()) return Code::KEY_INVALID;
  *z = std::move(result);
  return Code::OK;
}

// A private key of no consequence, to see what becomes of a public one.
constexpr std::array<uint8_t, kCurve25519Bytes> kProbe = {0x71, 0x75, 0x6f, 0x72, 0x61, 0x74, 0x65};

Code checkPublic(const KeyRow& row, Bytes publicKey, std::string* detail) {
  if (publicKey.size() != kCurve25519Bytes) return keyInvalid(detail, "the public key does not have 32 bytes");
  Secret z;
  const Code code = agree(row, kProbe, publicKey, &z);
  return code == Code::KEY_INVALID ? keyInvalid(detail, "the public point is of small order") : code;
}

Code pairwise(const KeyRow& row, Bytes stored, Bytes publicKey) {
  Buffer probePublic;
  Secret ours, theirs;
  if (publicOf(row, kProbe, &probePublic) != Code::OK || agree(row, stored, probePublic, &ours) != Code::OK ||
      agree(row, kProbe, publicKey, &theirs) != Code::OK) {
    return Code::SELF_TEST_FAILED;
  }
  return equalConstantTime(ours, theirs) ? Code::OK : Code::SELF_TEST_FAILED;
}

}  // namespace

const AsymmetricVerbs kX25519Verbs = {
    .signatures = {},
    .signsMessage = false,
    .generate = curve25519Generate,
    .readInner = curve25519ReadInner,
    .writeInner = curve25519WriteInner,
    .checkPrivate = curve25519CheckPrivate,
    .publicOf = publicOf,
    .checkPublic = checkPublic,
    .pairwise = pairwise,
    .prepare = nullptr,
    .sign = nullptr,
    .verify = nullptr,
    .agree = agree,
};

}  // namespace quorate
