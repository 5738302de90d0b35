// Identities: given to a connection with an access token, over when their time is, or at once.
#include <algorithm>

#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr uint64_t kHour = 3'600'000;

std::string encryptBody(const std::string& key) { return Message().text(1, key).text(2, "p"); }
std::string createKeyBody(KeyType type) { return Message().number(1, static_cast<uint32_t>(type)); }

// OpenSession is answered by giving identity `next` for `lifeMs`; all else as usual.
struct Tokens {
  explicit Tokens(TestPlane& plane) {
    plane.onUpcall = [this, &plane](Upcall& upcall) {
      log.add(upcall);
      if (upcall.method != static_cast<uint16_t>(Method::OpenSession)) return false;
      plane->setIdentity(upcall.session, next, lifeMs);
      plane->reply(upcall.token, Code::OK, {});
      return true;
    };
  }
  void open(Client& c, uint64_t identity, uint64_t life = kHour) {
    next = identity;
    lifeMs = life;
    REQUIRE(c.call(Method::OpenSession, "").code() == Code::OK);
  }
  UpcallLog log;
  std::atomic<uint64_t> next{1}, lifeMs{kHour};
};

Code encryptCode(Client& c) { return c.call(Method::Encrypt, encryptBody("a")).code(); }

}  // namespace

TEST_CASE("plane identity: a connection acts under what it was given; those of one identity share, others do not") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client c(plane.path()), same(plane.path()), plain(plane.path()), other(plane.path());
  CHECK(encryptCode(c) == Code::OK);
  tokens.open(c, 7);
  CHECK(tokens.log.last().peer->identity == 0);  // who presents a token is not yet anybody
  CHECK(encryptCode(c) == Code::OK);
  const Upcall asked = tokens.log.last();
  CHECK(asked.kind == UpcallKind::grant);  // what it had before is not this identity's
  CHECK(asked.peer->identity == 7);
  CHECK(asked.peer->uid == geteuid());
  CHECK(asked.peer->number != tokens.log.at(0).peer->number);
  tokens.open(same, 7);
  const size_t before = tokens.log.size();
  CHECK(encryptCode(same) == Code::OK);
  CHECK(encryptCode(plain) == Code::OK);
  CHECK(tokens.log.size() == before);  // both had a grant: one of identity 7, one of none
  tokens.open(other, 8);
  CHECK(encryptCode(other) == Code::OK);
  CHECK(tokens.log.last().peer->identity == 8);
  CHECK(tokens.log.last().kind == UpcallKind::grant);
}

TEST_CASE("plane identity: after its time nothing but the way to another one") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client c(plane.path()), plain(plane.path());
  CHECK(encryptCode(c) == Code::OK);
  tokens.open(c, 1, 1000);
  REQUIRE(encryptCode(c) == Code::OK);
  REQUIRE(c.call(Method::CreateSessionKey, createKeyBody(KeyType::AES_256)).code() == Code::OK);
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  const size_t before = tokens.log.size();
  for (int i = 0; i < 2; i++) {
    const Answer over = c.call(Method::Encrypt, encryptBody("a"));  // also what its uid itself may do
    CHECK(over.code() == Code::SESSION_EXPIRED);
    CHECK(over.text(fields::Failure::detail) != "");
    CHECK(c.call(Method::Encrypt, encryptBody("session:1")).code() == Code::SESSION_EXPIRED);
    for (const Method m : {Method::ListKeys, Method::GetKey, Method::WhoAmI, Method::Random, Method::StreamChunk, Method::DestroySessionKey, Method::Init})
      CHECK(c.call(m, "").code() == Code::SESSION_EXPIRED);
  }
  CHECK(tokens.log.size() == before);
  CHECK(TestPlane::eventually([&] { return plane->stats().sessionKeys == 0; }));
  for (const Method m : {Method::Ping, Method::Status, Method::Health}) CHECK(c.call(m, "").code() == Code::OK);
  CHECK(c.call(Method::Hello, helloBody()).code() == Code::OK);
  CHECK(tokens.log.last().peer->identity == 0);
  CHECK(encryptCode(plain) == Code::OK);  // nobody else's session
  tokens.open(c, 2);
  CHECK(tokens.log.last().peer->identity == 0);
  CHECK(encryptCode(c) == Code::OK);
  CHECK(tokens.log.last().peer->identity == 2);
  CHECK(c.call(Method::Encrypt, encryptBody("session:1")).code() == Code::KEY_NOT_FOUND);
}

TEST_CASE("plane identity: an identity whose time is over is wiped though nobody asks anything") {
  PlaneTuning tuning;
  tuning.sessionIdleMs = 8000;  // looked at every two seconds; no session is idle for so long here
  TestPlane plane(tuning);
  Tokens tokens(plane);
  Client c(plane.path());
  tokens.open(c, 1, 1000);
  REQUIRE(c.call(Method::CreateSessionKey, createKeyBody(KeyType::AES_256)).code() == Code::OK);
  REQUIRE(TestPlane::eventually([&] { return plane->stats().sessionKeys == 1; }));
  CHECK(TestPlane::eventually([&] { return plane->stats().sessionKeys == 0; }, 6000));
  CHECK(plane->sessions().size() == 1);  // not because the session ended
}

TEST_CASE("plane identity: the same one again is a new life; another one wipes what was made under the first") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client c(plane.path());
  REQUIRE(c.call(Method::CreateSessionKey, createKeyBody(KeyType::AES_256)).code() == Code::OK);
  tokens.open(c, 1, 1000);
  CHECK(c.call(Method::Encrypt, encryptBody("session:1")).code() == Code::KEY_NOT_FOUND);  // made under none
  REQUIRE(c.call(Method::CreateSessionKey, createKeyBody(KeyType::AES_256)).text(1) == "session:2");
  const uint64_t stream = c.call(Method::EncryptStream, Message().text(1, "a")).number(fields::EncryptStreamResponse::stream);
  tokens.open(c, 1, kHour);
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  CHECK(c.call(Method::Encrypt, encryptBody("session:2")).code() == Code::OK);
  tokens.open(c, 2);
  CHECK(c.call(Method::Encrypt, encryptBody("session:2")).code() == Code::KEY_NOT_FOUND);
  CHECK(c.call(Method::StreamClose, Message().number(1, stream)).code() == Code::STREAM_INVALID);
  CHECK(TestPlane::eventually([&] { return plane->stats().sessionKeys == 0 && plane->stats().streams == 0; }));
  CHECK(plane->sessions()[0].sessionKeys == 0);
  CHECK(plane->sessions()[0].streams == 0);
}

TEST_CASE("plane identity: ended: at once, for all its connections, and for what waits") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client one(plane.path()), two(plane.path()), other(plane.path());
  for (Client* c : {&one, &two}) tokens.open(*c, 5);
  tokens.open(other, 6);
  for (Client* c : {&one, &two, &other}) REQUIRE(encryptCode(*c) == Code::OK);
  const uint64_t ended = tokens.log.at(3).peer->number;
  plane->endIdentity(5);
  for (Client* c : {&one, &two}) CHECK(encryptCode(*c) == Code::SESSION_EXPIRED);
  CHECK(encryptCode(other) == Code::OK);
  // The number may come again: nothing that was granted to the ended one is found.
  tokens.open(one, 5);
  const size_t before = tokens.log.size();
  CHECK(encryptCode(one) == Code::OK);
  REQUIRE(tokens.log.size() == before + 1);
  CHECK(tokens.log.last().peer->number != ended);
  Client plain(plane.path());
  plane->endIdentity(0);  // nobody's: ends nothing
  for (Client* c : {&one, &plain}) CHECK(encryptCode(*c) == Code::OK);
}

TEST_CASE("plane identity: what waits for a grant when its identity ends gets its error, and the late grant reaches nobody") {
  TestPlane plane;
  plane.addKey("b", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client one(plane.path()), two(plane.path()), plain(plane.path());
  for (Client* c : {&one, &two}) tokens.open(*c, 5);
  plane.hold(&tokens.log);
  for (Client* c : {&one, &two, &plain})
    for (int i = 0; i < 3; i++) c->ask(Method::Encrypt, encryptBody("b"));
  one.ask(Method::GetKey, Message().text(1, "b"));
  REQUIRE(TestPlane::eventually([&] { return tokens.log.size() == 5; }));
  std::vector<Upcall> asked;
  for (size_t i = 2; i < 5; i++) asked.push_back(tokens.log.at(i));
  const auto find = [&](uint64_t identity, UpcallKind kind) {
    return *std::find_if(asked.begin(), asked.end(), [&](const Upcall& u) { return u.peer->identity == identity && u.kind == kind; });
  };
  plane->endIdentity(5);
  for (Client* c : {&one, &two})
    for (int i = 0; i < 3; i++) CHECK(c->next().code() == Code::SESSION_EXPIRED);
  CHECK(!plain.next(50).arrived);
  plane.answerGrant(find(5, UpcallKind::grant));  // decided before it was revoked
  plane.answerGrant(find(0, UpcallKind::grant));
  for (int i = 0; i < 3; i++) CHECK(plain.next().code() == Code::OK);
  // A call that was begun has its effect: its answer is told.
  plane->reply(find(5, UpcallKind::call).token, Code::OK, {});
  CHECK(one.next().code() == Code::OK);
  for (Client* c : {&one, &two}) CHECK(c->call(Method::Encrypt, encryptBody("b")).code() == Code::SESSION_EXPIRED);
  // All connections are as good as before.
  plane.onUpcall = nullptr;
  Tokens again(plane);
  for (Client* c : {&one, &two}) {
    again.open(*c, 9);
    CHECK(c->call(Method::Encrypt, encryptBody("b")).code() == Code::OK);
  }
}

TEST_CASE("plane identity: time that is over while a request waits") {
  TestPlane plane;
  plane.addKey("b", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client c(plane.path());
  tokens.open(c, 5, 600);
  plane.hold(&tokens.log);
  for (int i = 0; i < 3; i++) c.ask(Method::Encrypt, encryptBody("b"));
  REQUIRE(TestPlane::eventually([&] { return tokens.log.size() == 2; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(650));
  plane.answerGrant(tokens.log.at(1));
  for (int i = 0; i < 3; i++) CHECK(c.next().code() == Code::SESSION_EXPIRED);
}

TEST_CASE("plane identity: what a worker makes for an ended identity is thrown away") {
  TestPlane plane;
  Tokens tokens(plane);
  Client c(plane.path()), plain(plane.path());
  tokens.open(c, 5);
  REQUIRE(c.call(Method::CreateSessionKey, createKeyBody(KeyType::AES_256)).code() == Code::OK);
  const std::string rsa = createKeyBody(KeyType::RSA_4096);
  c.ask(Method::CreateSessionKey, rsa);
  CHECK(c.call(Method::Ping, "").code() == Code::OK);  // it was read: it is on the worker, for a second or so
  plane->endIdentity(5);
  CHECK(c.next(60'000).code() == Code::SESSION_EXPIRED);
  CHECK(TestPlane::eventually([&] { return plane->stats().sessionKeys == 0; }));
  tokens.open(c, 6);
  CHECK(c.call(Method::CreateSessionKey, createKeyBody(KeyType::AES_256)).code() == Code::OK);
}

TEST_CASE("plane identity: sealing ends them, and none is given while sealed") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Tokens tokens(plane);
  Client c(plane.path()), plain(plane.path());
  tokens.open(c, 5);
  REQUIRE(encryptCode(c) == Code::OK);
  const uint64_t session = tokens.log.last().session;
  plane->setMode(PlaneMode::sealed);
  CHECK(encryptCode(c) == Code::SEALED);
  plane->setIdentity(session, 5, kHour);  // decided before the seal
  plane->setMode(PlaneMode::ready);
  CHECK(encryptCode(c) == Code::SESSION_EXPIRED);
  CHECK(encryptCode(plain) == Code::OK);
  plane->setIdentity(session + 1000, 5, kHour);  // nobody's
  tokens.open(c, 7);
  CHECK(encryptCode(c) == Code::OK);
}
