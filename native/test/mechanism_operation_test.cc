// Mechanisms in many parts give what they give in one.
#include "mechanism_run.h"

using namespace quorate;
using namespace quorate::test;

TEST_CASE("mechanism: ciphers in parts, at random splits") {
  const Buffer iv = pattern(16, 7);
  Buffer low = iv;
  low[15] = 0;  // room for the small counter
  const std::pair<Mechanism, size_t> ciphers[] = {
      {mechanism(kCkm_AES_ECB), 16},
      {mechanism(kCkm_AES_CBC, {.iv = iv}), 16},
      {mechanism(kCkm_AES_CBC_PAD, {.iv = iv}), 1},
      {mechanism(kCkm_AES_CTR, {.iv = iv, .counterBits = 128}), 1},
      {mechanism(kCkm_AES_CTR, {.iv = low, .counterBits = 8}), 1},
  };
  for (const size_t keyBytes : {16, 24, 32}) {
    const Buffer keyMaterial = pattern(keyBytes, 3);
    const MechanismKey key = symmetric(keyMaterial);
    for (const auto& row : ciphers) {
      const auto& m = row.first;  // not a binding: INFO captures it, which clang refuses
      const auto unit = row.second;
      for (uint32_t seed = 1; seed <= 60; seed++) {
        const Buffer plain = pattern(seed * 7 / unit * unit, seed);
        INFO("seed ", seed, ", mechanism ", m.row->number, ", bytes ", plain.size());
        const Run whole = encrypted(m, key, plain), parts = inParts(m, kEncrypt, key, plain, seed);
        REQUIRE(whole.code == Code::OK);
        REQUIRE(parts.code == Code::OK);
        REQUIRE(parts.out == whole.out);
        const Run back = inParts(m, kDecrypt, key, whole.out, seed + 1000);
        REQUIRE(back.code == Code::OK);
        REQUIRE(back.out == plain);
        REQUIRE(decrypted(m, key, whole.out).out == plain);
      }
    }
  }
}

TEST_CASE("mechanism: what ends in the midst of a block, or with bad padding, is refused") {
  const Buffer iv = pattern(16), keyMaterial = pattern(32, 9);
  const MechanismKey key = symmetric(keyMaterial);
  for (const Mechanism& m : {mechanism(kCkm_AES_ECB), mechanism(kCkm_AES_CBC, {.iv = iv})}) {
    for (const size_t n : {1, 15, 17, 100}) {
      CHECK(inParts(m, kEncrypt, key, pattern(n), 5).code == Code::DATA_LENGTH_INVALID);
      CHECK(inParts(m, kDecrypt, key, pattern(n), 5).code == Code::CIPHERTEXT_LENGTH_INVALID);
    }
  }
  const Mechanism padded = mechanism(kCkm_AES_CBC_PAD, {.iv = iv});
  CHECK(inParts(padded, kDecrypt, key, pattern(17), 5).code == Code::CIPHERTEXT_LENGTH_INVALID);
  CHECK(inParts(padded, kDecrypt, key, {}, 5).code == Code::CIPHERTEXT_LENGTH_INVALID);
  Buffer spoilt = encrypted(mechanism(kCkm_AES_CBC, {.iv = iv}), key, Buffer(64, 0)).out;
  CHECK(inParts(padded, kDecrypt, key, spoilt, 5).code == Code::CIPHERTEXT_INVALID);
}

TEST_CASE("mechanism: a counter that would wrap is refused, in one piece and in parts") {
  const Buffer keyMaterial = pattern(32, 9);
  const MechanismKey key = symmetric(keyMaterial);
  Buffer counter(16, 0xff);
  counter[15] = 0xfe;  // two blocks are left, whatever number of bits counts
  for (const uint32_t bits : {2, 8, 32, 64, 127, 128}) {
    const Mechanism m = mechanism(kCkm_AES_CTR, {.iv = counter, .counterBits = bits});
    CHECK(encrypted(m, key, pattern(32)).code == Code::OK);
    CHECK(encrypted(m, key, pattern(33)).code == Code::DATA_LENGTH_INVALID);
    CHECK(decrypted(m, key, pattern(33)).code == Code::CIPHERTEXT_LENGTH_INVALID);
    for (uint32_t seed = 1; seed < 20; seed++) {
      CHECK(inParts(m, kEncrypt, key, pattern(32), seed).code == Code::OK);
      CHECK(inParts(m, kEncrypt, key, pattern(33), seed).code == Code::DATA_LENGTH_INVALID);
      CHECK(inParts(m, kDecrypt, key, pattern(200), seed).code == Code::CIPHERTEXT_LENGTH_INVALID);
    }
  }
  // Bits above the counting ones do not wrap into it.
  counter = Buffer(16, 0xff);
  counter[15] = 0xf0;
  CHECK(encrypted(mechanism(kCkm_AES_CTR, {.iv = counter, .counterBits = 4}), key, pattern(256)).code == Code::OK);
  CHECK(encrypted(mechanism(kCkm_AES_CTR, {.iv = counter, .counterBits = 4}), key, pattern(257)).code == Code::DATA_LENGTH_INVALID);
}

TEST_CASE("mechanism: digests, MACs and hashed signatures in parts") {
  const Buffer keyMaterial = pattern(32, 4), longKey = pattern(200, 5);
  const uint32_t digests[] = {kCkm_SHA_1, kCkm_SHA224, kCkm_SHA256, kCkm_SHA384, kCkm_SHA512};
  const Mechanism macs[] = {mechanism(kCkm_AES_CMAC), mechanism(kCkm_AES_CMAC_GENERAL, {.macBytes = 7})};
  const Mechanism hmacs[] = {mechanism(kCkm_SHA_1_HMAC), mechanism(kCkm_SHA224_HMAC), mechanism(kCkm_SHA256_HMAC), mechanism(kCkm_SHA384_HMAC),
                             mechanism(kCkm_SHA512_HMAC), mechanism(kCkm_SHA512_HMAC_GENERAL, {.macBytes = 11})};
  for (uint32_t seed = 1; seed <= 50; seed++) {
    const Buffer message = pattern(seed * seed / 5, seed);
    for (const uint32_t number : digests) {
      Buffer expected(hashBytes(mechanismRow(number)->hash));
      digest(mechanismRow(number)->hash, message, expected.data());
      REQUIRE(inParts(mechanism(number), kDigest, {}, message, seed).out == expected);
    }
    const auto checkMac = [&](const Mechanism& m, const MechanismKey& key) {
      INFO("seed ", seed, ", mechanism ", m.row->number);
      const Run whole = signedBy(m, key, message);
      REQUIRE(whole.code == Code::OK);
      REQUIRE(inParts(m, kSign, key, message, seed).out == whole.out);
      bool valid = false;
      REQUIRE(inParts(m, kVerify, key, message, seed, whole.out, &valid).code == Code::OK);
      REQUIRE(valid);
      Buffer wrong = whole.out;
      wrong[0] ^= 1;
      REQUIRE(inParts(m, kVerify, key, message, seed, wrong, &valid).code == Code::OK);
      REQUIRE(!valid);
    };
    for (const Mechanism& m : macs) checkMac(m, symmetric(keyMaterial));
    for (const Mechanism& m : hmacs) checkMac(m, secretKey(seed % 2 == 0 ? keyMaterial : longKey));
  }
  const Buffer message = pattern(1000);
  const std::pair<Mechanism, KeyType> signatures[] = {
      {mechanism(kCkm_ECDSA_SHA256), KeyType::EC_P256},
      {mechanism(kCkm_ECDSA_SHA1), KeyType::EC_P521},
      {mechanism(kCkm_SHA256_RSA_PKCS), KeyType::RSA_2048},
      {mechanism(kCkm_SHA384_RSA_PKCS_PSS, {.saltBytes = 20, .hash = Hash::SHA_384, .mgf = Hash::SHA_1}), KeyType::RSA_2048},
  };
  for (const auto& [m, type] : signatures) {
    const MechanismKey key = pairKey(type);
    const Run made = inParts(m, kSign, key, message, 3);
    REQUIRE(made.code == Code::OK);
    CHECK(verifies(m, key, message, made.out));
    bool valid = false;
    CHECK(inParts(m, kVerify, key, message, 4, made.out, &valid).code == Code::OK);
    CHECK(valid);
    CHECK(inParts(m, kVerify, key, pattern(999), 4, made.out, &valid).code == Code::OK);
    CHECK(!valid);
  }
}

TEST_CASE("mechanism: what comes in one piece has no operation") {
  const Buffer keyMaterial = pattern(32), iv = pattern(12);
  std::unique_ptr<MechanismOperation> operation;
  CHECK(MechanismOperation::begin(mechanism(kCkm_AES_GCM, {.iv = iv, .tagBits = 128}), kEncrypt, symmetric(keyMaterial), &operation) == Code::MECHANISM_INVALID);
  CHECK(MechanismOperation::begin(mechanism(kCkm_ECDSA), kSign, pairKey(KeyType::EC_P256), &operation) == Code::MECHANISM_INVALID);
  CHECK(MechanismOperation::begin(mechanism(kCkm_EDDSA), kSign, pairKey(KeyType::ED25519), &operation) == Code::MECHANISM_INVALID);
  CHECK(operation == nullptr);
}
