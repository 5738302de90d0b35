// A writer that is killed at any instant, again and again in one folder: every leaf that it said was durable is in the log once, in order.
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <random>

#include "audit_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

struct Shared {
  std::atomic<uint64_t> claimed;  // leaves that were said to be durable
  std::atomic<uint32_t> started;
};

// In the child: appends numbered leaves from `next` on, a few at a time, and waits for them.
[[noreturn]] void writeUntilKilled(const AuditPlaces& places, Shared* shared, uint64_t next, unsigned seed) {
  AuditOptions options = places.options;
  std::shared_ptr<AuditLog> log;
  std::string detail;
  if (AuditLog::open(options, &log, &detail) != Code::OK) _exit(2);
  std::atomic<int> unlocked{0};
  log->unlock(options.storeId, auditKeys(), true, [&](const AuditFault& fault, const std::string&) {
    if (fault) fprintf(stderr, "child: %s\n", fault.detail.c_str());
    unlocked = fault ? 2 : 1;
  });
  while (unlocked == 0) usleep(100);
  if (unlocked == 2) _exit(3);
  shared->started = 1;
  std::mt19937 random(seed);
  for (;;) {
    uint64_t sequence = 0;
    for (unsigned n = 1 + random() % 20; n > 0; n--) {
      const std::string leaf = leafNumber(next++, random() % 200);
      uint8_t* place = log->ring().room(leaf.size());
      if (place == nullptr) _exit(4);
      std::copy(leaf.begin(), leaf.end(), place);
      sequence = log->ring().commit(leaf.size());
    }
    log->want(sequence);
    while (log->syncedSequence() <= sequence) usleep(50);
    shared->claimed = next;
  }
}

uint64_t numberOf(const std::string& leaf) {
  const char prefix[] = "leaf ";
  REQUIRE(leaf.compare(0, 5, prefix) == 0);
  return std::strtoull(leaf.c_str() + 5, nullptr, 10);
}

// One life. Returns the leaves that were claimed.
uint64_t live(const AuditPlaces& places, uint64_t next, uint32_t killAfterUs, unsigned seed, bool fromStart) {
  auto* shared = static_cast<Shared*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  shared->claimed = next;
  const pid_t child = fork();
  if (child == 0) writeUntilKilled(places, shared, next, seed);
  int status = 0;
  if (!fromStart)
    while (shared->started == 0 && waitpid(child, &status, WNOHANG) == 0) usleep(50);
  usleep(killAfterUs);
  kill(child, SIGKILL);
  if (status == 0) waitpid(child, &status, 0);
  CHECK_MESSAGE(WIFSIGNALED(status), WEXITSTATUS(status));
  const uint64_t claimed = shared->claimed;
  munmap(shared, 4096);
  return claimed;
}

// What a start finds after it: all leaves, numbered in order.
uint64_t settle(const AuditPlaces& places, uint64_t claimed) {
  {
    TestLog log(places);
    const AuditFault fault = log.unlock(true);
    REQUIRE_MESSAGE(!fault, fault.detail);
  }
  const auto leaves = readLeaves(places);
  for (size_t i = 0; i < leaves.size(); i++) REQUIRE(numberOf(leaves[i]) == i);
  REQUIRE(leaves.size() >= claimed);
  const auto checkpoint = auditKeys().signer->open(readFile(places.folder() / "checkpoint"));
  REQUIRE(checkpoint.has_value());
  CHECK(checkpoint->size == leaves.size());
  CHECK(checkpoint->root == rootOf(leaves, leaves.size()));
  return leaves.size();
}

void campaign(AuditPlaces& places, int lives, uint32_t patienceUs, unsigned seed) {
  places.options.tuning.segmentBytes = 24'000;
  places.options.tuning.checkpointMs = 15;
  std::mt19937 random(seed);
  uint64_t size = 0;
  for (int i = 0; i < lives; i++) {
    const uint64_t claimed = live(places, size, static_cast<uint32_t>(random() % patienceUs), random(), i % 3 == 2);
    if (i % 4 == 3) places.loseRing();
    size = settle(places, claimed);
  }
  CHECK(size > 0);
}

}  // namespace

TEST_CASE("audit log: killed at any instant, every leaf that was said to be durable is there once, in order") {
  AuditPlaces places;
  campaign(places, 30, 60'000, 17);
}

// On a tmpfs nothing waits for a disk: many more instants.
TEST_CASE("audit log: the same where the disk is fast") {
  if (!std::filesystem::exists("/dev/shm")) return;
  AuditPlaces places("/dev/shm");
#ifdef __SANITIZE_ADDRESS__
  constexpr int kLives = 15;
#else
  constexpr int kLives = 80;
#endif
  campaign(places, kLives, 8'000, 19);
}
