// Sessions: listed, killed, over when they were idle or open for long; listeners that come and go with theirs.
#include <sys/stat.h>
#include <sys/syscall.h>

#include <fstream>

#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::string encryptBody(const std::string& key, size_t bytes = 1) { return Message().text(1, key).text(2, std::string(bytes, 'p')); }
std::string pingBody(size_t bytes) { return Message().text(1, std::string(bytes, 'x')); }

// The connection's last words.
void checkFarewell(Client& c) {
  const Answer last = c.next();
  CHECK(last.code() == Code::SESSION_EXPIRED);
  CHECK(last.header.id == 0);
  CHECK(last.header.method == 0);
  CHECK(last.text(fields::Failure::detail) != "");
  CHECK(c.closes());
}

int64_t unixNowMs() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

uint64_t inodeOf(const std::string& path) {
  struct stat file {};
  return lstat(path.c_str(), &file) == 0 ? file.st_ino : 0;
}

}  // namespace

TEST_CASE("plane sessions: listed with who, from where, since when, and what they hold") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  CHECK(plane->sessions().empty());
  const int64_t before = unixNowMs();
  Client one(plane.path()), two(plane.path(), "billing");
  for (int i = 0; i < 2; i++) REQUIRE(one.call(Method::CreateSessionKey, Message().number(1, 3)).code() == Code::OK);
  REQUIRE(one.call(Method::DestroySessionKey, Message().text(1, "session:1")).code() == Code::OK);
  CHECK(plane->sessions()[0].sessionKeys == 1);
  for (int i = 0; i < 3; i++) REQUIRE(one.call(Method::EncryptStream, Message().text(1, "a")).code() == Code::OK);
  REQUIRE(one.call(Method::StreamClose, Message().number(1, 1)).code() == Code::OK);
  std::vector<SessionInfo> all = plane->sessions();
  REQUIRE(all.size() == 2);
  CHECK(plane->stats().sessions == 2);
  CHECK(all[0].session < all[1].session);
  CHECK(all[0].peer->uid == geteuid());
  CHECK(all[0].peer->gid == getegid());
  CHECK(all[0].peer->listener == plane.listener());
  CHECK(all[0].peer->identity == 0);
  CHECK(all[0].pid == getpid());
  CHECK(all[0].sessionKeys == 1);
  CHECK(all[0].streams == 2);
  CHECK(all[0].requests == 8);
  CHECK(all[1].requests == 1);
  CHECK(all[1].peer->domain == "billing");
  CHECK(all[1].peer->number != all[0].peer->number);
  CHECK(all[0].openedMs >= before);
  CHECK(all[0].openedMs <= unixNowMs());
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  REQUIRE(two.call(Method::Ping, "").code() == Code::OK);
  plane->setIdentity(all[1].session, 9, 1000);
  REQUIRE(two.call(Method::Ping, "").code() == Code::OK);
  all = plane->sessions();
  CHECK(all[0].idleMs >= 50);
  CHECK(all[1].idleMs < all[0].idleMs);
  CHECK(all[1].peer->identity == 9);
  one.hangUp();
  CHECK(TestPlane::eventually([&] { return plane->sessions().size() == 1 && plane->sessions()[0].session == all[1].session; }));
  plane->stop(0);
  CHECK(plane->sessions().empty());
}

TEST_CASE("plane sessions: killed: objects wiped, what waits told, what was begun answered, then the end") {
  TestPlane plane;
  Client c(plane.path()), other(plane.path());
  REQUIRE(c.call(Method::CreateSessionKey, Message().number(1, 3)).code() == Code::OK);
  REQUIRE(other.call(Method::CreateSessionKey, Message().number(1, 3)).code() == Code::OK);
  UpcallLog log;
  plane.hold(&log);
  const uint64_t session = plane->sessions()[0].session;
  const uint32_t call = c.ask(Method::GetKey, Message().text(1, "k"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == 1; }));
  const uint32_t parked = c.ask(Method::Encrypt, encryptBody("b"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == 2; }));
  CHECK(log.at(0).session == session);
  CHECK(!plane->killSession(session + 1000));
  CHECK(plane->killSession(session));
  CHECK(!plane->killSession(session));
  CHECK(plane->sessions().size() == 1);
  const Answer ended = c.next();
  CHECK(ended.code() == Code::SESSION_EXPIRED);
  CHECK(ended.header.id == parked);
  CHECK(TestPlane::eventually([&] { return plane->stats().sessionKeys == 1; }));
  c.ask(Method::Ping, "");  // nothing new is read
  CHECK(!c.next(50).arrived);
  plane->grant(log.at(1).token, KeyId{}, 1000);
  plane->reply(log.at(0).token, Code::KEY_NOT_FOUND, {});
  const Answer answered = c.next();
  CHECK(answered.code() == Code::KEY_NOT_FOUND);
  CHECK(answered.header.id == call);
  checkFarewell(c);
  c.hangUp();
  CHECK(TestPlane::eventually([&] { return plane->stats().connections == 1; }));
  plane.onUpcall = nullptr;
  CHECK(other.call(Method::Encrypt, encryptBody("session:1")).code() == Code::OK);
}

TEST_CASE("plane sessions: a call that nobody has taken dies with its session") {
  PlaneTuning tuning;
  tuning.upcallsPerUidMax = 2;
  TestPlane plane(tuning);
  const size_t handles = HandleTable::size();
  std::atomic<bool> taken{false}, release{false};
  plane.onUpcall = [&](Upcall& upcall) {
    taken = true;
    while (!release) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    plane->reply(upcall.token, Code::OK, {});
    return true;
  };
  Client blocker(plane.path()), c(plane.path());
  blocker.ask(Method::ListKeys, "");
  REQUIRE(TestPlane::eventually([&] { return taken.load(); }));
  const uint32_t id = c.ask(Method::ImportKey, Message().text(1, "k").text(fields::ImportKeyRequest::material, std::string(32, 'm')));
  REQUIRE(TestPlane::eventually([&] { return plane->stats().upcalls == 2; }));
  CHECK(plane->killSession(plane->sessions()[1].session));
  const Answer ended = c.next();
  CHECK(ended.code() == Code::SESSION_EXPIRED);
  CHECK(ended.header.id == id);
  checkFarewell(c);
  CHECK(HandleTable::size() == handles);
  Client late(plane.path());
  late.ask(Method::ListKeys, "");  // there is room for it again
  REQUIRE(TestPlane::eventually([&] { return plane->stats().upcalls == 3; }));
  release = true;
  CHECK(blocker.next().code() == Code::OK);
  CHECK(late.next().code() == Code::OK);
  CHECK(plane.seen(UpcallKind::call) == 2);  // the dead one was never seen
}

TEST_CASE("plane sessions: never in the middle of an answer") {
  TestPlane plane;
  Client c(plane.path());
  const uint32_t big = c.ask(Method::Ping, pingBody(4'000'000));
  REQUIRE(TestPlane::eventually([&] { return plane->stats().requests == 2; }));  // its answer lies in the daemon, half written
  SUBCASE("killed") { CHECK(plane->killSession(plane->sessions()[0].session)); }
  SUBCASE("its socket removed") { plane->unlisten(plane.listener()); }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const Answer answer = c.next();
  CHECK(answer.header.id == big);
  CHECK(answer.text(1).size() == 4'000'000);
  checkFarewell(c);
}

TEST_CASE("plane sessions: a worker's answer is not waited for in vain") {
  TestPlane plane;
  Client c(plane.path());
  const uint32_t id = c.ask(Method::CreateSessionKey, Message().number(1, static_cast<uint32_t>(KeyType::RSA_4096)));
  CHECK(c.call(Method::Ping, "").code() == Code::OK);
  REQUIRE(TestPlane::eventually([&] { return plane.seen(UpcallKind::grant) == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // on the worker by now, for long
  CHECK(plane->killSession(plane->sessions()[0].session));
  const Answer ended = c.next(60'000);
  CHECK(ended.code() == Code::SESSION_EXPIRED);
  CHECK(ended.header.id == id);
  checkFarewell(c);
  CHECK(plane->stats().sessionKeys == 0);
}

TEST_CASE("plane sessions: idle for too long") {
  PlaneTuning tuning;
  tuning.sessionIdleMs = 1000;
  TestPlane plane(tuning);
  UpcallLog log;
  Client idle(plane.path()), active(plane.path()), waiting(plane.path()), slow(plane.path());
  REQUIRE(idle.call(Method::CreateSessionKey, Message().number(1, 3)).code() == Code::OK);
  plane.hold(&log);
  waiting.ask(Method::ListKeys, "");
  const uint32_t big = slow.ask(Method::Ping, pingBody(4'000'000));
  for (int i = 0; i < 40; i++) {
    REQUIRE(active.call(Method::Ping, "").code() == Code::OK);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  checkFarewell(idle);
  CHECK(plane->stats().sessionKeys == 0);
  CHECK(active.call(Method::Ping, "").code() == Code::OK);
  // Who is owed an answer is not idle: the time counts from the answer on.
  plane->reply(log.at(0).token, Code::OK, {});
  CHECK(waiting.next().code() == Code::OK);
  CHECK(slow.next().header.id == big);
  for (Client* c : {&waiting, &slow}) CHECK(c->call(Method::Ping, "").code() == Code::OK);
  checkFarewell(waiting);
  checkFarewell(slow);
  Client again(plane.path());
  CHECK(again.call(Method::Ping, "").code() == Code::OK);
}

TEST_CASE("plane sessions: open for too long, however busy") {
  PlaneTuning tuning;
  tuning.sessionLifeMs = 1000;
  TestPlane plane(tuning);
  UpcallLog log;
  Client c(plane.path()), waiting(plane.path());
  plane.hold(&log);
  const uint32_t id = waiting.ask(Method::ListKeys, "");
  int answered = 0;
  Answer answer = c.call(Method::Ping, "");
  for (; answer.arrived && answer.header.id != 0 && answered < 2000; answered++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    c.ask(Method::Ping, "");
    answer = c.next();
  }
  CHECK(answered >= 20);
  CHECK(answer.header.id == 0);
  CHECK(answer.code() == Code::SESSION_EXPIRED);
  CHECK(c.closes());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  plane->reply(log.at(0).token, Code::OK, {});
  CHECK(waiting.next().header.id == id);
  checkFarewell(waiting);
}

TEST_CASE("plane sessions: a listener that comes while the plane runs, with its mode and owner") {
  TestPlane plane;
  Client old(plane.path());
  const std::string path = plane.path() + "-app";
  int fd = -1;
  std::string detail;
  SocketFile file;
  const bool root = geteuid() == 0;
  REQUIRE(listenUnix(path, root ? SocketAccess(0660, 12345, 54321) : SocketAccess(0660), &fd, &detail, &file) == Code::OK);
  struct stat made {};
  REQUIRE(lstat(path.c_str(), &made) == 0);
  CHECK((made.st_mode & 07777) == 0660);
  if (root) {
    CHECK(made.st_uid == 12345);
    CHECK(made.st_gid == 54321);
  }
  CHECK(file.inode == made.st_ino);
  const uint32_t app = plane->listen(fd, file);
  UpcallLog log;
  plane.remember(&log);
  Client c(path);
  REQUIRE(c.call(Method::ListKeys, "").code() == Code::OK);
  CHECK(log.last().peer->listener == app);
  CHECK(app != plane.listener());
  REQUIRE(old.call(Method::ListKeys, "").code() == Code::OK);
  plane->unlisten(app);
  CHECK(inodeOf(path) == 0);  // when it returns
  checkFarewell(c);
  CHECK(!Client(path, false).connected());
  CHECK(old.call(Method::Ping, "").code() == Code::OK);
  plane->unlisten(app);  // twice
  plane->unlisten(999);
  CHECK(old.call(Method::Ping, "").code() == Code::OK);
  // The path is free again at once.
  REQUIRE(listenUnix(path, 0600, &fd, &detail, &file) == Code::OK);
  CHECK(plane->listen(fd, file) > app);
  CHECK(Client(path).call(Method::Ping, "").code() == Code::OK);
}

TEST_CASE("plane sessions: a socket file that is another's by now is left alone") {
  TestPlane plane;
  const std::string path = plane.path() + "-app";
  int fd = -1, others = -1;
  std::string detail;
  SocketFile file, newer;
  REQUIRE(listenUnix(path, 0600, &fd, &detail, &file) == Code::OK);
  const uint32_t app = plane->listen(fd, file);
  REQUIRE(unlink(path.c_str()) == 0);
  SUBCASE("a socket of somebody else") {
    REQUIRE(listenUnix(path, 0600, &others, &detail, &newer) == Code::OK);
    CHECK(newer.inode != file.inode);  // ours is held by the bound socket
  }
  SUBCASE("another kind of file") { std::ofstream(path) << "kept"; }
  SUBCASE("a link to the socket") { REQUIRE(symlink(plane.path().c_str(), path.c_str()) == 0); }
  const uint64_t before = inodeOf(path);
  REQUIRE(before != 0);
  plane->unlisten(app);
  CHECK(inodeOf(path) == before);
  if (others >= 0) ::close(others);
}

TEST_CASE("plane sessions: an owner that cannot be set leaves no socket") {
  if (geteuid() != 0) {
    MESSAGE("skipped: dropping CAP_CHOWN's uid needs root");
    return;
  }
  TestPlane plane;
  const std::string folder = plane.path() + ".d";
  std::filesystem::create_directory(folder);
  REQUIRE(chmod(folder.c_str(), 0777) == 0);
  REQUIRE(chmod(std::filesystem::path(folder).parent_path().c_str(), 0755) == 0);
  std::thread([&] {
    REQUIRE(syscall(SYS_setresuid, -1, 12345, -1) == 0);  // this thread alone: no capabilities are left in effect
    int fd = -1;
    std::string detail;
    CHECK(listenUnix(folder + "/s", SocketAccess(0600, 0, -1), &fd, &detail) == Code::SOCKET_UNUSABLE);
    CHECK(detail.find("chown") != std::string::npos);
    CHECK(fd == -1);
    CHECK(inodeOf(folder + "/s") == 0);
    REQUIRE(listenUnix(folder + "/s", SocketAccess(0600, 12345, -1), &fd, &detail) == Code::OK);
    ::close(fd);
  }).join();
}
