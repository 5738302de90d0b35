// AES by mechanism: known answers of SP 800-38A, 38B, RFC 3394, 4493 and 5649; GCM against libcrypto.
#include "mechanism_run.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const Buffer kKey = hex("2b7e151628aed2a6abf7158809cf4f3c");
const Buffer kTwoBlocks = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");

// SP 800-38D by libcrypto.
Buffer gcmByLibcrypto(Bytes keyMaterial, Bytes iv, Bytes aad, Bytes in, size_t tagBytes) {
  const EVP_CIPHER* ciphers[] = {EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm()};
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  Buffer out(in.size() + 16);
  int n = 0;
  REQUIRE(EVP_EncryptInit_ex(context, ciphers[keyMaterial.size() / 8 - 2], nullptr, keyMaterial.data(), iv.data()) == 1);
  REQUIRE(EVP_EncryptUpdate(context, nullptr, &n, aad.data(), int(aad.size())) == 1);
  REQUIRE(EVP_EncryptUpdate(context, out.data(), &n, in.data(), int(in.size())) == 1);
  REQUIRE(EVP_EncryptFinal_ex(context, out.data() + n, &n) == 1);
  REQUIRE(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, out.data() + in.size()) == 1);
  EVP_CIPHER_CTX_free(context);
  out.resize(in.size() + tagBytes);
  return out;
}

}  // namespace

TEST_CASE("mechanism: ECB, CBC and CTR, SP 800-38A appendix F") {
  const Buffer iv = hex("000102030405060708090a0b0c0d0e0f"), counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
  const MechanismKey key = symmetric(kKey);
  const std::pair<Mechanism, const char*> known[] = {
      {mechanism(kCkm_AES_ECB), "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"},
      {mechanism(kCkm_AES_CBC, {.iv = iv}), "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"},
      {mechanism(kCkm_AES_CTR, {.iv = counter, .counterBits = 128}), "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"},
  };
  for (const auto& [m, cipher] : known) {
    CHECK(toHex(encrypted(m, key, kTwoBlocks).out) == cipher);
    CHECK(decrypted(m, key, hex(cipher)).out == kTwoBlocks);
    const Run none = encrypted(m, key, {});
    CHECK((none.code == Code::OK && none.out.empty()));
  }
  // With padding, the first blocks are CBC's.
  const Mechanism padded = mechanism(kCkm_AES_CBC_PAD, {.iv = iv});
  const Run out = encrypted(padded, key, kTwoBlocks);
  CHECK((out.out.size() == 48 && toHex(Bytes(out.out).first(32)) == known[1].second));
  CHECK(decrypted(padded, key, out.out).out == kTwoBlocks);
  CHECK(encrypted(padded, key, {}).out.size() == 16);
}

TEST_CASE("mechanism: ciphertexts of wrong length or padding leave nothing") {
  const Buffer iv(16);
  const MechanismKey key = symmetric(kKey);
  const Mechanism padded = mechanism(kCkm_AES_CBC_PAD, {.iv = iv});
  for (const size_t n : {1, 15, 17}) {
    CHECK(encrypted(mechanism(kCkm_AES_ECB), key, pattern(n)).code == Code::DATA_LENGTH_INVALID);
    CHECK(decrypted(mechanism(kCkm_AES_ECB), key, pattern(n)).code == Code::CIPHERTEXT_LENGTH_INVALID);
    CHECK(encrypted(mechanism(kCkm_AES_CBC, {.iv = iv}), key, pattern(n)).code == Code::DATA_LENGTH_INVALID);
    CHECK(decrypted(mechanism(kCkm_AES_CBC, {.iv = iv}), key, pattern(n)).code == Code::CIPHERTEXT_LENGTH_INVALID);
    CHECK(decrypted(padded, key, pattern(n)).code == Code::CIPHERTEXT_LENGTH_INVALID);
  }
  CHECK(decrypted(padded, key, {}).code == Code::CIPHERTEXT_LENGTH_INVALID);
  const Run bad = decrypted(padded, key, encrypted(mechanism(kCkm_AES_CBC, {.iv = iv}), key, Buffer(48)).out);
  CHECK((bad.code == Code::CIPHERTEXT_INVALID && bad.out == Buffer(48)));
}

TEST_CASE("mechanism: GCM with every tag, prepared and not, as libcrypto has it") {
  const Buffer iv = pattern(12, 3), aad = pattern(21, 5);
  for (const size_t keyBytes : {16, 24, 32}) {
    const Buffer keyMaterial = pattern(keyBytes, 9);
    ArenaBox<GcmKey> prepared;
    REQUIRE(ArenaBox<GcmKey>::make(&prepared) == Code::OK);
    gcm().init(prepared.get(), keyMaterial.data(), keyBytes);
    MechanismKey fresh = symmetric(keyMaterial), ready = fresh;
    ready.gcm = prepared.get();
    for (const size_t n : {0, 1, 16, 100, 5000}) {
      const Buffer plain = pattern(n, 6);
      for (uint32_t tagBytes = 12; tagBytes <= 16; tagBytes++) {
        const Mechanism m = mechanism(kCkm_AES_GCM, {.iv = iv, .aad = aad, .tagBits = 8 * tagBytes});
        const Buffer expected = gcmByLibcrypto(keyMaterial, iv, aad, plain, tagBytes);
        for (const MechanismKey& key : {fresh, ready}) {
          REQUIRE(encrypted(m, key, plain).out == expected);
          REQUIRE(decrypted(m, key, expected).out == plain);
          Buffer wrong = expected;
          wrong[wrong.size() - 1] ^= 1;
          const Run refused = decrypted(m, key, wrong);
          REQUIRE((refused.code == Code::CIPHERTEXT_INVALID && refused.out == Buffer(n)));
          REQUIRE(decrypted(m, key, Bytes(expected).first(tagBytes - 1)).code == Code::CIPHERTEXT_LENGTH_INVALID);
        }
      }
    }
  }
}

TEST_CASE("mechanism: CMAC (RFC 4493), HMAC (RFC 2202, 4231), whole and truncated") {
  const MechanismKey key = symmetric(kKey);
  CHECK(toHex(signedBy(mechanism(kCkm_AES_CMAC), key, {}).out) == "bb1d6929e95937287fa37d129b756746");
  CHECK(toHex(signedBy(mechanism(kCkm_AES_CMAC), key, Bytes(kTwoBlocks).first(16)).out) == "070a16b46b4d4144f79bdd9dd04a287c");
  const Mechanism shortMac = mechanism(kCkm_AES_CMAC_GENERAL, {.macBytes = 5});
  CHECK(toHex(signedBy(shortMac, key, {}).out) == "bb1d6929e9");
  CHECK(verifies(shortMac, key, {}, hex("bb1d6929e9")));
  for (const char* wrong : {"bb1d6929e8", "bb1d6929", "bb1d6929e959", "", "bb1d6929e95937287fa37d129b756746"}) CHECK(!verifies(shortMac, key, {}, hex(wrong)));
  const Buffer keyMaterial(20, 0x0b), hello = text("Hi There");
  CHECK(toHex(signedBy(mechanism(kCkm_SHA_1_HMAC), secretKey(keyMaterial), hello).out) == "b617318655057264e28bc0b6fb378c8ef146be00");
  CHECK(toHex(signedBy(mechanism(kCkm_SHA256_HMAC), secretKey(keyMaterial), hello).out) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(toHex(signedBy(mechanism(kCkm_SHA256_HMAC_GENERAL, {.macBytes = 4}), secretKey(keyMaterial), hello).out) == "b0344c61");
  CHECK(toHex(signedBy(mechanism(kCkm_SHA224_HMAC), secretKey(keyMaterial), hello).out) == "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22");
}

TEST_CASE("mechanism: KEY_WRAP (RFC 3394 4.1), KEY_WRAP_PAD and KWP (RFC 5649 6)") {
  const Buffer kek = hex("000102030405060708090a0b0c0d0e0f"), paddedKek = hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
  const Buffer plain = hex("00112233445566778899aabbccddeeff"), odd = hex("c37b7e6492584340bed12207808941155068f738");
  Buffer wrapped;
  Secret back;
  REQUIRE(mechanismWrap(mechanism(kCkm_AES_KEY_WRAP), symmetric(kek), plain, &wrapped) == Code::OK);
  CHECK(toHex(wrapped) == "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
  REQUIRE(mechanismUnwrap(mechanism(kCkm_AES_KEY_WRAP), symmetric(kek), wrapped, &back) == Code::OK);
  CHECK(toHex(back) == toHex(plain));
  CHECK(mechanismWrap(mechanism(kCkm_AES_KEY_WRAP), symmetric(kek), odd, &wrapped) == Code::KEY_SIZE_INVALID);
  for (const uint32_t number : {kCkm_AES_KEY_WRAP_PAD, kCkm_AES_KEY_WRAP_KWP}) {
    REQUIRE(mechanismWrap(mechanism(number), symmetric(paddedKek), odd, &wrapped) == Code::OK);
    CHECK(toHex(wrapped) == "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
    REQUIRE(mechanismUnwrap(mechanism(number), symmetric(paddedKek), wrapped, &back) == Code::OK);
    CHECK(toHex(back) == toHex(odd));
    for (size_t i = 0; i < wrapped.size(); i++) {
      wrapped[i] ^= 0x20;
      CHECK(mechanismUnwrap(mechanism(number), symmetric(paddedKek), wrapped, &back) == Code::WRAPPED_KEY_INVALID);
      wrapped[i] ^= 0x20;
    }
    for (const size_t n : {0, 8, 15, 31, 33, 9000}) CHECK(mechanismUnwrap(mechanism(number), symmetric(paddedKek), pattern(n), &back) == Code::WRAPPED_KEY_INVALID);
  }
  CHECK(mechanismWrap(mechanism(kCkm_AES_KEY_WRAP_KWP), symmetric(kek), {}, &wrapped) == Code::KEY_SIZE_INVALID);
}

TEST_CASE("mechanism: the table, each use and type of key") {
  const KeyType types[] = {KeyType::KEY_TYPE_UNSPECIFIED, KeyType::AES_128, KeyType::AES_192, KeyType::AES_256, KeyType::HMAC, KeyType::EC_P256, KeyType::EC_P384,
                           KeyType::EC_P521, KeyType::ED25519, KeyType::X25519, KeyType::RSA_2048, KeyType::RSA_3072, KeyType::RSA_4096};
  size_t rows = 0;
  for (uint32_t number = 0; number < 0x10000; number++) {
    const MechanismRow* row = mechanismRow(number);
    if (row == nullptr) continue;
    rows++;
    REQUIRE(row->number == number);
    for (uint32_t use = 1; use <= kGeneratePair; use *= 2) {
      for (const KeyType type : types) {
        const Code code = checkMechanism({row, {}}, Use(use), type, nullptr);
        const bool takesKey = (use & (kDigest | kGenerate | kGeneratePair)) == 0;
        const bool fits = familyOf(type) == row->key || (row->kind == MechanismKind::ecdh && type == KeyType::X25519);
        INFO("mechanism ", number, ", use ", use, ", type ", uint32_t(type));
        if ((row->uses & use) == 0) CHECK(code == Code::MECHANISM_INVALID);
        else if (takesKey && !fits) CHECK(code == Code::KEY_USAGE_DENIED);
        else CHECK((code == Code::OK || code == Code::MECHANISM_PARAM_INVALID));
      }
    }
  }
  size_t defined = 0;
#define M(...) defined++;
#include "core/mechanisms.def"
  CHECK(rows == defined);
  for (const uint32_t number : {0x2200u, 0x110u, 0x121u, 0x80000000u, 0xffffffffu}) CHECK(mechanismRow(number) == nullptr);  // DES, MD5, others
  CHECK(checkMechanism({}, kEncrypt, KeyType::AES_256, nullptr) == Code::MECHANISM_INVALID);
  // PKCS #1 v1.5 never decrypts, never unwraps.
  for (const Use use : {kEncrypt, kDecrypt, kWrap, kUnwrap}) CHECK(checkMechanism(mechanism(kCkm_RSA_PKCS), use, KeyType::RSA_2048, nullptr) == Code::MECHANISM_INVALID);
}

TEST_CASE("mechanism: parameters that do not fit say why") {
  const Buffer iv12(12), iv16(16), long_(300);
  const Hash sha256 = Hash::SHA_256;
  const std::pair<Mechanism, KeyType> wrong[] = {
      {mechanism(kCkm_AES_CBC), KeyType::AES_256},
      {mechanism(kCkm_AES_CBC, {.iv = iv12}), KeyType::AES_256},
      {mechanism(kCkm_AES_ECB, {.iv = iv16}), KeyType::AES_256},
      {mechanism(kCkm_AES_CTR, {.iv = iv16}), KeyType::AES_256},
      {mechanism(kCkm_AES_CTR, {.iv = iv16, .counterBits = 129}), KeyType::AES_256},
      {mechanism(kCkm_AES_CTR, {.iv = iv12, .counterBits = 32}), KeyType::AES_256},
      {mechanism(kCkm_AES_GCM, {.iv = iv12}), KeyType::AES_256},
      {mechanism(kCkm_AES_GCM, {.iv = iv12, .tagBits = 88}), KeyType::AES_256},
      {mechanism(kCkm_AES_GCM, {.iv = iv12, .tagBits = 100}), KeyType::AES_256},
      {mechanism(kCkm_AES_GCM, {.iv = iv12, .tagBits = 136}), KeyType::AES_256},
      {mechanism(kCkm_AES_GCM, {.iv = iv16, .tagBits = 128}), KeyType::AES_256},
      {mechanism(kCkm_AES_GCM, {.iv = iv12, .tagBits = 128, .saltBytes = 1}), KeyType::AES_256},
      {mechanism(kCkm_RSA_PKCS_OAEP), KeyType::RSA_2048},
      {mechanism(kCkm_RSA_PKCS_OAEP, {.hash = sha256}), KeyType::RSA_2048},
      {mechanism(kCkm_RSA_X_509, {.hash = sha256}), KeyType::RSA_2048},
  };
  for (const auto& row : wrong) {
    const auto& m = row.first;  // no bindings: INFO captures them, which clang refuses
    const KeyType type = row.second;
    const char* fact = nullptr;
    INFO("mechanism ", m.row->number);
    CHECK(checkMechanism(m, kEncrypt, type, &fact) == Code::MECHANISM_PARAM_INVALID);
    CHECK(fact != nullptr);
    CHECK(encrypted(m, {.type = type, .stored = kKey}, long_).code == Code::MECHANISM_PARAM_INVALID);
  }
  const std::pair<Mechanism, KeyType> wrongSigns[] = {
      {mechanism(kCkm_AES_CMAC_GENERAL), KeyType::AES_256},
      {mechanism(kCkm_AES_CMAC_GENERAL, {.macBytes = 17}), KeyType::AES_256},
      {mechanism(kCkm_SHA_1_HMAC_GENERAL, {.macBytes = 21}), KeyType::HMAC},
      {mechanism(kCkm_SHA_1_HMAC, {.macBytes = 20}), KeyType::HMAC},
      {mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 20, .hash = sha256}), KeyType::RSA_2048},
      {mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 223, .hash = sha256, .mgf = sha256}), KeyType::RSA_2048},
      {mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 0xffffffff, .hash = sha256, .mgf = sha256}), KeyType::RSA_2048},
      {mechanism(kCkm_SHA1_RSA_PKCS_PSS, {.saltBytes = 20, .hash = sha256, .mgf = sha256}), KeyType::RSA_2048},
      {mechanism(kCkm_ECDSA_SHA256, {.hash = sha256}), KeyType::EC_P256},
  };
  for (const auto& row : wrongSigns) {
    const auto& m = row.first;  // no bindings: INFO captures them, which clang refuses
    const KeyType type = row.second;
    INFO("mechanism ", m.row->number, ", salt ", m.params.saltBytes);
    CHECK(checkMechanism(m, kSign, type, nullptr) == Code::MECHANISM_PARAM_INVALID);
  }
  CHECK(checkMechanism(mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 222, .hash = sha256, .mgf = sha256}), kSign, KeyType::RSA_2048, nullptr) == Code::OK);
  const Buffer peer(65);
  CHECK(checkMechanism(mechanism(kCkm_ECDH1_DERIVE), kDerive, KeyType::EC_P256, nullptr) == Code::MECHANISM_PARAM_INVALID);
  CHECK(checkMechanism(mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = peer, .shared = iv12}), kDerive, KeyType::EC_P256, nullptr) == Code::MECHANISM_PARAM_INVALID);
  for (const uint32_t bits : {0, 64, 160, 512}) {
    CHECK(checkMechanism(mechanism(kCkm_RSA_AES_KEY_WRAP, {.bits = bits, .hash = sha256, .mgf = sha256}), kWrap, KeyType::RSA_2048, nullptr) == Code::MECHANISM_PARAM_INVALID);
  }
}
