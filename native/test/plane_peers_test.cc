// Who is on the other end: the kernel's word, the domain of Hello, and what a peer shares with no other.
#include <grp.h>
#include <sys/syscall.h>

#include <numeric>

#include "plane/peers.h"
#include "child.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::string encryptBody(const std::string& key) { return Message().text(1, key).text(2, "p"); }

// Runs f with these supplementary groups on this thread alone (the system call, not glibc's for all threads).
template <class F>
void withGroups(const std::vector<gid_t>& groups, F f) {
  std::thread([&] {
    REQUIRE(syscall(SYS_setgroups, groups.size(), groups.data()) == 0);
    f();
  }).join();
}

}  // namespace

TEST_CASE("plane peers: upcalls say who asks, from where, and of which domain") {
  TestPlane plane;
  UpcallLog log;
  plane.remember(&log);
  Client c(plane.path());
  REQUIRE(c.call(Method::ListKeys, "").code() == Code::OK);
  const Upcall one = log.at(0);
  CHECK(one.peer->number != 0);
  CHECK(one.peer->uid == geteuid());
  CHECK(one.peer->gid == getegid());
  CHECK(one.peer->listener == plane.listener());
  CHECK(one.peer->domain == "");
  CHECK(one.peer->identity == 0);
  CHECK(one.pid == getpid());
  CHECK(one.session != 0);
  Client billing(plane.path(), "billing");
  REQUIRE(billing.call(Method::ListKeys, "").code() == Code::OK);
  CHECK(log.at(1).peer->domain == "billing");
  CHECK(log.at(1).peer->number != one.peer->number);
  CHECK(log.at(1).session != one.session);
  Client again(plane.path());
  REQUIRE(again.call(Method::ListKeys, "").code() == Code::OK);
  CHECK(log.at(2).peer->number == one.peer->number);
  if (geteuid() != 0) {
    MESSAGE("skipped: groups need root");
    return;
  }
  withGroups({70'000, 5, 3, 5}, [&] {
    Client grouped(plane.path());
    REQUIRE(grouped.call(Method::ListKeys, "").code() == Code::OK);
  });
  CHECK(log.at(3).peer->groups == std::vector<uint32_t>{3, 5, 70'000});
  CHECK(log.at(3).peer->number != one.peer->number);
}

TEST_CASE("plane peers: who is in more groups than are looked at is turned away, never judged by some of them") {
  if (geteuid() != 0) {
    MESSAGE("skipped: groups need root");
    return;
  }
  TestPlane plane;
  std::vector<gid_t> groups(limits::peer_groups_max);
  std::iota(groups.begin(), groups.end(), 100'000);
  withGroups(groups, [&] {
    Client most(plane.path());
    CHECK(most.call(Method::Ping, "").code() == Code::OK);
  });
  groups.push_back(7);
  withGroups(groups, [&] {
    Client more(plane.path(), false);
    const Answer answer = more.next();
    CHECK(answer.code() == Code::LIMIT_EXCEEDED);
    CHECK(answer.header.id == 0);
    CHECK(more.closes());
  });
  REQUIRE(TestPlane::eventually([&] { return plane->stats().connections == 0; }));
}

TEST_CASE("plane peers: grants are a peer's: no other domain, listener or group has them") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  UpcallLog log;
  plane.remember(&log);
  int fd = -1;
  std::string detail;
  REQUIRE(listenUnix(plane.path() + "2", 0600, &fd, &detail) == Code::OK);
  const uint32_t second = plane->listen(fd);
  Client c(plane.path()), billing(plane.path(), "billing"), other(plane.path() + "2"), same(plane.path());
  for (Client* each : {&c, &billing, &other, &same})
    for (int i = 0; i < 3; i++) CHECK(each->call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
  REQUIRE(log.size() == 3);
  CHECK(log.at(1).peer->domain == "billing");
  CHECK(log.at(2).peer->listener == second);
  if (geteuid() == 0) {
    withGroups({42}, [&] {
      Client grouped(plane.path());
      CHECK(grouped.call(Method::Encrypt, encryptBody("a")).code() == Code::OK);
    });
    CHECK(log.size() == 4);
  }
  // What waits is not shared either: the answer for one domain is none for the other.
  plane.hold(&log);
  const size_t before = log.size();
  c.ask(Method::Encrypt, encryptBody("b"));
  billing.ask(Method::Encrypt, encryptBody("b"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == before + 2; }));
  plane->refuse(log.at(before).token, Code::DENIED, "", 1000);
  CHECK(c.next().code() == Code::DENIED);
  CHECK(!billing.next(50).arrived);
  plane->refuse(log.at(before + 1).token, Code::KEY_NOT_FOUND, "", 1000);
  CHECK(billing.next().code() == Code::KEY_NOT_FOUND);
  CHECK(c.call(Method::Encrypt, encryptBody("b")).code() == Code::DENIED);  // remembered apart
  CHECK(billing.call(Method::Encrypt, encryptBody("b")).code() == Code::KEY_NOT_FOUND);
}

TEST_CASE("plane peers: what is decided for one process is not waited for by another") {
  TestPlane plane;
  UpcallLog log;
  plane.onUpcall = [&](Upcall& upcall) {
    log.add(upcall);
    if (upcall.pid != getpid()) plane->refuse(upcall.token, Code::KEY_NOT_FOUND, "", 0);
    return true;
  };
  Client c(plane.path()), same(plane.path());
  c.ask(Method::Encrypt, encryptBody("b"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == 1; }));
  same.ask(Method::Encrypt, encryptBody("b"));
  // It ends by itself, answered, while this process waits.
  CHECK(endOfChild([&] {
          Client other(plane.path());
          other.ask(Method::Encrypt, encryptBody("b"));
          return other.next(10'000).code() == Code::KEY_NOT_FOUND ? 0 : 1;
        }) == 0);
  REQUIRE(log.size() == 2);
  plane->refuse(log.at(0).token, Code::DENIED, "", 0);
  CHECK(c.next().code() == Code::DENIED);
  CHECK(same.next().code() == Code::DENIED);
}

TEST_CASE("plane peers: the domain of hello: its form, and only one for a connection") {
  TestPlane plane;
  UpcallLog log;
  plane.remember(&log);
  const std::string longest(limits::domain_name_bytes_max, 'x');
  for (const std::string& good : {std::string("a"), std::string("0"), std::string("a-b-"), std::string("billing-2"), longest}) {
    Client c(plane.path(), good);
    REQUIRE(c.call(Method::ListKeys, "").code() == Code::OK);
    CHECK(log.last().peer->domain == good);
  }
  Client c(plane.path(), false);
  for (const std::string& bad : {std::string("-a"), std::string("A"), std::string("a_b"), std::string("a.b"), std::string("a/b"), std::string("a "), std::string(" a"), std::string("caf\xc3\xa9"),
                                 std::string("\xff"), std::string("a\0", 2), longest + "x", std::string(100'000, 'a').substr(0, 60'000)}) {
    const Answer refused = c.call(Method::Hello, helloBody(bad));
    CHECK(refused.code() == Code::NAME_INVALID);
    CHECK(refused.text(fields::Failure::field) == "domain");
  }
  CHECK(c.call(Method::Hello, Message().number(1, 1).number(fields::HelloRequest::domain, 7)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::Hello, helloBody("first") + helloBody("last")).code() == Code::OK);  // none of that ended the connection
  REQUIRE(c.call(Method::ListKeys, "").code() == Code::OK);
  CHECK(log.last().peer->domain == "last");
  CHECK(c.call(Method::Hello, helloBody("last")).code() == Code::OK);
  CHECK(c.call(Method::Hello, helloBody()).code() == Code::OK);
  const Answer moved = c.call(Method::Hello, helloBody("other"));
  CHECK(moved.code() == Code::BAD_REQUEST);
  CHECK(moved.text(fields::Failure::field) == "domain");
  REQUIRE(c.call(Method::ListKeys, "").code() == Code::OK);
  CHECK(log.last().peer->domain == "last");
  Client refused(plane.path(), false);
  CHECK(refused.call(Method::Hello, helloBody("A")).code() == Code::NAME_INVALID);
  CHECK(refused.call(Method::Ping, "").code() == Code::HELLO_REQUIRED);  // a refused hello is none
  Client none(plane.path());
  CHECK(none.call(Method::Hello, helloBody("late")).code() == Code::BAD_REQUEST);  // it spoke of the socket's own before
  const auto features = Client(plane.path(), false).call(Method::Hello, helloBody()).texts(fields::HelloResponse::features);
  CHECK(std::find(features.begin(), features.end(), "domains") != features.end());
}

TEST_CASE("plane peers: the table is bounded, drops nobody in use, and never uses a number again") {
  Peers peers(16);
  std::map<uint64_t, int> numbers;
  const auto peer = [&](uint32_t uid, const std::string& domain) {
    PeerPtr made = peers.intern({.uid = uid, .gid = uid, .groups = {1, 2}, .listener = 1, .domain = domain});
    numbers[made->number]++;
    return made;
  };
  const PeerPtr mine = peer(1, "mine");
  CHECK(peer(1, "mine") == mine);
  numbers.clear();
  std::vector<PeerPtr> held;
  for (int i = 0; i < 6; i++) held.push_back(peer(2, "held" + std::to_string(i)));
  CHECK(peers.size() == 7);  // more than a quarter, for all are in use
  peer(3, "idle");
  for (int i = 0; i < 1000; i++) peer(4, "new" + std::to_string(i));
  CHECK(peers.size() == 12);  // a quarter of them uid 4's
  CHECK(peer(3, "idle")->number == 8);  // pushed out by nobody
  CHECK(numbers.size() == 6 + 1 + 1000);
  for (const auto& [number, times] : numbers) REQUIRE(times == (number == 8 ? 2 : 1));
  for (uint32_t uid = 10; uid < 30; uid++) peer(uid, "");
  CHECK(peers.size() == 16);
  CHECK(peer(3, "idle")->number > 1008);  // the oldest that nobody held
  for (int i = 0; i < 6; i++) CHECK(peer(2, "held" + std::to_string(i)) == held[static_cast<size_t>(i)]);
  CHECK(peer(1, "mine") == mine);
}

TEST_CASE("plane peers: what differs in anything is another peer") {
  Peers peers(100);
  const Peer base{.uid = 1, .gid = 2, .groups = {3, 4}, .listener = 5, .domain = "d", .identity = 6};
  std::vector<PeerPtr> all{peers.intern(base)};
  const auto differs = [&](auto change) {
    Peer other = base;
    change(other);
    const PeerPtr made = peers.intern(other);
    for (const PeerPtr& one : all) CHECK(made != one);
    CHECK(made->domain == other.domain);
    CHECK(made->groups == other.groups);
    all.push_back(made);
    CHECK(peers.intern(other) == made);
  };
  differs([](Peer& p) { p.uid = 9; });
  differs([](Peer& p) { p.gid = 9; });
  differs([](Peer& p) { p.groups = {3}; });
  differs([](Peer& p) { p.groups = {}; });
  differs([](Peer& p) { p.groups = {3, 4, 0x64646464}; p.domain = ""; });
  differs([](Peer& p) { p.domain = "dddd"; });  // the same bytes, elsewhere
  differs([](Peer& p) { p.listener = 9; });
  differs([](Peer& p) { p.domain = "e"; });
  differs([](Peer& p) { p.identity = 0; });
  const size_t before = peers.size();
  peers.forgetIdentity(6);
  CHECK(peers.size() == 1);
  CHECK(before == 10);
  CHECK(peers.intern(base)->number == 11);
}
