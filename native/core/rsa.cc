// RSA (RFC 8017): signatures with PSS and PKCS#1 v1.5, encryption with OAEP only.
//
// Private operations go through libcrypto's CRT code: blinded, in constant time for primes of equal length (the only ones that
// an import lets in), and checked against the public exponent before the result leaves (a fault would give away a prime).
#include "core/rsa.h"

#include <algorithm>
#include <array>

#include "core/rsa_blinding.h"

namespace quorate {
namespace {

const EVP_MD* evpDigest(Hash hash) {
  switch (hash) {
    case Hash::SHA_1:
      return EVP_sha1();  // OAEP only: a signature never gets here with it
    case Hash::SHA_224:
      return EVP_sha224();
    case Hash::SHA_256:
      return EVP_sha256();
    case Hash::SHA_384:
      return EVP_sha384();
    case Hash::SHA_512:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

Code readInner(const KeyRow&, Bytes inner, Bytes* stored, Bytes* publicInside, std::string*) {
  *stored = inner;  // checkPrivate reads it
  *publicInside = {};
  return Code::OK;
}

void writeInner(const KeyRow&, Bytes stored, Bytes, DerWriter* writer) { writer->raw(stored); }

Code publicOf(const KeyRow&, Bytes stored, Buffer* publicKey) {
  RsaPrivateParts parts;
  if (!readRsaPrivateKey(stored, &parts)) return Code::INTERNAL;
  writeRsaPublicKey({.n = parts.n, .e = parts.e}, publicKey);
  return Code::OK;
}

// The salt's length: what was asked, else the hash's. False when the modulus is too short for it (RFC 8017 9.1.1 step 3).
bool pssSalt(const KeyRow& row, const SignOptions& options, int* saltBytes) {
  const size_t hash = hashBytes(options.hash), salt = options.saltBytes == 0 ? hash : options.saltBytes;
  *saltBytes = static_cast<int>(salt);
  return salt <= row.bytes - hash - 2;
}

// EMSA-PKCS1-v1_5 (RFC 8017 9.2): 00 01 ff ... ff 00 and the DigestInfo, whose bytes before the digest are these.
bool encodePkcs1(Hash hash, Bytes digest, MutBytes out) {
  const uint8_t last = hash == Hash::SHA_224 ? 4 : hash == Hash::SHA_256 ? 1 : hash == Hash::SHA_384 ? 2 : 3;  // 2.16.840.1.101.3.4.2.x
  const uint8_t length = static_cast<uint8_t>(digest.size());
  const uint8_t prefix[] = {0x30,  static_cast<uint8_t>(17 + length),
                            0x30,  0x0d,
                            0x06,  0x09,
                            0x60,  0x86,
                            0x48,  0x01,
                            0x65,  0x03,
                            0x04,  0x02,
                            last,  0x05,
                            0x00,  0x04,
                            length};
  std::array<uint8_t, sizeof prefix + 64> info;
  std::copy(std::begin(prefix), std::end(prefix), info.begin());
  std::copy(digest.begin(), digest.end(), info.begin() + sizeof prefix);
  return RSA_padding_add_PKCS1_type_1(out.data(), static_cast<int>(out.size()), info.data(),
                                      static_cast<int>(sizeof prefix + digest.size())) == 1;
}

Code sign(const KeyRow& row, const SignOptions& options, Bytes stored, PreparedPart* prepared, Bytes digest, Buffer* signature) {
  RsaPrivateParts parts;
  int saltBytes = 0;
  if (options.scheme == KeyScheme::RSA_PSS && !pssSalt(row, options, &saltBytes)) return Code::BAD_REQUEST;
  if (!readRsaPrivateKey(stored, &parts)) return Code::INTERNAL;
  const RsaKey key = rsaPrivate(parts);
  if (!key) return Code::INTERNAL;
  Buffer encoded(row.bytes), result(row.bytes);
  const EVP_MD* const md = evpDigest(options.hash);
  const bool padded = options.scheme == KeyScheme::RSA_PKCS1
                          ? encodePkcs1(options.hash, digest, encoded)
                          : RSA_padding_add_PKCS1_PSS_mgf1(key.get(), encoded.data(), digest.data(), md, md, saltBytes) == 1;
  if (!padded) return Code::INTERNAL;
  if (prepared != nullptr) {
    const Code code = static_cast<RsaBlinding*>(prepared)->privateOperation(key.get(), encoded, result);
    if (code != Code::OK) return code;
  } else if (RSA_private_encrypt(static_cast<int>(encoded.size()), encoded.data(), result.data(), key.get(), RSA_NO_PADDING) !=
             static_cast<int>(result.size())) {
    return Code::INTERNAL;
  }
  *signature = std::move(result);
  return Code::OK;
}

Code prepare(const KeyRow& row, Bytes, std::unique_ptr<PreparedPart>* out) {
  auto made = std::make_unique<RsaBlinding>();
  const Code code = made->open(row.bytes);
  if (code == Code::OK) *out = std::move(made);
  return code;
}

Code verify(const KeyRow& row, const SignOptions& options, Bytes publicKey, Bytes digest, Bytes signature, bool* valid) {
  *valid = false;
  RsaPublicParts parts;
  int saltBytes = 0;
  if (options.scheme == KeyScheme::RSA_PSS && !pssSalt(row, options, &saltBytes)) return Code::BAD_REQUEST;
  if (rsaCheckPublic(row, publicKey, nullptr) != Code::OK || !readRsaPublicKey(publicKey, &parts)) return Code::KEY_INVALID;
  if (signature.size() != row.bytes) return Code::OK;
  const RsaKey key = rsaPublic(parts);
  if (!key) return Code::INTERNAL;
  if (options.scheme == KeyScheme::RSA_PKCS1) {
    // Encodes the digest anew and compares the whole block: no parser that could be too lenient (Bleichenbacher 2006).
    *valid = RSA_verify(EVP_MD_get_type(evpDigest(options.hash)), digest.data(), static_cast<unsigned>(digest.size()), signature.data(),
                        static_cast<unsigned>(signature.size()), key.get()) == 1;
    return Code::OK;
  }
  Buffer encoded(row.bytes);
  const EVP_MD* const md = evpDigest(options.hash);
  *valid = RSA_public_decrypt(static_cast<int>(signature.size()), signature.data(), encoded.data(), key.get(), RSA_NO_PADDING) ==
               static_cast<int>(encoded.size()) &&
           RSA_verify_PKCS1_PSS_mgf1(key.get(), digest.data(), md, md, encoded.data(), saltBytes) == 1;
  return Code::OK;
}

Code pairwise(const KeyRow& row, Bytes stored, Bytes publicKey) {
  constexpr std::array<uint8_t, 32> kDigest = {0x71, 0x75, 0x6f, 0x72, 0x61, 0x74, 0x65};
  const SignOptions options{.type = row.type, .scheme = KeyScheme::RSA_PKCS1, .hash = Hash::SHA_256};
  Buffer signature;
  bool valid = false;
  if (sign(row, options, stored, nullptr, kDigest, &signature) == Code::OK) verify(row, options, publicKey, kDigest, signature, &valid);
  return valid ? Code::OK : Code::SELF_TEST_FAILED;
}

}  // namespace

Code rsaOaepEncrypt(const KeyRow& row, Bytes publicKey, Hash hash, Bytes label, Bytes in, Buffer* out) {
  RsaPublicParts parts;
  if (rsaCheckPublic(row, publicKey, nullptr) != Code::OK || !readRsaPublicKey(publicKey, &parts)) return Code::KEY_INVALID;
  if (in.size() > row.bytes - 2 * hashBytes(hash) - 2) return Code::INPUT_TOO_LONG;
  const RsaKey key = rsaPublic(parts);
  Secret encoded;  // holds the plaintext, masked by a seed that stands beside it
  const Code code = Secret::make(row.bytes, &encoded);
  if (code != Code::OK) return code;
  Buffer result(row.bytes);
  const int bytes = static_cast<int>(row.bytes);
  const EVP_MD* const md = evpDigest(hash);
  if (!key ||
      RSA_padding_add_PKCS1_OAEP_mgf1(encoded.data(), bytes, in.data(), static_cast<int>(in.size()), label.data(),
                                      static_cast<int>(label.size()), md, md) != 1 ||
      RSA_public_encrypt(bytes, encoded.data(), result.data(), key.get(), RSA_NO_PADDING) != bytes) {
    return Code::INTERNAL;
  }
  *out = std::move(result);
  return Code::OK;
}

Code rsaOaepDecrypt(const KeyRow& row, Bytes stored, Hash hash, Bytes label, Bytes in, Secret* out) {
  RsaPrivateParts parts;
  if (!readRsaPrivateKey(stored, &parts)) return Code::INTERNAL;
  if (in.size() != row.bytes) return Code::CIPHERTEXT_INVALID;
  const RsaKey key = rsaPrivate(parts);
  if (!key) return Code::INTERNAL;
  Secret encoded, plain;
  Code code = Secret::make(row.bytes, &encoded);
  if (code == Code::OK) code = Secret::make(row.bytes, &plain);
  if (code != Code::OK) return code;
  const int bytes = static_cast<int>(row.bytes);
  // Fails for a number that is not below the modulus, which the sender sees as well as we do.
  if (RSA_private_decrypt(bytes, in.data(), encoded.data(), key.get(), RSA_NO_PADDING) != bytes) return Code::CIPHERTEXT_INVALID;
  // Looks at every byte whatever it finds, and does not say what was wrong (Manger 2001).
  const EVP_MD* const md = evpDigest(hash);
  const int length = RSA_padding_check_PKCS1_OAEP_mgf1(plain.data(), bytes, encoded.data(), bytes, bytes, label.data(),
                                                       static_cast<int>(label.size()), md, md);
  if (length < 0) return Code::CIPHERTEXT_INVALID;
  plain.truncate(static_cast<size_t>(length));
  *out = std::move(plain);
  return Code::OK;
}

const AsymmetricVerbs kRsaVerbs = {
    .signatures = {KeyScheme::RSA_PSS, KeyScheme::RSA_PKCS1},
    .signsMessage = false,
    .generate = rsaGenerate,
    .readInner = readInner,
    .writeInner = writeInner,
    .checkPrivate = rsaCheckPrivate,
    .publicOf = publicOf,
    .checkPublic = rsaCheckPublic,
    .pairwise = pairwise,
    .prepare = prepare,
    .sign = sign,
    .verify = verify,
    .agree = nullptr,
};

}  // namespace quorate
