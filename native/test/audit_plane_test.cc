// The plane with an audit log: what is logged, when it is, and what is answered when it cannot be.
#include "audit_plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr auto kEncrypt = Method::Encrypt;

uint64_t rowOf(const LogContent& content, uint64_t session, const KeyId& id, uint64_t version, Method method, Code status) {
  const std::string key = id == KeyId{} ? "" : std::string(id.begin(), id.end());
  const auto found = content.counts.find({session, key, version, static_cast<uint64_t>(method), static_cast<uint64_t>(status)});
  return found == content.counts.end() ? 0 : found->second;
}

bool waitFor(const std::atomic<bool>& flag) { return TestPlane::eventually([&] { return flag.load(); }); }

// The log's folder goes away and comes back.
struct Away {
  explicit Away(AuditedPlane& plane) : audited(plane), elsewhere(plane.places().root() / "elsewhere") {
    std::filesystem::rename(audited.places().folder(), elsewhere);
    REQUIRE(TestLog::until([&] { return !audited.log()->stats().available; }));
  }
  void back() {
    std::filesystem::rename(elsewhere, audited.places().folder());
    REQUIRE(TestLog::until([&] { return audited.log()->stats().available; }));
  }
  AuditedPlane& audited;
  std::filesystem::path elsewhere;
};

}  // namespace

TEST_CASE("audit plane: hot calls are counted by session, key, version, method and result") {
  AuditPlaces places;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  const KeyId id = plane.addKey("two", KeyType::AES_256, KeyScheme::MANAGED, true, 2);
  {
    Client first(plane.path()), second(plane.path());
    const std::string body = Message().text(1, "two").text(2, "text");
    std::string sealed;
    for (int i = 0; i < 5; i++) sealed = first.call(kEncrypt, body).text(1);
    for (int i = 0; i < 3; i++) CHECK(second.call(kEncrypt, body).code() == Code::OK);
    CHECK(first.call(Method::Decrypt, Message().text(2, sealed)).code() == Code::OK);
    std::string garbled = sealed;
    garbled.back() = static_cast<char>(garbled.back() ^ 1);
    CHECK(first.call(Method::Decrypt, Message().text(2, garbled)).code() == Code::CIPHERTEXT_INVALID);
    CHECK(first.call(kEncrypt, Message().text(1, "none")).code() == Code::KEY_NOT_FOUND);
    CHECK(first.call(kEncrypt, "\xff").code() == Code::BAD_REQUEST);
    CHECK(first.call(Method::Random, Message().number(1, 8)).code() == Code::OK);
    const std::string own = first.call(Method::CreateSessionKey, Message().number(1, static_cast<uint64_t>(KeyType::AES_256)).number(2, static_cast<uint64_t>(KeyScheme::MANAGED))).text(1);
    CHECK(first.call(kEncrypt, Message().text(1, own).text(2, "text")).code() == Code::OK);
    CHECK(first.call(Method::Ping, "").code() == Code::OK);
    const Answer stream = first.call(Method::EncryptStream, Message().text(1, "two"));
    REQUIRE(stream.code() == Code::OK);
    CHECK(first.call(Method::StreamChunk, Message().number(1, stream.number(1)).text(2, "x").number(3, 1)).code() == Code::OK);
  }
  audited.stop();
  const LogContent content = contentOf(places);
  CHECK(rowOf(content, 1, id, 2, kEncrypt, Code::OK) == 5);
  CHECK(rowOf(content, 2, id, 2, kEncrypt, Code::OK) == 3);
  CHECK(rowOf(content, 1, id, 2, Method::Decrypt, Code::OK) == 1);
  CHECK(rowOf(content, 1, id, 2, Method::Decrypt, Code::CIPHERTEXT_INVALID) == 1);
  CHECK(rowOf(content, 1, {}, 0, kEncrypt, Code::KEY_NOT_FOUND) == 1);
  CHECK(rowOf(content, 1, {}, 0, kEncrypt, Code::BAD_REQUEST) == 1);
  CHECK(rowOf(content, 1, {}, 0, Method::Random, Code::OK) == 1);
  CHECK(rowOf(content, 1, {}, 0, Method::CreateSessionKey, Code::OK) == 1);
  CHECK(rowOf(content, 1, {}, 0, kEncrypt, Code::OK) == 1);
  CHECK(rowOf(content, 1, id, 2, Method::EncryptStream, Code::OK) == 1);
  CHECK(rowOf(content, 1, id, 2, Method::StreamChunk, Code::OK) == 1);
  uint64_t sum = 0;
  for (const auto& [call, count] : content.counts) sum += count;
  CHECK(sum == 17);  // nothing else: no Hello, no Ping
}

TEST_CASE("audit plane: work of the worker is counted when it is answered") {
  AuditPlaces places;
  AuditedPlane audited(places);
  const KeyId id = audited.plane().addKey("rsa", KeyType::RSA_4096, KeyScheme::RSA_PSS);
  {
    Client client(audited.plane().path());
    for (int i = 0; i < 3; i++) CHECK(client.call(Method::Sign, Message().text(1, "rsa").text(2, "m")).code() == Code::OK);
  }
  audited.stop();
  CHECK(rowOf(contentOf(places), 1, id, 1, Method::Sign, Code::OK) == 3);
}

TEST_CASE("audit plane: a leaf for each call, however fast they come; reading waits for the disk, and nothing is refused") {
  AuditPlaces places;
  places.options.tuning.ringBytes = 256 * 1024;
  AuditedPlane audited(places, AuditMode::each);
  constexpr uint32_t kCalls = 30'000, kDepth = 64;
  {
    Client client(audited.plane().path());
    const std::string body = encryptBody();
    uint32_t answered = 0;
    for (uint32_t asked = 0; answered < kCalls;) {
      std::string burst;
      for (; asked < kCalls && asked - answered < kDepth; asked++) burst += frame(asked + 2, kEncrypt, body);
      if (!burst.empty()) REQUIRE(client.write(burst));
      const Answer answer = client.next();
      REQUIRE(answer.code() == Code::OK);
      answered++;
    }
  }
  audited.stop();
  const LogContent content = contentOf(places);
  CHECK(content.countOf(kEncrypt, Code::OK) == kCalls);
  CHECK(content.kinds.size() == kCalls);
}

TEST_CASE("audit plane: many sessions and keys at once fill several leaves, and lose no count") {
  AuditPlaces places;
  places.options.tuning.syncMs = 1000;  // one window for all
  AuditedPlane audited(places);
  std::vector<KeyId> ids;
  for (int k = 0; k < 30; k++) ids.push_back(audited.plane().addKey("key" + std::to_string(k), KeyType::AES_256, KeyScheme::MANAGED));
  {
    std::vector<std::unique_ptr<Client>> clients;
    for (int c = 0; c < 20; c++) clients.push_back(std::make_unique<Client>(audited.plane().path()));
    for (int round = 0; round < 3; round++)
      for (const auto& client : clients)
        for (int k = 0; k < 30; k++) REQUIRE(client->call(kEncrypt, Message().text(1, "key" + std::to_string(k)).text(2, "x")).code() == Code::OK);
  }
  audited.stop();
  const LogContent content = contentOf(places);
  for (uint64_t session = 1; session <= 20; session++)
    for (const KeyId& id : ids) CHECK(rowOf(content, session, id, 1, kEncrypt, Code::OK) == 3);
  CHECK(content.kinds.size() >= 8);
}

TEST_CASE("audit plane: a control answer comes when its leaf is durable, behind the counts of what was before it") {
  AuditPlaces places;
  places.options.tuning.syncMs = 60'000;  // nothing by itself
  AuditedPlane audited(places);
  Client client(audited.plane().path());
  for (int i = 0; i < 7; i++) REQUIRE(client.call(kEncrypt, encryptBody()).code() == Code::OK);
  CHECK(audited.log()->stats().size == 0);
  CHECK(client.call(Method::GetKey, "").text(1) == "control 1");
  CHECK(audited.log()->stats().size == 2);
  REQUIRE(client.call(kEncrypt, encryptBody()).code() == Code::OK);
  CHECK(audited.log()->stats().size == 2);
  audited.stop();
  CHECK(contentOf(places).kinds == std::vector<uint64_t>{4, 1, 4});
}

TEST_CASE("audit plane: an answer whose entry is durable elsewhere waits for the ring alone, and a flush for the disk") {
  AuditPlaces places;
  places.options.tuning.syncMs = 60'000;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  plane.onUpcall = [&](Upcall& upcall) {
    plane->reply(upcall.token, Code::OK, {}, controlLeaf("stored"), true);
    return true;
  };
  Client client(plane.path());
  CHECK(client.call(Method::CreateKey, "").code() == Code::OK);
  CHECK(audited.log()->stats().size == 0);
  for (int i = 0; i < 2; i++) {  // the second finds nothing to wait for
    std::atomic<bool> done{false};
    plane->flushLog([&](Code code) {
      CHECK(code == Code::OK);
      done = true;
    });
    REQUIRE(waitFor(done));
    CHECK(audited.log()->stats().size == 1);
  }
  audited.stop();
  CHECK(contentOf(places).details.at("stored") == 1);
}

TEST_CASE("audit plane: leaves of refusals and grants, and leaves by themselves") {
  AuditPlaces places;
  places.options.tuning.syncMs = 60'000;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  const auto before = plane.onUpcall;
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.keyRef == "forbidden") {
      plane->refuse(upcall.token, Code::DENIED, "not you", 1000, 0, controlLeaf("refused"));
      return true;
    }
    if (upcall.keyRef != "granted") return before(upcall);
    const TestKey key = plane.keyOf("granted");
    plane->install(plane.versionOf(key, 1));
    plane->grant(upcall.token, key.id, 1000, 0, controlLeaf("granted"));
    return true;
  };
  plane.addKey("granted", KeyType::AES_256, KeyScheme::MANAGED);
  Client client(plane.path());
  const Answer refused = client.call(kEncrypt, Message().text(1, "forbidden").text(2, "x"));
  CHECK(refused.code() == Code::DENIED);
  CHECK(refused.text(1) == "not you");
  CHECK(audited.log()->stats().size == 1);
  CHECK(client.call(kEncrypt, Message().text(1, "forbidden").text(2, "x")).code() == Code::DENIED);  // from the plane's own memory
  CHECK(client.call(kEncrypt, Message().text(1, "granted").text(2, "x")).code() == Code::OK);
  CHECK(audited.log()->stats().size == 1);  // a grant waits for the ring alone
  std::atomic<bool> done{false};
  std::atomic<uint64_t> index{0};
  plane->appendLeaf(controlLeaf("by itself"), [&](Code code, uint64_t i) {
    CHECK(code == Code::OK);
    index = i;
    done = true;
  });
  REQUIRE(waitFor(done));
  CHECK(index == audited.log()->stats().size - 1);
  audited.stop();
  const LogContent content = contentOf(places);
  for (const char* name : {"refused", "granted", "by itself"}) CHECK(content.details.at(name) == 1);
  CHECK(content.countOf(kEncrypt, Code::DENIED) == 2);
  CHECK(content.countOf(kEncrypt, Code::OK) == 1);
}

TEST_CASE("audit plane: what moves key material is a leaf of its own, durable before its answer") {
  AuditPlaces places;
  places.options.tuning.syncMs = 60'000;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  const KeyId id = plane.addKey("kek", KeyType::AES_256, KeyScheme::AES_KW);
  plane.addKey("wages", KeyType::AES_256, KeyScheme::MANAGED, true);
  Client client(plane.path());
  const Answer wrapped = client.call(Method::Wrap, Message().text(1, "kek").text(2, "wages"));
  REQUIRE(wrapped.code() == Code::OK);
  CHECK(audited.log()->stats().size == 1);
  const Answer own = client.call(Method::Unwrap, Message().text(1, "kek").text(2, wrapped.text(1)).number(6, static_cast<uint64_t>(KeyType::AES_256)).number(7, static_cast<uint64_t>(KeyScheme::MANAGED)));
  REQUIRE(own.code() == Code::OK);
  CHECK(audited.log()->stats().size == 2);
  CHECK(client.call(kEncrypt, Message().text(1, own.text(1)).text(2, "x")).code() == Code::OK);
  CHECK(client.call(Method::Unwrap, Message().text(1, "kek").text(2, "garbage")).code() != Code::OK);
  audited.stop();
  const auto leaves = readLeaves(places);
  REQUIRE(leaves.size() == 3);
  namespace E = fields::AuditEntry;
  const Answer leaf{{}, leaves[0], true};
  CHECK(leaf.number(E::kind) == 1);
  CHECK(leaf.number(E::uid) == getuid());
  CHECK(leaf.number(E::pid) == static_cast<uint64_t>(getpid()));
  CHECK(leaf.number(E::session) == 1);
  CHECK(leaf.number(E::method) == static_cast<uint64_t>(Method::Wrap));
  CHECK(leaf.text(E::resource) == "wages");
  CHECK(leaf.text(E::key_id) == std::string(id.begin(), id.end()));
  CHECK(leaf.number(E::version) == 1);
  CHECK(leaf.number(E::status) == 0);
  CHECK(contentOf(places).countOf(Method::Wrap, Code::OK) == 0);
}

TEST_CASE("audit plane: while the log cannot be written only what tells of it and repairs it is answered") {
  AuditPlaces places;
  AuditedPlane audited(places);
  Client client(audited.plane().path());
  CHECK(client.call(kEncrypt, encryptBody()).code() == Code::OK);
  Away away(audited);
  const Answer refused = client.call(kEncrypt, encryptBody());
  CHECK(refused.code() == Code::AUDIT_UNAVAILABLE);
  CHECK(refused.text(1).find("audit") != std::string::npos);
  for (const Method method : {Method::ListKeys, Method::Random, Method::CreateSessionKey, Method::Seal, Method::OpenSession, Method::WhoAmI, Method::ReadAudit})
    CHECK(client.call(method, "").code() == Code::AUDIT_UNAVAILABLE);
  for (const Method method : {Method::Ping, Method::Status, Method::Health, Method::VerifyAudit, Method::RepairAudit}) CHECK(client.call(method, "").code() == Code::OK);
  { Client another(audited.plane().path()); }  // Hello
  away.back();
  CHECK(client.call(kEncrypt, encryptBody()).code() == Code::OK);
  audited.stop();
  CHECK(contentOf(places).countOf(kEncrypt, Code::OK) == 2);
  CHECK(contentOf(places).counts.size() == 1);
}

TEST_CASE("audit plane: done, and then the log breaks: OUTCOME_UNKNOWN for a change, AUDIT_UNAVAILABLE for the rest; the leaf is not lost") {
  AuditPlaces places;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  std::optional<Away> away;
  Secret secret;
  REQUIRE(Secret::random(32, &secret) == Code::OK);
  const size_t handles = HandleTable::size();
  bool isStored = false;
  plane.onUpcall = [&](Upcall& upcall) {
    if (!away) away.emplace(audited);
    const auto method = static_cast<Method>(upcall.method);
    Buffer body;
    if (method == Method::CreateToken) {
      const uint64_t handle = HandleTable::put(std::move(secret));
      const std::string text = Message().text(fields::CreateTokenResponse::secret, std::string(reinterpret_cast<const char*>(&handle), 8));
      body.assign(text.begin(), text.end());
    }
    plane->reply(upcall.token, Code::OK, body, controlLeaf("method " + std::to_string(upcall.method)), isStored);
    return true;
  };
  {
    Client client(plane.path());
    SUBCASE("a change") { CHECK(client.call(Method::CreateKey, "").code() == Code::OUTCOME_UNKNOWN); }
    SUBCASE("a change whose entry is durable elsewhere") {
      isStored = true;
      CHECK(client.call(Method::CreateKey, "").code() == Code::OUTCOME_UNKNOWN);
    }
    SUBCASE("a change whose answer holds a secret") { CHECK(client.call(Method::CreateToken, "").code() == Code::OUTCOME_UNKNOWN); }
    SUBCASE("a question") { CHECK(client.call(Method::ListKeys, "").code() == Code::AUDIT_UNAVAILABLE); }
    CHECK(HandleTable::size() == handles);
    away->back();
  }
  audited.stop();
  CHECK(contentOf(places).details.size() == 1);
}

TEST_CASE("audit plane: while the log is locked its ring is enough for an answer, and all of it is in the log later") {
  AuditPlaces places;
  AuditedPlane audited(places, AuditMode::counts, false);
  Client client(audited.plane().path());
  for (int i = 1; i <= 5; i++) CHECK(client.call(Method::GetKey, "").text(1) == "control " + std::to_string(i));
  std::atomic<bool> done{false};
  std::atomic<uint64_t> index{0};
  audited.plane()->appendLeaf(controlLeaf("promised"), [&](Code code, uint64_t i) {
    CHECK(code == Code::OK);
    index = i;
    done = true;
  });
  CHECK(client.call(Method::GetKey, "").text(1) == "control 6");
  CHECK_FALSE(done);
  REQUIRE_FALSE(audited.log().unlock());
  REQUIRE(waitFor(done));
  CHECK(index == 5);
  audited.stop();
  CHECK(contentOf(places).details.size() == 7);
}

TEST_CASE("audit plane: denials cannot fill the ring of a locked log: only their number is kept, and room is left for the rest") {
  AuditPlaces places;
  places.options.tuning.ringBytes = AuditRing::kBytesMin * 2;
  AuditedPlane audited(places, AuditMode::counts, false);
  TestPlane& plane = audited.plane();
  const auto before = plane.onUpcall;
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.method != static_cast<uint16_t>(Method::Unseal)) return before(upcall);
    plane->reply(upcall.token, Code::DENIED, {}, controlLeaf(std::string(1000, 'd')));
    return true;
  };
  Client client(plane.path());
  for (int i = 0; i < 1000; i++) REQUIRE(client.call(Method::Unseal, "").code() == Code::DENIED);
  CHECK(client.call(Method::GetKey, "").text(1) == "control 1");
  REQUIRE_FALSE(audited.log().unlock());
  audited.stop();
  const LogContent content = contentOf(places);
  const auto denied = static_cast<uint64_t>(content.details.at(std::string(1000, 'd')));
  CHECK(denied > 100);
  CHECK(denied < 400);
  CHECK(denied + content.countOf(Method::Unseal, Code::DENIED) == 1000);
  CHECK(content.details.at("control 1") == 1);
}

TEST_CASE("audit plane: a full ring refuses and overwrites nothing") {
  AuditPlaces places;
  places.options.tuning.ringBytes = AuditRing::kBytesMin;
  AuditedPlane audited(places, AuditMode::counts, false);
  TestPlane& plane = audited.plane();
  uint64_t answered = 0;
  plane.onUpcall = [&](Upcall& upcall) {
    plane->reply(upcall.token, Code::OK, {}, controlLeaf("n" + std::to_string(++answered) + std::string(500, 'x')));
    return true;
  };
  Client client(plane.path());
  uint64_t taken = 0;
  Code code = Code::OK;
  while ((code = client.call(Method::GetKey, "").code()) == Code::OK) taken++;
  CHECK(code == Code::AUDIT_UNAVAILABLE);
  CHECK(taken > 50);
  CHECK(client.call(kEncrypt, encryptBody()).code() == Code::AUDIT_UNAVAILABLE);
  CHECK(client.call(Method::Status, "").code() == Code::OK);
  REQUIRE_FALSE(audited.log().unlock());
  CHECK(client.call(Method::GetKey, "").code() == Code::OK);
  audited.stop();
  const LogContent content = contentOf(places);
  for (uint64_t i = 1; i <= taken; i++) CHECK(content.details.count("n" + std::to_string(i) + std::string(500, 'x')) == 1);
}

TEST_CASE("audit plane: when it stops, whoever waits for a leaf is told") {
  AuditPlaces places;
  AuditedPlane audited(places, AuditMode::counts, false);
  std::atomic<bool> done{false};
  audited.plane()->appendLeaf(controlLeaf("x"), [&](Code code, uint64_t) {
    CHECK(code == Code::AUDIT_UNAVAILABLE);
    done = true;
  });
  audited.plane()->stop(0);
  CHECK(done);
}

TEST_CASE("audit plane: off logs and refuses nothing") {
  AuditPlaces places;
  AuditedPlane audited(places, AuditMode::off);
  Client client(audited.plane().path());
  Away away(audited);
  CHECK(client.call(kEncrypt, encryptBody()).code() == Code::OK);
  CHECK(client.call(Method::GetKey, "").code() == Code::OK);
  away.back();
  audited.stop();
  CHECK(readLeaves(places).empty());
}
