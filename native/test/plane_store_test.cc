// Control methods that speak of a session's objects: StoreObject and AuthenticateUse, with the test in the daemon's place.
#include "object_client.h"
#include "plane/session.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace S = fields::StoreObjectRequest;

struct Seen {
  std::map<uint32_t, std::string> texts;
  std::map<uint32_t, uint64_t> numbers;
  size_t fields = 0;
};
Seen read(const Buffer& body) {
  Seen out;
  for (protozero::pbf_reader r{reinterpret_cast<const char*>(body.data()), body.size()}; r.next(); out.fields++) {
    if (r.wire_type() == protozero::pbf_wire_type::length_delimited) {
      const uint32_t tag = r.tag();
      out.texts[tag] = r.get_string();
    } else {
      const uint32_t tag = r.tag();
      out.numbers[tag] = r.get_uint64();
    }
  }
  return out;
}
SecretPtr takeMaterial(const Seen& seen) {
  const auto found = seen.texts.find(S::material);
  if (found == seen.texts.end()) return nullptr;
  REQUIRE(found->second.size() == 8);
  uint64_t handle;
  memcpy(&handle, found->second.data(), 8);
  return HandleTable::take(handle);
}
uint64_t num(KeyType type) { return static_cast<uint64_t>(type); }

// Control calls are remembered, and answered with `status`.
struct Daemon {
  explicit Daemon(TestPlane& plane) {
    plane.onUpcall = [this, &plane](Upcall& upcall) {
      if (upcall.kind != UpcallKind::call) return false;
      log.add(upcall);
      plane->reply(upcall.token, status, body);
      return true;
    };
  }
  UpcallLog log;
  Code status = Code::OK;
  Buffer body;
};
const std::string kIv16 = "1234567890123456";
Answer store(Client& c, const std::string& object, const std::string& name = "") {
  return c.call(Method::StoreObject, Message().text(S::object, object).text(S::name, name).text(S::idempotency_key, "0123456789abcdef"));
}

}  // namespace

TEST_CASE("plane store: the plane says what the object is, whatever the client wrote") {
  TestPlane plane;
  Daemon daemon(plane);
  daemon.status = Code::DENIED;
  Client c(plane.path());
  const Answer pairMade = generate(c, CKM_EC_KEY_PAIR_GEN, Template().bytes(attribute::Label, "mine"), Template().bytes(attribute::EcParams, kP256));
  const Message forged = Message()
                             .text(S::object, made(pairMade))
                             .text(S::name, "name")
                             .text(S::material, "forged material")
                             .text(S::public_key, "forged")
                             .text(S::attributes, "forged")
                             .text(S::public_attributes, "forged")
                             .number(S::type, num(KeyType::RSA_4096))
                             .number(S::origin, 1)
                             .text(S::idempotency_key, "idempotency")
                             .text(99, "unknown")
                             .text(S::attributes, "forged again");
  const size_t handles = HandleTable::size();
  CHECK(c.call(Method::StoreObject, forged).code() == Code::DENIED);
  const Seen seen = read(daemon.log.last().body);
  CHECK(seen.texts.at(S::object) == made(pairMade));
  CHECK(seen.texts.at(S::name) == "name");
  CHECK(seen.texts.at(S::idempotency_key) == "idempotency");
  CHECK(seen.texts.at(S::attributes) == pairMade.text(O::attributes));
  CHECK(seen.texts.at(S::public_attributes) == pairMade.text(O::public_attributes));
  CHECK(seen.texts.at(S::public_key) == pairMade.text(O::public_key));
  CHECK(seen.numbers.at(S::type) == num(KeyType::EC_P256));
  CHECK(seen.numbers.at(S::origin) == static_cast<uint64_t>(ObjectOrigin::GENERATED));
  CHECK(seen.fields == 9);
  CHECK(HandleTable::size() == handles + 1);
  const SecretPtr material = takeMaterial(seen);
  REQUIRE(material);
  // It is that key: what it signs, the object's public half verifies.
  Buffer signature;
  REQUIRE(sign({.type = KeyType::EC_P256, .scheme = KeyScheme::ECDSA, .format = SignatureFormat::P1363}, *material, bytesOf(std::string("m")), &signature) == Code::OK);
  CHECK(c.call(Method::MechanismVerify, by(made(pairMade), CKM_ECDSA_SHA256, "m").text(M::signature, str(signature))).number(R::valid) == 1);
}

TEST_CASE("plane store: each origin and class") {
  TestPlane plane;
  Daemon daemon(plane);
  daemon.status = Code::DENIED;
  Client c(plane.path());
  const auto stored = [&](const std::string& object) {
    CHECK(store(c, object).code() == Code::DENIED);
    return read(daemon.log.last().body);
  };
  const auto origin = [&](const Seen& seen) { return static_cast<ObjectOrigin>(seen.numbers.at(S::origin)); };
  const std::string created = made(createSecret(c, kCkkAes, std::string(16, 'k'), Template().flag(attribute::Sensitive, false).flag(attribute::Extractable)));
  Seen seen = stored(created);
  CHECK(origin(seen) == ObjectOrigin::CREATED);
  CHECK(seen.numbers.at(S::type) == num(KeyType::AES_128));
  CHECK(str(*takeMaterial(seen)) == std::string(16, 'k'));
  seen = stored(made(c.call(Method::CopyObject, by(created, 0))));
  CHECK(origin(seen) == ObjectOrigin::COPIED);
  takeMaterial(seen);
  const std::string kek = made(generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Wrap).flag(attribute::Unwrap)));
  const Answer wrapped = c.call(Method::WrapObject, by(kek, CKM_AES_KEY_WRAP).text(M::target, created));
  REQUIRE(wrapped.code() == Code::OK);
  seen = stored(made(c.call(Method::UnwrapObject, by(kek, CKM_AES_KEY_WRAP, wrapped.text(R::data)).text(M::attributes, keyOf(ObjectClass::secretKey, kCkkAes)))));
  CHECK(origin(seen) == ObjectOrigin::UNWRAPPED);
  takeMaterial(seen);
  const Answer data = c.call(Method::CreateObject, Message().text(M::attributes, Template().number(attribute::Class, 0).bytes(attribute::Value, "v")));
  seen = stored(made(data));
  CHECK(seen.numbers.count(S::type) == 0);
  CHECK(seen.texts.count(S::material) == 0);
  CHECK(seen.texts.at(S::attributes) == data.text(O::attributes));
}

TEST_CASE("plane store: kept, and gone from the session; refused, and still there for another try") {
  TestPlane plane;
  Daemon daemon(plane);
  Client c(plane.path());
  const std::string key = made(generate(c, CKM_AES_KEY_GEN, aes()));
  daemon.status = Code::OUTCOME_UNKNOWN;
  CHECK(store(c, key, "name").code() == Code::OUTCOME_UNKNOWN);
  const Seen first = read(daemon.log.last().body);
  CHECK(c.call(Method::MechanismEncrypt, by(key, CKM_AES_ECB, kIv16)).code() == Code::OK);
  daemon.status = Code::OK;
  CHECK(store(c, key, "name").code() == Code::OK);
  Seen second = read(daemon.log.last().body);
  CHECK(str(*takeMaterial(first)) == str(*takeMaterial(second)));
  second.texts[S::material] = first.texts.at(S::material);  // another copy in the arena; all else is the same request
  CHECK(first.texts == second.texts);
  CHECK(first.numbers == second.numbers);
  CHECK(c.call(Method::MechanismEncrypt, by(key, CKM_AES_ECB, kIv16)).code() == Code::KEY_NOT_FOUND);
  CHECK(plane->stats().sessionKeys == 0);
  CHECK(store(c, key).code() == Code::OBJECT_NOT_FOUND);
}

TEST_CASE("plane store: only this session's objects") {
  TestPlane plane;
  Daemon daemon(plane);
  storeGenerated(plane, "stored", CKM_AES_KEY_GEN, aes());
  Client c(plane.path()), other(plane.path());
  const std::string key = made(generate(c, CKM_AES_KEY_GEN, aes()));
  const size_t handles = HandleTable::size();
  for (const std::string& object : {std::string("stored"), std::string(), std::string("session:2"), std::string("session:0"), std::string("session:x"), key + "0", sessionRaw(c, KeyType::AES_256, KeyScheme::AES_GCM)})
    CHECK(store(c, object).code() == Code::OBJECT_NOT_FOUND);
  CHECK(store(other, key).code() == Code::OBJECT_NOT_FOUND);
  CHECK(c.call(Method::StoreObject, Message().number(S::object, 1)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::StoreObject, Message().text(S::object, key).number(S::name, 1)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::StoreObject, "\xff").code() == Code::BAD_REQUEST);
  CHECK(daemon.log.size() == 0);
  CHECK(HandleTable::size() == handles);
}

TEST_CASE("plane tickets: one use of one key, in one session, for a while") {
  TestPlane plane;
  Daemon daemon(plane);
  const Template asks = Template().flag(attribute::AlwaysAuthenticate);
  const KeyId id = storeGenerated(plane, "asks", CKM_EC_KEY_PAIR_GEN, asks, Template().bytes(attribute::EcParams, kP256));
  storeGenerated(plane, "also", CKM_EC_KEY_PAIR_GEN, asks, Template().bytes(attribute::EcParams, kP256));
  Client c(plane.path()), other(plane.path());
  const std::string own = pair(c, CKM_EC_KEY_PAIR_GEN, kP256, asks);
  const auto sign = [&](Client& by_, const std::string& key, const std::string& ticket) { return by_.call(Method::MechanismSign, by(key, CKM_ECDSA_SHA256, "m").text(M::ticket, ticket)).code(); };
  const auto authenticate = [&](const std::string& key) {
    const std::string named(id.begin(), id.end());
    const std::string body = key.starts_with("session:") ? std::string() : std::string(Message().text(1, named));
    daemon.body.assign(body.begin(), body.end());
    const Answer answer = c.call(Method::AuthenticateUse, Message().text(1, "the pin").text(2, key));
    REQUIRE(answer.code() == Code::OK);
    CHECK(answer.text(1).size() == 16);
    CHECK(answer.text(1) != named);
    return answer.text(1);
  };
  for (const std::string& key : {std::string("asks"), own}) {
    CAPTURE(key);
    CHECK(sign(c, key, "") == Code::AUTHENTICATION_REQUIRED);
    CHECK(sign(c, key, std::string(16, '\0')) == Code::AUTHENTICATION_REQUIRED);
    const std::string ticket = authenticate(key), spare = authenticate(key);
    CHECK(ticket != spare);
    CHECK(sign(c, "also", ticket) == Code::AUTHENTICATION_REQUIRED);
    CHECK(sign(other, key == own ? pair(other, CKM_EC_KEY_PAIR_GEN, kP256, asks) : key, ticket) == Code::AUTHENTICATION_REQUIRED);
    CHECK(sign(c, key, ticket.substr(0, 15)) == Code::AUTHENTICATION_REQUIRED);
    CHECK(sign(c, key, ticket) == Code::OK);
    CHECK(sign(c, key, ticket) == Code::AUTHENTICATION_REQUIRED);
    // In parts: at the beginning. What only needs the public half asks nobody.
    const Answer begun = c.call(Method::MechanismSign, by(key, CKM_ECDSA_SHA256, "m").text(M::ticket, spare).number(M::more, 1));
    REQUIRE(begun.code() == Code::OK);
    CHECK(c.call(Method::MechanismUpdate, Message().number(1, begun.number(R::operation)).number(3, 1)).code() == Code::OK);
    CHECK(c.call(Method::MechanismSign, by(key, CKM_ECDSA_SHA256, "m").number(M::more, 1)).code() == Code::AUTHENTICATION_REQUIRED);
    CHECK(c.call(Method::MechanismVerify, by(key, CKM_ECDSA_SHA256, "m").text(M::signature, "s")).code() == Code::OK);
  }
  // A ticket of one of the session's objects is no other object's.
  const std::string next = pair(c, CKM_EC_KEY_PAIR_GEN, kP256, asks), ofOwn = authenticate(own);
  CHECK(sign(c, next, ofOwn) == Code::AUTHENTICATION_REQUIRED);
  CHECK(sign(c, own, ofOwn) == Code::OK);
  // It goes with the identity under which it was given.
  const std::string late = authenticate("asks");
  plane->setIdentity(plane->sessions()[0].session, 5, 60'000);
  CHECK(sign(c, "asks", late) == Code::AUTHENTICATION_REQUIRED);
}

TEST_CASE("plane tickets: not for an identity that came after the PIN was asked") {
  TestPlane plane;
  UpcallLog log;
  plane.hold(&log);
  Client c(plane.path());
  const uint32_t id = c.ask(Method::AuthenticateUse, Message().text(1, "pin").text(2, "asks"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == 1; }));
  plane->setIdentity(plane->sessions()[0].session, 5, 60'000);
  const std::string body = Message().text(1, std::string(16, 'k'));
  plane->reply(log.at(0).token, Code::OK, Buffer(body.begin(), body.end()));
  const Answer answer = c.next();
  CHECK(answer.header.id == id);
  CHECK(answer.code() == Code::SESSION_EXPIRED);
}

TEST_CASE("plane tickets: none without the daemon's word, nor for what is not there") {
  TestPlane plane;
  Daemon daemon(plane);
  Client c(plane.path());
  const auto ask = [&](const std::string& key) { return c.call(Method::AuthenticateUse, Message().text(1, "pin").text(2, key)); };
  daemon.status = Code::PIN_REJECTED;
  CHECK(ask("asks").code() == Code::PIN_REJECTED);
  daemon.status = Code::OK;
  CHECK(ask("session:9").code() == Code::KEY_NOT_FOUND);
  CHECK(ask("asks").code() == Code::INTERNAL);  // the daemon named no key
  const std::string body = Message().text(1, "short");
  daemon.body.assign(body.begin(), body.end());
  CHECK(ask("asks").code() == Code::INTERNAL);
}

TEST_CASE("plane tickets: they end by themselves, and only the newest are kept") {
  SessionTotals totals;
  Session session(1, std::make_shared<UidState>(1000, nullptr), &totals);
  const KeyId id = {7};
  const auto add = [&](uint8_t first, int64_t expiresNs) {
    UseTicket ticket{};
    ticket.bytes[0] = first;
    ticket.keyId = id;
    ticket.expiresNs = expiresNs;
    session.addTicket(ticket);
    return Buffer(std::begin(ticket.bytes), std::end(ticket.bytes));
  };
  const Buffer one = add(1, 100), two = add(2, 101);
  CHECK(!session.takeTicket(one, id, 0, 100));
  CHECK(session.takeTicket(two, id, 0, 100));
  const Buffer oldest = add(3, 1000), next = add(4, 1000);
  for (uint8_t i = 0; i < 63; i++) add(static_cast<uint8_t>(10 + i), 1000);
  CHECK(!session.takeTicket(oldest, id, 0, 0));
  CHECK(session.takeTicket(next, id, 0, 0));
}
