// The log from ring to disk: what a reader finds, across rotations, locks and restarts.
#include <sys/stat.h>

#include "audit_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::vector<std::string> notesOf(const AuditPlaces& places) {
  const std::string text = readFile(places.folder() / "checkpoints.log");
  std::vector<std::string> out;
  std::string note;
  int empty = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    if (end == at && ++empty == 2) {
      out.push_back(note);
      note.clear();
      empty = 0;
    } else {
      note += text.substr(at, end + 1 - at);
    }
    at = end + 1;
  }
  CHECK(note.empty());
  return out;
}

// All checkpoints, the frontier and the latest checkpoint are those of the leaves that a reader finds.
void checkSigned(const AuditPlaces& places) {
  const auto leaves = readLeaves(places);
  const AuditKeys keys = auditKeys();
  uint64_t last = 0;
  const auto notes = notesOf(places);
  for (const std::string& note : notes) {
    const auto checkpoint = keys.signer->open(note);
    REQUIRE(checkpoint.has_value());
    CHECK(checkpoint->size >= last);
    REQUIRE(checkpoint->size <= leaves.size());
    CHECK(checkpoint->root == rootOf(leaves, checkpoint->size));
    last = checkpoint->size;
  }
  CHECK(readFile(places.folder() / "checkpoint") == notes.back());
  const auto frontier = decodeFrontier(bytesOf(readFile(places.folder() / "frontier")), places.options.storeId);
  REQUIRE(frontier.has_value());
  CHECK(frontier->size() == last);
  CHECK(frontier->root() == rootOf(leaves, last));
}

mode_t modeOf(const std::filesystem::path& path) {
  struct stat s {};
  REQUIRE(stat(path.c_str(), &s) == 0);
  return s.st_mode & 07777;
}

}  // namespace

TEST_CASE("audit log: leaves lie in sealed segments in the order of their appending, and the last checkpoint covers them at the end") {
  AuditPlaces places;
  places.options.tuning.segmentBytes = 40'000;
  std::vector<std::string> given;
  {
    TestLog log(places);
    CHECK_FALSE(log->stats().available);
    REQUIRE_FALSE(log.unlock());
    for (int i = 0; i < 3000; i++) {
      given.push_back(leafNumber(static_cast<uint64_t>(i), static_cast<size_t>(i) % 90));
      const uint64_t sequence = log.append(given.back());
      if (i % 100 != 99) continue;
      REQUIRE(log.waitFor(sequence));
      CHECK(log->indexOf(sequence) == static_cast<uint64_t>(i));
    }
    const AuditStats stats = log->stats();
    CHECK(stats.available);
    CHECK(stats.size == 3000);
    CHECK(stats.waiting == 0);
    CHECK(stats.segments > 4);
    CHECK(stats.segment == places.current().filename());
    CHECK(stats.segmentBytes == std::filesystem::file_size(places.current()));
  }
  CHECK(readLeaves(places) == given);
  checkSigned(places);
  CHECK(notesOf(places).size() >= 2);
  CHECK(modeOf(places.folder()) == 0700);
  for (const auto& entry : std::filesystem::directory_iterator(places.folder())) CHECK(modeOf(entry.path()) == 0600);
  CHECK(modeOf(places.ring()) == 0600);
  // Sealed: no leaf's text lies in the files.
  for (const auto& entry : std::filesystem::directory_iterator(places.folder())) CHECK(readFile(entry.path()).find("leaf 1") == std::string::npos);
}

TEST_CASE("audit log: every size of leaf, the empty one and the longest too") {
  AuditPlaces places;
  std::vector<std::string> given;
  TestLog log(places);
  REQUIRE_FALSE(log.unlock());
  for (const size_t n : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{4096}, size_t{limits::audit_entry_bytes_max}}) {
    given.emplace_back(n, 'x');
    REQUIRE(log.waitFor(log.append(given.back())));
  }
  log.close();
  CHECK(readLeaves(places) == given);
}

TEST_CASE("audit log: what comes while it is locked waits in the ring; lock and unlock lose and repeat nothing") {
  AuditPlaces places;
  std::vector<std::string> given;
  const auto append = [&](TestLog& log, int n) {
    for (int i = 0; i < n; i++) {
      given.push_back(leafNumber(given.size()));
      log.append(given.back());
    }
  };
  TestLog log(places);
  append(log, 50);
  for (int round = 0; round < 3; round++) {
    REQUIRE_FALSE(log.unlock(round == 0));
    CHECK(log->stats().size == given.size());
    append(log, 20);
    log.lock();
    CHECK(log->sealKey() == nullptr);
    CHECK(readLeaves(places) == given);
    checkSigned(places);
    append(log, 20);
    CHECK(log->stats().waiting == 20);
    CHECK(log->stats().fault == AuditFaultKind::sealed);
  }
  CHECK(std::distance(std::filesystem::directory_iterator(places.folder()), {}) == 5);  // one segment, segments, two of checkpoints, frontier
}

TEST_CASE("audit log: a restart of the process goes on in the same segment, one of the machine in a new one under another salt") {
  AuditPlaces places;
  std::vector<std::string> given;
  for (int round = 0; round < 6; round++) {
    TestLog log(places);
    REQUIRE_FALSE(log.unlock(round == 0));
    CHECK(log->stats().segments == static_cast<uint64_t>(round < 4 ? 1 : round - 2));
    for (int i = 0; i < 10; i++) {
      given.push_back(leafNumber(given.size()));
      REQUIRE(log.waitFor(log.append(given.back())));
    }
    log.close();
    if (round >= 3) places.loseRing();
    CHECK(readLeaves(places) == given);
  }
  checkSigned(places);
}

TEST_CASE("audit log: an empty segment whose ring is gone is begun anew, so that no salt seals two leaves at one index") {
  AuditPlaces places;
  { REQUIRE_FALSE(TestLog(places).unlock()); }
  const std::string first = readFile(places.current());
  CHECK(first.size() == kSegmentHeaderBytes);
  { REQUIRE_FALSE(TestLog(places).unlock(false)); }
  CHECK(readFile(places.current()) == first);
  places.loseRing();
  { REQUIRE_FALSE(TestLog(places).unlock(false)); }
  CHECK(readFile(places.current()).size() == kSegmentHeaderBytes);
  CHECK(readFile(places.current()) != first);
}

TEST_CASE("audit log: a new store where another one's ring lies begins its own log") {
  AuditPlaces places;
  {
    TestLog log(places);
    REQUIRE_FALSE(log.unlock());
    REQUIRE(log.waitFor(log.append("of the first store")));
    log.lock();
    log.append("of the first store, and never written");
  }
  std::filesystem::remove_all(places.folder());
  AuditOptions options = places.options;
  options.storeId = {};
  std::shared_ptr<AuditLog> log;
  std::string detail;
  REQUIRE(AuditLog::open(options, &log, &detail) == Code::OK);
  std::copy_n("of the second", 13, log->ring().room(13));
  log->ring().commit(13);
  places.options.storeId.fill(0x52);
  Outcome outcome;
  log->unlock(places.options.storeId, auditKeys(), true, outcome.callback());
  const AuditFault fault = outcome.wait();
  CHECK_MESSAGE(!fault, fault.detail);
  CHECK(log->close(10'000));
  CHECK(readLeaves(places) == std::vector<std::string>{"of the second"});
}

TEST_CASE("audit log: only the log's own keys open it") {
  AuditPlaces places;
  {
    TestLog log(places);
    REQUIRE_FALSE(log.unlock());
    REQUIRE(log.waitFor(log.append("a leaf")));
  }
  AuditKeys keys = auditKeys();
  SUBCASE("another audit key") {
    Secret seal;
    REQUIRE(Secret::copy(bytesOf(auditSeed()), &seal) == Code::OK);
    keys.seal = std::make_shared<const Secret>(std::move(seal));
  }
  SUBCASE("another signing key") {
    REQUIRE(AuditSigner::make(bytesOf(auditKey()), "quorate/51515151515151515151515151515151", &keys.signer) == Code::OK);
  }
  SUBCASE("another origin") {
    REQUIRE(AuditSigner::make(bytesOf(auditSeed()), "quorate/52", &keys.signer) == Code::OK);
  }
  TestLog log(places);
  Outcome outcome;
  log->unlock(places.options.storeId, keys, false, outcome.callback());
  CHECK(outcome.wait().kind == AuditFaultKind::corrupt);
  CHECK_FALSE(log->stats().available);
}
