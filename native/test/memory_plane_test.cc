// What the plane leaves behind of a value that it has handed out: nothing outside the arena.
#include <array>

#include "memory_search.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {
constexpr size_t kValue = 40'000;
// The client's only copy.
std::array<uint8_t, 2 * kValue> received;

size_t receive(int fd) {
  FrameHeader header;
  size_t n = 0;
  while (peekFrame(received.data(), n, &header) == FrameState::incomplete) {
    const ssize_t got = recv(fd, received.data() + n, received.size() - n, 0);
    if (got <= 0) return 0;
    n += static_cast<size_t>(got);
  }
  return n;
}
}  // namespace

TEST_CASE("memory: a secret's value is in the arena alone when it was sent" * doctest::skip(!memorySearchable())) {
  TestPlane plane;
  Secret made;
  REQUIRE(Secret::random(kValue, &made) == Code::OK);
  const auto value = std::make_shared<const Secret>(std::move(made));
  MemorySearch search;
  search.add("value", Bytes(*value).first(256));
  search.add("value's end", Bytes(*value).last(256));
  KeyId id;
  randomBytes(id);
  plane.onUpcall = [&](Upcall& upcall) {
    InstalledVersion version;
    version.keyId = id;
    version.domain = "default";
    version.version = 1;
    version.current = true;
    version.stored = value;
    plane->install(std::move(version));
    plane->grant(upcall.token, id, 60'000);
    return true;
  };
  {
    Client c(plane.path());
    for (uint32_t i = 0; i < 3; i++) {
      REQUIRE(c.write(frame(100 + i, Method::FetchSecret, Message().text(1, "a"))));
      const size_t n = receive(c.fd());
      REQUIRE(n > kValue);
      const bool whole = std::search(received.data(), received.data() + n, value->data(), value->data() + kValue) != received.data() + n;
      if (i == 0) CHECK(search.find() > 0);  // the search sees what the client holds
      wipe(received.data(), received.size());
      CHECK(whole);
    }
    CHECK(plane->stats().keys == 1);
    // The answer of a Ping comes behind the wiping of what was sent before it.
    CHECK(c.call(Method::Ping, "").code() == Code::OK);
    CHECK(search.find() == 0);
  }
  CHECK(TestPlane::eventually([&] { return plane->stats().connections == 0; }));
  CHECK(search.find() == 0);
  for (const std::string& line : search.report()) MESSAGE(line);
}
