#include "core/transport.h"

#include <algorithm>

#include "core/gcm.h"
#include "core/hpke.h"
#include "core/key_der.h"
#include "core/key_row.h"
#include "core/mechanism.h"
#include "core/random.h"
#include "core/rsa.h"
#include "core/stack_scrub.h"

namespace quorate {
namespace {

constexpr uint32_t kRsaAesKeyWrap = 0x1054;  // CKM_
constexpr unsigned kFreshKeyBits = 256;
constexpr size_t kKwpBytesMin = 16;
constexpr unsigned kFactorsBelow = 752;  // NIST SP 800-89, 5.3.3

Bytes info() { return {reinterpret_cast<const uint8_t*>(kTransportInfo), sizeof kTransportInfo - 1}; }

bool isRsa(KeyType type) { return type >= KeyType::RSA_2048; }

// Whether an odd number from 3 to below 752 divides it.
bool hasSmallFactor(Bytes number) {
  for (unsigned divisor = 3; divisor < kFactorsBelow; divisor += 2) {
    unsigned rest = 0;
    for (const uint8_t byte : number) rest = (rest << 8 | byte) % divisor;
    if (rest == 0) return true;
  }
  return false;
}

Code refuse(std::string* detail, const char* fact) {
  *detail = fact;
  return Code::KEY_INVALID;
}

// Nothing is wrapped to it but a byte: an X25519 point of small order gives itself away by its shared secret.
Code tryHpke(Bytes publicKey, std::string* detail) {
  const uint8_t probe = 0;
  Buffer sealed(1 + kHpkeOverheadBytes);
  const Code code = hpkeSeal(publicKey, info(), {}, {&probe, 1}, sealed);
  return code == Code::KEY_INVALID ? refuse(detail, "the X25519 key is a point of small order") : code;
}

const char* otherType(KeyType type) {
  switch (type) {
    case KeyType::ED25519: return "an Ed25519 key signs, and nothing can be wrapped to it: take X25519 or RSA";
    case KeyType::EC_P256:
    case KeyType::EC_P384:
    case KeyType::EC_P521: return "nothing is wrapped to NIST curves here: take X25519 or RSA";
    default: return "it is no RSA key of 2048, 3072 or 4096 bits, and no X25519 key";
  }
}

Mechanism rsaAesKeyWrap() {
  Mechanism mechanism{.row = mechanismRow(kRsaAesKeyWrap)};
  mechanism.params.hash = mechanism.params.mgf = Hash::SHA_256;
  mechanism.params.bits = kFreshKeyBits;
  return mechanism;
}

Code wrapHpke(Bytes publicKey, Bytes aad, Bytes material, Buffer* wrapped) {
  Buffer sealed(material.size() + kHpkeOverheadBytes);
  const Code code = hpkeSeal(publicKey, info(), aad, material, sealed);
  if (code == Code::OK) *wrapped = std::move(sealed);
  return code;
}

Code openHpke(const TransportOpener& with, Bytes wrapped, size_t bytesMax, Secret* out) {
  if (wrapped.size() <= kHpkeOverheadBytes || wrapped.size() > bytesMax) return Code::CIPHERTEXT_INVALID;
  Secret opened;
  Code code = Secret::make(wrapped.size() - kHpkeOverheadBytes, &opened);
  if (code == Code::OK) code = hpkeOpen(with.stored, info(), with.context, wrapped, opened.span());
  if (code == Code::OK) *out = std::move(opened);
  return code;
}

Code openRsaAes(const TransportOpener& with, Bytes wrapped, Secret* out) {
  const size_t modulus = keyRow(with.type)->bytes;
  if (wrapped.size() < modulus + kKwpBytesMin || wrapped.size() > limits::secret_bytes_max) return Code::CIPHERTEXT_INVALID;
  Secret fresh, opened;
  Code code = oaepDecrypt(with.stored, with.hash, {}, wrapped.first(modulus), &fresh);
  if (code != Code::OK) return code;
  if (fresh.size() != 16 && fresh.size() != 24 && fresh.size() != 32) return Code::CIPHERTEXT_INVALID;
  const Bytes rest = wrapped.subspan(modulus);
  code = Secret::make(rest.size(), &opened);
  if (code != Code::OK) return code;
  size_t written = 0;
  code = withScrubbedStack([&] { return aesUnwrap(fresh, true, rest, opened.span(), &written); });
  if (code != Code::OK) return code;
  opened.truncate(written);
  *out = std::move(opened);
  return Code::OK;
}

// One message's key, on the stack for one call.
struct ValueKey {
  GcmKey gcmKey;
  ValueKey(Bytes once, size_t messageBytes) { gcm().initOnce(&gcmKey, once.data(), once.size(), messageBytes); }
  ~ValueKey() { wipe(&gcmKey, sizeof gcmKey); }
};

Code wrapValueRsa(const TransportRecipient& to, Bytes value, Buffer* wrapped) {
  const KeyRow& row = *keyRow(to.type);
  const Bytes publicKey = publicOctets(row, to.spki);
  if (publicKey.empty()) return Code::KEY_INVALID;
  Buffer out(row.bytes + kValueNonceBytes + value.size() + kValueTagBytes);
  Secret once;
  Code code = Secret::random(kFreshKeyBits / 8, &once);
  const OaepOptions oaep{Hash::SHA_256, Hash::SHA_256, {}};
  if (code == Code::OK) code = withScrubbedStack([&] { return rsaOaepEncrypt(row, publicKey, oaep, once, MutBytes(out).first(row.bytes)); });
  if (code != Code::OK) return code;
  uint8_t* nonce = out.data() + row.bytes;
  randomNonce({nonce, kValueNonceBytes});
  withScrubbedStack([&] {
    const ValueKey key(once, value.size());
    uint8_t* body = nonce + kValueNonceBytes;
    gcm().seal(&key.gcmKey, nonce, nullptr, 0, value.data(), value.size(), body, body + value.size());
    return 0;
  });
  *wrapped = std::move(out);
  return Code::OK;
}

Code openValueRsa(const TransportOpener& with, Bytes wrapped, Secret* out) {
  const size_t modulus = keyRow(with.type)->bytes, overhead = modulus + kValueNonceBytes + kValueTagBytes;
  if (wrapped.size() < overhead || wrapped.size() > overhead + limits::secret_value_bytes_max) return Code::CIPHERTEXT_INVALID;
  Secret once, opened;
  Code code = oaepDecrypt(with.stored, Hash::SHA_256, {}, wrapped.first(modulus), &once);
  if (code != Code::OK) return code;
  if (once.size() != kFreshKeyBits / 8) return Code::CIPHERTEXT_INVALID;
  const size_t n = wrapped.size() - overhead;
  code = Secret::make(std::max<size_t>(n, 1), &opened);
  if (code != Code::OK) return code;
  const uint8_t *nonce = wrapped.data() + modulus, *body = nonce + kValueNonceBytes;
  const bool ok = withScrubbedStack([&] {
    const ValueKey key(once, n);
    return gcm().open(&key.gcmKey, nonce, nullptr, 0, body, n, opened.data(), body + n, kValueTagBytes);
  });
  if (!ok) return Code::CIPHERTEXT_INVALID;
  if (n > 0) *out = std::move(opened);
  return Code::OK;
}

}  // namespace

Code readRecipient(Bytes spki, TransportRecipient* out, std::string* detail) {
  const KeyType type = keyTypeOf(MaterialFormat::SPKI_PUBLIC, spki);
  if (!isRsa(type) && type != KeyType::X25519) return refuse(detail, otherType(type));
  Secret none;
  Code code = importKey(type, MaterialFormat::SPKI_PUBLIC, spki, &none, &out->spki, detail);
  if (code != Code::OK) return code;
  const Bytes octets = publicOctets(*keyRow(type), out->spki);
  if (isRsa(type)) {
    RsaPublicParts parts;
    if (!readRsaPublicKey(octets, &parts)) return Code::INTERNAL;
    if (hasSmallFactor(parts.n)) code = refuse(detail, "the modulus has a small factor");
    if (rsaIsRoca(parts.n)) code = refuse(detail, "the modulus is of a form whose primes can be found (CVE-2017-15361)");
  } else {
    code = tryHpke(octets, detail);
  }
  out->type = type;
  out->mechanism = isRsa(type) ? WrapMechanism::WRAP_RSA_AES_KEY_WRAP : WrapMechanism::WRAP_HPKE;
  return code;
}

Code wrapTransport(const TransportRecipient& to, Bytes aad, KeyType type, Bytes stored, Bytes spki, Buffer* wrapped) {
  Secret material;
  const MaterialFormat format = isAsymmetric(type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW;
  const Code code = exportMaterial(type, format, stored, spki, &material);
  if (code != Code::OK) return code;
  if (to.mechanism == WrapMechanism::WRAP_HPKE) return wrapHpke(publicOctets(*keyRow(to.type), to.spki), aad, material, wrapped);
  return mechanismWrap(rsaAesKeyWrap(), {.type = to.type, .spki = to.spki}, material, wrapped);
}

Code unwrapTransport(const TransportOpener& with, Bytes wrapped, Secret* out) {
  const bool wantsX25519 = with.mechanism == WrapMechanism::WRAP_HPKE;
  if (wantsX25519 ? with.type != KeyType::X25519 : !isRsa(with.type)) return Code::BAD_REQUEST;
  Secret opened;
  Code code;
  switch (with.mechanism) {
    case WrapMechanism::WRAP_HPKE: code = openHpke(with, wrapped, limits::secret_bytes_max, &opened); break;
    case WrapMechanism::WRAP_RSA_AES_KEY_WRAP: code = openRsaAes(with, wrapped, &opened); break;
    case WrapMechanism::WRAP_RSA_OAEP: code = oaepDecrypt(with.stored, with.hash, with.context, wrapped, &opened); break;
    default: return Code::BAD_REQUEST;
  }
  if (code == Code::OK && opened.empty()) code = Code::CIPHERTEXT_INVALID;
  if (code == Code::OK) *out = std::move(opened);
  return code;
}

Code wrapValue(const TransportRecipient& to, Bytes aad, Bytes value, Buffer* wrapped) {
  if (value.size() > limits::secret_value_bytes_max) return Code::INPUT_TOO_LONG;
  if (to.mechanism == WrapMechanism::WRAP_HPKE) return wrapHpke(publicOctets(*keyRow(to.type), to.spki), aad, value, wrapped);
  return wrapValueRsa(to, value, wrapped);
}

Code unwrapValue(const TransportOpener& with, Bytes wrapped, Secret* out) {
  *out = Secret();
  if (isRsa(with.type)) return openValueRsa(with, wrapped, out);
  if (with.type != KeyType::X25519) return Code::BAD_REQUEST;
  if (wrapped.size() == kHpkeOverheadBytes) return hpkeOpen(with.stored, info(), with.context, wrapped, {});
  return openHpke(with, wrapped, limits::secret_value_bytes_max + kHpkeOverheadBytes, out);
}

}  // namespace quorate
