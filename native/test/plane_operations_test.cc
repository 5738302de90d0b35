// Cryptography in many parts over a real socket: begun with the first part, continued, ended, cancelled; and what ends them.
#include "object_client.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace U = fields::MechanismUpdateRequest;
const std::string kIv16 = "1234567890123456";

Message begins(Message request) { return request.number(M::more, 1); }
uint64_t begun(const Answer& answer) {
  INFO(answer.text(fields::Failure::detail));
  REQUIRE(answer.code() == Code::OK);
  const uint64_t number = answer.number(R::operation);
  REQUIRE(number != 0);
  return number;
}
Answer update(Client& c, uint64_t operation, const std::string& data, bool last = false, const std::string& signature = "") {
  return c.call(Method::MechanismUpdate, Message().number(U::operation, operation).text(U::data, data).number(U::last, last).text(U::signature, signature));
}
Message ctr(const std::string& key, const std::string& data) { return by(key, CKM_AES_CTR, data).text(M::iv, kIv16).number(M::counter_bits, 128); }
Answer begin(Client& c, const std::string& key) { return c.call(Method::MechanismEncrypt, begins(ctr(key, "first"))); }

}  // namespace

TEST_CASE("plane operations: in parts as in one piece") {
  TestPlane plane;
  storeGenerated(plane, "aes", CKM_AES_KEY_GEN, aes());
  Client c(plane.path());
  const std::string message(700'000, 'm');
  struct Row {
    uint32_t mechanism;
    bool decrypts;
  };
  for (const Row& row : {Row{CKM_AES_CBC_PAD, false}, {CKM_AES_CBC_PAD, true}, {CKM_AES_CTR, false}, {CKM_AES_ECB, false}}) {
    const auto request = [&](const std::string& data) {
      Message out = by("aes", row.mechanism, data);
      if (row.mechanism != CKM_AES_ECB) out.text(M::iv, kIv16);
      return row.mechanism == CKM_AES_CTR ? out.number(M::counter_bits, 128) : out;
    };
    const std::string in = row.decrypts ? c.call(Method::MechanismEncrypt, request(message)).text(R::data) : message.substr(0, 699'984);
    const Method method = row.decrypts ? Method::MechanismDecrypt : Method::MechanismEncrypt;
    const std::string whole = c.call(method, request(in)).text(R::data);
    REQUIRE(!whole.empty());
    CAPTURE(row.mechanism);
    // Parts of 7 bytes, of one byte, and one that goes to the worker.
    const Answer first = c.call(method, begins(request(in.substr(0, 7))));
    const uint64_t operation = begun(first);
    std::string out = first.text(R::data);
    for (const auto& [at, n] : {std::pair<size_t, size_t>{7, 1}, {8, 20}, {28, 500'000}, {500'028, 16}}) {
      const Answer part = update(c, operation, in.substr(at, n));
      REQUIRE(part.code() == Code::OK);
      out += part.text(R::data);
    }
    const Answer end = update(c, operation, in.substr(500'044), true);
    REQUIRE(end.code() == Code::OK);
    CHECK(out + end.text(R::data) == whole);
    CHECK(update(c, operation, "more").code() == Code::OPERATION_INVALID);
  }
}

TEST_CASE("plane operations: signatures, MACs and digests in parts") {
  TestPlane plane;
  Client c(plane.path());
  const std::string keys[] = {pair(c, CKM_EC_KEY_PAIR_GEN, kP256), pair(c, CKM_EC_KEY_PAIR_GEN, kP384), rsaPair(c), made(generate(c, CKM_GENERIC_SECRET_KEY_GEN, aes()))};
  const uint32_t mechanisms[] = {CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_SHA256_RSA_PKCS, CKM_SHA256_HMAC};
  const std::string a(300'000, 'a'), b = "b";
  for (size_t i = 0; i < 4; i++) {
    CAPTURE(i);
    const Answer signature = update(c, begun(c.call(Method::MechanismSign, begins(by(keys[i], mechanisms[i], a)))), b, true);
    REQUIRE(signature.code() == Code::OK);
    const std::string made = signature.text(R::data);
    CHECK(c.call(Method::MechanismVerify, by(keys[i], mechanisms[i], a + b).text(M::signature, made)).number(R::valid) == 1);
    const auto verify = [&](const std::string& end, const std::string& what) { return update(c, begun(c.call(Method::MechanismVerify, begins(by(keys[i], mechanisms[i], a)))), end, true, what); };
    CHECK(verify(b, made).number(R::valid) == 1);
    CHECK(verify("c", made).number(R::valid) == 0);
    CHECK(verify(b, "").number(R::valid) == 0);
  }
  uint8_t expected[64];
  REQUIRE(digest(Hash::SHA_512, bytesOf(a + b), expected) == Code::OK);
  const uint64_t operation = begun(c.call(Method::MechanismDigest, begins(by("", CKM_SHA512))));
  CHECK(update(c, operation, a).code() == Code::OK);
  CHECK(update(c, operation, b, true).text(R::data) == str(expected));
}

TEST_CASE("plane operations: what has no parts, what ends one, and how many there may be") {
  TestPlane plane;
  Client c(plane.path());
  const std::string key = made(generate(c, CKM_AES_KEY_GEN, aes()));
  CHECK(c.call(Method::MechanismEncrypt, begins(by(key, CKM_AES_GCM, "p").text(M::iv, "123456789012").number(M::tag_bits, 128))).code() == Code::MECHANISM_INVALID);
  CHECK(c.call(Method::MechanismSign, begins(by(pair(c, CKM_EC_KEY_PAIR_GEN, kP256), CKM_ECDSA, std::string(32, 'd')))).code() == Code::MECHANISM_INVALID);
  CHECK(update(c, 0, "x").code() == Code::OPERATION_INVALID);
  CHECK(update(c, 999, "x").code() == Code::OPERATION_INVALID);
  CHECK(c.call(Method::MechanismCancel, Message().number(1, 999)).code() == Code::OPERATION_INVALID);
  const uint64_t cancelled = begun(begin(c, key));
  CHECK(c.call(Method::MechanismCancel, Message().number(1, cancelled)).code() == Code::OK);
  CHECK(update(c, cancelled, "x").code() == Code::OPERATION_INVALID);
  // A block cipher that ends within a block.
  const uint64_t odd = begun(c.call(Method::MechanismEncrypt, begins(by(key, CKM_AES_ECB, "odd"))));
  CHECK(update(c, odd, "", true).code() == Code::DATA_LENGTH_INVALID);
  CHECK(update(c, odd, "", true).code() == Code::OPERATION_INVALID);
  // Another session has operations of its own.
  const uint64_t mine = begun(begin(c, key));
  Client other(plane.path());
  CHECK(update(other, mine, "x").code() == Code::OPERATION_INVALID);
  // Its key goes, and it goes.
  CHECK(c.call(Method::DestroySessionKey, Message().text(1, key)).code() == Code::OK);
  CHECK(update(c, mine, "x").code() == Code::OPERATION_INVALID);
  std::vector<uint64_t> all;
  const std::string many = made(generate(c, CKM_GENERIC_SECRET_KEY_GEN, aes()));
  Answer last;
  while (all.size() < 2000 && (last = c.call(Method::MechanismDigest, begins(by("", CKM_SHA256, "m")))).code() == Code::OK) all.push_back(last.number(R::operation));
  CHECK(last.code() == Code::LIMIT_EXCEEDED);
  CHECK(all.size() == limits::operations_per_session_max);
  CHECK(update(c, all[0], "", true).code() == Code::OK);
  CHECK(begin(other, made(generate(other, CKM_AES_KEY_GEN, aes()))).code() == Code::OK);
  CHECK(c.call(Method::MechanismDigest, begins(by("", CKM_SHA256, "m"))).code() == Code::OK);
}

TEST_CASE("plane operations: a voided key or grant must be granted again; a refusal ends them") {
  TestPlane plane;
  const KeyId id = storeGenerated(plane, "aes", CKM_AES_KEY_GEN, aes());
  bool refuses = false;
  plane.onUpcall = [&](Upcall& upcall) {
    if (!refuses || upcall.kind != UpcallKind::grant) return false;
    plane->refuse(upcall.token, Code::DENIED, "not any more", 0);
    return true;
  };
  Client c(plane.path());
  const std::string own = made(generate(c, CKM_AES_KEY_GEN, aes()));
  const uint64_t operation = begun(begin(c, "aes")), ofOwn = begun(begin(c, own));
  const size_t grants = plane.seen(UpcallKind::grant);
  CHECK(update(c, operation, "x").code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == grants);
  plane->voidKey(id);
  CHECK(update(c, operation, "x").code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == grants + 1);
  CHECK(update(c, operation, "x").code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == grants + 1);
  plane->voidSlice(3);
  CHECK(update(c, operation, "x").code() == Code::OK);
  refuses = true;
  plane->voidGrants();
  CHECK(update(c, operation, "x").code() == Code::DENIED);
  CHECK(update(c, operation, "x").code() == Code::OPERATION_INVALID);
  CHECK(update(c, ofOwn, "x", true).code() == Code::OK);  // a session's key needs nobody's leave
}

TEST_CASE("plane operations: attributes that became stricter meanwhile hold for the next part") {
  TestPlane plane;
  const KeyId id = storeGenerated(plane, "aes", CKM_AES_KEY_GEN, aes());
  Client c(plane.path());
  const uint64_t operation = begun(begin(c, "aes"));
  TestKey key = plane.keyOf("aes");
  Sheet sheet = sheetFrom(str(key.attributes));
  sheet.setFlag(attribute::Encrypt, false);
  key.attributes = sheet.encode();
  plane.putKey("aes", key);
  plane->voidKey(id);
  CHECK(update(c, operation, "x").code() == Code::USE_NOT_PERMITTED);
  CHECK(update(c, operation, "x").code() == Code::OPERATION_INVALID);
}

TEST_CASE("plane operations: an operation goes with its identity, and when the plane is sealed") {
  TestPlane plane;
  Client c(plane.path());
  const auto begin = [&] { return begun(c.call(Method::MechanismDigest, begins(by("", CKM_SHA256, "m")))); };
  uint64_t operation = begin();
  plane->setIdentity(plane->sessions()[0].session, 5, 60'000);
  CHECK(update(c, operation, "x").code() == Code::OPERATION_INVALID);
  operation = begin();
  plane->setMode(PlaneMode::sealed);
  CHECK(update(c, operation, "x").code() == Code::SEALED);
  plane->setMode(PlaneMode::ready);
  Client again(plane.path());
  CHECK(update(again, operation, "x").code() == Code::OPERATION_INVALID);
}

TEST_CASE("plane operations: a part that a worker has is waited for, not overtaken") {
  TestPlane plane;
  Client c(plane.path());
  const uint64_t operation = begun(c.call(Method::MechanismDigest, begins(by("", CKM_SHA256, "m"))));
  const std::string large(4'000'000, 'x');
  const uint32_t slow = c.ask(Method::MechanismUpdate, Message().number(U::operation, operation).text(U::data, large));
  const uint32_t early = c.ask(Method::MechanismUpdate, Message().number(U::operation, operation).text(U::data, "y"));
  Code slowCode{}, earlyCode{};
  for (int i = 0; i < 2; i++) {
    const Answer answer = c.next();
    REQUIRE(answer.arrived);
    (answer.header.id == slow ? slowCode : earlyCode) = answer.code();
    if (answer.header.id != slow) CHECK(answer.header.id == early);
  }
  CHECK(slowCode == Code::OK);
  CHECK((earlyCode == Code::OPERATION_INVALID || earlyCode == Code::OK));
  uint8_t expected[32];
  REQUIRE(digest(Hash::SHA_256, bytesOf("m" + large + (earlyCode == Code::OK ? "y" : "")), expected) == Code::OK);
  CHECK(update(c, operation, "", true).text(R::data) == str(expected));
}
