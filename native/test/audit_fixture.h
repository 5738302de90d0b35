// A log in folders of its own, and a reader of it that shares nothing with the writer but the opening of entries.
#pragma once
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/random.h"
#include "plane/audit_log.h"

namespace quorate::test {

inline const std::string& auditSeed() {
  static const std::string seed = "the seed of a signing key, 32 by";
  return seed;
}
inline const std::string& auditKey() {
  static const std::string key = "the key that seals the audit log";
  return key;
}

class AuditPlaces {
 public:
  explicit AuditPlaces(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    static int count = 0;
    root_ = parent / ("quorate-audit-" + std::to_string(getpid()) + "-" + std::to_string(++count));
    std::filesystem::create_directories(root_);
    // Where the daemon has it: a tmpfs.
    ring_ = std::filesystem::exists("/dev/shm") ? "/dev/shm/" + root_.filename().string() + ".ring" : (root_ / "ring").string();
    options.ring = ring_;
    options.folder = (root_ / "audit").string();
    options.storeId.fill(0x51);
    options.tuning.ringBytes = 512 * 1024;
    options.tuning.syncMs = 10;
    options.tuning.checkpointMs = 100;
    options.tuning.checkMs = 20;
  }
  ~AuditPlaces() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
    for (const char* end : {"", ".old", ".new"}) std::filesystem::remove(ring_ + end, ignored);
  }
  AuditPlaces(const AuditPlaces&) = delete;

  AuditOptions options;
  std::filesystem::path folder() const { return options.folder; }
  std::filesystem::path root() const { return root_; }
  const std::string& ring() const { return ring_; }
  void loseRing() { std::filesystem::remove(ring_); }  // as a restart of the machine does

  std::filesystem::path file(uint64_t firstIndex) const { return folder() / segmentName(firstIndex); }
  // The last one.
  std::filesystem::path current() const {
    std::filesystem::path last;
    for (const auto& entry : std::filesystem::directory_iterator(folder()))
      if (entry.path().extension() == ".log" && entry.path().filename() != "checkpoints.log") last = std::max(last, entry.path());
    return last;
  }

 private:
  std::filesystem::path root_;
  std::string ring_;
};

inline std::string readFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void writeFile(const std::filesystem::path& path, const std::string& content) { std::ofstream(path, std::ios::binary | std::ios::trunc) << content; }

inline AuditKeys auditKeys() {
  AuditKeys keys;
  Secret seal;
  REQUIRE(Secret::copy(bytesOf(auditKey()), &seal) == Code::OK);
  keys.seal = std::make_shared<const Secret>(std::move(seal));
  REQUIRE(AuditSigner::make(bytesOf(auditSeed()), "quorate/51515151515151515151515151515151", &keys.signer) == Code::OK);
  return keys;
}

// Every leaf of every segment, in order of their names; fails the test for what does not open, but for what is behind the last whole entry.
inline std::vector<std::string> readLeaves(const AuditPlaces& places) {
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(places.folder()))
    if (entry.path().extension() == ".log" && entry.path().filename() != "checkpoints.log") files.insert(entry.path());
  std::vector<std::string> out;
  for (const auto& path : files) {
    const std::string content = readFile(path);
    REQUIRE(content.size() >= kSegmentHeaderBytes);
    const Bytes all = bytesOf(content);
    SegmentHeader header;
    REQUIRE(decodeSegmentHeader(all.first(kSegmentHeaderBytes), &header));
    CHECK(header.firstIndex == out.size());
    std::vector<Buffer> leaves;
    REQUIRE(openEntries(bytesOf(auditKey()), all.first(kSegmentHeaderBytes), header.firstIndex, all.subspan(kSegmentHeaderBytes), &leaves) == Code::OK);
    size_t bytes = kSegmentHeaderBytes;
    for (const Buffer& leaf : leaves) {
      bytes += leaf.size() + kEntryOverheadBytes;
      out.emplace_back(leaf.begin(), leaf.end());
    }
    CHECK(bytes == content.size());
  }
  return out;
}

inline TreeHash rootOf(const std::vector<std::string>& leaves, size_t size) {
  AuditTree tree;
  for (size_t i = 0; i < size; i++) tree.add(auditLeafHash(bytesOf(leaves[i])));
  return tree.root();
}

// Waits for what a function hands to its callback.
struct Outcome {
  std::mutex mutex;
  std::condition_variable came;
  bool done = false;
  AuditFault fault;
  std::string detail;
  AuditLog::Done callback() {
    return [this](const AuditFault& f, const std::string& d) {
      const std::lock_guard lock(mutex);
      fault = f;
      detail = d;
      done = true;
      came.notify_all();
    };
  }
  AuditFault wait() {
    std::unique_lock lock(mutex);
    REQUIRE(came.wait_for(lock, std::chrono::seconds(60), [this] { return done; }));
    done = false;
    return fault;
  }
};

// The log with the test in the plane's place: this thread alone appends.
class TestLog {
 public:
  explicit TestLog(const AuditPlaces& places) : options_(places.options) {
    std::string detail;
    const Code code = AuditLog::open(options_, &log_, &detail);
    REQUIRE_MESSAGE(code == Code::OK, detail);
  }
  ~TestLog() { close(); }
  AuditLog* operator->() { return log_.get(); }
  std::shared_ptr<AuditLog> share() { return log_; }

  AuditFault unlock(bool create = true) {
    log_->unlock(options_.storeId, auditKeys(), create, outcome_.callback());
    return outcome_.wait();
  }
  void lock() {
    log_->lock(outcome_.callback());
    outcome_.wait();
  }
  AuditFault repair(bool acceptLoss) {
    log_->repair(acceptLoss, outcome_.callback());
    return outcome_.wait();
  }
  const std::string& detail() const { return outcome_.detail; }
  void close() {
    if (log_) CHECK(log_->close(60'000));
    log_.reset();
  }
  uint64_t append(const std::string& leaf) {
    uint8_t* place = log_->ring().room(leaf.size());
    REQUIRE(place != nullptr);
    std::copy(leaf.begin(), leaf.end(), place);
    return log_->ring().commit(leaf.size());
  }
  bool waitFor(uint64_t sequence, int patienceMs = 20'000) {
    log_->want(sequence);
    return until([&] { return log_->syncedSequence() > sequence; }, patienceMs);
  }
  template <class F>
  static bool until(F condition, int patienceMs = 20'000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(patienceMs);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return condition();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

 private:
  const AuditOptions options_;
  std::shared_ptr<AuditLog> log_;
  Outcome outcome_;
};

inline std::string leafNumber(uint64_t n, size_t bytes = 20) {
  std::string out = "leaf " + std::to_string(n) + " ";
  while (out.size() < bytes) out += static_cast<char>('a' + (n + out.size()) % 26);
  return out;
}

}  // namespace quorate::test
