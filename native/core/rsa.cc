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
      return EVP_sha1();  // OAEP, and by mechanism (PKCS#11): sign and verify of keypair.h refuse it
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

// The bytes before a digest in its DigestInfo (RFC 8017 9.2, note 1); no parameter but NULL.
size_t digestInfoPrefix(Hash hash, uint8_t digestBytes, std::array<uint8_t, 19>* out) {
  if (hash == Hash::SHA_1) {
    *out = {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14};
    return 15;
  }
  const uint8_t last = hash == Hash::SHA_224 ? 4 : hash == Hash::SHA_256 ? 1 : hash == Hash::SHA_384 ? 2 : 3;  // 2.16.840.1.101.3.4.2.x
  *out = {0x30, uint8_t(17 + digestBytes), 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last, 0x05, 0x00, 0x04, digestBytes};
  return 19;
}

// EMSA-PKCS1-v1_5 (RFC 8017 9.2): 00 01 ff ... ff 00, then the DigestInfo of the digest, or the input as it is where no hash is named.
Code encodePkcs1(Hash hash, Bytes input, MutBytes out) {
  std::array<uint8_t, 19> prefix;
  const size_t before = hash == Hash::HASH_UNSPECIFIED ? 0 : digestInfoPrefix(hash, uint8_t(input.size()), &prefix), length = before + input.size();
  if (length + 11 > out.size()) return Code::INPUT_TOO_LONG;
  uint8_t* at = out.data();
  *at++ = 0x00;
  *at++ = 0x01;
  at = std::fill_n(at, out.size() - length - 3, uint8_t(0xff));
  *at++ = 0x00;
  at = std::copy_n(prefix.begin(), before, at);
  std::copy(input.begin(), input.end(), at);
  return Code::OK;
}

// The salt's length: what was asked, else the hash's. False when the modulus is too short for it (RFC 8017 9.1.1 step 3).
bool pssSalt(const KeyRow& row, const SignOptions& options, size_t* saltBytes) {
  *saltBytes = options.saltBytes == 0 ? hashBytes(options.hash) : options.saltBytes;
  return rsaPssFits(row, options.hash, *saltBytes);
}

bool paddingOf(const KeyRow& row, const SignOptions& options, RsaPadding* out) {
  out->hash = out->mgf = options.hash;
  out->kind = options.scheme == KeyScheme::RSA_PSS ? RsaPadding::pss : RsaPadding::pkcs1;
  return out->kind == RsaPadding::pkcs1 || pssSalt(row, options, &out->saltBytes);
}

Code sign(const KeyRow& row, const SignOptions& options, Bytes stored, PreparedPart* prepared, Bytes digest, Buffer* signature) {
  RsaPadding padding;
  if (!paddingOf(row, options, &padding)) return Code::BAD_REQUEST;
  return rsaSign(row, padding, stored, prepared, digest, signature);
}

Code verify(const KeyRow& row, const SignOptions& options, Bytes publicKey, Bytes digest, Bytes signature, bool* valid) {
  *valid = false;
  RsaPadding padding;
  if (!paddingOf(row, options, &padding)) return Code::BAD_REQUEST;
  return rsaVerify(row, padding, publicKey, digest, signature, valid);
}

Code prepare(const KeyRow& row, Bytes, std::unique_ptr<PreparedPart>* out) {
  auto made = std::make_unique<RsaBlinding>();
  const Code code = made->open(row.bytes);
  if (code == Code::OK) *out = std::move(made);
  return code;
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

bool rsaPssFits(const KeyRow& row, Hash hash, size_t saltBytes) { return saltBytes + hashBytes(hash) + 2 <= row.bytes; }

Code rsaPublicOperation(const KeyRow& row, Bytes publicKey, Bytes in, MutBytes out) {
  RsaPublicParts parts;
  if (rsaCheckPublic(row, publicKey, nullptr) != Code::OK || !readRsaPublicKey(publicKey, &parts)) return Code::KEY_INVALID;
  const RsaKey key = rsaPublic(parts);
  if (!key || in.size() != row.bytes || out.size() != row.bytes) return Code::INTERNAL;
  const int bytes = static_cast<int>(row.bytes);
  // Fails for a number that is not below the modulus, and for nothing else here.
  return RSA_public_encrypt(bytes, in.data(), out.data(), key.get(), RSA_NO_PADDING) == bytes ? Code::OK : Code::INPUT_TOO_LONG;
}

Code rsaPrivateOperation(const KeyRow& row, Bytes stored, PreparedPart* prepared, Bytes in, MutBytes out) {
  RsaPrivateParts parts;
  if (!readRsaPrivateKey(stored, &parts) || in.size() != row.bytes || out.size() != row.bytes) return Code::INTERNAL;
  const RsaKey key = rsaPrivate(parts);
  if (!key) return Code::INTERNAL;
  // What comes from outside may be any number; the sender sees as well as we do whether it is below the modulus.
  if (parts.n.size() != in.size() || !std::lexicographical_compare(in.begin(), in.end(), parts.n.begin(), parts.n.end())) return Code::INPUT_TOO_LONG;
  if (prepared != nullptr) return static_cast<RsaBlinding*>(prepared)->privateOperation(key.get(), in, out);
  const int bytes = static_cast<int>(row.bytes);
  return RSA_private_encrypt(bytes, in.data(), out.data(), key.get(), RSA_NO_PADDING) == bytes ? Code::OK : Code::INTERNAL;
}

Code rsaSign(const KeyRow& row, const RsaPadding& padding, Bytes stored, PreparedPart* prepared, Bytes input, Buffer* signature) {
  RsaPrivateParts parts;
  if (!readRsaPrivateKey(stored, &parts)) return Code::INTERNAL;
  Buffer encoded(row.bytes), result(row.bytes);
  Code code = Code::OK;
  if (padding.kind == RsaPadding::pss) {
    const RsaKey key = rsaPublic({.n = parts.n, .e = parts.e});  // asked for the modulus' length alone
    if (!key || RSA_padding_add_PKCS1_PSS_mgf1(key.get(), encoded.data(), input.data(), evpDigest(padding.hash), evpDigest(padding.mgf),
                                               static_cast<int>(padding.saltBytes)) != 1) {
      return Code::INTERNAL;
    }
  } else {
    code = encodePkcs1(padding.hash, input, encoded);
  }
  if (code == Code::OK) code = rsaPrivateOperation(row, stored, prepared, encoded, result);
  if (code == Code::OK) *signature = std::move(result);
  return code;
}

Code rsaVerify(const KeyRow& row, const RsaPadding& padding, Bytes publicKey, Bytes input, Bytes signature, bool* valid) {
  *valid = false;
  Buffer encoded(row.bytes), expected(row.bytes);
  if (padding.kind == RsaPadding::pkcs1) {
    const Code code = encodePkcs1(padding.hash, input, expected);
    if (code != Code::OK) return code;
  }
  if (signature.size() != row.bytes) return rsaCheckPublic(row, publicKey, nullptr);
  const Code code = rsaPublicOperation(row, publicKey, signature, encoded);
  if (code != Code::OK) return code == Code::INPUT_TOO_LONG ? Code::OK : code;
  if (padding.kind == RsaPadding::pkcs1) {
    // Encoded anew and compared as a whole: no parser that could be too lenient (Bleichenbacher 2006).
    *valid = encoded == expected;
    return Code::OK;
  }
  RsaPublicParts parts;
  if (!readRsaPublicKey(publicKey, &parts)) return Code::KEY_INVALID;
  const RsaKey key = rsaPublic(parts);
  if (!key) return Code::INTERNAL;
  *valid = RSA_verify_PKCS1_PSS_mgf1(key.get(), input.data(), evpDigest(padding.hash), evpDigest(padding.mgf), encoded.data(),
                                     static_cast<int>(padding.saltBytes)) == 1;
  return Code::OK;
}

Code rsaOaepEncrypt(const KeyRow& row, Bytes publicKey, const OaepOptions& options, Bytes in, MutBytes out) {
  if (in.size() + 2 * hashBytes(options.hash) + 2 > row.bytes) return Code::INPUT_TOO_LONG;
  Secret encoded;  // holds the plaintext, masked by a seed that stands beside it
  const Code code = Secret::make(row.bytes, &encoded);
  if (code != Code::OK) return code;
  if (RSA_padding_add_PKCS1_OAEP_mgf1(encoded.data(), static_cast<int>(row.bytes), in.data(), static_cast<int>(in.size()), options.label.data(),
                                      static_cast<int>(options.label.size()), evpDigest(options.hash), evpDigest(options.mgf)) != 1) {
    return Code::INTERNAL;
  }
  return rsaPublicOperation(row, publicKey, encoded, out);
}

Code rsaOaepDecrypt(const KeyRow& row, Bytes stored, PreparedPart* prepared, const OaepOptions& options, Bytes in, Secret* out) {
  if (in.size() != row.bytes) return Code::CIPHERTEXT_INVALID;
  Secret encoded, plain;
  Code code = Secret::make(row.bytes, &encoded);
  if (code == Code::OK) code = Secret::make(row.bytes, &plain);
  if (code == Code::OK) code = rsaPrivateOperation(row, stored, prepared, in, encoded.span());
  if (code != Code::OK) return code == Code::INPUT_TOO_LONG ? Code::CIPHERTEXT_INVALID : code;
  const int bytes = static_cast<int>(row.bytes);
  // Looks at every byte whatever it finds, and does not say what was wrong (Manger 2001).
  const int length = RSA_padding_check_PKCS1_OAEP_mgf1(plain.data(), bytes, encoded.data(), bytes, bytes, options.label.data(),
                                                       static_cast<int>(options.label.size()), evpDigest(options.hash), evpDigest(options.mgf));
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
