// The table of key types, and keypair.h dispatched through it.
#include "core/keypair.h"

#include <array>
#include <cstring>

#include "core/key_der.h"
#include "core/key_row.h"
#include "core/libcrypto.h"
#include "core/rsa.h"
#include "core/stack_scrub.h"

#include <openssl/obj_mac.h>

namespace quorate {
namespace {

// id-ecPublicKey with secp256r1, secp384r1, secp521r1 (RFC 5480); id-Ed25519, id-X25519 (RFC 8410); rsaEncryption with NULL (RFC 8017).
constexpr uint8_t kP256Algorithm[] = {0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                      0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr uint8_t kP384Algorithm[] = {0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                      0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
constexpr uint8_t kP521Algorithm[] = {0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                      0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};
constexpr uint8_t kEd25519Algorithm[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};
constexpr uint8_t kX25519Algorithm[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e};
constexpr uint8_t kRsaAlgorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};

constexpr Hash kNoHash = Hash::HASH_UNSPECIFIED;
// In the order of KeyType from AES_128.
const KeyRow kRows[] = {
    //   type            symmetric  bytes  curve                  JWK        algorithm          hash           verbs
    {KeyType::AES_128, 16, 0, 0, nullptr, {}, kNoHash, nullptr},
    {KeyType::AES_192, 24, 0, 0, nullptr, {}, kNoHash, nullptr},
    {KeyType::AES_256, 32, 0, 0, nullptr, {}, kNoHash, nullptr},
    {KeyType::HMAC, 0, 0, 0, nullptr, {}, kNoHash, nullptr},
    {KeyType::EC_P256, 0, 32, NID_X9_62_prime256v1, "P-256", kP256Algorithm, Hash::SHA_256, &kEcVerbs},
    {KeyType::EC_P384, 0, 48, NID_secp384r1, "P-384", kP384Algorithm, Hash::SHA_384, &kEcVerbs},
    {KeyType::EC_P521, 0, 66, NID_secp521r1, "P-521", kP521Algorithm, Hash::SHA_512, &kEcVerbs},
    {KeyType::ED25519, 0, 32, 0, "Ed25519", kEd25519Algorithm, kNoHash, &kEd25519Verbs},
    {KeyType::X25519, 0, 32, 0, "X25519", kX25519Algorithm, kNoHash, &kX25519Verbs},
    {KeyType::RSA_2048, 0, 256, 0, nullptr, kRsaAlgorithm, Hash::SHA_256, &kRsaVerbs},
    {KeyType::RSA_3072, 0, 384, 0, nullptr, kRsaAlgorithm, Hash::SHA_256, &kRsaVerbs},
    {KeyType::RSA_4096, 0, 512, 0, nullptr, kRsaAlgorithm, Hash::SHA_256, &kRsaVerbs},
};

bool sameBytes(Bytes a, Bytes b) { return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0); }

Code importSymmetric(const KeyRow& row, Bytes material, Secret* stored, Buffer* spki, std::string* detail) {
  const bool hmac = row.type == KeyType::HMAC;
  if (hmac && (material.size() < limits::hmac_key_bytes_min || material.size() > limits::hmac_key_bytes_max)) {
    return keyInvalid(detail, "an HMAC key has 16 to 256 bytes");
  }
  if (!hmac && material.size() != row.symmetricBytes) return keyInvalid(detail, "the material does not have the type's length");
  const Code code = Secret::copy(material, stored);
  if (code == Code::OK) spki->clear();
  return code;
}

Code generateSymmetric(const KeyRow& row, size_t length, Secret* stored, Buffer* spki) {
  constexpr size_t kHmacBytes = 32;
  const bool hmac = row.type == KeyType::HMAC;
  if (length == 0) length = hmac ? kHmacBytes : row.symmetricBytes;
  const bool fits = hmac ? length >= limits::hmac_key_bytes_min && length <= limits::hmac_key_bytes_max : length == row.symmetricBytes;
  if (!fits) return Code::BAD_REQUEST;
  const Code code = Secret::random(length, stored);
  if (code == Code::OK) spki->clear();
  return code;
}

Code importPublic(const KeyRow& row, Bytes material, Secret* stored, Buffer* spki, std::string* detail) {
  PublicKeyInfo info;
  if (!readPublicKeyInfo(material, &info)) return keyInvalid(detail, "SubjectPublicKeyInfo is not strict DER");
  if (!sameBytes(info.algorithm, row.algorithm)) return keyInvalid(detail, "the public key is of another type");
  const Code code = row.verbs->checkPublic(row, info.publicKey, detail);
  if (code != Code::OK) return code;
  *stored = Secret();
  spki->assign(material.begin(), material.end());
  return Code::OK;
}

// Both places where PKCS#8 can carry a public half must hold the right one, or none.
Code checkHalves(const KeyRow& row, Bytes privateHalf, std::span<const Bytes> given, Buffer* publicHalf, std::string* detail) {
  Code code = row.verbs->checkPrivate(row, privateHalf, detail);
  if (code == Code::OK) code = row.verbs->publicOf(row, privateHalf, publicHalf);
  if (code != Code::OK) return code;
  for (const Bytes half : given) {
    if (half.empty()) continue;
    code = row.verbs->checkPublic(row, half, detail);
    if (code != Code::OK) return code;
    if (!sameBytes(half, *publicHalf)) return keyInvalid(detail, "the public half does not belong to the private half");
  }
  code = row.verbs->pairwise(row, privateHalf, *publicHalf);
  return code == Code::SELF_TEST_FAILED ? keyInvalid(detail, "the pairwise test failed") : code;
}

Code importPrivate(const KeyRow& row, MaterialFormat format, Bytes material, Secret* stored, Buffer* spki, std::string* detail) {
  Bytes privateHalf = material, inside, outside;
  if (format == MaterialFormat::PKCS8) {
    PrivateKeyInfo info;
    if (!readPrivateKeyInfo(material, &info)) return keyInvalid(detail, "PrivateKeyInfo is not strict DER");
    if (!sameBytes(info.algorithm, row.algorithm)) return keyInvalid(detail, "the private key is of another type");
    const Code code = row.verbs->readInner(row, info.privateKey, &privateHalf, &inside, detail);
    if (code != Code::OK) return code;
    outside = info.publicKey;
  } else if (row.verbs == &kRsaVerbs) {
    if (detail != nullptr) *detail = "RSA has no raw form";
    return Code::BAD_REQUEST;
  }
  Buffer publicHalf;
  const Bytes given[] = {inside, outside};
  Code code = checkHalves(row, privateHalf, given, &publicHalf, detail);
  if (code == Code::OK) code = Secret::copy(privateHalf, stored);
  if (code == Code::OK) writePublicKeyInfo(row.algorithm, publicHalf, spki);
  return code;
}

// The digest that is signed: made here, or given and of the right length. SHA-1 signs nothing and proves nothing (SP 800-131A).
struct SignedInput {
  uint8_t digestBytes[64];
  Bytes bytes;
};
Code prepareInput(const KeyRow& row, SignOptions* options, Bytes input, SignedInput* out) {
  const AsymmetricVerbs& verbs = *row.verbs;
  if (verbs.sign == nullptr || (options->scheme != verbs.signatures[0] && options->scheme != verbs.signatures[1])) {
    return Code::KEY_SCHEME_INVALID;
  }
  if (verbs.signsMessage) {
    // Ed25519 hashes for itself, with SHA-512.
    if (options->prehashed || (options->hash != Hash::HASH_UNSPECIFIED && options->hash != Hash::SHA_512)) return Code::DIGEST_INVALID;
    out->bytes = input;
    return Code::OK;
  }
  if (options->hash == Hash::HASH_UNSPECIFIED) options->hash = row.defaultHash;
  const size_t length = hashBytes(options->hash);
  if (length == 0 || options->hash == Hash::SHA_1 || (options->prehashed && input.size() != length)) return Code::DIGEST_INVALID;
  if (options->prehashed) {
    out->bytes = input;
    return Code::OK;
  }
  out->bytes = {out->digestBytes, length};
  return digest(options->hash, input, out->digestBytes);
}

Code signWith(SignOptions options, Bytes stored, PreparedPart* prepared, Bytes input, Buffer* signature) {
  const KeyRow* row = keyRow(options.type);
  if (row == nullptr || row->verbs == nullptr) return Code::KEY_SCHEME_INVALID;
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    SignedInput ready;
    const Code code = prepareInput(*row, &options, input, &ready);
    return code == Code::OK ? row->verbs->sign(*row, options, stored, prepared, ready.bytes, signature) : code;
  });
}

Code exportPkcs8(const KeyRow& row, Bytes stored, Bytes spki, Secret* out) {
  const Bytes publicKey = publicOctets(row, spki);
  if (publicKey.empty()) return Code::KEY_INVALID;
  Secret whole;
  const Code code = Secret::make(limits::secret_bytes_max, &whole);
  if (code != Code::OK) return code;
  DerWriter writer(whole.span());
  row.verbs->writeInner(row, stored, publicKey, &writer);
  closePrivateKeyInfo(row.algorithm, &writer);
  return writer.fits() ? Secret::copy(writer.result(), out) : Code::INTERNAL;
}

const KeyRow* rsaRow(size_t modulusBytes) {
  for (const KeyRow& row : kRows) {
    if (row.verbs == &kRsaVerbs && row.bytes == modulusBytes) return &row;
  }
  return nullptr;
}

}  // namespace

Bytes publicOctets(const KeyRow& row, Bytes spki) {
  PublicKeyInfo info;
  return readPublicKeyInfo(spki, &info) && sameBytes(info.algorithm, row.algorithm) ? info.publicKey : Bytes{};
}

const KeyRow* keyRow(KeyType type) {
  const size_t at = static_cast<size_t>(type) - static_cast<size_t>(KeyType::AES_128);
  return at < std::size(kRows) ? &kRows[at] : nullptr;
}

bool isAsymmetric(KeyType type) {
  const KeyRow* row = keyRow(type);
  return row != nullptr && row->verbs != nullptr;
}

size_t symmetricBytes(KeyType type) {
  const KeyRow* row = keyRow(type);
  return row == nullptr ? 0 : row->symmetricBytes;
}

Code generateKey(KeyType type, size_t length, Secret* stored, Buffer* spki) {
  const KeyRow* row = keyRow(type);
  if (row == nullptr) return Code::BAD_REQUEST;
  return withScrubbedStack([&] {
    if (row->verbs == nullptr) return generateSymmetric(*row, length, stored, spki);
    const ErrorQueueMark mark;
    Secret made;
    Buffer publicKey;
    Code code = row->verbs->generate(*row, &made);
    if (code == Code::OK) code = row->verbs->publicOf(*row, made, &publicKey);
    if (code == Code::OK) code = row->verbs->pairwise(*row, made, publicKey);
    if (code != Code::OK) return code;
    *stored = std::move(made);
    writePublicKeyInfo(row->algorithm, publicKey, spki);
    return Code::OK;
  });
}

Code importKey(KeyType type, MaterialFormat format, Bytes material, Secret* stored, Buffer* spki, std::string* detail) {
  const KeyRow* row = keyRow(type);
  if (row == nullptr || (row->verbs == nullptr && format != MaterialFormat::RAW) ||
      (format != MaterialFormat::RAW && format != MaterialFormat::PKCS8 && format != MaterialFormat::SPKI_PUBLIC)) {
    if (detail != nullptr) *detail = "the type has no such form";
    return Code::BAD_REQUEST;
  }
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    if (row->verbs == nullptr) return importSymmetric(*row, material, stored, spki, detail);
    return format == MaterialFormat::SPKI_PUBLIC ? importPublic(*row, material, stored, spki, detail)
                                                 : importPrivate(*row, format, material, stored, spki, detail);
  });
}

KeyType keyTypeOf(MaterialFormat format, Bytes material) {
  PrivateKeyInfo privateInfo;
  PublicKeyInfo publicInfo;
  const bool isPrivate = format == MaterialFormat::PKCS8 && readPrivateKeyInfo(material, &privateInfo);
  if (!isPrivate && (format != MaterialFormat::SPKI_PUBLIC || !readPublicKeyInfo(material, &publicInfo))) return KeyType::KEY_TYPE_UNSPECIFIED;
  const Bytes algorithm = isPrivate ? privateInfo.algorithm : publicInfo.algorithm;
  if (sameBytes(algorithm, kRsaAlgorithm)) {
    RsaPrivateParts privateParts;
    RsaPublicParts publicParts;
    const bool read = isPrivate ? readRsaPrivateKey(privateInfo.privateKey, &privateParts) : readRsaPublicKey(publicInfo.publicKey, &publicParts);
    const KeyRow* row = read ? rsaRow(isPrivate ? privateParts.n.size() : publicParts.n.size()) : nullptr;
    return row == nullptr ? KeyType::KEY_TYPE_UNSPECIFIED : row->type;
  }
  for (const KeyRow& row : kRows) {
    if (row.verbs != nullptr && sameBytes(algorithm, row.algorithm)) return row.type;
  }
  return KeyType::KEY_TYPE_UNSPECIFIED;
}

Code exportMaterial(KeyType type, MaterialFormat format, Bytes stored, Bytes spki, Secret* out) {
  const KeyRow* row = keyRow(type);
  if (row == nullptr) return Code::BAD_REQUEST;
  if (row->verbs != nullptr && format == MaterialFormat::SPKI_PUBLIC) return Secret::copy(spki, out);
  if (stored.empty()) return Code::BAD_REQUEST;
  if (format == MaterialFormat::RAW && row->verbs != &kRsaVerbs) return withScrubbedStack([&] { return Secret::copy(stored, out); });
  if (row->verbs == nullptr || format != MaterialFormat::PKCS8) return Code::BAD_REQUEST;
  return withScrubbedStack([&] { return exportPkcs8(*row, stored, spki, out); });
}

Code sign(const SignOptions& options, Bytes stored, Bytes input, Buffer* signature) {
  return signWith(options, stored, nullptr, input, signature);
}

Code signedDigest(const SignOptions& options, Bytes input, uint8_t out[64], size_t* bytes) {
  const KeyRow* row = keyRow(options.type);
  if (row == nullptr || row->verbs == nullptr || row->verbs->signsMessage) return Code::KEY_SCHEME_INVALID;
  SignOptions resolved = options;
  SignedInput ready;
  const Code code = prepareInput(*row, &resolved, input, &ready);
  if (code != Code::OK) return code;
  *bytes = ready.bytes.size();
  std::memcpy(out, ready.bytes.data(), ready.bytes.size());
  return Code::OK;
}

Code verify(const SignOptions& options, Bytes spki, Bytes input, Bytes signature, bool* valid) {
  *valid = false;
  const KeyRow* row = keyRow(options.type);
  if (row == nullptr || row->verbs == nullptr) return Code::KEY_SCHEME_INVALID;
  SignOptions resolved = options;
  SignedInput prepared;
  const Code code = prepareInput(*row, &resolved, input, &prepared);
  if (code != Code::OK) return code;
  const Bytes publicKey = publicOctets(*row, spki);
  if (publicKey.empty()) return Code::KEY_INVALID;
  const ErrorQueueMark mark;
  return row->verbs->verify(*row, resolved, publicKey, prepared.bytes, signature, valid);
}

PreparedSigner::PreparedSigner() = default;
PreparedSigner::~PreparedSigner() = default;

Code PreparedSigner::prepare(KeyType type, Bytes stored, std::shared_ptr<const PreparedSigner>* out) {
  const KeyRow* row = keyRow(type);
  if (row == nullptr || row->verbs == nullptr || row->verbs->sign == nullptr) return Code::KEY_SCHEME_INVALID;
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    std::shared_ptr<PreparedSigner> made(new PreparedSigner);
    made->type_ = type;
    Code code = Secret::copy(stored, &made->stored_);
    if (code == Code::OK && row->verbs->prepare != nullptr) code = row->verbs->prepare(*row, stored, &made->part_);
    if (code == Code::OK) *out = std::move(made);
    return code;
  });
}

Code PreparedSigner::sign(const SignOptions& options, Bytes input, Buffer* signature) const {
  return options.type == type_ ? signWith(options, stored_, part_.get(), input, signature) : Code::KEY_SCHEME_INVALID;
}

Code oaepEncrypt(Bytes spki, Hash hash, Bytes label, Bytes in, Buffer* out) {
  PublicKeyInfo info;
  RsaPublicParts parts;
  if (!readPublicKeyInfo(spki, &info) || !sameBytes(info.algorithm, kRsaAlgorithm) || !readRsaPublicKey(info.publicKey, &parts)) {
    return Code::KEY_INVALID;
  }
  const KeyRow* row = rsaRow(parts.n.size());
  if (row == nullptr) return Code::KEY_INVALID;
  if (hash == Hash::HASH_UNSPECIFIED) hash = row->defaultHash;
  if (hashBytes(hash) == 0) return Code::DIGEST_INVALID;
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    Buffer result(row->bytes);
    const Code code = rsaOaepEncrypt(*row, info.publicKey, {hash, hash, label}, in, result);
    if (code == Code::OK) *out = std::move(result);
    return code;
  });
}

Code oaepDecrypt(Bytes stored, Hash hash, Bytes label, Bytes in, Secret* out) {
  RsaPrivateParts parts;
  const KeyRow* row = readRsaPrivateKey(stored, &parts) ? rsaRow(parts.n.size()) : nullptr;
  if (row == nullptr) return Code::KEY_INVALID;
  if (hash == Hash::HASH_UNSPECIFIED) hash = row->defaultHash;
  if (hashBytes(hash) == 0) return Code::DIGEST_INVALID;
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    return rsaOaepDecrypt(*row, stored, nullptr, {hash, hash, label}, in, out);
  });
}

Code agree(KeyType type, Bytes stored, Bytes peer, Secret* z) {
  const KeyRow* row = keyRow(type);
  if (row == nullptr || row->verbs == nullptr || row->verbs->agree == nullptr) return Code::KEY_USAGE_DENIED;
  // A raw point has one length, which no SPKI of the type has.
  const Bytes octets = publicOctets(*row, peer);
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    return row->verbs->agree(*row, stored, octets.empty() ? peer : octets, z);
  });
}

}  // namespace quorate
