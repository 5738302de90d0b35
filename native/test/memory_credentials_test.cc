// What the plane leaves behind of a credential that it has handed to systemd, whole or a field of it: nothing outside the arena.
#include <array>

#include "memory_search.h"
#include "plane/credentials.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr size_t kField = 20'000;
std::array<uint8_t, 2 * kField> received;  // the asker's only copy

size_t ask(const std::string& path, const char* name, size_t nameBytes) {
  sockaddr_un own{}, to{};
  own.sun_family = to.sun_family = AF_UNIX;
  memcpy(own.sun_path, name, nameBytes);
  memcpy(to.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&own), static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + nameBytes)) == 0);
  REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
  size_t n = 0;
  for (ssize_t got; (got = recv(fd, received.data() + n, received.size() - n, 0)) > 0;) n += static_cast<size_t>(got);
  ::close(fd);
  return n;
}

}  // namespace

TEST_CASE("memory: a credential is in the arena alone when it was sent" * doctest::skip(!memorySearchable() || getuid() != 0)) {
  TestPlane plane;
  // {"p":"..."}, of letters that no escape stands for.
  Secret made;
  REQUIRE(Secret::random(kField + 8, &made) == Code::OK);
  for (size_t i = 0; i < kField; i++) made.data()[6 + i] = static_cast<uint8_t>('A' + made.data()[6 + i] % 26);
  memcpy(made.data(), "{\"p\":\"", 6);
  memcpy(made.data() + 6 + kField, "\"}", 2);
  const auto value = std::make_shared<const Secret>(std::move(made));
  MemorySearch search;
  search.add("field", Bytes(*value).subspan(6, 256));
  search.add("field's end", Bytes(*value).subspan(6 + kField - 256, 256));
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
    plane->grant(upcall.token, id, 0);
    return true;
  };
  CredentialMap map;
  map.put("a.service", "field", {"a", "p"});
  map.put("a.service", "all", {"a", ""});
  const std::string path = plane.path() + ".cred";
  int fd = -1;
  std::string detail;
  REQUIRE(listenUnix(path, 0600, &fd, &detail) == Code::OK);
  plane->listenForCredentials(fd, std::move(map));
  constexpr char kAll[] = "\0c0ffee/unit/a.service/all", kPart[] = "\0c0ffee/unit/a.service/field";
  for (int i = 0; i < 3; i++) {
    CHECK(ask(path, kAll, sizeof(kAll) - 1) == kField + 8);
    if (i == 0) CHECK(search.find() > 0);  // the search sees what the asker holds
    wipe(received.data(), received.size());
    CHECK(ask(path, kPart, sizeof(kPart) - 1) == kField);
    CHECK(memcmp(received.data(), value->data() + 6, kField) == 0);
    wipe(received.data(), received.size());
  }
  CHECK(TestPlane::eventually([&] { return plane->stats().connections == 0; }));
  CHECK(search.find() == 0);
  for (const std::string& line : search.report()) MESSAGE(line);
}
