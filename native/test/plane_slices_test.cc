// Slices: what a change of policies voids, and what it leaves alone.
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::string encryptBody(const std::string& key) { return Message().text(1, key).text(2, "p"); }

}  // namespace

TEST_CASE("plane slices: voiding one ends its grants and refusals, and no other's") {
  TestPlane plane;
  for (const char* name : {"a", "b", "none"}) plane.addKey(name, KeyType::AES_256, KeyScheme::MANAGED);
  UpcallLog log;
  plane.onUpcall = [&](Upcall& upcall) {
    log.add(upcall);
    if (upcall.keyRef == "refused") plane->refuse(upcall.token, Code::DENIED, "", limits::negative_grant_life_ms, 1);
    else plane.answerGrant(upcall, 60'000, upcall.keyRef == "a" ? 1 : upcall.keyRef == "b" ? 2 : 0);
    return true;
  };
  Client c(plane.path());
  // The keys that had to be asked for.
  const auto asked = [&] {
    const size_t before = log.size();
    std::string out;
    for (const char* name : {"a", "b", "none"}) REQUIRE(c.call(Method::Encrypt, encryptBody(name)).code() == Code::OK);
    for (size_t i = before; i < log.size(); i++) out += log.at(i).keyRef + " ";
    return out;
  };
  CHECK(asked() == "a b none ");
  CHECK(asked() == "");
  plane->voidSlice(1);
  CHECK(asked() == "a ");
  plane->voidSlice(2);
  CHECK(asked() == "b ");
  plane->voidSlice(3);
  plane->voidSlice(0);
  CHECK(asked() == "");
  plane->voidGrants();
  REQUIRE(TestPlane::eventually([&] { return plane->stats().grants == 0; }));
  CHECK(plane->stats().keys == 3);  // prepared keys stay
  CHECK(asked() == "a b none ");
  // A refusal: until its slice is voided. Twenty times: its life is a second.
  for (int i = 0; i < 20; i++) {
    const size_t before = log.size();
    REQUIRE(c.call(Method::Encrypt, encryptBody("refused")).code() == Code::DENIED);
    plane->voidSlice(2);
    const bool kept = c.call(Method::Encrypt, encryptBody("refused")).code() == Code::DENIED && log.size() == before + 1;
    plane->voidSlice(1);
    REQUIRE(c.call(Method::Encrypt, encryptBody("refused")).code() == Code::DENIED);
    if (!kept) continue;  // the machine was slow: its second was over
    CHECK(log.size() == before + 2);
    break;
  }
}

TEST_CASE("plane slices: that a key may wrap does not say that it may leave, even wrapped by itself") {
  for (const uint32_t lifeMs : {0u, 60'000u}) {
    for (const bool mayLeave : {false, true}) {
      CAPTURE(lifeMs);
      CAPTURE(mayLeave);
      TestPlane plane;
      plane.addKey("kek", KeyType::AES_256, KeyScheme::AES_KW, true);
      UpcallLog log;
      plane.hold(&log);
      Client c(plane.path());
      const auto wrap = [&](const char* target) { c.ask(Method::Wrap, Message().text(fields::WrapRequest::key, "kek").text(fields::WrapRequest::target, target)); };
      wrap("kek");
      REQUIRE(TestPlane::eventually([&] { return log.size() == 1; }));
      CHECK(!log.at(0).target);
      plane.answerGrant(log.at(0), lifeMs, 1);
      REQUIRE(TestPlane::eventually([&] { return log.size() == 2; }));
      CHECK(log.at(1).keyRef == "kek");
      CHECK(log.at(1).target);
      CHECK(log.at(1).method == static_cast<uint16_t>(Method::Wrap));
      if (mayLeave) plane.answerGrant(log.at(1), lifeMs, 1);
      else plane->refuse(log.at(1).token, Code::DENIED, "", 1000, 1);
      CHECK(c.next().code() == (mayLeave ? Code::OK : Code::DENIED));
      if (lifeMs == 0 || mayLeave) continue;
      wrap("other");  // it may wrap as before
      REQUIRE(TestPlane::eventually([&] { return log.size() == 3; }));
      CHECK(log.at(2).keyRef == "other");
      CHECK(log.at(2).target);
    }
  }
}

TEST_CASE("plane slices: a grant for one request does not outlive a void that comes while it waits for more") {
  TestPlane plane;
  plane.addKey("kek", KeyType::AES_256, KeyScheme::AES_KW);
  plane.addKey("target", KeyType::AES_256, KeyScheme::AES_GCM, true);
  UpcallLog log;
  plane.hold(&log);
  Client c(plane.path());
  c.ask(Method::Wrap, Message().text(fields::WrapRequest::key, "kek").text(fields::WrapRequest::target, "target"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == 1; }));
  plane.answerGrant(log.at(0), 0, 1);  // for this request alone
  REQUIRE(TestPlane::eventually([&] { return log.size() == 2; }));
  CHECK(log.at(1).keyRef == "target");
  SUBCASE("nothing was voided") {
    plane.answerGrant(log.at(1), 0, 1);
    CHECK(c.next().code() == Code::OK);
    CHECK(log.size() == 2);
  }
  SUBCASE("the policy changed meanwhile") {
    plane->voidSlice(1);
    plane.answerGrant(log.at(1), 0, 1);
    REQUIRE(TestPlane::eventually([&] { return log.size() == 3; }));
    CHECK(log.at(2).keyRef == "kek");
    plane->refuse(log.at(2).token, Code::DENIED, "", 0, 1);
    CHECK(c.next().code() == Code::DENIED);
  }
  SUBCASE("all grants went meanwhile") {
    plane->voidGrants();
    plane.answerGrant(log.at(1), 0, 1);
    REQUIRE(TestPlane::eventually([&] { return log.size() == 3; }));
    plane->refuse(log.at(2).token, Code::DENIED, "", 0, 1);
    CHECK(c.next().code() == Code::DENIED);
  }
}

TEST_CASE("plane slices: a void reaches streams under way; session keys are nobody's policy") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  std::atomic<bool> allowed{true};
  UpcallLog log;
  plane.onUpcall = [&](Upcall& upcall) {
    log.add(upcall);
    if (allowed) plane.answerGrant(upcall, 60'000, 1);
    else plane->refuse(upcall.token, Code::DENIED, "", 0, 1);
    return true;
  };
  namespace C = fields::StreamChunkRequest;
  Client c(plane.path());
  const auto begin = [&](const std::string& key) { return c.call(Method::EncryptStream, Message().text(1, key)).number(fields::EncryptStreamResponse::stream); };
  const auto chunk = [&](uint64_t stream) { return c.call(Method::StreamChunk, Message().number(C::stream, stream).text(C::data, std::string(limits::stream_chunk_bytes, 'x'))).code(); };
  REQUIRE(c.call(Method::CreateSessionKey, Message().number(1, 3)).text(1) == "session:1");
  const uint64_t stored = begin("a"), session = begin("session:1");
  const size_t before = log.size();
  CHECK(chunk(stored) == Code::OK);
  plane->voidSlice(2);
  CHECK(chunk(stored) == Code::OK);  // its grant is another slice's, and lives
  CHECK(log.size() == before);
  for (const bool all : {false, true}) {
    all ? plane->voidGrants() : plane->voidSlice(1);
    CHECK(chunk(stored) == Code::OK);  // asked for again, as the method that began it
    CHECK(log.last().method == static_cast<uint16_t>(Method::EncryptStream));
    CHECK(log.size() == before + (all ? 2 : 1));
  }
  allowed = false;
  plane->voidSlice(1);
  CHECK(chunk(session) == Code::OK);
  CHECK(chunk(stored) == Code::DENIED);
  CHECK(chunk(stored) == Code::STREAM_INVALID);
}
