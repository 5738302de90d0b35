// The table of key types: generation, import, export, public forms, and which type does what.
#include "key_fixtures.h"

#include <openssl/pem.h>

#include <set>

#include "core/gcm.h"
#include "core/key_der.h"
#include "core/p256_lanes.h"
#include "core/selftest.h"
#include "core/selftest_asym_known.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr KeyType kSymmetric[] = {KeyType::AES_128, KeyType::AES_192, KeyType::AES_256, KeyType::HMAC};
constexpr KeyType kAsymmetric[] = {KeyType::EC_P256, KeyType::EC_P384,  KeyType::EC_P521,  KeyType::ED25519,
                                   KeyType::X25519,  KeyType::RSA_2048, KeyType::RSA_3072, KeyType::RSA_4096};
constexpr KeyType kNoTypes[] = {KeyType::KEY_TYPE_UNSPECIFIED, static_cast<KeyType>(13), static_cast<KeyType>(UINT32_MAX)};

std::string jwk(KeyType type, Bytes spki) {
  std::string json;
  REQUIRE(publicJwk(type, spki, &json) == Code::OK);
  return json;
}

}  // namespace

TEST_CASE("keypair: every type has its row") {
  for (const KeyType type : kSymmetric) CHECK_FALSE(isAsymmetric(type));
  for (const KeyType type : kAsymmetric) CHECK(isAsymmetric(type));
  for (const KeyType type : kNoTypes) CHECK_FALSE(isAsymmetric(type));
  CHECK(symmetricBytes(KeyType::AES_128) == 16);
  CHECK(symmetricBytes(KeyType::AES_192) == 24);
  CHECK(symmetricBytes(KeyType::AES_256) == 32);
  CHECK(symmetricBytes(KeyType::HMAC) == 0);
  CHECK(symmetricBytes(KeyType::RSA_2048) == 0);
  for (const KeyType type : kNoTypes) CHECK(symmetricBytes(type) == 0);
  for (uint32_t type = 1; type <= 12; type++) {
    REQUIRE(keyRow(static_cast<KeyType>(type)) != nullptr);
    CHECK(keyRow(static_cast<KeyType>(type))->type == static_cast<KeyType>(type));
  }
}

TEST_CASE("keypair: symmetric material is random, of its length, and comes in raw only") {
  for (const KeyType type : kSymmetric) {
    CAPTURE(static_cast<int>(type));
    const size_t bytes = type == KeyType::HMAC ? 32 : symmetricBytes(type);
    Secret one, two;
    Buffer spki = {1};
    REQUIRE(generateKey(type, 0, &one, &spki) == Code::OK);
    REQUIRE(generateKey(type, type == KeyType::HMAC ? 0 : bytes, &two, &spki) == Code::OK);
    CHECK(spki.empty());
    CHECK(one.size() == bytes);
    CHECK_FALSE(equalConstantTime(one, two));
    const Imported got = imported(type, MaterialFormat::RAW, one);
    CHECK(got.code == Code::OK);
    CHECK(equalConstantTime(got.stored, one));
    CHECK(imported(type, MaterialFormat::PKCS8, one).code == Code::BAD_REQUEST);
    CHECK(imported(type, MaterialFormat::SPKI_PUBLIC, one).code == Code::BAD_REQUEST);
    Secret out;
    CHECK(exportMaterial(type, MaterialFormat::RAW, one, {}, &out) == Code::OK);
    CHECK(equalConstantTime(out, one));
    CHECK(exportMaterial(type, MaterialFormat::PKCS8, one, {}, &out) == Code::BAD_REQUEST);
    CHECK(exportMaterial(type, MaterialFormat::SPKI_PUBLIC, one, {}, &out) == Code::BAD_REQUEST);
    if (type == KeyType::HMAC) continue;
    CHECK(generateKey(type, bytes + 1, &out, &spki) == Code::BAD_REQUEST);
    for (const size_t wrong : {size_t{0}, bytes - 1, bytes + 1})
      checkRefused(imported(type, MaterialFormat::RAW, pattern(wrong)), "length");
  }
}

TEST_CASE("keypair: HMAC keys have 16 to 256 bytes") {
  Secret out;
  Buffer spki;
  for (const size_t length : {16u, 64u, 256u}) {
    CHECK(generateKey(KeyType::HMAC, length, &out, &spki) == Code::OK);
    CHECK(out.size() == length);
    CHECK(imported(KeyType::HMAC, MaterialFormat::RAW, pattern(length)).code == Code::OK);
  }
  for (const size_t length : {1u, 15u, 257u, 100000u}) {
    CHECK(generateKey(KeyType::HMAC, length, &out, &spki) == Code::BAD_REQUEST);
    checkRefused(imported(KeyType::HMAC, MaterialFormat::RAW, pattern(length)), "16 to 256");
  }
}

TEST_CASE("keypair: what is generated, exported and imported is the same, in every form") {
  for (const KeyType type : kAsymmetric) {
    CAPTURE(static_cast<int>(type));
    const TestPair& pair = testPair(type);
    const Secret pkcs8 = exported(type, pair.stored, pair.spki);
    for (const MaterialFormat format : {MaterialFormat::PKCS8, MaterialFormat::RAW}) {
      Secret out;
      const Code code = exportMaterial(type, format, pair.stored, pair.spki, &out);
      if (format == MaterialFormat::RAW && keyRow(type)->verbs == &kRsaVerbs) {
        CHECK(code == Code::BAD_REQUEST);
        continue;
      }
      REQUIRE(code == Code::OK);
      const Imported got = imported(type, format, out);
      CHECK_MESSAGE(got.code == Code::OK, got.detail);
      CHECK(equalConstantTime(got.stored, pair.stored));
      CHECK(got.spki == pair.spki);
    }
    Secret spki;
    REQUIRE(exportMaterial(type, MaterialFormat::SPKI_PUBLIC, pair.stored, pair.spki, &spki) == Code::OK);
    const Imported publicOnly = imported(type, MaterialFormat::SPKI_PUBLIC, spki);
    CHECK(publicOnly.code == Code::OK);
    CHECK(publicOnly.stored.empty());
    CHECK(publicOnly.spki == pair.spki);
    CHECK(EVP_PKEY_eq(evpPrivate(type, pair.stored, pair.spki).get(), evpPublic(pair.spki).get()) == 1);
    CHECK(exportMaterial(type, MaterialFormat::PKCS8, {}, pair.spki, &spki) == Code::BAD_REQUEST);  // a public key only
    CHECK(exportMaterial(type, MaterialFormat::PKCS8, pair.stored, {}, &spki) == Code::KEY_INVALID);
  }
}

TEST_CASE("keypair: two generated keys differ, and a failure leaves what was there") {
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P521, KeyType::ED25519, KeyType::X25519}) {
    TestPair pair;
    REQUIRE(generateKey(type, 0, &pair.stored, &pair.spki) == Code::OK);
    CHECK(pair.spki != testPair(type).spki);
    std::string detail;
    Secret stored;
    REQUIRE(Secret::copy(pattern(5), &stored) == Code::OK);
    Buffer spki = pattern(7);
    CHECK(importKey(type, MaterialFormat::PKCS8, pattern(40), &stored, &spki, &detail) == Code::KEY_INVALID);
    CHECK(stored.size() == 5);
    CHECK(spki == pattern(7));
    CHECK(importKey(type, MaterialFormat::PKCS8, pattern(40), &stored, &spki, nullptr) == Code::KEY_INVALID);
  }
}

TEST_CASE("keypair: types and forms that do not exist") {
  Secret out;
  Buffer spki;
  std::string detail;
  for (const KeyType type : kNoTypes) {
    CHECK(generateKey(type, 0, &out, &spki) == Code::BAD_REQUEST);
    CHECK(imported(type, MaterialFormat::RAW, pattern(32)).code == Code::BAD_REQUEST);
    CHECK(exportMaterial(type, MaterialFormat::RAW, pattern(32), {}, &out) == Code::BAD_REQUEST);
    CHECK(publicJwk(type, testPair(KeyType::EC_P256).spki, &detail) == Code::BAD_REQUEST);
    CHECK(agree(type, pattern(32), pattern(32), &out) == Code::KEY_USAGE_DENIED);
  }
  for (const auto format : {MaterialFormat::MATERIAL_FORMAT_UNSPECIFIED, static_cast<MaterialFormat>(9)}) {
    CHECK(imported(KeyType::EC_P256, format, pattern(32)).code == Code::BAD_REQUEST);
    CHECK(exportMaterial(KeyType::EC_P256, format, pattern(32), testPair(KeyType::EC_P256).spki, &out) == Code::BAD_REQUEST);
  }
}

TEST_CASE("keypair: PEM is libcrypto's PEM") {
  for (const KeyType type : kAsymmetric) {
    const Buffer& spki = testPair(type).spki;
    const std::unique_ptr<BIO, Released<BIO_free_all>> bio(BIO_new(BIO_s_mem()));
    REQUIRE(PEM_write_bio_PUBKEY(bio.get(), evpPublic(spki).get()) == 1);
    char* data = nullptr;
    const long length = BIO_get_mem_data(bio.get(), &data);
    CHECK(publicPem(spki) == std::string(data, static_cast<size_t>(length)));
  }
}

TEST_CASE("keypair: JWK of RFC 8037 and RFC 7517, and thumbprints of RFC 7638") {
  const Buffer ed =
      imported(KeyType::ED25519, MaterialFormat::RAW, hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")).spki;
  const std::string json = jwk(KeyType::ED25519, ed);
  CHECK(json == R"({"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})");
  uint8_t print[32];
  REQUIRE(digest(Hash::SHA_256, bytesOf(json), print) == Code::OK);
  CHECK(toHex(print) == "90facafea9b1556698540f70c0117a22ea37bd5cf3ed3c47093c1707282b4b89");  // kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
  // RFC 7517 A.2's EC key.
  const Buffer ec =
      imported(KeyType::EC_P256, MaterialFormat::RAW, hex("f3bd0c07a81fb932781ed52752f60cc89a6be5e51934fe01938ddb55d8f77801")).spki;
  CHECK(
      jwk(KeyType::EC_P256, ec) ==
      R"({"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})");
  CHECK(jwk(KeyType::X25519, testPair(KeyType::X25519).spki).starts_with(R"({"crv":"X25519","kty":"OKP","x":")"));
  const std::string rsa = jwk(KeyType::RSA_2048, testPair(KeyType::RSA_2048).spki);
  const std::string before = R"({"e":"AQAB","kty":"RSA","n":")";
  CHECK(rsa.starts_with(before));
  CHECK(rsa.size() == before.size() + 342 + 2);  // 256 bytes, without a sign byte
}

TEST_CASE("keypair: JWK of coordinates with leading zeros keeps their length; of a wrong SPKI there is none") {
  // A scalar whose x begins with a zero byte, found by counting.
  Buffer scalar(32, 0);
  bool found = false;
  for (int i = 1; i < 5000 && !found; i++) {
    scalar[30] = static_cast<uint8_t>(i >> 8);
    scalar[31] = static_cast<uint8_t>(i);
    const Buffer spki = imported(KeyType::EC_P256, MaterialFormat::RAW, scalar).spki;
    found = spki[27] == 0;
    if (!found) continue;
    const std::string json = jwk(KeyType::EC_P256, spki);
    CHECK(json.find(R"("x":"A)") != std::string::npos);
    CHECK(json.size() == jwk(KeyType::EC_P256, testPair(KeyType::EC_P256).spki).size());
  }
  CHECK(found);
  std::string json = "untouched";
  Buffer off = testPair(KeyType::EC_P256).spki;
  off.back() ^= 1;
  CHECK(publicJwk(KeyType::EC_P256, off, &json) == Code::KEY_INVALID);
  CHECK(publicJwk(KeyType::EC_P384, testPair(KeyType::EC_P256).spki, &json) == Code::KEY_INVALID);
  CHECK(publicJwk(KeyType::AES_256, testPair(KeyType::EC_P256).spki, &json) == Code::BAD_REQUEST);
  CHECK(json == "untouched");
}

TEST_CASE("keypair: a prepared signer signs what its type and schemes sign") {
  for (const KeyType type : kAsymmetric) {
    CAPTURE(static_cast<int>(type));
    const TestPair& pair = testPair(type);
    std::shared_ptr<const PreparedSigner> signer;
    const Code code = PreparedSigner::prepare(type, pair.stored, &signer);
    CHECK(code == (type == KeyType::X25519 ? Code::KEY_SCHEME_INVALID : Code::OK));
    if (code != Code::OK) continue;
    for (const KeyScheme scheme : keyRow(type)->verbs->signatures) {
      const SignOptions how{.type = type, .scheme = scheme};
      for (int i = 0; i < 3; i++) {
        Buffer signature;
        REQUIRE(signer->sign(how, text("message"), &signature) == Code::OK);
        CHECK(verified(how, pair.spki, text("message"), signature));
      }
    }
    Buffer none;
    CHECK(signer->sign({.type = KeyType::EC_P256, .scheme = KeyScheme::RSA_PSS}, text("m"), &none) == Code::KEY_SCHEME_INVALID);
    CHECK(none.empty());
  }
  std::shared_ptr<const PreparedSigner> signer;
  CHECK(PreparedSigner::prepare(KeyType::AES_256, pattern(32), &signer) == Code::KEY_SCHEME_INVALID);
}

TEST_CASE("keypair: the thread's error queue is as it was") {
  ERR_clear_error();
  const TestPair& pair = testPair(KeyType::RSA_2048);
  const auto provoke = [&] {
    Secret out;
    oaepDecrypt(pair.stored, Hash::SHA_256, {}, Buffer(256, 1), &out);
    imported(KeyType::EC_P256, MaterialFormat::SPKI_PUBLIC, concat({Bytes(testPair(KeyType::EC_P256).spki).first(90), hex("00")}));
    agree(KeyType::X25519, testPair(KeyType::X25519).stored, Buffer(32, 0), &out);
    CHECK_FALSE(verified({.type = KeyType::RSA_2048, .scheme = KeyScheme::RSA_PSS}, pair.spki, text("m"), Buffer(256, 1)));
  };
  provoke();
  CHECK(ERR_peek_error() == 0);
  ERR_raise(ERR_LIB_USER, 42);
  provoke();
  CHECK(ERR_GET_REASON(ERR_get_error()) == 42);
  CHECK(ERR_get_error() == 0);
}

TEST_CASE("keypair: the self-tests pass, each under its name") {
  SelfTestResult result;
  runAsymmetricSelfTests(&result);
  for (const std::string& name : result.failed) FAIL_CHECK(name);
  const size_t count = 12 + p256LanesPick(cpuFeatures(), gcmForced());
  CHECK(result.passed.size() == count);
  CHECK(std::set<std::string>(result.passed.begin(), result.passed.end()).size() == count);
}
