// Grants: asked for once, kept for their life, void at once; refusals; versions; reserved IVs.
#include <algorithm>

#include "plane/grants.h"
#include "plane/keys.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace E = fields::EncryptRequest;
namespace D = fields::DecryptRequest;
constexpr auto kCiphertext = fields::EncryptResponse::ciphertext;

std::string encryptBody(const std::string& key, const std::string& plaintext = "p") { return Message().text(E::key, key).text(E::plaintext, plaintext); }
std::string decryptBody(const std::string& key, const std::string& ciphertext) { return Message().text(D::key, key).text(D::ciphertext, ciphertext); }

}  // namespace

TEST_CASE("plane grants: one upcall, then none while it lives; void ends it") {
  TestPlane plane;
  const KeyId id = plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Client c(plane.path()), second(plane.path());
  for (int i = 0; i < 5; i++) CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(second.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);  // the peer's, not the connection's
  CHECK(plane.seen(UpcallKind::grant) == 1);
  const std::string sealed = c.call(Method::Encrypt, encryptBody("a", "text")).text(kCiphertext);
  CHECK(c.call(Method::Decrypt, decryptBody("a", sealed)).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 2);  // another method
  CHECK(c.call(Method::Encrypt, encryptBody(TestPlane::hexOf(id))).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 3);  // another reference
  plane->voidKey(id);
  CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 4);
  plane->voidGrants();
  CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 5);
  plane->voidSlice(1);  // of no grant here
  plane->voidSlice(0);  // of every one, and voids none
  KeyId other;
  randomBytes(other);
  plane->voidKey(other);
  CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 5);
  CHECK(plane->stats().grants == 1);
}

TEST_CASE("plane grants: a void before a reply is in force when the reply is read") {
  TestPlane plane;
  const KeyId id = plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  std::atomic<bool> revoked{false};
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.kind == UpcallKind::call) {  // as an operation that changes the key
      revoked = true;
      plane->voidKey(id);
      plane->reply(upcall.token, Code::OK, {});
      return true;
    }
    if (!revoked) return false;
    plane->refuse(upcall.token, Code::KEY_STATE_DENIED, "revoked", 1000);
    return true;
  };
  Client c(plane.path());
  for (int i = 0; i < 20; i++) {
    revoked = false;
    plane->voidKey(id);
    REQUIRE(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
    REQUIRE(c.call(Method::DeactivateKey, Message().text(1, "a")).code() == Code::OK);
    REQUIRE(c.call(Method::Encrypt, encryptBody("a")).code() == Code::KEY_STATE_DENIED);
  }
}

TEST_CASE("plane grants: a grant ends after its life; life 0 is for one request") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  std::atomic<uint32_t> lifeMs{100};
  plane.onUpcall = [&](Upcall& upcall) {
    plane.answerGrant(upcall, lifeMs);
    return true;
  };
  Client c(plane.path());
  CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  lifeMs = 0;
  for (int i = 0; i < 3; i++) CHECK(c.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == 4);
}

TEST_CASE("plane grants: refusals are remembered for a moment, and end with any void") {
  TestPlane plane;
  Client c(plane.path());
  const Answer refused = c.call(Method::Encrypt, encryptBody("later"));
  CHECK(refused.code() == Code::KEY_NOT_FOUND);
  CHECK(refused.text(fields::Failure::detail) == "no key later");
  const Answer again = c.call(Method::Encrypt, encryptBody("later"));
  CHECK(again.code() == Code::KEY_NOT_FOUND);
  CHECK(again.text(fields::Failure::detail) == "no key later");
  CHECK(plane.seen(UpcallKind::grant) == 1);
  const KeyId made = plane.addKey("later", KeyType::AES_256, KeyScheme::MANAGED);
  plane->voidKey(made);
  CHECK(c.call(Method::Encrypt, encryptBody("later")).code() == Code::OK);
}

TEST_CASE("plane grants: who needs the same waits together, and each gets its answer") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  UpcallLog log;
  std::atomic<bool> hold{true};
  plane.onUpcall = [&](Upcall& upcall) {
    log.add(upcall);
    return hold.load();
  };
  Client c(plane.path()), d(plane.path()), leaves(plane.path());
  for (int i = 0; i < 10; i++) c.ask(Method::Encrypt, encryptBody("a", std::to_string(i)));
  REQUIRE(TestPlane::eventually([&] { return log.size() == 1; }));
  for (int i = 0; i < 10; i++) d.ask(Method::Encrypt, encryptBody("a"));
  leaves.ask(Method::Encrypt, encryptBody("a"));
  c.ask(Method::GenerateDataKey, Message().text(1, "a"));  // another method: its own upcall
  REQUIRE(TestPlane::eventually([&] { return log.size() == 2; }));
  CHECK(log.at(0).keyRef == "a");
  CHECK(log.at(0).version == 0);
  CHECK(log.at(0).method == static_cast<uint16_t>(Method::Encrypt));
  CHECK(log.at(0).peer->uid == geteuid());
  CHECK(log.at(0).pid == getpid());
  CHECK(log.at(0).peer->listener == plane.listener());
  leaves.hangUp();
  REQUIRE(TestPlane::eventually([&] { return plane->stats().connections == 2; }));
  // The first who asked may leave as well: the others still get it.
  plane.answerGrant(log.at(0));
  for (Client* each : {&c, &d})
    for (int i = 0; i < 10; i++) REQUIRE(each->next().code() == Code::OK);
  plane->refuse(log.at(1).token, Code::DENIED, "no", 0);
  const Answer refused = c.next();
  CHECK(refused.code() == Code::DENIED);
  CHECK(refused.text(fields::Failure::detail) == "no");
  CHECK(log.size() == 2);
}

TEST_CASE("plane grants: a request is given up after sixteen upcalls that bring nothing, and may come again") {
  TestPlane plane;
  plane.onUpcall = [&](Upcall& upcall) {
    KeyId id;
    randomBytes(id);
    plane->grant(upcall.token, id, 60'000);  // and installs nothing
    return true;
  };
  Client c(plane.path());
  const Answer busy = c.call(Method::Encrypt, encryptBody("a"));
  CHECK(busy.code() == Code::BUSY);
  CHECK(busy.number(fields::Failure::retry_after_ms) > 0);
  CHECK(plane.seen(UpcallKind::grant) == 16);
}

TEST_CASE("plane grants: ciphertexts find their version, and other keys' are told apart") {
  TestPlane plane;
  const KeyId id = plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED, false, 3);
  plane.addKey("b", KeyType::AES_256, KeyScheme::MANAGED);
  plane.addKey("raw", KeyType::AES_256, KeyScheme::AES_GCM);
  Client c(plane.path());
  // Made with version 1, when that was the current one.
  TestKey key = plane.keyOf("a");
  key.current = 1;
  plane.putKey("a", key);
  const std::string old = c.call(Method::Encrypt, encryptBody("a", "old")).text(kCiphertext);
  key.current = 3;
  plane.putKey("a", key);
  plane->voidKey(id);
  const Answer fresh = c.call(Method::Encrypt, encryptBody("a", "new"));
  CHECK(fresh.number(fields::EncryptResponse::version) == 3);
  for (const std::string& ref : {std::string("a"), std::string(), TestPlane::hexOf(id)}) {
    const Answer opened = c.call(Method::Decrypt, decryptBody(ref, old));
    REQUIRE(opened.code() == Code::OK);
    CHECK(opened.text(fields::DecryptResponse::plaintext) == "old");
    CHECK(opened.number(fields::DecryptResponse::version) == 1);
    CHECK(c.call(Method::Decrypt, decryptBody(ref, fresh.text(kCiphertext))).number(fields::DecryptResponse::version) == 3);
  }
  CHECK(c.call(Method::Decrypt, decryptBody("b", old)).code() == Code::CIPHERTEXT_WRONG_KEY);
  c.call(Method::Encrypt, encryptBody("b"));
  CHECK(c.call(Method::Decrypt, decryptBody("b", old)).code() == Code::CIPHERTEXT_WRONG_KEY);  // prepared or not
  CHECK(c.call(Method::Decrypt, decryptBody("", "not one of ours")).code() == Code::CIPHERTEXT_INVALID);
  CHECK(c.call(Method::Decrypt, decryptBody("a", "not one of ours")).code() == Code::CIPHERTEXT_INVALID);
  CHECK(c.call(Method::Decrypt, Message().text(D::key, "a").text(D::ciphertext, old).number(D::version, 2)).code() == Code::CIPHERTEXT_WRONG_KEY);
  // A raw key's ciphertext that happens to look like a managed one is only that.
  CHECK(c.call(Method::Decrypt, Message().text(D::key, "raw").text(D::ciphertext, old).text(D::iv, std::string(12, 'i'))).code() == Code::CIPHERTEXT_INVALID);
  std::string forged = old;
  forged[4] ^= 1;
  CHECK(c.call(Method::Decrypt, decryptBody("", forged)).code() == Code::KEY_NOT_FOUND);
  CHECK(c.call(Method::Decrypt, decryptBody("a", forged)).code() == Code::CIPHERTEXT_WRONG_KEY);
  std::string future = old;
  future[20] = 9;  // a version that never was
  CHECK(c.call(Method::Decrypt, decryptBody("a", future)).code() == Code::KEY_VERSION_NOT_FOUND);
}

TEST_CASE("plane grants: IVs are asked for ahead of need, and a request waits when there is none") {
  TestPlane plane;
  const KeyId id = plane.addKey("g", KeyType::AES_256, KeyScheme::AES_GCM);
  UpcallLog log;
  std::atomic<bool> exhausted{false};
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.kind != UpcallKind::reserve) return false;
    log.add(upcall);
    if (exhausted) {
      if (upcall.token != 0) plane->reply(upcall.token, Code::KEY_EXHAUSTED, {});
      return true;
    }
    if (upcall.token == 0) return true;  // the hint goes unheard
    plane->addIvs(upcall.keyId, upcall.version, 3);
    plane->resume(upcall.token);
    return true;
  };
  Client c(plane.path());
  // Installed with none: the first request waits, takes one of three and gives the hint; the fourth waits again.
  for (int i = 0; i < 6; i++) REQUIRE(c.call(Method::Encrypt, encryptBody("g")).code() == Code::OK);
  REQUIRE(TestPlane::eventually([&] { return log.size() == 4; }));
  CHECK(log.at(0).token != 0);
  CHECK(log.at(0).keyId == id);
  CHECK(log.at(0).version == 1);
  CHECK(log.at(1).token == 0);
  CHECK(log.at(2).token != 0);
  exhausted = true;
  CHECK(c.call(Method::Encrypt, encryptBody("g")).code() == Code::KEY_EXHAUSTED);
  // What was reserved survives a void: it is not reserved again.
  plane->addIvs(id, 1, limits::iv_block);
  CHECK(c.call(Method::Encrypt, encryptBody("g")).code() == Code::OK);
  plane->voidKey(id);
  const size_t before = log.size();
  CHECK(c.call(Method::Encrypt, encryptBody("g")).code() == Code::OK);
  CHECK(log.size() == before);
}

TEST_CASE("plane grants: an idle reserve is refilled at half a block") {
  TestPlane plane;
  plane.addKey("g", KeyType::AES_256, KeyScheme::AES_GCM);
  UpcallLog log;
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.kind == UpcallKind::grant) {
      plane->install(plane.versionOf(plane.keyOf("g"), 1, limits::iv_block / 2 + 2));
      plane->grant(upcall.token, plane.keyOf("g").id, 60'000);
      return true;
    }
    log.add(upcall);
    plane->addIvs(upcall.keyId, upcall.version, limits::iv_block);
    return true;
  };
  Client c(plane.path());
  CHECK(c.call(Method::Encrypt, encryptBody("g")).code() == Code::OK);
  CHECK(log.size() == 0);
  for (int i = 0; i < 50; i++) CHECK(c.call(Method::Encrypt, encryptBody("g")).code() == Code::OK);
  REQUIRE(TestPlane::eventually([&] { return log.size() >= 1; }));
  CHECK(log.size() == 1);  // once, not for each
  CHECK(log.at(0).token == 0);
}

TEST_CASE("plane grants: bounded, the unused go first, and one uid pushes out only its own") {
  Grants grants(16);
  KeyId id{};
  id[0] = 1;
  const auto put = [&](uint32_t uid, uint64_t peer, const std::string& ref) { grants.put({.peer = peer, .use = 64, .ref = ref, .uid = uid, .keyId = id, .expiresNs = 1000}); };
  for (uint32_t i = 0; i < 4; i++) put(1, 1, "mine" + std::to_string(i));
  for (uint32_t i = 0; i < 100; i++) put(2, 2 + i % 10, "new" + std::to_string(i));  // whatever domains it names
  CHECK(grants.size() == 8);
  for (uint32_t i = 0; i < 4; i++) CHECK(grants.find({1, 64, "mine" + std::to_string(i)}, 0) != nullptr);
  for (uint32_t uid = 3; uid < 40; uid++) put(uid, 100 + uid, "x");
  CHECK(grants.size() == 16);
  CHECK(grants.find({139, 64, "x"}, 0) != nullptr);
  CHECK(grants.find({139, 64, "x"}, 1000) == nullptr);  // its life is over
  CHECK(grants.find({137, 64, "x"}, 0) != nullptr);
  CHECK(grants.find({237, 64, "x"}, 0) == nullptr);  // another peer
  CHECK(grants.find({137, 65, "x"}, 0) == nullptr);
  const uint64_t epoch = grants.epoch();
  grants.voidKey(id);
  CHECK(grants.size() == 0);
  CHECK(grants.epoch() != epoch);
}

TEST_CASE("plane keys: a full arena evicts what was not used for long, and says ARENA_FULL only then") {
  const size_t before = Arena::stats().bytesUsed;
  {
    KeyCache keys(1'000'000);
    const auto version = [](uint32_t n) {
      InstalledVersion v;
      std::memcpy(v.keyId.data(), &n, sizeof(n));
      v.domain = "default";
      v.type = KeyType::AES_256;
      v.scheme = KeyScheme::AES_GCM;
      v.version = 1;
      v.current = true;
      Secret secret;
      if (Secret::random(32, &secret) == Code::OK) v.stored = std::make_shared<const Secret>(std::move(secret));
      return v;
    };
    const KeyId first = version(0).keyId;
    for (uint32_t i = 0; i < 4000; i++) {
      keys.install(version(i), 0);
      REQUIRE(keys.find(first, 0, 0) != nullptr);  // in use: stays
    }
    CHECK(keys.size() < 3000);
    CHECK(keys.size() > 500);
    CHECK(Arena::stats().bytesUsed <= Arena::stats().bytesMax / 4 * 3 + 4096);
    CHECK(keys.find(version(3999).keyId, 0, 0) != nullptr);
    // Others hold all the rest: even an empty cache makes no room.
    const KeyId one = version(1).keyId;
    while (keys.evictOne()) {
    }
    InstalledVersion late = version(1);
    std::vector<Secret> hoard;
    for (const size_t bytes : {8192, 6144, 4096, 3072})  // whole slabs, then what others left of theirs
      for (Secret s; Secret::make(bytes, &s) == Code::OK;) hoard.push_back(std::move(s));
    keys.install(std::move(late), 0);
    PreparedKey* failed = keys.find(one, 0, 0);
    REQUIRE(failed != nullptr);
    CHECK(failed->failed == Code::ARENA_FULL);
    CHECK(keys.find(one, 0, 2'000'000'000) == nullptr);  // and may be tried again later
  }
  CHECK(Arena::stats().bytesUsed == before);
}
