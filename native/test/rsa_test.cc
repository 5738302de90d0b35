// RSA signatures and OAEP: known answers, libcrypto as a second opinion, and what must not pass.
#include "key_fixtures.h"

#include <thread>

#include "core/key_der.h"
#include "core/selftest_asym_known.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr KeyType kTypes[] = {KeyType::RSA_2048, KeyType::RSA_3072, KeyType::RSA_4096};
constexpr Hash kHashes[] = {Hash::SHA_224, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512};

const EVP_MD* mdOf(Hash hash) {
  switch (hash) {
    case Hash::SHA_1:
      return EVP_sha1();
    case Hash::SHA_224:
      return EVP_sha224();
    case Hash::SHA_384:
      return EVP_sha384();
    case Hash::SHA_512:
      return EVP_sha512();
    default:
      return EVP_sha256();
  }
}

SignOptions options(KeyType type, KeyScheme scheme, Hash hash = Hash::HASH_UNSPECIFIED, uint32_t saltBytes = 0) {
  return {.type = type, .scheme = scheme, .hash = hash, .saltBytes = saltBytes};
}

Buffer signedBy(const SignOptions& how, Bytes stored, Bytes input) {
  Buffer signature;
  REQUIRE(sign(how, stored, input, &signature) == Code::OK);
  return signature;
}

// A digest context of libcrypto's own, set up as `how` says.
void pad(EVP_PKEY_CTX* context, const SignOptions& how) {
  REQUIRE(EVP_PKEY_CTX_set_rsa_padding(context, how.scheme == KeyScheme::RSA_PSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1);
  if (how.scheme != KeyScheme::RSA_PSS) return;
  const int salt = how.saltBytes == 0 ? RSA_PSS_SALTLEN_DIGEST : static_cast<int>(how.saltBytes);
  REQUIRE(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1);
}
bool theyVerify(EVP_PKEY* key, const SignOptions& how, Bytes message, Bytes signature) {
  const DigestContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* inner = nullptr;
  REQUIRE(EVP_DigestVerifyInit(context.get(), &inner, mdOf(how.hash), nullptr, key) == 1);
  pad(inner, how);
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}
Buffer theySign(EVP_PKEY* key, const SignOptions& how, Bytes message) {
  const DigestContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* inner = nullptr;
  REQUIRE(EVP_DigestSignInit(context.get(), &inner, mdOf(how.hash), nullptr, key) == 1);
  pad(inner, how);
  Buffer signature(512);
  size_t length = signature.size();
  REQUIRE(EVP_DigestSign(context.get(), signature.data(), &length, message.data(), message.size()) == 1);
  signature.resize(length);
  return signature;
}

const Buffer& knownSpki() {
  static const Buffer spki = [] {
    RsaPrivateParts parts;
    Buffer publicKey, out;
    REQUIRE(readRsaPrivateKey(known::kRsaPrivate, &parts));
    writeRsaPublicKey({.n = parts.n, .e = parts.e}, &publicKey);
    writePublicKeyInfo(keyRow(KeyType::RSA_2048)->algorithm, publicKey, &out);
    return out;
  }();
  return spki;
}

Code opens(Bytes stored, Hash hash, Bytes label, Bytes ciphertext, Buffer* plain = nullptr) {
  Secret out;
  const Code code = oaepDecrypt(stored, hash, label, ciphertext, &out);
  CHECK((code == Code::OK || out.empty()));
  if (plain != nullptr) plain->assign(out.data(), out.data() + out.size());
  return code;
}

}  // namespace

TEST_CASE("rsa: known signatures, made and verified") {
  const SignOptions pkcs1 = options(KeyType::RSA_2048, KeyScheme::RSA_PKCS1), pss = options(KeyType::RSA_2048, KeyScheme::RSA_PSS);
  const Buffer sample = text("sample");
  CHECK(toHex(signedBy(pkcs1, known::kRsaPrivate, sample)) == toHex(known::kRsaPkcs1Signature));
  CHECK(verified(pkcs1, knownSpki(), sample, known::kRsaPkcs1Signature));
  CHECK(verified(pss, knownSpki(), sample, known::kRsaPssSignature));
  CHECK_FALSE(verified(pss, knownSpki(), sample, known::kRsaPkcs1Signature));
  CHECK_FALSE(verified(pkcs1, knownSpki(), sample, known::kRsaPssSignature));
  CHECK(signedBy(pss, known::kRsaPrivate, sample) != signedBy(pss, known::kRsaPrivate, sample));  // the salt is fresh
}

TEST_CASE("rsa: a prepared signer's blinding does not show, however often and from however many threads") {
  const SignOptions how = options(KeyType::RSA_2048, KeyScheme::RSA_PKCS1);
  std::shared_ptr<const PreparedSigner> signer;
  REQUIRE(PreparedSigner::prepare(KeyType::RSA_2048, known::kRsaPrivate, &signer) == Code::OK);
  const auto run = [&](int* right) {
    for (int i = 0; i < 40; i++) {
      Buffer signature;
      if (signer->sign(how, text("sample"), &signature) == Code::OK) *right += equalConstantTime(signature, known::kRsaPkcs1Signature);
    }
  };
  int here = 0, there = 0;
  std::thread other(run, &there);
  run(&here);
  other.join();
  CHECK(here == 40);
  CHECK(there == 40);
}

TEST_CASE("rsa: libcrypto verifies ours and we verify its, with every size and hash, prehashed as well") {
  const Buffer message = pattern(200);
  for (const KeyType type : kTypes) {
    const TestPair& pair = testPair(type);
    const Pkey theirs = evpPrivate(type, pair.stored, pair.spki);
    for (const KeyScheme scheme : {KeyScheme::RSA_PSS, KeyScheme::RSA_PKCS1}) {
      for (const Hash hash : kHashes) {
        CAPTURE(static_cast<int>(type));
        CAPTURE(static_cast<int>(hash));
        SignOptions how = options(type, scheme, hash);
        CHECK(theyVerify(theirs.get(), how, message, signedBy(how, pair.stored, message)));
        const Buffer made = theySign(theirs.get(), how, message);
        CHECK(verified(how, pair.spki, message, made));
        Buffer hashed(hashBytes(hash));
        REQUIRE(digest(hash, message, hashed.data()) == Code::OK);
        how.prehashed = true;
        CHECK(verified(how, pair.spki, hashed, made));
        hashed[0] ^= 1;
        CHECK_FALSE(verified(how, pair.spki, hashed, made));
      }
    }
  }
}

TEST_CASE("rsa: PSS salts have the length that is asked for, from 1 byte to what the modulus holds") {
  const TestPair& pair = testPair(KeyType::RSA_2048);
  const Pkey theirs = evpPrivate(KeyType::RSA_2048, pair.stored, pair.spki);
  const Buffer message = text("message");
  for (const uint32_t salt : {1u, 20u, 32u, 64u, 256u - 32 - 2}) {
    CAPTURE(salt);
    const SignOptions how = options(KeyType::RSA_2048, KeyScheme::RSA_PSS, Hash::SHA_256, salt);
    const Buffer made = signedBy(how, pair.stored, message);
    CHECK(theyVerify(theirs.get(), how, message, made));
    CHECK(verified(how, pair.spki, message, made));
    CHECK(verified(options(KeyType::RSA_2048, KeyScheme::RSA_PSS, Hash::SHA_256), pair.spki, message, made) == (salt == 32));
  }
  Buffer signature;
  bool valid = true;
  for (const uint32_t salt : {256u - 32 - 1, 5000u, UINT32_MAX}) {
    const SignOptions how = options(KeyType::RSA_2048, KeyScheme::RSA_PSS, Hash::SHA_256, salt);
    CHECK(sign(how, pair.stored, message, &signature) == Code::BAD_REQUEST);
    CHECK(verify(how, pair.spki, message, Buffer(256), &valid) == Code::BAD_REQUEST);
    CHECK_FALSE(valid);
  }
}

TEST_CASE("rsa: changed, short, long and too large signatures are not valid") {
  const Buffer sample = text("sample");
  for (const KeyScheme scheme : {KeyScheme::RSA_PSS, KeyScheme::RSA_PKCS1}) {
    const SignOptions how = options(KeyType::RSA_2048, scheme);
    const Buffer good = signedBy(how, known::kRsaPrivate, sample);
    REQUIRE(verified(how, knownSpki(), sample, good));
    CHECK_FALSE(verified(how, knownSpki(), text("Sample"), good));
    CHECK_FALSE(verified(how, testPair(KeyType::RSA_2048).spki, sample, good));
    for (size_t i = 0; i < good.size(); i += 17) {
      Buffer flipped = good;
      flipped[i] ^= 4;
      CHECK_FALSE(verified(how, knownSpki(), sample, flipped));
    }
    RsaPrivateParts parts;
    REQUIRE(readRsaPrivateKey(known::kRsaPrivate, &parts));
    const Buffer modulus(parts.n.begin(), parts.n.end());
    for (const Buffer& bad : {Buffer{}, Buffer(good.begin() + 1, good.end()), Buffer(good.begin(), good.end() - 1),
                              concat({hex("00"), good}), concat({good, hex("00")}), Buffer(256, 0), Buffer(256, 0xff), modulus}) {
      CHECK_FALSE(verified(how, knownSpki(), sample, bad));
    }
  }
}

TEST_CASE("rsa: options and keys that do not fit") {
  Buffer signature;
  bool valid = true;
  const Buffer sample = text("sample"), digest20 = pattern(20);
  CHECK(sign(options(KeyType::RSA_2048, KeyScheme::RSA_OAEP), known::kRsaPrivate, sample, &signature) == Code::KEY_SCHEME_INVALID);
  CHECK(sign(options(KeyType::RSA_2048, KeyScheme::ECDSA), known::kRsaPrivate, sample, &signature) == Code::KEY_SCHEME_INVALID);
  CHECK(sign(options(KeyType::RSA_2048, KeyScheme::RSA_PKCS1, Hash::SHA_1), known::kRsaPrivate, sample, &signature) ==
        Code::DIGEST_INVALID);
  SignOptions how = options(KeyType::RSA_2048, KeyScheme::RSA_PSS, Hash::SHA_256);
  how.prehashed = true;
  CHECK(sign(how, known::kRsaPrivate, digest20, &signature) == Code::DIGEST_INVALID);
  CHECK(verify(how, knownSpki(), digest20, Buffer(256), &valid) == Code::DIGEST_INVALID);
  CHECK(verify(options(KeyType::RSA_3072, KeyScheme::RSA_PSS), knownSpki(), sample, Buffer(384), &valid) == Code::KEY_INVALID);
  CHECK(verify(options(KeyType::RSA_2048, KeyScheme::RSA_PSS), testPair(KeyType::EC_P256).spki, sample, Buffer(256), &valid) ==
        Code::KEY_INVALID);
}

TEST_CASE("oaep: the known ciphertext opens, with its label and hash only") {
  const Buffer label = text("label");
  Buffer plain;
  CHECK(opens(known::kRsaPrivate, Hash::SHA_256, label, known::kRsaOaepCiphertext, &plain) == Code::OK);
  CHECK(plain == text("sample"));
  CHECK(opens(known::kRsaPrivate, Hash::HASH_UNSPECIFIED, label, known::kRsaOaepCiphertext) == Code::OK);
  CHECK(opens(known::kRsaPrivate, Hash::SHA_256, {}, known::kRsaOaepCiphertext) == Code::CIPHERTEXT_INVALID);
  CHECK(opens(known::kRsaPrivate, Hash::SHA_256, text("Label"), known::kRsaOaepCiphertext) == Code::CIPHERTEXT_INVALID);
  CHECK(opens(known::kRsaPrivate, Hash::SHA_384, label, known::kRsaOaepCiphertext) == Code::CIPHERTEXT_INVALID);
  CHECK(opens(testPair(KeyType::RSA_2048).stored, Hash::SHA_256, label, known::kRsaOaepCiphertext) == Code::CIPHERTEXT_INVALID);
  CHECK(opens(testPair(KeyType::EC_P256).stored, Hash::SHA_256, label, known::kRsaOaepCiphertext) == Code::KEY_INVALID);
  CHECK(opens(known::kRsaPrivate, static_cast<Hash>(77), label, known::kRsaOaepCiphertext) == Code::DIGEST_INVALID);
}

TEST_CASE("oaep: every length up to the limit, with every hash; libcrypto reads ours and we read its") {
  for (const KeyType type : kTypes) {
    const TestPair& pair = testPair(type);
    const Pkey theirs = evpPrivate(type, pair.stored, pair.spki);
    for (const Hash hash : {Hash::SHA_1, Hash::SHA_224, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512}) {
      const size_t most = keyRow(type)->bytes - 2 * hashBytes(hash) - 2;
      for (const size_t length : {size_t{0}, size_t{1}, size_t{32}, most}) {
        const Buffer in = pattern(length);
        Buffer sealed, plain;
        REQUIRE(oaepEncrypt(pair.spki, hash, {}, in, &sealed) == Code::OK);
        CHECK(opens(pair.stored, hash, {}, sealed, &plain) == Code::OK);
        CHECK(plain == in);
      }
      Buffer sealed, untouched;
      CHECK(oaepEncrypt(pair.spki, hash, {}, pattern(most + 1), &untouched) == Code::INPUT_TOO_LONG);
      CHECK(untouched.empty());
      const Buffer in = pattern(30);
      REQUIRE(oaepEncrypt(pair.spki, hash, {}, in, &sealed) == Code::OK);
      const PkeyContext context(EVP_PKEY_CTX_new(theirs.get(), nullptr));
      REQUIRE(EVP_PKEY_decrypt_init(context.get()) == 1);
      REQUIRE(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1);
      REQUIRE(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), mdOf(hash)) == 1);
      REQUIRE(EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), mdOf(hash)) == 1);
      Buffer out(512);
      size_t length = out.size();
      REQUIRE(EVP_PKEY_decrypt(context.get(), out.data(), &length, sealed.data(), sealed.size()) == 1);
      out.resize(length);
      CHECK(out == in);
    }
  }
}

TEST_CASE("oaep: changed, short, long and too large ciphertexts all fail alike") {
  const TestPair& pair = testPair(KeyType::RSA_2048);
  Buffer sealed;
  REQUIRE(oaepEncrypt(pair.spki, Hash::SHA_256, {}, text("secret"), &sealed) == Code::OK);
  for (size_t i = 0; i < sealed.size(); i += 13) {
    Buffer flipped = sealed;
    flipped[i] ^= 1;
    CHECK(opens(pair.stored, Hash::SHA_256, {}, flipped) == Code::CIPHERTEXT_INVALID);
  }
  for (const Buffer& bad : {Buffer{}, Buffer(sealed.begin(), sealed.end() - 1), concat({sealed, hex("00")}), concat({hex("00"), sealed}),
                            Buffer(256, 0), Buffer(256, 0xff), Buffer(384, 1)}) {
    CHECK(opens(pair.stored, Hash::SHA_256, {}, bad) == Code::CIPHERTEXT_INVALID);
  }
  Buffer out;
  CHECK(oaepEncrypt(testPair(KeyType::EC_P256).spki, Hash::SHA_256, {}, text("x"), &out) == Code::KEY_INVALID);
  CHECK(oaepEncrypt({}, Hash::SHA_256, {}, text("x"), &out) == Code::KEY_INVALID);
}
