#include "core/random.h"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <thread>

#include "child.h"
#include "hex.h"

using namespace quorate;
using namespace quorate::test;

TEST_CASE("random: fills all of any length") {
  for (size_t n : {0, 1, 31, 32, 4095, 4096, 100'000}) {
    Buffer a(n + 8, 0), b(n + 8, 0);
    randomBytes(MutBytes(a).first(n));
    randomBytes(MutBytes(b).first(n));
    if (n >= 31) {
      CHECK(a != b);
      CHECK(Buffer(a.begin() + ptrdiff_t(n) - 16, a.begin() + ptrdiff_t(n)) != Buffer(16, 0));
    }
    CHECK(Buffer(a.end() - 8, a.end()) == Buffer(8, 0));
  }
}

TEST_CASE("random: nonces do not repeat, in one thread or another") {
  std::set<std::string> seen;
  std::vector<std::string> other;
  const auto draw = [] {
    Buffer nonce(24);
    randomNonce(nonce);
    return toHex(nonce);
  };
  std::thread thread([&] { for (int i = 0; i < 5000; i++) other.push_back(draw()); });
  for (int i = 0; i < 5000; i++) seen.insert(draw());
  thread.join();
  seen.insert(other.begin(), other.end());
  CHECK(seen.size() == 10'000);
  CHECK(seen.count(std::string(48, '0')) == 0);
}

TEST_CASE("random: a forked child draws its own nonces") {
  std::array<uint8_t, 24> warm, mine, childs{};
  randomNonce(warm);  // the pool is filled before the fork
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const int end = endOfChild([&] {
    std::array<uint8_t, 24> nonce;
    randomNonce(nonce);
    return write(ends[1], nonce.data(), nonce.size()) == 24 ? 0 : 1;
  });
  REQUIRE(end == 0);
  REQUIRE(read(ends[0], childs.data(), childs.size()) == 24);
  close(ends[0]);
  close(ends[1]);
  randomNonce(mine);
  CHECK(toHex(mine) != toHex(childs));
  CHECK(toHex(childs) != std::string(48, '0'));
}
