// P-256 signatures of many connections, made together: all are answered, each to its own request, right and in the audit log.
#include <set>

#include "audit_plane_fixture.h"
#include "core/gcm.h"
#include "core/p256_lanes.h"
#include "key_fixtures.h"
#include "object_client.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace S = fields::SignRequest;

struct Asked {
  Method method;
  std::string key, message;
  SignatureFormat format = SignatureFormat::DER;
  Code expected = Code::OK;
};

// Sign by the message, and by its digest; a digest that is none; MechanismSign. The i-th request of a client.
Asked request(size_t client, size_t i) {
  const std::string key = i % 3 == 0 ? "one" : "two", message = "message " + std::to_string(client) + " " + std::to_string(i);
  if (i % 7 == 6) return {Method::Sign, key, message, SignatureFormat::P1363, Code::DIGEST_INVALID};
  if (i % 5 == 4) return {Method::MechanismSign, "raw", message, SignatureFormat::P1363};
  return {Method::Sign, key, message, i % 2 == 0 ? SignatureFormat::DER : SignatureFormat::P1363};
}
std::string hashOf(const std::string& message) {
  std::string out(32, '\0');
  REQUIRE(digest(Hash::SHA_256, bytesView(message), reinterpret_cast<uint8_t*>(out.data())) == Code::OK);
  return out;
}
std::string bodyOf(const Asked& asked, size_t i) {
  if (asked.method == Method::MechanismSign) return by(asked.key, CKM_ECDSA, hashOf(asked.message));
  Message out = Message().text(S::key, asked.key).number(S::format, static_cast<uint64_t>(asked.format));
  if (asked.expected == Code::DIGEST_INVALID) return out.text(S::digest, "short");
  return i % 4 == 3 ? out.text(S::digest, hashOf(asked.message)) : out.text(S::message, asked.message);
}
bool right(TestPlane& plane, const Asked& asked, const Answer& answer) {
  const bool raw = asked.method == Method::MechanismSign;
  const std::string signature = raw ? answer.text(R::data) : answer.text(fields::SignResponse::signature);
  const uint64_t version = raw ? answer.number(R::version) : answer.number(fields::SignResponse::version);
  const SignOptions options{.type = KeyType::EC_P256, .scheme = KeyScheme::ECDSA, .format = asked.format};
  return version == 1 && verified(options, plane.keyOf(asked.key).versions[0].second, bytesView(asked.message), bytesView(signature));
}

// So that lanes are used at all: what is granted and prepared before.
void warmUp(Client& c) {
  for (const char* key : {"one", "two"}) REQUIRE(c.call(Method::Sign, Message().text(S::key, key).text(S::message, "m")).code() == Code::OK);
  REQUIRE(c.call(Method::MechanismSign, by("raw", CKM_ECDSA, hashOf("m"))).code() == Code::OK);
}

void addKeys(TestPlane& plane) {
  for (const char* key : {"one", "two"}) plane.addKey(key, KeyType::EC_P256, KeyScheme::ECDSA);
  storeGenerated(plane, "raw", CKM_EC_KEY_PAIR_GEN, {}, Template().bytes(attribute::EcParams, kP256));
}

}  // namespace

TEST_CASE("plane lanes: every signature of many clients is its request's, and is counted") {
  constexpr size_t kClients = 5, kRequests = 60;
  AuditPlaces places;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  addKeys(plane);
  std::array<size_t, 2> count{};
  {
    std::vector<std::unique_ptr<Client>> clients;
    for (size_t i = 0; i < kClients; i++) clients.push_back(std::make_unique<Client>(plane.path()));
    warmUp(*clients[0]);
    for (auto& client : clients) warmUp(*client);
    for (size_t k = 0; k < kClients; k++) {
      std::string frames;
      for (size_t i = 0; i < kRequests; i++) {
        const Asked asked = request(k, i);
        frames += frame(static_cast<uint32_t>(1000 + i), asked.method, bodyOf(asked, i));
      }
      REQUIRE(clients[k]->write(frames));
    }
    for (size_t k = 0; k < kClients; k++) {
      std::set<uint32_t> seen;
      for (size_t n = 0; n < kRequests; n++) {
        const Answer answer = clients[k]->next();
        REQUIRE(answer.arrived);
        const size_t i = answer.header.id - 1000;
        REQUIRE(i < kRequests);
        CHECK(seen.insert(answer.header.id).second);
        const Asked asked = request(k, i);
        CAPTURE(i);
        CHECK(answer.code() == asked.expected);
        CHECK(answer.header.method == static_cast<uint16_t>(asked.method));
        if (answer.code() == Code::OK) CHECK(right(plane, asked, answer));
        count[asked.method == Method::MechanismSign] += answer.code() == Code::OK;
      }
    }
    // Half of all, whatever the machine does between two reads.
    if (p256LanesPick(cpuFeatures(), gcmForced())) CHECK(plane->stats().laneSignatures > kClients * kRequests / 2);
    else CHECK(plane->stats().laneSignatures == 0);
  }
  audited.stop();
  const LogContent content = contentOf(places);
  CHECK(content.countOf(Method::Sign, Code::OK) == count[0] + 2 * (kClients + 1));
  CHECK(content.countOf(Method::MechanismSign, Code::OK) == count[1] + kClients + 1);
  CHECK(content.countOf(Method::Sign, Code::DIGEST_INVALID) == kClients * (kRequests / 7));
  const std::string one(reinterpret_cast<const char*>(plane.keyOf("one").id.data()), 16);
  uint64_t ofOne = 0;
  for (const auto& [call, n] : content.counts) {
    if (std::get<1>(call) == one && std::get<2>(call) == 1 && std::get<4>(call) == static_cast<uint64_t>(Code::OK)) ofOne += n;
  }
  size_t expected = kClients + 1;
  for (size_t k = 0; k < kClients; k++) {
    for (size_t i = 0; i < kRequests; i++) {
      const Asked asked = request(k, i);
      expected += asked.key == "one" && asked.expected == Code::OK;
    }
  }
  CHECK(ofOne == expected);
}

TEST_CASE("plane lanes: what came before a void or a seal is answered, and what comes after is not") {
  TestPlane plane;
  addKeys(plane);
  Client c(plane.path());
  warmUp(c);
  for (int round = 0; round < 20; round++) {
    std::string frames;
    for (uint32_t i = 0; i < 20; i++) frames += frame(100 + i, Method::Sign, Message().text(S::key, "one").text(S::message, "m"));
    REQUIRE(c.write(frames));
    if (round % 2 == 0) plane->voidKey(plane.keyOf("one").id);
    else plane->setMode(PlaneMode::sealed);
    for (int i = 0; i < 20; i++) {
      const Answer answer = c.next();
      REQUIRE(answer.arrived);
      CHECK((answer.code() == Code::OK || (round % 2 == 1 && answer.code() == Code::SEALED)));
      if (answer.code() == Code::OK) CHECK(right(plane, {Method::Sign, "one", "m"}, answer));
    }
    if (round % 2 == 0) continue;
    CHECK(c.call(Method::Sign, Message().text(S::key, "one").text(S::message, "m")).code() == Code::SEALED);
    plane->setMode(PlaneMode::ready);
    warmUp(c);
  }
}

TEST_CASE("plane lanes: who hangs up, and a session key that goes, harm nobody") {
  TestPlane plane;
  addKeys(plane);
  Client patient(plane.path());
  warmUp(patient);
  for (int round = 0; round < 20; round++) {
    const auto hasty = std::make_unique<Client>(plane.path());
    std::string frames;
    for (uint32_t i = 0; i < 3; i++) frames += frame(1 + i, Method::Sign, Message().text(S::key, "two").text(S::message, "m"));
    hasty->write(frames);
    patient.write(frames);
    hasty->hangUp();
    for (int i = 0; i < 3; i++) CHECK(patient.next().code() == Code::OK);
    // Cannot be written to: closed while its signatures wait.
    Client deaf(plane.path());
    shutdown(deaf.fd(), SHUT_RD);
    deaf.write(frame(9, Method::Ping, "") + frames);
    CHECK(patient.call(Method::Ping, "").code() == Code::OK);
  }
  const Answer made = patient.call(Method::CreateSessionKey, Message().number(1, static_cast<uint64_t>(KeyType::EC_P256)).number(2, static_cast<uint64_t>(KeyScheme::ECDSA)));
  REQUIRE(made.code() == Code::OK);
  const std::string own = made.text(1), spki = made.text(2), sign = Message().text(S::key, own).text(S::message, "m");
  std::string frames;
  for (uint32_t i = 0; i < 5; i++) frames += frame(1000 + i, Method::Sign, sign);
  frames += frame(2000, Method::DestroySessionKey, Message().text(1, own)) + frame(2001, Method::Sign, sign);
  REQUIRE(patient.write(frames));
  for (int i = 0; i < 7; i++) {
    const Answer answer = patient.next();
    REQUIRE(answer.arrived);
    CHECK(answer.code() == (answer.header.id == 2001 ? Code::KEY_NOT_FOUND : Code::OK));
    if (answer.header.id >= 2000) continue;
    const SignOptions options{.type = KeyType::EC_P256, .scheme = KeyScheme::ECDSA};
    CHECK(verified(options, bytesView(spki), bytesView("m"), bytesView(answer.text(fields::SignResponse::signature))));
  }
}

TEST_CASE("plane lanes: the last few of many do not wait for more") {
  TestPlane plane;
  addKeys(plane);
  Client c(plane.path());
  warmUp(c);
  for (uint32_t count = 1; count <= 40; count++) {
    std::string frames;
    for (uint32_t i = 0; i < count; i++) frames += frame(100 + i, Method::Sign, Message().text(S::key, "one").text(S::message, "m"));
    REQUIRE(c.write(frames));
    for (uint32_t i = 0; i < count; i++) {
      const Answer answer = c.next();
      REQUIRE(answer.arrived);
      CHECK(right(plane, {Method::Sign, "one", "m"}, answer));
    }
  }
}

TEST_CASE("plane lanes: a signature that is asked for alone does not wait for company") {
  TestPlane plane;
  addKeys(plane);
  Client c(plane.path());
  warmUp(c);
  const uint64_t before = plane->stats().laneSignatures;
  for (int i = 0; i < 50; i++) CHECK(c.call(Method::Sign, Message().text(S::key, "one").text(S::message, "m")).code() == Code::OK);
  CHECK(plane->stats().laneSignatures == before);
}
