// What goes up to JavaScript: modes, sensitive fields, replies, bounds and fairness, and those who leave meanwhile.
#include <sys/syscall.h>

#include <algorithm>
#include <latch>
#include <memory>

#include "plane/sensitive.h"
#include "hex.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace I = fields::ImportKeyRequest;
namespace U = fields::UnsealRequest;

uint64_t handleIn(const std::string& field) {
  uint64_t handle = 0;
  REQUIRE(field.size() == 8);
  std::memcpy(&handle, field.data(), 8);
  return handle;
}
std::string handleText(uint64_t handle) { return {reinterpret_cast<const char*>(&handle), 8}; }
Buffer bufferOf(const std::string& s) { return Buffer(s.begin(), s.end()); }

// Takes every upcall and keeps it.
struct Held {
  explicit Held(TestPlane& plane) {
    plane.onUpcall = [this](Upcall& upcall) {
      const std::lock_guard lock(mutex);
      upcalls.push_back(std::move(upcall));
      return true;
    };
  }
  size_t size() {
    const std::lock_guard lock(mutex);
    return upcalls.size();
  }
  bool reaches(size_t n) {
    return TestPlane::eventually([&] { return size() >= n; });
  }
  std::mutex mutex;
  std::vector<Upcall> upcalls;
};

}  // namespace

TEST_CASE("plane upcalls: sealed and uninitialised answer only what they may") {
  TestPlane plane({}, PlaneMode::sealed);
  Client c(plane.path());
  const std::string encrypt = Message().text(1, "a").text(2, "p");
  CHECK(c.call(Method::Encrypt, encrypt).code() == Code::SEALED);
  CHECK(c.call(Method::Random, Message().number(1, 8)).code() == Code::SEALED);
  CHECK(c.call(Method::ListKeys, "").code() == Code::SEALED);
  CHECK(c.call(Method::StreamClose, "").code() == Code::SEALED);
  for (const Method m : {Method::Status, Method::Health, Method::Unseal, Method::Init, Method::Ping}) CHECK(c.call(m, "").code() == Code::OK);
  plane->setMode(PlaneMode::uninitialised);
  CHECK(c.call(Method::Encrypt, encrypt).code() == Code::UNINITIALISED);
  CHECK(c.call(Method::Status, "").code() == Code::OK);
  plane->setMode(PlaneMode::ready);
  CHECK(c.call(Method::ListKeys, "").code() == Code::OK);
  CHECK(plane.seen(UpcallKind::call) == 6);
}

TEST_CASE("plane upcalls: sealing wipes grants, keys, sessions, and ends what waits") {
  TestPlane plane;
  const size_t handles = HandleTable::size();
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Client c(plane.path());
  REQUIRE(c.call(Method::Encrypt, Message().text(1, "a").text(2, "p")).code() == Code::OK);
  REQUIRE(c.call(Method::CreateSessionKey, Message().number(1, 3)).text(1) == "session:1");
  REQUIRE(c.call(Method::EncryptStream, Message().text(1, "a")).code() == Code::OK);
  CHECK(TestPlane::eventually([&] { return plane->stats().streams == 1 && plane->stats().sessionKeys == 1 && plane->stats().keys == 1; }));
  Held held(plane);
  c.ask(Method::Encrypt, Message().text(1, "b").text(2, "p"));
  c.ask(Method::Unseal, Message().number(U::type, 3));
  REQUIRE(held.reaches(2));
  const size_t used = Arena::stats().bytesUsed;
  plane->setMode(PlaneMode::sealed);
  CHECK(c.next().code() == Code::SEALED);  // what waited for a grant
  CHECK(TestPlane::eventually([&] {
    const PlaneStats s = plane->stats();
    return s.streams == 0 && s.sessionKeys == 0 && s.keys == 0 && s.grants == 0;
  }));
  CHECK(Arena::stats().bytesUsed < used);
  CHECK(HandleTable::size() == handles);
  plane->grant(held.upcalls[0].token, KeyId{}, 60'000);  // too late, and unharmful
  plane->install(plane.versionOf(plane.keyOf("a"), 1));  // not while sealed
  plane->reply(held.upcalls[1].token, Code::OK, {});
  CHECK(c.next().code() == Code::OK);
  CHECK(plane->stats().keys == 0);
  plane.onUpcall = nullptr;
  plane->setMode(PlaneMode::ready);
  CHECK(c.call(Method::Decrypt, Message().text(1, "session:1").text(2, std::string(100, 'x'))).code() == Code::KEY_NOT_FOUND);
  CHECK(c.call(Method::Encrypt, Message().text(1, "a").text(2, "p")).code() == Code::OK);
}

TEST_CASE("plane upcalls: sensitive fields arrive as handles, and leave as bytes") {
  TestPlane plane;
  Held held(plane);
  Client c(plane.path());
  const size_t handles = HandleTable::size();
  const std::string material(32, '\x5a');
  c.ask(Method::ImportKey, Message().text(I::name, "k").number(I::type, 3).text(I::material, material).text(I::idempotency_key, std::string(16, 'i')));
  REQUIRE(held.reaches(1));
  const Answer seen{FrameHeader{}, str(held.upcalls[0].body), true};
  CHECK(seen.text(I::name) == "k");
  CHECK(seen.number(I::type) == 3);
  CHECK(seen.text(I::idempotency_key) == std::string(16, 'i'));
  CHECK(str(held.upcalls[0].body).find(material) == std::string::npos);
  const uint64_t handle = handleIn(seen.text(I::material));
  REQUIRE(HandleTable::get(handle) != nullptr);
  CHECK(str(*HandleTable::take(handle)) == material);
  plane->reply(held.upcalls[0].token, Code::OK, bufferOf(Message().text(1, "answer")));
  CHECK(c.next().text(1) == "answer");

  // Repeated sensitive fields on the way out: Init's shares.
  c.ask(Method::Init, Message().text(2, "passphrase"));
  REQUIRE(held.reaches(2));
  HandleTable::drop(handleIn(Answer{FrameHeader{}, str(held.upcalls[1].body), true}.text(2)));
  Message reply;
  for (const char* share : {"share one", "share two"}) {
    Secret secret;
    REQUIRE(Secret::copy(bytesOf(share), &secret) == Code::OK);
    reply.text(fields::InitResponse::recovery_shares, handleText(HandleTable::put(std::move(secret))));
  }
  reply.text(fields::InitResponse::store_id, "store");
  plane->reply(held.upcalls[1].token, Code::OK, bufferOf(reply));
  const Answer shares = c.next();
  CHECK(shares.texts(fields::InitResponse::recovery_shares) == std::vector<std::string>{"share one", "share two"});
  CHECK(shares.text(fields::InitResponse::store_id) == "store");
  CHECK(HandleTable::size() == handles);

  // A reply with a handle that is none.
  c.ask(Method::Init, "");
  REQUIRE(held.reaches(3));
  plane->reply(held.upcalls[2].token, Code::OK, bufferOf(Message().text(1, handleText(1'000'000'000))));
  CHECK(c.next().code() == Code::INTERNAL);
}

TEST_CASE("plane upcalls: what JavaScript reads is what the plane read") {
  const MethodRow& row = *methodRow(static_cast<uint16_t>(Method::ImportKey));
  const size_t handles = HandleTable::size();
  const auto swap = [&](const std::string& body, Buffer* out) {
    std::vector<uint64_t> put;
    Fault fault;
    const auto drop = [&] {
      for (const uint64_t handle : put) HandleTable::drop(handle);
    };
    try {
      const Code code = swapIn(row, bytesOf(body), out, &put, &fault);
      drop();
      return code;
    } catch (...) {
      drop();
      return Code::BAD_REQUEST;
    }
  };
  Buffer out;
  // Tags and lengths in more bytes than needed come out in the shortest form: a decoder cannot read them differently.
  CHECK(swap(std::string("\x8a\x80\x00\x81\x00k", 6), &out) == Code::OK);
  CHECK(toHex(out) == "0a016b");
  out.clear();
  CHECK(swap(std::string("\xc2\x80\x80\x80\x00\x01m", 7), &out) == Code::OK);  // the sensitive field under a long tag
  CHECK(out.size() == 10);
  CHECK(out[0] == 0x42);
  CHECK(out[1] == 8);
  const std::string twice = Message().text(I::material, "a").text(I::material, "b");
  CHECK(swap(twice, &out) == Code::BAD_REQUEST);
  CHECK(swap(Message().number(I::material, 7), &out) == Code::BAD_REQUEST);  // a forged handle is not one
  CHECK(swap(Message().text(I::material, std::string(8193, 'x')), &out) == Code::INPUT_TOO_LONG);
  CHECK(swap("\x43", &out) == Code::BAD_REQUEST);
  out.clear();
  CHECK(swap(Message().text(I::material, "").text(I::name, "n"), &out) == Code::OK);
  CHECK(out.size() == 3);  // an empty one is left out
  CHECK(HandleTable::size() == handles);
}

TEST_CASE("plane upcalls: who left gets nothing, and nothing of theirs stays") {
  TestPlane plane;
  const size_t handles = HandleTable::size();
  Held held(plane);
  const std::string import = Message().text(I::name, "k").text(I::material, "secret");
  {
    Client c(plane.path());
    c.ask(Method::ImportKey, import);
    REQUIRE(held.reaches(1));
  }
  REQUIRE(TestPlane::eventually([&] { return plane->stats().connections == 0; }));
  // Drained: the request's handle is JavaScript's, the reply's is dropped.
  CHECK(HandleTable::size() == handles + 1);
  HandleTable::drop(handleIn(Answer{FrameHeader{}, str(held.upcalls[0].body), true}.text(I::material)));
  Secret secret;
  REQUIRE(Secret::copy(bytesOf("share"), &secret) == Code::OK);
  const uint64_t mine = HandleTable::put(std::move(secret));
  {
    Client c(plane.path());
    c.ask(Method::Init, "");
    REQUIRE(held.reaches(2));
  }
  REQUIRE(TestPlane::eventually([&] { return plane->stats().connections == 0; }));
  plane->reply(held.upcalls[1].token, Code::OK, bufferOf(Message().text(1, handleText(mine))));
  CHECK(TestPlane::eventually([&] { return HandleTable::size() == handles; }));
  plane->reply(held.upcalls[1].token, Code::OK, {});  // twice: ignored
  plane->reply(123'456, Code::OK, {});                // never asked
  // Not drained: taken back.
  // The answering thread may still be in it when this test is over.
  const auto gate = std::make_shared<std::latch>(1);
  plane.onUpcall = [gate](Upcall&) {
    gate->wait();
    return true;
  };
  {
    Client blocker(plane.path()), c(plane.path());
    blocker.ask(Method::GetKey, "");
    CHECK(TestPlane::eventually([&] { return plane.seen(UpcallKind::call) == 3; }));
    for (int i = 0; i < 5; i++) c.ask(Method::ImportKey, import);
    REQUIRE(TestPlane::eventually([&] { return HandleTable::size() == handles + 5; }));
  }
  CHECK(TestPlane::eventually([&] { return HandleTable::size() == handles; }));
  gate->count_down();
  Client c(plane.path());
  CHECK(c.call(Method::Ping, "").code() == Code::OK);
  CHECK(plane.seen(UpcallKind::call) <= 4);
}

TEST_CASE("plane upcalls: bounded for all and for each uid, and then BUSY says when to come again") {
  PlaneTuning tuning;
  tuning.upcallsMax = 20;
  tuning.upcallsPerUidMax = 10;
  TestPlane plane(tuning);
  Held held(plane);
  Client c(plane.path());
  for (int i = 0; i < 12; i++) c.ask(Method::ListKeys, "");
  for (int i = 0; i < 2; i++) {
    const Answer busy = c.next();
    CHECK(busy.code() == Code::BUSY);
    CHECK(busy.number(fields::Failure::retry_after_ms) > 0);
  }
  REQUIRE(held.reaches(10));
  CHECK(c.call(Method::Ping, "").code() == Code::OK);
  plane->reply(held.upcalls[0].token, Code::OK, {});
  CHECK(c.next().code() == Code::OK);
  c.ask(Method::ListKeys, "");
  CHECK(held.reaches(11));  // room again
  CHECK(TestPlane::eventually([&] { return plane->stats().refusedBusy == 2; }));
}

TEST_CASE("plane upcalls: a uid with many waits behind its own, not others'") {
  if (geteuid() != 0) {
    MESSAGE("skipped: another uid needs root");
    return;
  }
  TestPlane plane;
  std::latch gate(1);
  std::mutex orderMutex;
  std::vector<uint32_t> order;
  plane.onUpcall = [&](Upcall& upcall) {
    gate.wait();
    const std::lock_guard lock(orderMutex);
    order.push_back(upcall.peer->uid);
    plane->reply(upcall.token, Code::OK, {});
    return true;
  };
  Client greedy(plane.path());
  for (int i = 0; i < 200; i++) greedy.ask(Method::ListKeys, "");
  REQUIRE(TestPlane::eventually([&] { return plane->stats().upcalls == 200; }));
  std::thread([&] {
    REQUIRE(syscall(SYS_setresuid, -1, 12345, -1) == 0);
    Client modest(plane.path());
    modest.ask(Method::ListKeys, "");
    CHECK(TestPlane::eventually([&] { return plane->stats().upcalls == 201; }));
    gate.count_down();
    CHECK(modest.next().code() == Code::OK);
  }).join();
  for (int i = 0; i < 200; i++) CHECK(greedy.next().code() == Code::OK);
  const std::lock_guard lock(orderMutex);
  const auto place = std::find(order.begin(), order.end(), 12345u) - order.begin();
  CHECK(place < 70);  // behind the one batch of 64 that was drained before, not behind all 200
}

TEST_CASE("plane upcalls: in flight per connection is bounded by not reading on") {
  PlaneTuning tuning;
  tuning.inFlightMax = 4;
  TestPlane plane(tuning);
  Held held(plane);
  Client c(plane.path());
  for (int i = 0; i < 10; i++) c.ask(Method::ListKeys, "");
  const uint32_t last = c.ask(Method::Ping, Message().text(1, "behind"));
  REQUIRE(held.reaches(4));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(held.size() == 4);
  for (size_t i = 0; i < 10; i++) {
    REQUIRE(held.reaches(i + 1));
    plane->reply(held.upcalls[i].token, Code::OK, {});
  }
  for (int i = 0; i < 11; i++) {
    const Answer answer = c.next();
    REQUIRE(answer.code() == Code::OK);
    if (answer.header.id == last) CHECK(answer.text(1) == "behind");
  }
}

TEST_CASE("plane upcalls: memory that is held for a uid is bounded") {
  PlaneTuning tuning;
  tuning.heldBytesPerUidMax = 4'000'000;
  TestPlane plane(tuning);
  Held held(plane);
  Client c(plane.path()), other(plane.path());
  const std::string big = Message().text(1, "waits").text(2, std::string(900'000, 'x'));
  for (int i = 0; i < 12; i++) c.ask(Method::Encrypt, big);
  size_t busy = 0;
  while (true) {
    const Answer answer = c.next(500);
    if (!answer.arrived) break;
    CHECK(answer.code() == Code::BUSY);
    busy++;
  }
  CHECK(busy > 5);
  CHECK(busy < 12);
  CHECK(c.call(Method::Ping, Message().text(1, "the frames are still in step")).code() == Code::OK);
  CHECK(other.call(Method::Ping, "").code() == Code::OK);
  REQUIRE(held.reaches(1));
  plane->refuse(held.upcalls[0].token, Code::DENIED, "", 0);
  for (size_t i = busy; i < 12; i++) CHECK(c.next().code() == Code::DENIED);
  CHECK(c.call(Method::Ping, Message().text(1, std::string(1'000'000, 'x'))).code() == Code::OK);
}

TEST_CASE("plane upcalls: what waited for one grant does not fill the memory when it comes") {
  PlaneTuning tuning;
  tuning.sendBufferBytesMax = 400'000;
  TestPlane plane(tuning);
  Held held(plane);
  Client c(plane.path());
  for (int i = 0; i < 100; i++) c.ask(Method::Random, Message().number(1, 200'000));
  REQUIRE(held.reaches(1));
  REQUIRE(TestPlane::eventually([&] { return plane->stats().requests == 101; }));
  plane->grant(held.upcalls[0].token, KeyId{}, 60'000);
  int full = 0, busy = 0;
  for (int i = 0; i < 100; i++) {
    const Answer answer = c.next();
    full += answer.code() == Code::OK;
    busy += answer.code() == Code::BUSY;
  }
  CHECK(full >= 2);
  CHECK(busy >= 50);
  CHECK(full + busy == 100);
}

TEST_CASE("plane upcalls: bodies that JavaScript keeps are counted, and given back") {
  PlaneTuning tuning;
  tuning.heldBytesPerUidMax = 3'000'000;
  TestPlane plane(tuning);
  Held held(plane);
  Client c(plane.path());
  const std::string large = Message().text(1, std::string(900'000, 'k'));
  int busy = 0;
  for (int i = 0; i < 5; i++) c.ask(Method::GetKey, large);
  for (Answer answer = c.next(500); answer.arrived; answer = c.next(500)) busy += answer.code() == Code::BUSY;
  CHECK(busy >= 2);
  CHECK(busy < 5);
  REQUIRE(held.reaches(5 - static_cast<size_t>(busy)));
  for (size_t i = 0; i < 5 - static_cast<size_t>(busy); i++) plane->reply(held.upcalls[i].token, Code::OK, {});
  for (int i = busy; i < 5; i++) CHECK(c.next().code() == Code::OK);
  c.ask(Method::GetKey, large);
  CHECK(held.reaches(6 - static_cast<size_t>(busy)));
}
