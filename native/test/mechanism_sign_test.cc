// Signatures, RSA encryption and wrapping, key agreement by mechanism: against libcrypto's EVP.
#include "mechanism_run.h"

#include <openssl/kdf.h>

#include "core/der.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr Hash kHashes[] = {Hash::SHA_1, Hash::SHA_224, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512};

const EVP_MD* md(Hash hash) {
  static const EVP_MD* const all[] = {nullptr, EVP_sha1(), EVP_sha224(), EVP_sha256(), EVP_sha384(), EVP_sha512()};
  return all[size_t(hash)];
}
Buffer digestOf(Hash hash, Bytes in) {
  Buffer out(hashBytes(hash));
  REQUIRE(digest(hash, in, out.data()) == Code::OK);
  return out;
}
Pkey publicOf(KeyType type) { return evpPublic(testPair(type).spki); }

// What EVP says of a signature of `input` as it is.
bool evpVerifies(KeyType type, Bytes input, Bytes signature, int padding = 0, Hash hash = Hash::HASH_UNSPECIFIED, Hash mgf = Hash::HASH_UNSPECIFIED, int salt = 0) {
  const ErrorQueueMark mark;
  const Pkey key = publicOf(type);
  const PkeyContext context(EVP_PKEY_CTX_new(key.get(), nullptr));
  REQUIRE(EVP_PKEY_verify_init(context.get()) == 1);
  if (padding != 0) REQUIRE(EVP_PKEY_CTX_set_rsa_padding(context.get(), padding) == 1);
  if (hash != Hash::HASH_UNSPECIFIED) REQUIRE(EVP_PKEY_CTX_set_signature_md(context.get(), md(hash)) == 1);
  if (padding == RSA_PKCS1_PSS_PADDING) {
    REQUIRE(EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), md(mgf)) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), salt) == 1);
  }
  return EVP_PKEY_verify(context.get(), signature.data(), signature.size(), input.data(), input.size()) == 1;
}

PkeyContext oaep(EVP_PKEY* key, int (*init)(EVP_PKEY_CTX*), Hash hash, Hash mgf, Bytes label) {
  PkeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  REQUIRE(init(context.get()) == 1);
  REQUIRE(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1);
  REQUIRE(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), md(hash)) == 1);
  REQUIRE(EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), md(mgf)) == 1);
  if (!label.empty()) {
    void* copy = OPENSSL_memdup(label.data(), label.size());
    REQUIRE(EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), copy, int(label.size())) == 1);
  }
  return context;
}
Buffer evpOaepDecrypt(KeyType type, Hash hash, Hash mgf, Bytes label, Bytes in) {
  const Pkey key = evpPrivate(type, testPair(type).stored, testPair(type).spki);
  const PkeyContext context = oaep(key.get(), EVP_PKEY_decrypt_init, hash, mgf, label);
  Buffer out(1024);
  size_t n = out.size();
  REQUIRE(EVP_PKEY_decrypt(context.get(), out.data(), &n, in.data(), in.size()) == 1);
  out.resize(n);
  return out;
}

}  // namespace

TEST_CASE("mechanism: PSS with every hash, MGF and salt") {
  const KeyType type = KeyType::RSA_2048;
  const MechanismKey key = pairKey(type);
  for (const Hash hash : kHashes) {
    for (const Hash mgf : {Hash::SHA_1, hash}) {
      for (const uint32_t salt : {0u, 1u, 20u, uint32_t(256 - hashBytes(hash) - 2)}) {
        const Mechanism m = mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = salt, .hash = hash, .mgf = mgf});
        const Buffer input = digestOf(hash, pattern(100));
        const Run made = signedBy(m, key, input);
        INFO("hash ", uint32_t(hash), ", mgf ", uint32_t(mgf), ", salt ", salt);
        REQUIRE(made.code == Code::OK);
        CHECK(evpVerifies(type, input, made.out, RSA_PKCS1_PSS_PADDING, hash, mgf, int(salt)));
        CHECK(verifies(m, key, input, made.out));
        const uint32_t other = salt == 1 ? 2 : 1;  // the salt's length is the caller's word, not the signature's
        CHECK(!verifies(mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = other, .hash = hash, .mgf = mgf}), key, input, made.out));
      }
    }
  }
  const Mechanism m = mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 32, .hash = Hash::SHA_256, .mgf = Hash::SHA_256});
  CHECK(signedBy(m, key, pattern(31)).code == Code::DATA_LENGTH_INVALID);
  CHECK(signedBy(m, key, pattern(33)).code == Code::DATA_LENGTH_INVALID);
  // Two signatures with salt differ, two without do not.
  const Mechanism bare = mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 0, .hash = Hash::SHA_256, .mgf = Hash::SHA_256});
  CHECK(signedBy(m, key, pattern(32)).out != signedBy(m, key, pattern(32)).out);
  CHECK(signedBy(bare, key, pattern(32)).out == signedBy(bare, key, pattern(32)).out);
}

TEST_CASE("mechanism: PKCS #1 v1.5 with each hash, and over any bytes") {
  const std::pair<uint32_t, Hash> hashed[] = {{kCkm_SHA1_RSA_PKCS, Hash::SHA_1}, {kCkm_SHA224_RSA_PKCS, Hash::SHA_224}, {kCkm_SHA256_RSA_PKCS, Hash::SHA_256},
                                              {kCkm_SHA384_RSA_PKCS, Hash::SHA_384}, {kCkm_SHA512_RSA_PKCS, Hash::SHA_512}};
  const Buffer message = pattern(333);
  for (const KeyType type : {KeyType::RSA_2048, KeyType::RSA_3072}) {
    const MechanismKey key = pairKey(type);
    for (const auto& [number, hash] : hashed) {
      const Run made = signedBy(mechanism(number), key, message);
      REQUIRE(made.code == Code::OK);
      CHECK(evpVerifies(type, digestOf(hash, message), made.out, RSA_PKCS1_PADDING, hash));
      CHECK(verifies(mechanism(number), key, message, made.out));
      CHECK(!verifies(mechanism(number), key, pattern(332), made.out));
    }
    const size_t k = type == KeyType::RSA_2048 ? 256 : 384;
    for (const size_t n : {size_t(0), size_t(1), size_t(51), k - 11}) {
      const Run made = signedBy(mechanism(kCkm_RSA_PKCS), key, pattern(n));
      REQUIRE(made.code == Code::OK);
      if (n > 0) CHECK(evpVerifies(type, pattern(n), made.out, RSA_PKCS1_PADDING));
      CHECK(verifies(mechanism(kCkm_RSA_PKCS), key, pattern(n), made.out));
      CHECK(!verifies(mechanism(kCkm_RSA_PKCS), key, n == 0 ? Buffer(1) : Buffer(n, 0xa5), made.out));
    }
    CHECK(signedBy(mechanism(kCkm_RSA_PKCS), key, pattern(k - 10)).code == Code::DATA_LENGTH_INVALID);
    for (const Buffer& bad : {Buffer(), Buffer(k), Buffer(k, 0xff), Buffer(k - 1), Buffer(k + 1), Buffer(2 * k)}) CHECK(!verifies(mechanism(kCkm_RSA_PKCS), key, pattern(32), bad));
  }
}

TEST_CASE("mechanism: raw RSA, with leading zeros and below the modulus") {
  const KeyType type = KeyType::RSA_2048;
  MechanismKey key = pairKey(type);
  const Mechanism m = mechanism(kCkm_RSA_X_509);
  std::shared_ptr<const PreparedSigner> signer;
  REQUIRE(PreparedSigner::prepare(type, key.stored, &signer) == Code::OK);
  for (const bool prepared : {false, true}) {
    key.prepared = prepared ? signer->part() : nullptr;
    for (const size_t n : {0, 1, 100, 255}) {
      const Buffer in = pattern(n, 77);
      const Run sealed = encrypted(m, key, in);
      REQUIRE(sealed.code == Code::OK);
      Buffer expected(256 - n);
      expected.insert(expected.end(), in.begin(), in.end());
      const Run opened = decrypted(m, key, sealed.out);
      CHECK((opened.code == Code::OK && opened.out == expected));
      const Run made = signedBy(m, key, in);
      REQUIRE(made.code == Code::OK);
      CHECK(verifies(m, key, in, made.out));
      CHECK(evpVerifies(type, expected, made.out, RSA_NO_PADDING));
      CHECK(encrypted(m, key, made.out).out == expected);
    }
  }
  CHECK(encrypted(m, key, Buffer(257)).code == Code::DATA_LENGTH_INVALID);
  CHECK(encrypted(m, key, Buffer(256, 0xff)).code == Code::DATA_LENGTH_INVALID);
  CHECK(signedBy(m, key, Buffer(257)).code == Code::DATA_LENGTH_INVALID);
  CHECK(signedBy(m, key, Buffer(256, 0xff)).code == Code::DATA_LENGTH_INVALID);
  CHECK(decrypted(m, key, Buffer(255)).code == Code::CIPHERTEXT_LENGTH_INVALID);
  CHECK(decrypted(m, key, Buffer(256, 0xff)).code == Code::CIPHERTEXT_INVALID);
  for (const Buffer& bad : {Buffer(), Buffer(256, 0xff), Buffer(255), Buffer(257)}) CHECK(!verifies(m, key, pattern(9), bad));
}

TEST_CASE("mechanism: OAEP with an MGF and a label of its own; RSA_AES_KEY_WRAP") {
  const KeyType type = KeyType::RSA_2048;
  const MechanismKey key = pairKey(type);
  const Buffer label = text("label");
  for (const Hash hash : kHashes) {
    for (const Hash mgf : {Hash::SHA_1, Hash::SHA_256}) {
      for (const Bytes each : {Bytes(), Bytes(label)}) {
        const Mechanism m = mechanism(kCkm_RSA_PKCS_OAEP, {.label = each, .hash = hash, .mgf = mgf});
        const size_t most = 256 - 2 * hashBytes(hash) - 2;
        for (const size_t n : {size_t(0), size_t(32), most}) {
          const Run sealed = encrypted(m, key, pattern(n));
          REQUIRE(sealed.code == Code::OK);
          CHECK(evpOaepDecrypt(type, hash, mgf, each, sealed.out) == pattern(n));
          const Run opened = decrypted(m, key, sealed.out);
          CHECK((opened.code == Code::OK && opened.out == pattern(n)));
        }
        CHECK(encrypted(m, key, pattern(most + 1)).code == Code::DATA_LENGTH_INVALID);
      }
    }
  }
  const Mechanism m = mechanism(kCkm_RSA_PKCS_OAEP, {.label = label, .hash = Hash::SHA_256, .mgf = Hash::SHA_1});
  Run sealed = encrypted(m, key, pattern(20));
  CHECK(decrypted(mechanism(kCkm_RSA_PKCS_OAEP, {.hash = Hash::SHA_256, .mgf = Hash::SHA_1}), key, sealed.out).code == Code::CIPHERTEXT_INVALID);
  sealed.out[100] ^= 1;
  const Run refused = decrypted(m, key, sealed.out);
  CHECK((refused.code == Code::CIPHERTEXT_INVALID && refused.out == Buffer(256)));
  CHECK(decrypted(m, key, Buffer(255)).code == Code::CIPHERTEXT_LENGTH_INVALID);
  CHECK(decrypted(m, key, Buffer(256, 0xff)).code == Code::CIPHERTEXT_INVALID);
  // A wrapped key: an AES key by OAEP, and what it wraps by KWP.
  for (const uint32_t bits : {128, 192, 256}) {
    const Mechanism wraps = mechanism(kCkm_RSA_AES_KEY_WRAP, {.bits = bits, .hash = Hash::SHA_1, .mgf = Hash::SHA_1});
    const Buffer plain = pattern(1219, bits);
    Buffer wrapped;
    REQUIRE(mechanismWrap(wraps, key, plain, &wrapped) == Code::OK);
    CHECK(wrapped.size() == resultBytes(wraps, kWrap, type, plain.size()));
    const Buffer once = evpOaepDecrypt(type, Hash::SHA_1, Hash::SHA_1, {}, Bytes(wrapped).first(256));
    REQUIRE(once.size() == bits / 8);
    Buffer opened(wrapped.size());
    size_t written = 0;
    REQUIRE(aesUnwrap(once, true, Bytes(wrapped).subspan(256), opened, &written) == Code::OK);
    opened.resize(written);
    CHECK(opened == plain);
    Secret back;
    REQUIRE(mechanismUnwrap(wraps, key, wrapped, &back) == Code::OK);
    CHECK(toHex(back) == toHex(plain));
    for (const size_t at : {size_t(3), size_t(255), size_t(256), wrapped.size() - 1}) {
      wrapped[at] ^= 4;
      CHECK(mechanismUnwrap(wraps, key, wrapped, &back) == Code::WRAPPED_KEY_INVALID);
      wrapped[at] ^= 4;
    }
    for (const size_t n : {size_t(0), size_t(255), size_t(256), size_t(264), wrapped.size() - 1}) {
      CHECK(mechanismUnwrap(wraps, key, Bytes(wrapped).first(n), &back) == Code::WRAPPED_KEY_INVALID);
    }
  }
  Buffer wrapped;
  Secret back;
  REQUIRE(mechanismWrap(m, key, pattern(32), &wrapped) == Code::OK);
  REQUIRE(mechanismUnwrap(m, key, wrapped, &back) == Code::OK);
  CHECK(toHex(back) == toHex(pattern(32)));
  CHECK(mechanismWrap(m, key, pattern(191), &wrapped) == Code::KEY_SIZE_INVALID);
  CHECK(mechanismUnwrap(m, key, Buffer(256), &back) == Code::WRAPPED_KEY_INVALID);
}

TEST_CASE("mechanism: ECDSA of digests of any length, and with each hash") {
  const std::pair<uint32_t, Hash> hashed[] = {{kCkm_ECDSA_SHA1, Hash::SHA_1}, {kCkm_ECDSA_SHA224, Hash::SHA_224}, {kCkm_ECDSA_SHA256, Hash::SHA_256},
                                              {kCkm_ECDSA_SHA384, Hash::SHA_384}, {kCkm_ECDSA_SHA512, Hash::SHA_512}};
  const auto toDer = [](const Buffer& fixed) {
    Buffer der;
    writeEcdsaSignature(fixed, &der);
    return der;
  };
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521}) {
    const MechanismKey key = pairKey(type);
    const Mechanism raw = mechanism(kCkm_ECDSA);
    for (size_t n = 1; n <= 64; n += type == KeyType::EC_P256 ? 1 : 9) {
      const Run made = signedBy(raw, key, pattern(n));
      REQUIRE(made.code == Code::OK);
      CHECK(evpVerifies(type, pattern(n), toDer(made.out)));
      CHECK(verifies(raw, key, pattern(n), made.out));
      // Truncated to the order's length (FIPS 186-5 6.4.1): what is beyond does not count, what is within does.
      Buffer other = pattern(n);
      other.back() ^= 1;
      CHECK(verifies(raw, key, other, made.out) == (n > made.out.size() / 2));
    }
    for (const size_t n : {0, 65, 1000}) CHECK(signedBy(raw, key, pattern(n)).code == Code::DATA_LENGTH_INVALID);
    for (const auto& [number, hash] : hashed) {
      const Run made = signedBy(mechanism(number), key, pattern(200));
      REQUIRE(made.code == Code::OK);
      CHECK(evpVerifies(type, digestOf(hash, pattern(200)), toDer(made.out)));
      CHECK(verifies(mechanism(number), key, pattern(200), made.out));
      CHECK(!verifies(mechanism(number), key, pattern(201), made.out));
      for (const Buffer& bad : {Buffer(), Buffer(made.out.size()), Buffer(made.out.size(), 0xff), Buffer(made.out.size() + 1, 1)}) {
        CHECK(!verifies(mechanism(number), key, pattern(200), bad));
      }
    }
    CHECK(signedBy(raw, key, pattern(32)).out != signedBy(raw, key, pattern(32)).out);
  }
}

TEST_CASE("mechanism: EDDSA is that of the native methods, prepared or not") {
  const KeyType type = KeyType::ED25519;
  MechanismKey key = pairKey(type);
  const Mechanism m = mechanism(kCkm_EDDSA);
  Buffer expected;
  REQUIRE(sign({.type = type, .scheme = KeyScheme::EDDSA}, key.stored, pattern(300), &expected) == Code::OK);
  CHECK(signedBy(m, key, pattern(300)).out == expected);
  std::shared_ptr<const PreparedSigner> signer;
  REQUIRE(PreparedSigner::prepare(type, key.stored, &signer) == Code::OK);
  key.prepared = signer->part();
  CHECK(signedBy(m, key, pattern(300)).out == expected);
  CHECK(verifies(m, key, pattern(300), expected));
  CHECK(!verifies(m, key, pattern(301), expected));
  CHECK(!verifies(m, key, pattern(300), Bytes(expected).first(63)));
}

TEST_CASE("mechanism: ECDH1_DERIVE, truncated from the leading end, with and without X9.63") {
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521, KeyType::X25519}) {
    const MechanismKey key = pairKey(type);
    Secret otherStored, z, out;
    Buffer otherSpki;
    REQUIRE(generateKey(type, 0, &otherStored, &otherSpki) == Code::OK);
    REQUIRE(agree(type, key.stored, otherSpki, &z) == Code::OK);
    const Bytes point = publicOctets(*keyRow(type), otherSpki);
    Buffer wrapped = {0x04};
    if (point.size() > 127) wrapped.push_back(0x81);
    wrapped.push_back(uint8_t(point.size()));
    wrapped.insert(wrapped.end(), point.begin(), point.end());
    for (const Bytes peer : {point, Bytes(wrapped), Bytes(otherSpki)}) {
      const Mechanism m = mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = peer});
      REQUIRE(mechanismDerive(m, key, 0, &out) == Code::OK);
      CHECK(toHex(out) == toHex(z));
      REQUIRE(mechanismDerive(m, key, 16, &out) == Code::OK);
      CHECK(toHex(out) == toHex(Bytes(z).last(16)));
      CHECK(mechanismDerive(m, key, z.size() + 1, &out) == Code::KEY_SIZE_INVALID);
    }
    const Buffer shared = text("shared info");
    for (const Hash hash : kHashes) {
      for (const size_t bytes : {16, 32, 100, 256}) {
        REQUIRE(mechanismDerive(mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = point, .shared = shared, .kdf = hash}), key, bytes, &out) == Code::OK);
        EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "X963KDF", nullptr);
        EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
        const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", const_cast<char*>(EVP_MD_get0_name(md(hash))), 0),
                                     OSSL_PARAM_construct_octet_string("key", z.data(), z.size()),
                                     OSSL_PARAM_construct_octet_string("info", const_cast<uint8_t*>(shared.data()), shared.size()), OSSL_PARAM_construct_end()};
        Buffer expected(bytes);
        REQUIRE(EVP_KDF_derive(context, expected.data(), bytes, params) == 1);
        EVP_KDF_CTX_free(context);
        EVP_KDF_free(kdf);
        CHECK(toHex(out) == toHex(expected));
      }
    }
    const Mechanism hashed = mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = point, .kdf = Hash::SHA_256});
    CHECK(mechanismDerive(hashed, key, 0, &out) == Code::KEY_SIZE_INVALID);
    CHECK(mechanismDerive(hashed, key, 257, &out) == Code::KEY_SIZE_INVALID);
    Buffer off(point.begin(), point.end());
    if (type == KeyType::X25519) off.assign(32, 0);
    else off.back() ^= 1;
    for (const Bytes bad : {Bytes(off), point.first(point.size() - 1), point.first(1)}) {
      CHECK(mechanismDerive(mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = bad}), key, 16, &out) == Code::KEY_INVALID);
    }
  }
}
