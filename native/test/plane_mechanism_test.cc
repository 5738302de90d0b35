// Cryptography by mechanism over a real socket: what keys of every kind do, and what they refuse.
#include "object_client.h"
#include "plane/key_sheets.h"

using namespace quorate;
using namespace quorate::test;

namespace {

Answer encrypt(Client& c, const Message& request) { return c.call(Method::MechanismEncrypt, request); }
Answer decrypt(Client& c, const Message& request) { return c.call(Method::MechanismDecrypt, request); }
Answer sign(Client& c, const Message& request) { return c.call(Method::MechanismSign, request); }
bool verifies(Client& c, Message request, const std::string& signature) {
  const Answer answer = c.call(Method::MechanismVerify, request.text(M::signature, signature));
  INFO(answer.text(fields::Failure::detail));
  REQUIRE(answer.code() == Code::OK);
  return answer.number(R::valid) == 1;
}
const std::string kIv12 = "123456789012", kIv16 = "1234567890123456";

Message gcm(const std::string& key, const std::string& data) { return by(key, CKM_AES_GCM, data).text(M::iv, kIv12).number(M::tag_bits, 128); }

}  // namespace

TEST_CASE("plane mechanism: AES ciphers round trip, session and stored") {
  TestPlane plane;
  storeGenerated(plane, "stored", CKM_AES_KEY_GEN, aes());
  Client c(plane.path());
  struct Row {
    uint32_t mechanism;
    std::string iv;
    uint32_t tagBits, counterBits;
    bool blocks;
  };
  const Row rows[] = {{CKM_AES_ECB, "", 0, 0, true}, {CKM_AES_CBC, kIv16, 0, 0, true}, {CKM_AES_CBC_PAD, kIv16, 0, 0, false}, {CKM_AES_CTR, kIv16, 0, 128, false}, {CKM_AES_GCM, kIv12, 96, 0, false}};
  for (const std::string& key : {std::string("stored"), made(generate(c, CKM_AES_KEY_GEN, aes(16)))}) {
    for (const Row& row : rows) {
      for (const size_t bytes : {size_t(16), size_t(21), size_t(1'300'000)}) {
        if (row.blocks && bytes == 21) continue;
        CAPTURE(key);
        CAPTURE(row.mechanism);
        CAPTURE(bytes);
        const std::string plain(row.blocks ? bytes / 16 * 16 : bytes, 'p');
        const auto request = [&](const std::string& data) {
          Message out = by(key, row.mechanism, data);
          if (!row.iv.empty()) out.text(M::iv, row.iv);
          if (row.tagBits != 0) out.number(M::tag_bits, row.tagBits).text(M::aad, "header");
          if (row.counterBits != 0) out.number(M::counter_bits, row.counterBits);
          return out;
        };
        const Answer sealed = encrypt(c, request(plain));
        REQUIRE(sealed.code() == Code::OK);
        CHECK(sealed.number(R::version) == 1);
        CHECK(sealed.text(R::data) != plain);
        const Answer opened = decrypt(c, request(sealed.text(R::data)));
        REQUIRE(opened.code() == Code::OK);
        CHECK(opened.text(R::data) == plain);
      }
    }
  }
  // The empty plaintext of CTR, which leaves no field at all.
  const Answer none = encrypt(c, by("stored", CKM_AES_CTR).text(M::iv, kIv16).number(M::counter_bits, 128));
  CHECK(none.code() == Code::OK);
  CHECK(none.text(R::data).empty());
}

TEST_CASE("plane mechanism: AES-GCM fits what the core makes, and a bent ciphertext releases nothing") {
  TestPlane plane;
  Client c(plane.path());
  const std::string value(32, 'k');
  const std::string key = made(createSecret(c, kCkkAes, value));
  const Answer sealed = encrypt(c, gcm(key, "plaintext").text(M::aad, "aad"));
  REQUIRE(sealed.code() == Code::OK);
  GcmKey prepared;
  quorate::gcm().init(&prepared, reinterpret_cast<const uint8_t*>(value.data()), value.size());
  uint8_t out[9], tag[16];
  quorate::gcm().seal(&prepared, reinterpret_cast<const uint8_t*>(kIv12.data()), reinterpret_cast<const uint8_t*>("aad"), 3, reinterpret_cast<const uint8_t*>("plaintext"), 9, out, tag);
  CHECK(sealed.text(R::data) == str(out) + str(tag));
  // A header so long that a worker does it.
  const std::string header(2'000'000, 'h');
  const Answer far = encrypt(c, gcm(key, "p").text(M::aad, header));
  CHECK(decrypt(c, gcm(key, far.text(R::data)).text(M::aad, header)).text(R::data) == "p");
  std::string bent = sealed.text(R::data);
  bent[3] ^= 1;
  const Answer refused = decrypt(c, gcm(key, bent).text(M::aad, "aad"));
  CHECK(refused.code() == Code::CIPHERTEXT_INVALID);
  CHECK(refused.body.find("plain") == std::string::npos);
  CHECK(decrypt(c, gcm(key, sealed.text(R::data)).text(M::aad, "other")).code() == Code::CIPHERTEXT_INVALID);
}

TEST_CASE("plane mechanism: an IV that the daemon makes; reserved and counted") {
  TestPlane plane;
  plane.addKey("raw", KeyType::AES_256, KeyScheme::AES_GCM);
  storeGenerated(plane, "token", CKM_AES_KEY_GEN, aes());
  Client c(plane.path());
  const auto ask = [&](const std::string& key) { return by(key, CKM_AES_GCM, "p").number(M::tag_bits, 128).number(M::generate_iv, 1); };
  size_t reserves = 0;
  for (const std::string& key : {std::string("raw"), std::string("token"), made(generate(c, CKM_AES_KEY_GEN, aes()))}) {
    CAPTURE(key);
    const Answer first = encrypt(c, ask(key)), second = encrypt(c, ask(key));
    REQUIRE(first.code() == Code::OK);
    CHECK(first.text(R::iv).size() == 12);
    CHECK(first.text(R::iv) != second.text(R::iv));
    const Answer opened = decrypt(c, by(key, CKM_AES_GCM, first.text(R::data)).text(M::iv, first.text(R::iv)).number(M::tag_bits, 128));
    CHECK(opened.text(R::data) == "p");
    reserves += !key.starts_with("session:");
    CHECK(plane.seen(UpcallKind::reserve) == reserves);  // one for each stored key, and none for the session's
    CHECK(encrypt(c, ask(key).text(M::iv, kIv12)).code() == Code::MECHANISM_PARAM_INVALID);
    CHECK(encrypt(c, by(key, CKM_AES_CBC, kIv16).number(M::generate_iv, 1)).code() != Code::OK);
    CHECK(c.call(Method::MechanismDecrypt, ask(key)).code() == Code::MECHANISM_PARAM_INVALID);
  }
  CHECK(encrypt(c, gcm("token", "p")).code() == Code::OK);  // the caller's IV is the caller's duty
  const Answer own = encrypt(c, gcm("raw", "p"));
  CHECK(own.code() == Code::MECHANISM_PARAM_INVALID);
  CHECK(own.text(fields::Failure::field) == "iv");
  // What was reserved for a key stays its own when it is voided.
  for (const std::string& key : {std::string("raw"), std::string("token")}) {
    plane->voidKey(plane.keyOf(key).id);
    CHECK(encrypt(c, ask(key)).code() == Code::OK);
  }
  CHECK(plane.seen(UpcallKind::reserve) == reserves);
  // Encrypt has the same count: one reserve serves both methods.
  CHECK(c.call(Method::Encrypt, Message().text(1, "raw").text(2, "p")).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::reserve) == reserves);
}

TEST_CASE("plane mechanism: signatures and MACs, each family") {
  TestPlane plane;
  Client c(plane.path());
  const Template secret = aes(32);
  struct Row {
    std::string key;
    uint32_t mechanism;
  };
  const std::string rsa = rsaPair(c);
  const std::string p256 = pair(c, CKM_EC_KEY_PAIR_GEN, kP256), p384 = pair(c, CKM_EC_KEY_PAIR_GEN, kP384), p521 = pair(c, CKM_EC_KEY_PAIR_GEN, kP521);
  const std::string hmac = made(generate(c, CKM_GENERIC_SECRET_KEY_GEN, secret));
  const std::string cmac = made(generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Sign).flag(attribute::Verify)));
  const Row rows[] = {{p256, CKM_ECDSA_SHA256}, {p384, CKM_ECDSA_SHA384}, {p521, CKM_ECDSA_SHA1}, {rsa, CKM_SHA256_RSA_PKCS}, {rsa, CKM_SHA512_RSA_PKCS_PSS},
                      {pair(c, CKM_EC_EDWARDS_KEY_PAIR_GEN, kEd25519), CKM_EDDSA}, {hmac, CKM_SHA256_HMAC}, {hmac, CKM_SHA512_HMAC}, {hmac, CKM_SHA_1_HMAC}, {cmac, CKM_AES_CMAC}};
  for (const Row& row : rows) {
    CAPTURE(row.mechanism);
    for (const std::string& message : {std::string("message"), std::string(300'000, 'm')}) {
      const auto request = [&](const std::string& data) {
        Message out = by(row.key, row.mechanism, data);
        if (row.mechanism == CKM_SHA512_RSA_PKCS_PSS) out.number(M::hash, static_cast<uint64_t>(Hash::SHA_512)).number(M::mgf, static_cast<uint64_t>(Hash::SHA_512)).number(M::salt_bytes, 64);
        return out;
      };
      const Answer signature = sign(c, request(message));
      INFO(signature.text(fields::Failure::detail));
      REQUIRE(signature.code() == Code::OK);
      CHECK(verifies(c, request(message), signature.text(R::data)));
      CHECK(!verifies(c, request(message + "!"), signature.text(R::data)));
      CHECK(!verifies(c, request(message), signature.text(R::data) + "x"));
      CHECK(!verifies(c, request(message), ""));
    }
  }
  // The state that is kept ready and the core say the same.
  uint8_t mac[32];
  const std::string value(20, '\x0b');
  const std::string known = made(createSecret(c, kCkkGeneric, value));
  REQUIRE(quorate::hmac(Hash::SHA_256, bytesOf(value), bytesOf(std::string("Hi There")), mac) == Code::OK);
  CHECK(sign(c, by(known, CKM_SHA256_HMAC, "Hi There")).text(R::data) == str(mac));
}

TEST_CASE("plane mechanism: RSA-OAEP, raw RSA; never PKCS#1 v1.5 to decrypt") {
  TestPlane plane;
  Client c(plane.path());
  const std::string rsa = rsaPair(c);
  const auto oaep = [&](const std::string& data) {
    return by(rsa, CKM_RSA_PKCS_OAEP, data).number(M::hash, static_cast<uint64_t>(Hash::SHA_256)).number(M::mgf, static_cast<uint64_t>(Hash::SHA_256)).text(M::label, "label");
  };
  const Answer sealed = encrypt(c, oaep("secret"));
  REQUIRE(sealed.code() == Code::OK);
  CHECK(decrypt(c, oaep(sealed.text(R::data))).text(R::data) == "secret");
  CHECK(decrypt(c, oaep(std::string(256, 'x'))).code() == Code::CIPHERTEXT_INVALID);
  CHECK(encrypt(c, oaep("secret").text(M::label, std::string(limits::context_bytes_max + 1, 'l'))).code() == Code::MECHANISM_PARAM_INVALID);
  CHECK(decrypt(c, by(rsa, CKM_RSA_PKCS, sealed.text(R::data))).code() == Code::MECHANISM_INVALID);
  const Answer raw = sign(c, by(rsa, CKM_RSA_X_509, std::string(256, '\1')));
  CHECK(raw.code() == Code::OK);
  CHECK(raw.text(R::data).size() == 256);
}

TEST_CASE("plane mechanism: digests need no key") {
  TestPlane plane;
  Client c(plane.path());
  for (const std::string& message : {std::string("abc"), std::string(500'000, 'x')}) {
    uint8_t expected[32];
    REQUIRE(quorate::digest(Hash::SHA_256, bytesOf(message), expected) == Code::OK);
    CHECK(c.call(Method::MechanismDigest, by("", CKM_SHA256, message)).text(R::data) == str(expected));
  }
  CHECK(c.call(Method::MechanismDigest, by("", CKM_SHA256_HMAC, "m")).code() != Code::OK);
  CHECK(c.call(Method::MechanismDigest, by("", 0x210, "m")).code() == Code::MECHANISM_INVALID);  // MD5
  // A grant is asked for once.
  CHECK(plane.seen(UpcallKind::grant) == 1);
}

TEST_CASE("plane mechanism: a raw key does what its scheme amounts to, and no more") {
  TestPlane plane;
  plane.addKey("ecdsa", KeyType::EC_P256, KeyScheme::ECDSA);
  plane.addKey("hmac", KeyType::HMAC, KeyScheme::HMAC_SHA256);
  plane.addKey("gcm", KeyType::AES_256, KeyScheme::AES_GCM);
  plane.addKey("cbc", KeyType::AES_256, KeyScheme::AES_CBC);
  plane.addKey("rsa", KeyType::RSA_2048, KeyScheme::RSA_PKCS1);
  plane.addKey("pss", KeyType::RSA_2048, KeyScheme::RSA_PSS);
  plane.addKey("managed", KeyType::AES_256, KeyScheme::MANAGED);
  Client c(plane.path());
  for (const std::string& key : {std::string("ecdsa"), sessionRaw(c, KeyType::EC_P256, KeyScheme::ECDSA)}) {
    const std::string signature = sign(c, by(key, CKM_ECDSA_SHA256, "m")).text(R::data);
    CHECK(verifies(c, by(key, CKM_ECDSA_SHA256, "m"), signature));
    // The same signature by Quorate's own method, in its other form.
    CHECK(c.call(Method::Verify, Message().text(1, key).text(2, "m").number(5, 2).text(7, signature)).number(1) == 1);
  }
  CHECK(sign(c, by("hmac", CKM_SHA256_HMAC, "m")).text(R::data) == c.call(Method::Mac, Message().text(1, "hmac").text(2, "m")).text(1));
  CHECK(encrypt(c, by("cbc", CKM_AES_CBC_PAD, "m").text(M::iv, kIv16)).code() == Code::OK);
  CHECK(sign(c, by("hmac", CKM_SHA512_HMAC, "m")).code() == Code::MECHANISM_INVALID);
  CHECK(sign(c, by("ecdsa", CKM_ECDSA_SHA1, "m")).code() == Code::MECHANISM_INVALID);
  CHECK(sign(c, by("rsa", CKM_SHA1_RSA_PKCS, "m")).code() == Code::MECHANISM_INVALID);
  CHECK(sign(c, by("rsa", CKM_SHA256_RSA_PKCS_PSS, "m").number(M::hash, 3).number(M::mgf, 3).number(M::salt_bytes, 32)).code() == Code::MECHANISM_INVALID);
  const auto pss = [&](Hash hash) { return sign(c, by("pss", CKM_RSA_PKCS_PSS, std::string(hashBytes(hash), 'd')).number(M::hash, static_cast<uint64_t>(hash)).number(M::mgf, static_cast<uint64_t>(hash)).number(M::salt_bytes, 20)).code(); };
  CHECK(pss(Hash::SHA_256) == Code::OK);
  CHECK(pss(Hash::SHA_1) == Code::MECHANISM_INVALID);
  CHECK(encrypt(c, by("gcm", CKM_AES_ECB, kIv16)).code() == Code::MECHANISM_INVALID);
  CHECK(encrypt(c, by("managed", CKM_AES_ECB, kIv16)).code() == Code::USE_NOT_PERMITTED);
  for (const Method method : {Method::MechanismSign, Method::WrapObject, Method::CopyObject, Method::UnwrapObject, Method::GetObjectValue})
    CHECK(c.call(method, by("managed", CKM_AES_KEY_WRAP, "m").text(M::target, "hmac")).code() == Code::USE_NOT_PERMITTED);
  CHECK(c.call(Method::CopyObject, by("ecdsa", 0)).code() == Code::USE_NOT_PERMITTED);
}

TEST_CASE("plane mechanism: a key of scheme PKCS11 does nothing by the other methods") {
  TestPlane plane;
  storeGenerated(plane, "aes", CKM_AES_KEY_GEN, aes().flag(attribute::Extractable));
  storeGenerated(plane, "ec", CKM_EC_KEY_PAIR_GEN, {}, Template().bytes(attribute::EcParams, kP256));
  plane.addKey("kw", KeyType::AES_256, KeyScheme::AES_KW);
  Client c(plane.path());
  const std::string own = made(generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Extractable)));
  for (const std::string& key : {std::string("aes"), own}) {
    for (const Method method : {Method::Encrypt, Method::Decrypt, Method::Mac, Method::Wrap, Method::Unwrap, Method::GenerateDataKey, Method::EncryptStream}) {
      CAPTURE(static_cast<int>(method));
      Message request = Message().text(1, key);
      if (method == Method::Wrap) request.text(2, "kw");
      if (method == Method::Unwrap) request.text(2, std::string(24, 'x')).number(6, 3);
      const Answer answer = c.call(method, request);
      CHECK(answer.code() == Code::KEY_USAGE_DENIED);
    }
    // Its attributes say that it may leave; whoever wraps it must ask by its rules.
    CHECK(c.call(Method::Wrap, Message().text(1, "kw").text(2, key)).code() == Code::KEY_NOT_EXPORTABLE);
  }
  CHECK(c.call(Method::Sign, Message().text(1, "ec").text(2, "m")).code() == Code::KEY_USAGE_DENIED);
}

TEST_CASE("plane mechanism: bad requests name what is wrong") {
  TestPlane plane;
  storeGenerated(plane, "aes", CKM_AES_KEY_GEN, aes());
  storeGenerated(plane, "only", CKM_AES_KEY_GEN, aes().flag(attribute::Encrypt).flag(attribute::Decrypt, false).mechanisms({CKM_AES_CBC_PAD}));
  storeGenerated(plane, "ec", CKM_EC_KEY_PAIR_GEN, {}, Template().bytes(attribute::EcParams, kP256));
  Client c(plane.path());
  const auto field = [&](const Answer& answer) { return answer.text(fields::Failure::field); };
  const Answer unknown = encrypt(c, by("aes", 0x12345678, "m"));
  CHECK(unknown.code() == Code::MECHANISM_INVALID);
  CHECK(field(unknown) == "mechanism");
  CHECK(encrypt(c, by("aes", CKM_AES_KEY_WRAP, kIv16)).code() == Code::MECHANISM_INVALID);  // which only wraps
  CHECK(encrypt(c, by("aes", CKM_AES_GCM, "m").text(M::iv, "short").number(M::tag_bits, 128)).code() == Code::MECHANISM_PARAM_INVALID);
  CHECK(encrypt(c, by("aes", CKM_AES_GCM, "m").text(M::iv, kIv12).number(M::tag_bits, 64)).code() == Code::MECHANISM_PARAM_INVALID);
  CHECK(encrypt(c, by("aes", CKM_AES_CBC, kIv16).text(M::iv, kIv12)).code() == Code::MECHANISM_PARAM_INVALID);
  CHECK(encrypt(c, by("aes", CKM_AES_CBC, "no block").text(M::iv, kIv16)).code() == Code::DATA_LENGTH_INVALID);
  CHECK(decrypt(c, by("aes", CKM_AES_CBC, "no block").text(M::iv, kIv16)).code() == Code::CIPHERTEXT_LENGTH_INVALID);
  CHECK(encrypt(c, by("ec", CKM_AES_ECB, kIv16)).code() == Code::KEY_USAGE_DENIED);
  CHECK(sign(c, by("aes", CKM_AES_CMAC, "m")).code() == Code::USE_NOT_PERMITTED);
  const Answer flag = decrypt(c, by("only", CKM_AES_CBC_PAD, kIv16).text(M::iv, kIv16));
  CHECK(flag.code() == Code::USE_NOT_PERMITTED);
  CHECK(field(flag) == "key");
  CHECK(encrypt(c, by("only", CKM_AES_CBC_PAD, "m").text(M::iv, kIv16)).code() == Code::OK);
  CHECK(encrypt(c, by("only", CKM_AES_CTR, "m").text(M::iv, kIv16).number(M::counter_bits, 128)).code() == Code::MECHANISM_INVALID);
  CHECK(encrypt(c, by("aes", CKM_AES_ECB, std::string(limits::message_bytes_max + 16, 'x'))).code() == Code::INPUT_TOO_LONG);
  CHECK(encrypt(c, by("nowhere", CKM_AES_ECB, kIv16)).code() == Code::KEY_NOT_FOUND);
  CHECK(encrypt(c, by("session:77", CKM_AES_ECB, kIv16)).code() == Code::KEY_NOT_FOUND);
  CHECK(encrypt(c, by("", CKM_AES_ECB, kIv16)).code() == Code::BAD_REQUEST);
  CHECK(encrypt(c, by("aes", CKM_AES_ECB, kIv16).number(M::hash, 99)).code() == Code::BAD_REQUEST);
  CHECK(encrypt(c, Message().number(M::key, 7)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::MechanismEncrypt, "\xff\xff\xff").code() == Code::BAD_REQUEST);
  const Answer version = encrypt(c, by("aes", CKM_AES_ECB, kIv16).number(M::version, 2));
  CHECK(version.code() == Code::KEY_VERSION_NOT_FOUND);
  CHECK(field(version) == "version");
  CHECK(encrypt(c, by("aes", CKM_AES_ECB, kIv16).number(M::version, 1)).code() == Code::OK);
  CHECK(encrypt(c, by("aes", CKM_AES_ECB, kIv16)).code() == Code::OK);  // the connection has survived it all
}

TEST_CASE("plane mechanism: a stored key whose attributes are no sheet, or another key's, is not used") {
  TestPlane plane;
  storeGenerated(plane, "good", CKM_AES_KEY_GEN, aes());
  storeGenerated(plane, "pair", CKM_EC_KEY_PAIR_GEN, {}, Template().bytes(attribute::EcParams, kP256));
  const auto put = [&](const std::string& name, auto change) {
    TestKey key = plane.keyOf("good");
    randomBytes(key.id);
    change(key);
    plane.putKey(name, key);
  };
  put("garbage", [](TestKey& key) { key.attributes.assign(40, 0xee); });
  put("none", [](TestKey& key) { key.attributes.clear(); });
  put("private", [&](TestKey& key) { key.attributes = plane.keyOf("pair").attributes; });
  put("with public half", [&](TestKey& key) { key.publicAttributes = plane.keyOf("pair").publicAttributes; });
  put("whole", [](TestKey&) {});
  Client c(plane.path());
  for (const std::string& name : {std::string("garbage"), std::string("none"), std::string("private"), std::string("with public half")}) {
    CAPTURE(name);
    CHECK(encrypt(c, by(name, CKM_AES_ECB, kIv16)).code() == Code::KEY_INVALID);
  }
  CHECK(encrypt(c, by("whole", CKM_AES_ECB, kIv16)).code() == Code::OK);
}

TEST_CASE("plane mechanism: the bits that are kept ready say what mayUse says") {
  const Template templates[] = {aes(), aes().flag(attribute::Wrap).flag(attribute::Unwrap), aes().flag(attribute::Sign), aes().mechanisms({}), aes().mechanisms({CKM_AES_GCM, CKM_AES_CBC})};
  for (const Template& wanted : templates) {
    PlannedObject plan;
    RuleFault fault;
    REQUIRE(planGenerate(*mechanismRow(CKM_AES_KEY_GEN), wanted.sheet(), {}, &plan, &fault) == Code::OK);
    const SheetsPtr sheets = KeySheets::of(Sheet(plan.main), false, {});
    for (const Use use : {kEncrypt, kDecrypt, kSign, kVerify, kWrap, kUnwrap, kDerive})
      for (const uint32_t mechanism : {CKM_AES_GCM, CKM_AES_CBC, CKM_AES_ECB, CKM_AES_CMAC}) {
        const bool open = mayUse(plan.main, use, mechanism) == Code::OK;
        CHECK((sheets->permits(use, mechanism) == Code::OK) == open);
      }
  }
}
