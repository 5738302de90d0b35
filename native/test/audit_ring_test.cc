// The ring: bounded, in order, and there again after a kill at any instant.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <random>

#include "audit_fixture.h"
#include "plane/methods.gen.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::unique_ptr<AuditRing> openRing(const AuditPlaces& places, const StoreId& storeId) {
  std::unique_ptr<AuditRing> ring;
  std::string detail;
  const Code code = AuditRing::open(places.ring(), AuditRing::kBytesMin, storeId, &ring, &detail);
  REQUIRE_MESSAGE(code == Code::OK, detail);
  return ring;
}
std::unique_ptr<AuditRing> openRing(const AuditPlaces& places) { return openRing(places, places.options.storeId); }

bool append(AuditRing& ring, const std::string& leaf) {
  uint8_t* place = ring.room(leaf.size());
  if (place == nullptr) return false;
  std::copy(leaf.begin(), leaf.end(), place);
  ring.commit(leaf.size());
  return true;
}

std::vector<std::string> readAll(AuditRing& ring) {
  std::vector<std::string> out;
  AuditRing::Cursor cursor = ring.taken();
  AuditRing::Entry entry;
  while (ring.read(&cursor, &entry)) out.emplace_back(entry.leaf.begin(), entry.leaf.end());
  return out;
}

// Calls by method, over the counts of all leaves.
std::map<uint64_t, uint64_t> countsOf(const std::vector<std::string>& leaves) {
  std::map<uint64_t, uint64_t> out;
  for (const std::string& leaf : leaves) {
    for (protozero::pbf_reader entry{leaf}; entry.next();) {
      if (entry.tag() != fields::AuditEntry::counts) {
        entry.skip();
        continue;
      }
      uint64_t method = 0, count = 0;
      for (protozero::pbf_reader row = entry.get_message(); row.next();) {
        if (row.tag() == fields::AuditCount::method) method = row.get_uint64();
        else if (row.tag() == fields::AuditCount::count) count = row.get_uint64();
        else row.skip();
      }
      out[method] += count;
    }
  }
  return out;
}

// A child that works on the ring until it is killed, and tells in `claimed` what it has done.
template <class Work>
uint64_t killWhile(uint32_t afterUs, Work work) {
  auto* claimed = static_cast<std::atomic<uint64_t>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    work(claimed);
    _exit(1);
  }
  while (claimed->load() == 0) usleep(20);
  usleep(afterUs);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  const uint64_t n = claimed->load();
  munmap(claimed, 4096);
  return n;
}

}  // namespace

TEST_CASE("audit ring: CRC-32C") {
  const Buffer zeros(32, 0), ones(32, 0xff);
  CHECK(crc32c(0, zeros) == 0x8a9136aa);  // RFC 3720, appendix B.4
  CHECK(crc32c(0, ones) == 0x62a8ab43);
  const std::string digits = "123456789";
  CHECK(crc32c(0, bytesOf(digits)) == 0xe3069283);
  CHECK(crc32c(crc32c(0, bytesOf(digits).first(4)), bytesOf(digits).subspan(4)) == 0xe3069283);
}

TEST_CASE("audit ring: what is appended is read in order, round and round; nothing is overwritten before it is released") {
  const AuditPlaces places;
  const auto ring = openRing(places);
  std::mt19937 random(7);
  std::deque<std::string> waiting;
  AuditRing::Cursor cursor = ring->taken();
  size_t refused = 0;
  for (int i = 0; i < 20'000; i++) {
    const std::string leaf = leafNumber(static_cast<uint64_t>(i), random() % (i % 50 == 0 ? 16'000 : 300));
    if (append(*ring, leaf)) waiting.push_back(leaf);
    else refused++;
    if (random() % 5 != 0) continue;
    for (size_t n = random() % 8; n > 0 && !waiting.empty(); n--) {
      AuditRing::Entry entry;
      REQUIRE(ring->read(&cursor, &entry));
      REQUIRE(std::string(entry.leaf.begin(), entry.leaf.end()) == waiting.front());
      waiting.pop_front();
    }
    ring->release(cursor);
    CHECK(ring->bytesUsed() + ring->bytesFree() == ring->bytes());
  }
  CHECK(refused > 100);
  CHECK(readAll(*ring) == std::vector<std::string>(waiting.begin(), waiting.end()));
}

TEST_CASE("audit ring: found again with what was not released, its counts as the last leaf") {
  const AuditPlaces places;
  {
    const auto ring = openRing(places);
    for (int i = 0; i < 5; i++) REQUIRE(append(*ring, leafNumber(static_cast<uint64_t>(i))));
    AuditRing::Cursor cursor = ring->taken();
    AuditRing::Entry entry;
    ring->read(&cursor, &entry);
    ring->read(&cursor, &entry);
    ring->release(cursor);
    ring->bind(77);
    for (int i = 0; i < 3; i++) CHECK(ring->counts().add({1, {}, 0, 64, 0, 1}, ring->nextSequence()));
    CHECK(ring->counts().add({1, {}, 0, 65, 0, 1}, ring->nextSequence()));
  }
  for (int again = 0; again < 2; again++) {
    const auto ring = openRing(places);
    CHECK(ring->recovered() == 4);
    CHECK_FALSE(ring->damaged());
    CHECK(ring->isBound());
    CHECK(ring->delta() == 77);
    CHECK(ring->nextSequence() == 7);
    auto leaves = readAll(*ring);
    REQUIRE(leaves.size() == 4);
    CHECK(countsOf({leaves.back()}) == std::map<uint64_t, uint64_t>{{64, 3}, {65, 1}});
    leaves.pop_back();
    CHECK(leaves == std::vector<std::string>{leafNumber(2), leafNumber(3), leafNumber(4)});
  }
}

TEST_CASE("audit ring: counts that became a leaf are not counted again, though a kill kept them") {
  const AuditPlaces places;
  {
    const auto ring = openRing(places);
    CHECK(ring->counts().add({1, {}, 0, 64, 0, 1}, ring->nextSequence()));
    uint8_t* place = ring->room(1000);
    ring->commit(encodeCounts(ring->counts().openedMs(), ring->counts().rows(), place));
    // Killed here: clear() was not called.
  }
  const auto ring = openRing(places);
  CHECK(countsOf(readAll(*ring)) == std::map<uint64_t, uint64_t>{{64, 1}});
}

TEST_CASE("audit ring: a file that is no ring, or another store's, is put aside; one without a store is anybody's") {
  const AuditPlaces places;
  StoreId other{};
  other.fill(9);
  {
    const auto ring = openRing(places, StoreId{});
    REQUIRE(append(*ring, "before there was a store"));
  }
  CHECK(readAll(*openRing(places)) == std::vector<std::string>{"before there was a store"});
  CHECK(readAll(*openRing(places, other)).empty());
  CHECK(std::filesystem::exists(places.ring() + ".old"));
  writeFile(places.ring(), "something");
  CHECK(readAll(*openRing(places)).empty());
  CHECK(readFile(places.ring() + ".old") == "something");
  std::filesystem::remove(places.ring());
  REQUIRE(mkfifo(places.ring().c_str(), 0600) == 0);
  CHECK(readAll(*openRing(places)).empty());
  std::filesystem::remove(places.ring());
  writeFile(places.root() / "victim", "untouched");
  std::filesystem::create_symlink(places.root() / "victim", places.ring());
  CHECK(readAll(*openRing(places)).empty());
  CHECK(readFile(places.root() / "victim") == "untouched");
}

TEST_CASE("audit ring: opened before the store is known, and then found to be another's: only what came since is this store's") {
  const AuditPlaces places;
  StoreId other{};
  other.fill(9);
  {
    const auto ring = openRing(places, other);
    ring->bind(5);
    for (int i = 0; i < 4; i++) REQUIRE(append(*ring, "another's"));
    CHECK(ring->counts().add({1, {}, 0, 64, 0, 1}, ring->nextSequence()));
  }
  const std::string before = readFile(places.ring());
  const auto ring = openRing(places, StoreId{});
  REQUIRE(append(*ring, "ours"));
  CHECK(readAll(*ring).size() == 6);
  ring->adopt(places.options.storeId);
  CHECK(readAll(*ring) == std::vector<std::string>{"ours"});
  CHECK_FALSE(ring->isBound());
  CHECK(readFile(places.ring() + ".old").find("another's") != std::string::npos);
  ring->bind(7);
  ring->adopt(places.options.storeId);
  CHECK(ring->isBound());
  CHECK(readAll(*ring) == std::vector<std::string>{"ours"});
}

TEST_CASE("audit ring: a damaged entry ends what is recovered, and is told") {
  const AuditPlaces places;
  {
    const auto ring = openRing(places);
    for (int i = 0; i < 6; i++) REQUIRE(append(*ring, leafNumber(static_cast<uint64_t>(i))));
  }
  const size_t entry = 16 + 24, dataAt = 4096 + AuditCounts::kBytes;
  std::string content = readFile(places.ring());
  size_t left = 0;
  SUBCASE("its leaf") {
    content[dataAt + 3 * entry + 20] ^= 1;
    left = 3;
  }
  SUBCASE("its sequence") {
    content[dataAt + 4 * entry + 8] ^= 1;
    left = 4;
  }
  SUBCASE("its length") {
    content[dataAt + 1] ^= 0x7f;
    left = 0;
  }
  SUBCASE("the taker's place") { content[128 + 8] ^= 1; }
  writeFile(places.ring(), content);
  const auto ring = openRing(places);
  CHECK(ring->damaged());
  CHECK(readAll(*ring).size() == left);
  REQUIRE(append(*ring, "another"));
  CHECK(readAll(*ring).back() == "another");
}

TEST_CASE("audit ring: killed at any instant, it holds every leaf that was appended, once, in order") {
  std::mt19937 random(11);
  for (int round = 0; round < 60; round++) {
    const AuditPlaces places;
    openRing(places);
    const uint64_t claimed = killWhile(random() % 3000, [&](std::atomic<uint64_t>* done) {
      std::unique_ptr<AuditRing> ring;
      std::string detail;
      if (AuditRing::open(places.ring(), AuditRing::kBytesMin, places.options.storeId, &ring, &detail) != Code::OK) _exit(2);
      AuditRing::Cursor cursor = ring->taken();
      AuditRing::Entry entry;
      for (uint64_t i = 0;; i++) {
        while (!append(*ring, leafNumber(i, 20 + i % 700))) {  // full: takes half
          for (size_t used = ring->bytesUsed(); used - (cursor.position - ring->taken().position) > used / 2;) ring->read(&cursor, &entry);
          ring->release(cursor);
        }
        done->store(i + 1);
      }
    });
    const auto ring = openRing(places);
    CHECK_FALSE(ring->damaged());
    const auto leaves = readAll(*ring);
    const uint64_t first = ring->taken().sequence - 1;  // sequences begin at 1
    REQUIRE(first + leaves.size() >= claimed);
    CHECK(first + leaves.size() <= claimed + 1);
    for (size_t i = 0; i < leaves.size(); i++) REQUIRE(leaves[i] == leafNumber(first + i, 20 + (first + i) % 700));
  }
}

TEST_CASE("audit ring: killed at any instant, every call that was counted is in one leaf") {
  std::mt19937 random(13);
  for (int round = 0; round < 60; round++) {
    const AuditPlaces places;
    openRing(places);
    const uint64_t claimed = killWhile(random() % 2000, [&](std::atomic<uint64_t>* done) {
      std::unique_ptr<AuditRing> ring;
      std::string detail;
      if (AuditRing::open(places.ring(), AuditRing::kBytesMin, places.options.storeId, &ring, &detail) != Code::OK) _exit(2);
      for (uint64_t i = 0; ring->bytesFree() > 40'000; i++) {
        AuditCounts& counts = ring->counts();
        const CountRow call{i % 300, {}, 0, static_cast<uint16_t>(64 + i % 2), 0, 1};
        if (i % 700 == 699 || !counts.add(call, ring->nextSequence())) {
          ring->commit(encodeCounts(counts.openedMs(), counts.rows(), ring->room(kCountsHeadBytesMax + counts.rows().size() * kCountRowBytesMax)));
          counts.clear();
          if (i % 700 != 699) counts.add(call, ring->nextSequence());
          else continue;
        }
        done->fetch_add(1);
      }
      for (;;) pause();
    });
    const auto ring = openRing(places);
    uint64_t sum = 0;
    for (const auto& [method, count] : countsOf(readAll(*ring))) sum += count;
    CHECK(sum >= claimed);
    CHECK(sum <= claimed + 1);
  }
}
