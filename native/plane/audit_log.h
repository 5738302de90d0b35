// The audit log: a ring that the plane's thread appends to, and a thread of its own that brings what lies there to the disk. The plane never
// waits for it: it looks at a few numbers, and refuses when they say that the disk does not follow.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "plane/audit_writer.h"

namespace quorate {

struct AuditOptions {
  std::string ring, folder;  // a file on tmpfs; the folder of the segments
  StoreId storeId{};         // zeros: not known yet, comes with the keys
  AuditTuning tuning = {};
};

struct AuditStats {
  bool available = false, locked = true;
  AuditFaultKind fault = AuditFaultKind::sealed;
  std::string detail;      // of the fault: what, and where
  uint64_t size = 0;       // leaves that are fsynced
  uint64_t waiting = 0;    // leaves that are in the ring alone
  std::string segment;     // file name of the one that is written
  uint64_t segmentBytes = 0, segments = 0, ringBytes = 0, ringUsed = 0;
  uint64_t refused = 0;    // leaves for which the ring had no room: they are nowhere
  uint64_t recovered = 0;  // leaves found in the ring when it was opened
  bool ringDamaged = false;
  uint64_t cutBytes = 0;   // of a tail that was being written when the machine stopped
};

class AuditLog {
 public:
  // AUDIT_UNAVAILABLE with detail: the ring. Its owner closes it.
  static Code open(AuditOptions options, std::shared_ptr<AuditLog>* out, std::string* detail);
  ~AuditLog();

  // ---- any thread; `done` is called on the log's
  using Done = std::function<void(const AuditFault&, const std::string& detail)>;
  // Opens the log and writes what waits. A fault is tried again by itself. See AuditWriter::start().
  void unlock(const StoreId& storeId, AuditKeys keys, bool create, Done done);
  // Writes what waits, then wipes the keys; leaves wait in the ring from here on.
  void lock(Done done);
  void repair(bool acceptLoss, Done done);
  // As lock(), and ends the thread. False: the disk does not answer within graceMs; the thread is left behind, and with it what it holds.
  bool close(uint32_t graceMs);
  AuditStats stats() const;
  // The audit key, for readers; null while it is locked.
  SecretPtr sealKey() const;
  // Of a leaf that is durable.
  uint64_t indexOf(uint64_t sequence) const;

  // ---- the plane's thread
  AuditRing& ring() { return *ring_; }
  const AuditTuning& tuning() const { return tuning_; }
  AuditFaultKind fault() const { return fault_.load(std::memory_order_acquire); }
  bool isLocked() const { return locked_.load(std::memory_order_acquire); }
  // Leaves below this sequence are durable.
  uint64_t syncedSequence() const { return synced_.load(std::memory_order_acquire); }
  // Whatever was appended before this time (CLOCK_BOOTTIME) is durable.
  // A leaf for which the ring had no room: whoever wrote it has been told.
  void countRefused() { refused_.fetch_add(1, std::memory_order_relaxed); }
  int64_t freshNs() const { return fresh_.load(std::memory_order_acquire); }
  // Calls the listener when leaves below that sequence are durable, and has them written at once.
  void want(uint64_t sequence);
  // Calls the listener when there is room again.
  void wantRoom();
  void wake();
  // Called on the log's thread: what was wanted is there, or a fault came or went. null: nobody listens; when this returns, the former
  // listener is not running.
  void setListener(std::function<void()> listener);

 private:
  explicit AuditLog(AuditOptions options, std::unique_ptr<AuditRing> ring);
  using Command = std::function<void()>;
  void post(Command command);
  void run();
  void runCommands();
  void step(bool atOnce);
  AuditFault work(bool atOnce);
  void lockNow();
  void setFault(AuditFault fault);
  void count();
  void publish();
  void tell();

  const AuditTuning tuning_;
  const std::unique_ptr<AuditRing> ring_;
  const int wakeFd_;
  std::atomic<bool> signalled_{false};

  std::atomic<AuditFaultKind> fault_{AuditFaultKind::sealed};
  std::atomic<bool> locked_{true};
  std::atomic<uint64_t> synced_{1}, wanted_{0}, refused_{0};
  std::atomic<int64_t> fresh_{0};
  std::atomic<bool> wantsRoom_{false};

  // The log's thread.
  AuditWriter writer_;
  int64_t checkedNs_ = 0, syncedNs_ = 0, checkpointNs_ = 0, retryNs_ = 0;
  bool closing_ = false;

  mutable std::mutex mutex_;
  std::deque<Command> commands_;                         // guarded by mutex_, as the rest
  AuditStats stats_;
  SecretPtr sealKey_;
  std::vector<std::pair<uint64_t, uint64_t>> deltas_;    // from this sequence on, index less sequence
  bool ended_ = false;
  std::condition_variable end_;

  std::mutex listenerMutex_;
  std::function<void()> listener_;
  std::thread thread_;
};

}  // namespace quorate
