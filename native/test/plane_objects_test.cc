// Session objects with attributes over a real socket: made, copied, changed, wrapped, unwrapped, derived, read; and that they go with their session.
#include "object_client.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const std::string kIv12 = "123456789012", kIv16 = "1234567890123456";

Answer copy(Client& c, const std::string& key, const std::string& wanted = "", const std::string& wantedPublic = "") {
  return c.call(Method::CopyObject, Message().text(M::key, key).text(M::attributes, wanted).text(M::public_attributes, wantedPublic));
}
Answer set(Client& c, const std::string& key, const std::string& wanted, const std::string& wantedPublic = "") {
  return c.call(Method::SetSessionObject, Message().text(M::key, key).text(M::attributes, wanted).text(M::public_attributes, wantedPublic));
}
Answer valueOf(Client& c, const std::string& key) { return c.call(Method::GetObjectValue, Message().text(1, key)); }
Answer wrap(Client& c, const std::string& key, const std::string& target, uint32_t mechanism = CKM_AES_KEY_WRAP_KWP) { return c.call(Method::WrapObject, by(key, mechanism).text(M::target, target)); }
Answer unwrap(Client& c, const std::string& key, const std::string& wrapped, const std::string& wanted, uint32_t mechanism = CKM_AES_KEY_WRAP_KWP) {
  return c.call(Method::UnwrapObject, by(key, mechanism, wrapped).text(M::attributes, wanted));
}
Template wrapping(uint64_t bytes = 32) { return aes(bytes).flag(attribute::Wrap).flag(attribute::Unwrap); }
bool works(Client& c, const std::string& key) { return c.call(Method::MechanismEncrypt, by(key, CKM_AES_ECB, kIv16)).code() == Code::OK; }
std::string ecb(Client& c, const std::string& key) { return c.call(Method::MechanismEncrypt, by(key, CKM_AES_ECB, kIv16)).text(R::data); }
const Template kSecretAes = keyOf(ObjectClass::secretKey, kCkkAes);
Code codeOf(const Answer& answer) { return answer.code(); }
std::string fieldOf(const Answer& answer) { return answer.text(fields::Failure::field); }
std::string detailOf(const Answer& answer) { return answer.text(fields::Failure::detail); }

}  // namespace

TEST_CASE("plane objects: generated ones come with all their attributes") {
  TestPlane plane;
  Client c(plane.path());
  const Answer secret = generate(c, CKM_AES_KEY_GEN, aes(24).bytes(attribute::Label, "mine"));
  CHECK(made(secret) == "session:1");
  const Sheet sheet = mainOf(secret);
  CHECK(sheet.number(attribute::Class, 0) == 4);
  CHECK(str(sheet.value(attribute::Label)) == "mine");
  CHECK(sheet.flag(attribute::Sensitive));
  CHECK(sheet.flag(attribute::Local));
  CHECK(sheet.flag(attribute::AlwaysSensitive));
  CHECK(secret.text(O::public_attributes).empty());
  CHECK(secret.text(O::public_key).empty());
  struct Row {
    uint32_t mechanism;
    std::string curve;
  };
  for (const Row& row : {Row{CKM_EC_KEY_PAIR_GEN, kP256}, {CKM_EC_KEY_PAIR_GEN, kP384}, {CKM_EC_KEY_PAIR_GEN, kP521}, {CKM_EC_EDWARDS_KEY_PAIR_GEN, kEd25519}, {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, kX25519}}) {
    const Answer pair = generate(c, row.mechanism, "", Template().bytes(attribute::EcParams, row.curve));
    REQUIRE(pair.code() == Code::OK);
    CHECK(mainOf(pair).number(attribute::Class, 0) == 3);
    CHECK(sheetFrom(pair.text(O::public_attributes)).number(attribute::Class, 0) == 2);
    CHECK(pair.text(O::public_key).find(row.curve) != std::string::npos);
  }
  CHECK(codeOf(generate(c, CKM_RSA_PKCS_KEY_PAIR_GEN, "", Template().number(attribute::ModulusBits, 1024))) == Code::KEY_SIZE_INVALID);
  CHECK(codeOf(generate(c, CKM_EC_KEY_PAIR_GEN, "", Template().bytes(attribute::EcParams, kEd25519))) == Code::CURVE_NOT_SUPPORTED);
  CHECK(codeOf(generate(c, CKM_AES_GCM, aes())) == Code::MECHANISM_INVALID);
  CHECK(codeOf(generate(c, 0x7777, aes())) == Code::MECHANISM_INVALID);
  const Answer conflict = generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Wrap).flag(attribute::Encrypt));
  CHECK(conflict.code() == Code::TEMPLATE_INCONSISTENT);
  CHECK(detailOf(conflict).find("CKA_WRAP") != std::string::npos);
  CHECK(codeOf(generate(c, CKM_AES_KEY_GEN, "")) == Code::TEMPLATE_INCOMPLETE);
}

TEST_CASE("plane objects: garbage for a template is refused, and nothing is made") {
  TestPlane plane;
  Client c(plane.path());
  const std::string good = aes();
  const std::string bad[] = {"x", std::string(7, '\0'), good + good, good.substr(0, good.size() - 1), std::string("\x61\x01\0\0\xff\xff\xff\xff", 8), std::string(limits::object_sheet_bytes_max + 1, 'x'),
                             std::string("\x99\x99\0\0\x01\0\0\0\x01", 9)};
  for (const std::string& sheet : bad) {
    CAPTURE(sheet.size());
    const Code code = codeOf(generate(c, CKM_AES_KEY_GEN, sheet));
    CHECK((code == Code::ATTRIBUTE_VALUE_INVALID || code == Code::ATTRIBUTE_TYPE_INVALID || code == Code::OBJECT_TOO_LARGE));
    const Answer other = generate(c, CKM_EC_KEY_PAIR_GEN, "", sheet);
    CHECK(other.code() != Code::OK);
    CHECK(fieldOf(other) == "public_attributes");
  }
  CHECK(plane->stats().sessionKeys == 0);
  CHECK(made(generate(c, CKM_AES_KEY_GEN, good)) == "session:1");
}

TEST_CASE("plane objects: created ones, each class") {
  TestPlane plane;
  Client c(plane.path());
  const std::string secret = made(createSecret(c, kCkkAes, std::string(32, 'k'), Template().flag(attribute::Sensitive, false).flag(attribute::Extractable)));
  CHECK(works(c, secret));
  CHECK(valueOf(c, secret).text(1) == std::string(32, 'k'));
  CHECK(codeOf(createSecret(c, kCkkAes, std::string(31, 'k'))) == Code::KEY_SIZE_INVALID);
  CHECK(codeOf(createSecret(c, kCkkAes, "")) == Code::TEMPLATE_INCOMPLETE);
  CHECK(codeOf(createSecret(c, kCkkGeneric, std::string(8, 'k'))) == Code::KEY_SIZE_INVALID);
  const std::tuple<KeyType, uint64_t, std::string, uint32_t> rows[] = {
      {KeyType::EC_P256, kCkkEc, kP256, CKM_ECDSA_SHA256}, {KeyType::ED25519, kCkkEdwards, kEd25519, CKM_EDDSA}, {KeyType::RSA_2048, kCkkRsa, "", CKM_SHA256_RSA_PKCS}};
  for (const auto& [type, ckk, curve, mechanism] : rows) {
    Secret stored, pkcs8;
    Buffer spki;
    REQUIRE(generateKey(type, 0, &stored, &spki) == Code::OK);
    REQUIRE(exportMaterial(type, MaterialFormat::PKCS8, stored, spki, &pkcs8) == Code::OK);
    Template main = keyOf(ObjectClass::privateKey, ckk), publicHalf = keyOf(ObjectClass::publicKey, ckk);
    if (!curve.empty()) main.bytes(attribute::EcParams, curve), publicHalf.bytes(attribute::EcParams, curve);
    const auto create = [&](Bytes material, const Template& wanted) { return c.call(Method::CreateObject, Message().text(M::data, str(material)).text(M::attributes, wanted)); };
    const Answer privateKey = create(pkcs8, main), publicKey = create(spki, publicHalf);
    const std::string signer = made(privateKey), verifier = made(publicKey);
    CHECK(!mainOf(privateKey).flag(attribute::Local));
    CHECK(publicKey.text(O::public_key) == str(spki));
    const Answer signature = c.call(Method::MechanismSign, by(signer, mechanism, "m"));
    REQUIRE(signature.code() == Code::OK);
    CHECK(c.call(Method::MechanismVerify, by(verifier, mechanism, "m").text(M::signature, signature.text(R::data))).number(R::valid) == 1);
    // Each does what its own object may, and no more.
    CHECK(c.call(Method::MechanismSign, by(verifier, mechanism, "m")).code() == Code::USE_NOT_PERMITTED);
    CHECK(c.call(Method::MechanismVerify, by(signer, mechanism, "m").text(M::signature, "s")).code() == Code::USE_NOT_PERMITTED);
    CHECK(valueOf(c, verifier).code() == Code::ATTRIBUTE_TYPE_INVALID);
    CHECK(valueOf(c, signer).code() == Code::ATTRIBUTE_SENSITIVE);
    CHECK(create(spki, main).code() != Code::OK);
    CHECK(create(pkcs8, publicHalf).code() != Code::OK);
    CHECK(create(bytesOf(std::string("garbage")), main).code() != Code::OK);
    // A readable one is told as PKCS#8.
    const std::string open = made(create(pkcs8, main.flag(attribute::Sensitive, false).flag(attribute::Extractable)));
    CHECK(valueOf(c, open).text(1) == str(pkcs8));
  }
  const Answer data = c.call(Method::CreateObject, Message().text(M::attributes, Template().number(attribute::Class, 0).bytes(attribute::Value, "what it says").bytes(attribute::Label, "note")));
  const std::string note = made(data);
  CHECK(str(mainOf(data).value(attribute::Value)) == "what it says");
  CHECK(valueOf(c, note).text(1) == "what it says");
  CHECK(c.call(Method::MechanismEncrypt, by(note, CKM_AES_ECB, kIv16)).code() == Code::KEY_USAGE_DENIED);
  CHECK(c.call(Method::CreateObject, Message().text(M::data, "twice").text(M::attributes, Template().number(attribute::Class, 0).bytes(attribute::Value, "v"))).code() == Code::TEMPLATE_INCONSISTENT);
  CHECK(c.call(Method::CreateObject, Message().text(M::attributes, Template().number(attribute::Class, 1).number(attribute::CertificateType, 0).bytes(attribute::Value, "der"))).code() == Code::OK);
  CHECK(c.call(Method::CreateObject, Message().text(M::attributes, Template().bytes(attribute::Label, "no class"))).code() == Code::TEMPLATE_INCOMPLETE);
}

TEST_CASE("plane objects: copies are no weaker, and work") {
  TestPlane plane;
  storeGenerated(plane, "stored", CKM_AES_KEY_GEN, aes());
  storeGenerated(plane, "fixed", CKM_AES_KEY_GEN, aes().flag(attribute::Copyable, false));
  Client c(plane.path());
  for (const std::string& from : {std::string("stored"), made(generate(c, CKM_AES_KEY_GEN, aes()))}) {
    const Answer answer = copy(c, from, Template().bytes(attribute::Label, "copy").flag(attribute::Decrypt, false));
    const std::string key = made(answer);
    CHECK(str(mainOf(answer).value(attribute::Label)) == "copy");
    CHECK(ecb(c, key) == ecb(c, from));
    CHECK(c.call(Method::MechanismDecrypt, by(key, CKM_AES_ECB, kIv16)).code() == Code::USE_NOT_PERMITTED);
    CHECK(codeOf(copy(c, key, Template().flag(attribute::Decrypt))) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(codeOf(copy(c, from, Template().flag(attribute::Sensitive, false))) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(codeOf(copy(c, from, Template().flag(attribute::Extractable))) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(codeOf(copy(c, from, "", Template().flag(attribute::Token, false))) == Code::OBJECT_NOT_FOUND);
    CHECK(codeOf(copy(c, from)) == Code::OK);
  }
  CHECK(codeOf(copy(c, "fixed")) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(codeOf(copy(c, "nowhere")) == Code::KEY_NOT_FOUND);
  // A pair: its halves together, or one alone.
  const std::string whole = pair(c, CKM_EC_KEY_PAIR_GEN, kP256);
  const Template half = Template().flag(attribute::Token, false);
  const Answer main = copy(c, whole, half), both = copy(c, whole, half, half), lone = copy(c, whole, "", half);
  CHECK(main.text(O::public_attributes).empty());
  CHECK(!both.text(O::public_attributes).empty());
  CHECK(mainOf(lone).number(attribute::Class, 0) == 2);
  const std::string signature = c.call(Method::MechanismSign, by(made(main), CKM_ECDSA_SHA256, "m")).text(R::data);
  CHECK(!signature.empty());
  CHECK(c.call(Method::MechanismVerify, by(made(both), CKM_ECDSA_SHA256, "m").text(M::signature, signature)).number(R::valid) == 1);
  CHECK(c.call(Method::MechanismVerify, by(made(lone), CKM_ECDSA_SHA256, "m").text(M::signature, signature)).number(R::valid) == 1);
  CHECK(c.call(Method::MechanismSign, by(made(lone), CKM_ECDSA_SHA256, "m")).code() == Code::USE_NOT_PERMITTED);
  CHECK(c.call(Method::MechanismVerify, by(made(main), CKM_ECDSA_SHA256, "m").text(M::signature, signature)).code() == Code::USE_NOT_PERMITTED);
}

TEST_CASE("plane objects: a copy shares what its key may still make of random IVs") {
  TestPlane plane;
  const KeyId id = storeGenerated(plane, "token", CKM_AES_KEY_GEN, aes());
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.kind != UpcallKind::reserve) return false;
    if (upcall.token != 0) {
      plane->addIvs(id, 1, 2);
      plane->resume(upcall.token);
    }
    return true;
  };
  Client c(plane.path());
  const auto seal = [&](const std::string& key) { return c.call(Method::MechanismEncrypt, by(key, CKM_AES_GCM, "p").number(M::tag_bits, 128).number(M::generate_iv, 1)).code(); };
  CHECK(seal("token") == Code::OK);  // one of two
  const std::string none = made(copy(c, "token"));
  CHECK(seal(none) == Code::KEY_EXHAUSTED);
  const std::string own = made(generate(c, CKM_AES_KEY_GEN, aes())), other = made(copy(c, own));
  CHECK(seal(own) == Code::OK);
  CHECK(seal(other) == Code::OK);
}

TEST_CASE("plane objects: changes only tighten, and take effect at once") {
  TestPlane plane;
  Client c(plane.path());
  const std::string key = made(generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Extractable)));
  CHECK(works(c, key));
  const Answer changed = set(c, key, Template().flag(attribute::Encrypt, false).bytes(attribute::Label, "changed"));
  CHECK(made(changed) == key);
  CHECK(!mainOf(changed).flag(attribute::Encrypt));
  CHECK(!works(c, key));
  CHECK(codeOf(set(c, key, Template().flag(attribute::Encrypt))) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(codeOf(set(c, key, Template().flag(attribute::Sensitive, false))) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(codeOf(set(c, key, Template().flag(attribute::Trusted))) == Code::ATTRIBUTE_READ_ONLY);
  const Answer named = set(c, key, Template().flag(attribute::Local, false));
  CHECK(named.code() == Code::ATTRIBUTE_READ_ONLY);
  CHECK(detailOf(named).find("CKA_LOCAL") != std::string::npos);
  CHECK(codeOf(set(c, key, "garbage")) == Code::ATTRIBUTE_VALUE_INVALID);
  CHECK(codeOf(set(c, key, "", Template().bytes(attribute::Label, "no such half"))) == Code::OBJECT_NOT_FOUND);
  CHECK(codeOf(set(c, "session:99", Template().bytes(attribute::Label, "x"))) == Code::OBJECT_NOT_FOUND);
  CHECK(codeOf(set(c, sessionRaw(c, KeyType::AES_256, KeyScheme::AES_GCM), Template().bytes(attribute::Label, "x"))) == Code::OBJECT_NOT_FOUND);
  CHECK(codeOf(set(c, "stored", Template().bytes(attribute::Label, "x"))) == Code::OBJECT_NOT_FOUND);
  const std::string both = pair(c, CKM_EC_KEY_PAIR_GEN, kP256);
  const Answer half = set(c, both, "", Template().flag(attribute::Verify, false));
  CHECK(!sheetFrom(half.text(O::public_attributes)).flag(attribute::Verify));
  CHECK(c.call(Method::MechanismVerify, by(both, CKM_ECDSA_SHA256, "m").text(M::signature, "s")).code() == Code::USE_NOT_PERMITTED);
  CHECK(c.call(Method::MechanismSign, by(both, CKM_ECDSA_SHA256, "m")).code() == Code::OK);
}

TEST_CASE("plane objects: wrap and unwrap by mechanism") {
  TestPlane plane;
  storeGenerated(plane, "kek", CKM_AES_KEY_GEN, wrapping());
  storeGenerated(plane, "leaves", CKM_AES_KEY_GEN, aes().flag(attribute::Extractable));
  storeGenerated(plane, "stays", CKM_AES_KEY_GEN, aes());
  plane.addKey("raw", KeyType::AES_256, KeyScheme::AES_CBC, true);
  Client c(plane.path());
  const std::string own = made(generate(c, CKM_AES_KEY_GEN, wrapping()));
  for (const std::string& key : {std::string("kek"), own}) {
    CAPTURE(key);
    const Answer wrapped = wrap(c, key, "leaves");
    REQUIRE(wrapped.code() == Code::OK);
    const Answer back = unwrap(c, key, wrapped.text(R::data), kSecretAes);
    CHECK(ecb(c, made(back)) == ecb(c, "leaves"));
    const Sheet sheet = mainOf(back);
    CHECK(sheet.flag(attribute::Sensitive));
    CHECK(!sheet.flag(attribute::AlwaysSensitive));
    CHECK(!sheet.flag(attribute::Extractable));
    CHECK(sheet.number(attribute::ValueLen, 0) == 32);
    const Answer stays = wrap(c, key, "stays");
    CHECK(stays.code() == Code::KEY_NOT_EXPORTABLE);
    CHECK(fieldOf(stays) == "target");
    std::string bent = wrapped.text(R::data);
    bent[5] ^= 1;
    const Answer refused = unwrap(c, key, bent, kSecretAes);
    CHECK(refused.code() == Code::WRAPPED_KEY_INVALID);
    // Right, but not what the template says: one answer for all of it.
    CHECK(codeOf(unwrap(c, key, wrapped.text(R::data), Template(kSecretAes).number(attribute::ValueLen, 16))) == Code::WRAPPED_KEY_INVALID);
    const Answer otherType = unwrap(c, key, wrapped.text(R::data), keyOf(ObjectClass::privateKey, kCkkRsa));
    CHECK(otherType.code() == Code::WRAPPED_KEY_INVALID);
    CHECK(detailOf(otherType) == detailOf(refused));
    CHECK(codeOf(unwrap(c, key, "", kSecretAes)) == Code::WRAPPED_KEY_INVALID);
    CHECK(codeOf(unwrap(c, key, wrapped.text(R::data), "")) == Code::TEMPLATE_INCOMPLETE);
    CHECK(codeOf(unwrap(c, key, wrapped.text(R::data), Template(kSecretAes).flag(attribute::Sensitive, false).flag(attribute::Extractable))) == Code::TEMPLATE_INCONSISTENT);
  }
  // A private key, on the worker.
  const std::string leaving = pair(c, CKM_EC_KEY_PAIR_GEN, kP256, Template().flag(attribute::Extractable));
  const Answer wrapped = wrap(c, own, leaving);
  REQUIRE(wrapped.code() == Code::OK);
  const std::string back = made(unwrap(c, own, wrapped.text(R::data), keyOf(ObjectClass::privateKey, kCkkEc)));
  const std::string signature = c.call(Method::MechanismSign, by(back, CKM_ECDSA_SHA256, "m")).text(R::data);
  CHECK(c.call(Method::MechanismVerify, by(leaving, CKM_ECDSA_SHA256, "m").text(M::signature, signature)).number(R::valid) == 1);
  // RSA: its public half wraps, its private half unwraps.
  const std::string rsa = rsaPair(c, Template().flag(attribute::Unwrap), Template().flag(attribute::Wrap));
  const auto oaep = [&](Message request) { return request.number(M::hash, 3).number(M::mgf, 3); };
  const Answer byRsa = c.call(Method::WrapObject, oaep(by(rsa, CKM_RSA_PKCS_OAEP)).text(M::target, "leaves"));
  INFO(detailOf(byRsa));
  REQUIRE(byRsa.code() == Code::OK);
  CHECK(ecb(c, made(c.call(Method::UnwrapObject, oaep(by(rsa, CKM_RSA_PKCS_OAEP, byRsa.text(R::data))).text(M::attributes, kSecretAes)))) == ecb(c, "leaves"));
  // Whoever wraps must be a key that nobody knows.
  const std::string known = made(createSecret(c, kCkkAes, std::string(32, 'k'), Template().flag(attribute::Wrap)));
  CHECK(codeOf(wrap(c, known, "leaves")) == Code::KEY_NOT_WRAPPABLE);
  CHECK(codeOf(wrap(c, "leaves", "leaves")) == Code::USE_NOT_PERMITTED);
  CHECK(codeOf(wrap(c, "kek", "nowhere")) == Code::KEY_NOT_FOUND);
  CHECK(codeOf(wrap(c, "kek", "leaves", CKM_AES_CBC_PAD)) == Code::MECHANISM_INVALID);
  CHECK(wrap(c, "kek", "raw").code() == Code::OK);  // exportable, as it was made
  plane.addKey("managed", KeyType::AES_256, KeyScheme::MANAGED, true);
  CHECK(codeOf(wrap(c, "kek", "managed")) == Code::KEY_NOT_WRAPPABLE);
  CHECK(codeOf(wrap(c, "kek", made(c.call(Method::CreateObject, Message().text(M::attributes, Template().number(attribute::Class, 0)))))) == Code::KEY_NOT_WRAPPABLE);
}

TEST_CASE("plane objects: WrapObject's two keys need two grants") {
  TestPlane plane;
  storeGenerated(plane, "kek", CKM_AES_KEY_GEN, wrapping());
  storeGenerated(plane, "leaves", CKM_AES_KEY_GEN, aes().flag(attribute::Extractable));
  plane.onUpcall = [&](Upcall& upcall) {
    if (!upcall.target) return false;
    plane->refuse(upcall.token, Code::DENIED, "may not leave", 1000);
    return true;
  };
  Client c(plane.path());
  CHECK(codeOf(wrap(c, "kek", "leaves")) == Code::DENIED);
  CHECK(c.call(Method::MechanismEncrypt, by("leaves", CKM_AES_ECB, kIv16)).code() == Code::OK);
}

TEST_CASE("plane objects: keys are derived") {
  TestPlane plane;
  storeGenerated(plane, "stored", CKM_EC_KEY_PAIR_GEN, Template().flag(attribute::Derive), Template().bytes(attribute::EcParams, kP256));
  plane.addKey("ecdh", KeyType::EC_P256, KeyScheme::ECDH);
  Client c(plane.path());
  const auto derive = [&](const std::string& key, const std::string& peer, const std::string& wanted, Hash kdf = Hash::HASH_UNSPECIFIED) {
    return c.call(Method::DeriveObject, by(key, CKM_ECDH1_DERIVE).text(M::peer_public, peer).number(M::kdf, static_cast<uint64_t>(kdf)).text(M::attributes, wanted));
  };
  struct Row {
    uint32_t mechanism;
    std::string curve;
  };
  for (const Row& row : {Row{CKM_EC_KEY_PAIR_GEN, kP256}, {CKM_EC_KEY_PAIR_GEN, kP384}, {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, kX25519}}) {
    CAPTURE(row.curve.size());
    const Template derives = Template().flag(attribute::Derive);
    const Answer left = generate(c, row.mechanism, derives, Template().bytes(attribute::EcParams, row.curve)), right = generate(c, row.mechanism, derives, Template().bytes(attribute::EcParams, row.curve));
    const Template wanted = Template(kSecretAes).number(attribute::ValueLen, 32);
    const Answer one = derive(made(left), right.text(O::public_key), wanted, Hash::SHA_256), other = derive(made(right), left.text(O::public_key), wanted, Hash::SHA_256);
    CHECK(ecb(c, made(one)) == ecb(c, made(other)));
    CHECK(mainOf(one).flag(attribute::Sensitive));
    CHECK(!mainOf(one).flag(attribute::Local));
    const Answer open = derive(made(left), right.text(O::public_key), Template().flag(attribute::Sensitive, false).flag(attribute::Extractable));
    CHECK(valueOf(c, made(open)).text(1).size() == (row.curve == kP384 ? 48 : 32));
    const Answer bad = derive(made(left), "no point", wanted);
    CHECK((bad.code() == Code::KEY_INVALID || bad.code() == Code::MECHANISM_PARAM_INVALID));
    CHECK(codeOf(derive(made(left), right.text(O::public_key), Template(kSecretAes).number(attribute::ValueLen, 8))) == Code::KEY_SIZE_INVALID);
  }
  const std::string peer = pair(c, CKM_EC_KEY_PAIR_GEN, kP256);
  const Answer again = copy(c, peer, Template().flag(attribute::Token, false));
  CHECK(derive("stored", again.text(O::public_key), "").code() == Code::OK);
  CHECK(derive("ecdh", again.text(O::public_key), "").code() == Code::OK);
  CHECK(derive(made(generate(c, CKM_AES_KEY_GEN, aes())), "p", "").code() == Code::KEY_USAGE_DENIED);
}

TEST_CASE("plane objects: a stored key's value is told when its attributes say so") {
  TestPlane plane;
  storeGenerated(plane, "closed", CKM_AES_KEY_GEN, aes().flag(attribute::Extractable));
  storeGenerated(plane, "open", CKM_AES_KEY_GEN, aes().flag(attribute::Extractable).flag(attribute::Sensitive, false));
  plane.addKey("raw", KeyType::AES_256, KeyScheme::AES_CBC, true);
  UpcallLog log;
  plane.remember(&log);
  Client c(plane.path());
  CHECK(valueOf(c, "open").text(1) == str(plane.keyOf("open").versions[0].first));
  CHECK(valueOf(c, "closed").code() == Code::ATTRIBUTE_SENSITIVE);
  CHECK(valueOf(c, "raw").code() == Code::ATTRIBUTE_SENSITIVE);
  CHECK(log.at(0).method == static_cast<uint16_t>(Method::GetObjectValue));  // by a grant of its own
}

TEST_CASE("plane objects: quota, destruction, and the end of the session") {
  TestPlane plane;
  Client c(plane.path());
  const std::string key = made(generate(c, CKM_AES_KEY_GEN, aes()));
  const std::string firm = made(generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Destroyable, false)));
  CHECK(c.call(Method::DestroySessionKey, Message().text(1, firm)).code() == Code::USE_NOT_PERMITTED);
  CHECK(c.call(Method::DestroySessionKey, Message().text(1, key)).code() == Code::OK);
  CHECK(!works(c, key));
  CHECK(c.call(Method::DestroySessionKey, Message().text(1, key)).code() == Code::KEY_NOT_FOUND);
  // 16 MiB of attributes for one uid, whatever they are: data of 60 KiB each.
  const std::string large = Template().number(attribute::Class, 0).bytes(attribute::Value, std::string(60'000, 'v'));
  int many = 0;
  Answer last;
  while ((last = c.call(Method::CreateObject, Message().text(M::attributes, large))).code() == Code::OK && many < 1000) many++;
  CHECK(last.code() == Code::SESSION_KEY_QUOTA);
  CHECK(many > 200);
  CHECK(many < 300);
  Client other(plane.path());
  CHECK(generate(other, CKM_AES_KEY_GEN, aes()).code() == Code::SESSION_KEY_QUOTA);  // of the same uid
  c.hangUp();
  CHECK(TestPlane::eventually([&] { return plane->stats().sessionKeys == 0; }));
  CHECK(generate(other, CKM_AES_KEY_GEN, aes()).code() == Code::OK);
}

TEST_CASE("plane objects: what a session held is wiped when it is killed, and its arena is free again") {
  TestPlane plane;
  Client c(plane.path());
  const size_t before = Arena::stats().blocks;
  const std::string key = made(generate(c, CKM_AES_KEY_GEN, aes()));
  CHECK(c.call(Method::MechanismEncrypt, by(key, CKM_AES_GCM, "p").text(M::iv, kIv12).number(M::tag_bits, 128)).code() == Code::OK);  // prepares more of it
  made(copy(c, key));
  rsaPair(c);
  REQUIRE(c.call(Method::MechanismEncrypt, by(key, CKM_AES_CTR, "p").text(M::iv, kIv16).number(M::counter_bits, 128).number(M::more, 1)).code() == Code::OK);
  CHECK(Arena::stats().blocks > before);
  CHECK(plane->killSession(plane->sessions()[0].session));
  CHECK(c.closes());
  CHECK(TestPlane::eventually([&] { return Arena::stats().blocks == before && plane->stats().sessionKeys == 0; }));  // counts are published at the end of a turn
}
