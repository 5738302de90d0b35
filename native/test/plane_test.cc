// Connections as they come: greetings, garbage, the slow, the greedy and those who leave early. Nobody else notices.
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>

#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace H = fields::HelloResponse;

PlaneTuning quick() {
  PlaneTuning tuning;
  tuning.helloTimeoutMs = 150;
  tuning.receiveTimeoutMs = 200;
  return tuning;
}

std::string ping(const std::string& payload) { return Message().text(fields::PingRequest::payload, payload); }

// A connection that works, beside whatever a test does to others.
void checkAlive(Client& c) {
  const Answer answer = c.call(Method::Ping, ping("still there"));
  REQUIRE(answer.code() == Code::OK);
  CHECK(answer.text(fields::PingResponse::payload) == "still there");
}

// Runs f with another effective uid on this thread alone (the system call, not glibc's for all threads).
template <class F>
void asUid(uint32_t uid, F f) {
  std::thread([&] {
    REQUIRE(syscall(SYS_setresuid, -1, uid, -1) == 0);
    f();
  }).join();
}

}  // namespace

TEST_CASE("plane: hello gives versions, limits and the seal") {
  TestPlane plane;
  Client c(plane.path(), false);
  const Answer hello = c.call(Method::Hello, helloBody());
  REQUIRE(hello.code() == Code::OK);
  CHECK(hello.number(H::version) == 1);
  CHECK(hello.text(H::daemon) == "0.1.0-test");
  CHECK(hello.number(H::frame_bytes_max) == limits::frame_bytes_max);
  CHECK(hello.number(H::in_flight_max) == limits::in_flight_per_connection_max);
  CHECK(hello.number(H::sealed) == 0);
  const auto features = hello.texts(H::features);
  CHECK(std::find(features.begin(), features.end(), "streams") != features.end());
  plane->setMode(PlaneMode::sealed);
  CHECK(c.call(Method::Hello, Message().text(1, std::string("\x07\x01", 2))).number(H::sealed) == 1);  // packed, and asked again
  TestPlane blank({}, PlaneMode::uninitialised);
  CHECK(Client(blank.path(), false).call(Method::Hello, helloBody()).number(H::sealed) == 1);
}

TEST_CASE("plane: a connection opens with hello, in a version that both speak") {
  TestPlane plane;
  Client first(plane.path(), false);
  const Answer refused = first.call(Method::Ping, ping("x"));
  CHECK(refused.code() == Code::HELLO_REQUIRED);
  CHECK(refused.header.method == static_cast<uint16_t>(Method::Ping));
  CHECK(first.closes());
  for (const std::string& versions : {std::string(), std::string("\x02\x03", 2)}) {
    Client c(plane.path(), false);
    CHECK(c.call(Method::Hello, Message().text(fields::HelloRequest::versions, versions)).code() == Code::VERSION_UNSUPPORTED);
    CHECK(c.closes());
  }
  Client named(plane.path(), false);
  CHECK(named.call(Method::Hello, Message().number(1, 1).text(2, std::string(129, 'n'))).code() == Code::BAD_REQUEST);
  CHECK(named.call(Method::Hello, helloBody()).code() == Code::OK);  // that was only a bad request
  // A long first frame that is not Hello is refused before its body was sent.
  Client eager(plane.path(), false);
  REQUIRE(eager.write(frame(9, Method::Ping, std::string(1'000'000, 'x')).substr(0, 100)));
  CHECK(eager.next().code() == Code::HELLO_REQUIRED);
}

TEST_CASE("plane: ping of any size, many at once, out of one write") {
  TestPlane plane;
  Client c(plane.path());
  for (const size_t n : {size_t{0}, size_t{1}, size_t{200}, size_t{70'000}, size_t{5'000'000}, size_t{kFrameBodyBytesMax - 5}}) {
    const std::string payload(n, 'p');
    CHECK(c.call(Method::Ping, ping(payload)).text(fields::PingResponse::payload) == payload);
  }
  std::string all;
  for (uint32_t i = 0; i < 500; i++) all += frame(1000 + i, Method::Ping, ping(std::to_string(i)));
  std::thread writer([&] { c.write(all); });
  for (uint32_t i = 0; i < 500; i++) {
    const Answer answer = c.next();
    REQUIRE(answer.header.id == 1000 + i);
    REQUIRE(answer.text(1) == std::to_string(i));
  }
  writer.join();
  // One byte at a time.
  for (const char byte : frame(7, Method::Ping, ping("slow"))) REQUIRE(c.write(std::string(1, byte)));
  CHECK(c.next().text(1) == "slow");
}

TEST_CASE("plane: garbage gets its error, and others notice nothing") {
  TestPlane plane;
  Client other(plane.path());
  Client c(plane.path());
  CHECK(c.call(static_cast<Method>(9999), "").code() == Code::UNKNOWN_METHOD);
  CHECK(c.call(static_cast<Method>(7), "").code() == Code::UNKNOWN_METHOD);
  CHECK(c.call(static_cast<Method>(256), "").code() == Code::UNKNOWN_METHOD);
  CHECK(c.call(Method::Ping, "\xff\xff\xff").code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::GetKey, "\x0b").code() == Code::BAD_REQUEST);
  c.write(frame(5, static_cast<uint16_t>(Method::Ping), "", 40));
  CHECK(c.next().code() == Code::BAD_REQUEST);  // a request with a status
  checkAlive(c);
  SUBCASE("a length below 8") {
    REQUIRE(c.write(std::string("\x07\0\0\0", 4)));
    const Answer answer = c.next();
    CHECK(answer.code() == Code::BAD_REQUEST);
    CHECK(answer.header.id == 0);
  }
  SUBCASE("a length over the limit") {
    std::string long_(12, '\0');
    writeFrameHeader(reinterpret_cast<uint8_t*>(long_.data()), 77, static_cast<uint16_t>(Method::Ping), 0, kFrameBodyBytesMax + 1);
    REQUIRE(c.write(long_));
    const Answer answer = c.next();
    CHECK(answer.code() == Code::FRAME_TOO_LARGE);
    CHECK(answer.header.id == 77);
  }
  SUBCASE("random bytes") {
    Buffer noise(4096);
    randomBytes(noise);
    noise[3] |= 0x80;  // a length that cannot be
    c.write(str(noise));
    CHECK(c.next().arrived);
  }
  CHECK(c.closes());
  c.hangUp();
  checkAlive(other);
  CHECK(TestPlane::eventually([&] { return plane->stats().malformed >= 4; }));
  CHECK(TestPlane::eventually([&] { return plane->stats().connections == 1; }));
}

TEST_CASE("plane: a peer that goes on writing still reads why it was cut off") {
  TestPlane plane;
  Client c(plane.path());
  std::string long_(12, '\0');
  writeFrameHeader(reinterpret_cast<uint8_t*>(long_.data()), 5, static_cast<uint16_t>(Method::Ping), 0, kFrameBodyBytesMax + 1);
  REQUIRE(c.write(long_ + std::string(4'000'000, 'x')));
  CHECK(c.next().code() == Code::FRAME_TOO_LARGE);
  CHECK(c.closes());
}

TEST_CASE("plane: timeouts of the silent, the slow and the deaf") {
  PlaneTuning tuning = quick();
  tuning.sendBufferBytesMax = 256 * 1024;
  TestPlane plane(tuning);
  Client idle(plane.path()), other(plane.path());
  SUBCASE("no hello") {
    Client silent(plane.path(), false);
    CHECK(silent.closes(3000));
  }
  SUBCASE("half a frame") {
    Client slow(plane.path());
    REQUIRE(slow.write(frame(1, Method::Ping, ping("never finished")).substr(0, 15)));
    CHECK(slow.closes(3000));
  }
  SUBCASE("a byte now and then is not progress") {
    Client slow(plane.path());
    const std::string bytes = frame(1, Method::Ping, ping(std::string(100, 'x')));
    bool cut = false;
    for (size_t i = 0; i < bytes.size() && !cut; i++) {
      cut = !slow.write(bytes.substr(i, 1));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    CHECK(cut);
  }
  SUBCASE("whole frames, slowly, are fine") {
    Client steady(plane.path());
    for (int i = 0; i < 5; i++) {
      checkAlive(steady);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  SUBCASE("answers that nobody reads") {
    Client deaf(plane.path());
    std::thread writer([&] {
      const std::string one = frame(1, Method::Ping, ping(std::string(60'000, 'x')));
      for (int i = 0; i < 400 && deaf.write(one); i++) {
      }
    });
    writer.join();  // it was cut off, or 24 MB would have found room
    CHECK(TestPlane::eventually([&] { return plane->stats().connections == 2; }, 5000));
  }
  checkAlive(idle);  // greeted and idle for longer than any timeout
  checkAlive(other);
}

TEST_CASE("plane: backpressure: what is not read is not asked for, and all arrives in the end") {
  PlaneTuning tuning;
  tuning.sendBufferBytesMax = 128 * 1024;
  TestPlane plane(tuning);
  Client c(plane.path());
  const std::string payload(50'000, 'b');
  std::atomic<int> written{0};
  std::thread writer([&] {
    for (int i = 0; i < 200; i++) {
      REQUIRE(c.write(frame(static_cast<uint32_t>(i + 100), Method::Ping, ping(payload))));
      written++;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const int stuck = written;
  CHECK(stuck < 100);  // 10 MB do not lie in the daemon
  for (uint32_t i = 0; i < 200; i++) REQUIRE(c.next().header.id == i + 100);
  writer.join();
}

TEST_CASE("plane: half-close: what was asked is answered, then the connection ends") {
  TestPlane plane;
  std::mutex mutex;
  std::vector<uint64_t> tokens;
  plane.onUpcall = [&](Upcall& upcall) {
    const std::lock_guard lock(mutex);
    tokens.push_back(upcall.token);
    return true;
  };
  Client c(plane.path());
  c.ask(Method::Ping, ping("a"));
  c.ask(Method::GetKey, Message().text(1, "k"));
  c.finishWriting();
  CHECK(c.next().text(1) == "a");
  CHECK(!c.next(100).arrived);  // the upcall is not answered: still open
  REQUIRE(TestPlane::eventually([&] {
    const std::lock_guard lock(mutex);
    return tokens.size() == 1;
  }));
  plane->reply(tokens[0], Code::KEY_NOT_FOUND, {});
  CHECK(c.next().code() == Code::KEY_NOT_FOUND);
  CHECK(c.closes());
  Client torn(plane.path());
  torn.write(frame(1, Method::Ping, ping("half")).substr(0, 14));
  torn.finishWriting();
  CHECK(torn.closes());
}

TEST_CASE("plane: connections are bounded, for all and for each uid") {
  PlaneTuning tuning;
  tuning.connectionsMax = 3;
  tuning.connectionsPerUidMax = 2;
  TestPlane plane(tuning);
  Client a(plane.path()), b(plane.path());
  const auto refused = [&] {
    Client c(plane.path(), false);
    const Answer answer = c.next();
    CHECK(answer.code() == Code::LIMIT_EXCEEDED);
    CHECK(answer.header.id == 0);
    CHECK(c.closes());
  };
  refused();
  if (geteuid() == 0) {
    asUid(12345, [&] {
      Client c(plane.path());
      checkAlive(c);
      refused();
    });
  } else {
    MESSAGE("skipped: another uid needs root");
  }
  a.hangUp();
  REQUIRE(TestPlane::eventually([&] { return plane->stats().connections == 1; }));
  Client again(plane.path());
  checkAlive(again);
}

TEST_CASE("plane: without file descriptors it refuses, does not spin, and recovers") {
  TestPlane plane;
  Client before(plane.path());
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  // Sockets made beforehand; then every free descriptor is taken.
  std::vector<int> sockets;
  for (int i = 0; i < 3; i++) sockets.push_back(socket(AF_UNIX, SOCK_STREAM, 0));
  const rlimit low{static_cast<rlim_t>(sockets.back() + 20), old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  std::vector<int> taken;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) taken.push_back(fd);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, plane.path().data(), plane.path().size());
  for (const int fd : sockets) REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  timespec cpuBefore{}, cpuAfter{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpuBefore);
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpuAfter);
  CHECK((cpuAfter.tv_sec - cpuBefore.tv_sec) * 1000 + (cpuAfter.tv_nsec - cpuBefore.tv_nsec) / 1'000'000 < 100);
  checkAlive(before);
  char told[256];
  pollfd p{sockets[0], POLLIN, 0};
  CHECK(poll(&p, 1, 2000) == 1);
  const ssize_t n = recv(sockets[0], told, sizeof(told), 0);
  REQUIRE(n >= static_cast<ssize_t>(kFrameHeaderBytes));
  CHECK(readFrameHeader(reinterpret_cast<uint8_t*>(told)).status == static_cast<uint16_t>(Code::LIMIT_EXCEEDED));
  for (const int fd : taken) ::close(fd);
  for (const int fd : sockets) ::close(fd);
  setrlimit(RLIMIT_NOFILE, &old);
  Client after(plane.path());
  checkAlive(after);
}

TEST_CASE("plane: listeners come and go; stop ends all") {
  TestPlane plane;
  int fd = -1;
  std::string detail;
  const std::string second = plane.path() + "2";
  REQUIRE(listenUnix(second, 0600, &fd, &detail) == Code::OK);
  const uint32_t number = plane->listen(fd);
  CHECK(number != plane.listener());
  Client c(second);
  checkAlive(c);
  CHECK(listenUnix(second, 0600, &fd, &detail) == Code::ALREADY_RUNNING);
  Client first(plane.path());
  plane->unlisten(number);
  REQUIRE(TestPlane::eventually([&] { return !Client(second, false).connected(); }));
  CHECK(c.closes());
  checkAlive(first);
  REQUIRE(listenUnix(second, 0600, &fd, &detail) == Code::OK);  // nobody said whose file it was: stale by now
  CHECK((std::filesystem::status(second).permissions() & std::filesystem::perms::all) == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  ::close(fd);
  CHECK(listenUnix(std::string(200, 'x'), 0600, &fd, &detail) == Code::SOCKET_UNUSABLE);
  CHECK(listenUnix("/dev/null", 0600, &fd, &detail) == Code::SOCKET_UNUSABLE);
  CHECK(listenUnix("/nowhere/socket", 0600, &fd, &detail) == Code::SOCKET_UNUSABLE);
  CHECK(detail.find("No such file") != std::string::npos);
  plane->stop(1000);
  CHECK(first.closes(1000));
  CHECK(!Client(plane.path(), false).connected());
  plane->stop(1000);
}

TEST_CASE("plane: stop waits for what is under way, up to its grace") {
  TestPlane plane;
  std::atomic<uint64_t> token{0};
  plane.onUpcall = [&](Upcall& upcall) {
    token = upcall.token;
    return true;
  };
  Client c(plane.path());
  c.ask(Method::GetKey, Message().text(1, "k"));
  REQUIRE(TestPlane::eventually([&] { return token != 0; }));
  std::thread stopper([&] { plane->stop(5000); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  plane->reply(token, Code::KEY_NOT_FOUND, {});
  CHECK(c.next().code() == Code::KEY_NOT_FOUND);
  CHECK(c.closes(1000));
  stopper.join();
}
