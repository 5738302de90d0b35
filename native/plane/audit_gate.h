// The plane's side of the audit log: whether it may answer, and the leaves that it appends. The plane's thread only.
#pragma once
#include "plane/audit_log.h"
#include "plane/methods.gen.h"

namespace quorate {

// counts: hot calls are counted, and a leaf is made of the counts every audit_sync_ms, before each control leaf, and when there are many.
// each: a leaf for each hot call. off: nothing is logged and nothing refused; for bench alone.
enum class AuditMode : uint8_t { off, counts, each };

class AuditGate {
 public:
  AuditGate(std::shared_ptr<AuditLog> log, AuditMode mode);

  AuditLog& log() { return *log_; }
  bool isOff() const { return mode_ == AuditMode::off; }
  // At the beginning of each round, before anything is answered in it.
  void look(int64_t nowNs);
  // The log follows: it has no fault, and its oldest leaf that is not durable is younger than audit_stall_ms. Or it is locked, and leaves
  // wait in the ring.
  bool follows() const { return follows_; }
  // The same, and there is room for what one request may add.
  bool mayServe() const { return follows_ && (isOff() || ring_.bytesFree() >= reserveBytes_); }
  // What is answered whatever the log's state: what tells of it, and what repairs it.
  static bool isExempt(Method method);
  // Why not mayServe().
  std::string reason() const;
  // Calls come faster than the disk takes their leaves: reading waits until there is room.
  bool isCrowded() const { return mode_ == AuditMode::each && follows_ && ring_.bytesFree() < crowdBytes_; }

  // Before the call's reply is sent. False: there is no room, and it must not be sent.
  bool count(const CountRow& call);
  // A leaf, behind all counts so far: its sequence. 0: there is no room.
  uint64_t append(Bytes leaf);
  // While it is locked no leaf goes to the disk, and whoever may connect can be denied: of repeated denials only the count is kept
  // when the ring fills up. True: this one is to be counted and not appended.
  bool collapses(Code status) const { return status != Code::OK && locked_ && !isOff() && ring_.bytesFree() < crowdBytes_; }
  bool isLocked() const { return locked_; }
  // The newest leaf's; 0 before the first.
  uint64_t lastSequence() const { return ring_.nextSequence() - 1; }
  bool isDurable(uint64_t sequence) const { return sequence < synced_; }

  // Makes a leaf of the counts when their time has come. While the log is locked that is when another leaf comes, or the keys do: a leaf
  // for each few milliseconds of denials would fill the ring.
  void closeWindow(int64_t nowNs);
  // When closeWindow() has something to do; INT64_MAX: nothing.
  int64_t windowEndsNs() const { return locked_ ? INT64_MAX : windowEndsNs_; }
  // The plane ends: what was counted is a leaf.
  void end() { closeCounts(); }

 private:
  bool closeCounts();
  void wakeWhenFull();

  const std::shared_ptr<AuditLog> log_;
  AuditRing& ring_;
  const AuditMode mode_;
  const size_t reserveBytes_, crowdBytes_;
  const int64_t stallNs_, windowNs_;
  bool follows_ = false, locked_ = true;
  bool stalled_ = false;
  uint64_t synced_ = 0, timeMs_ = 0;
  int64_t nowNs_ = 0, idleNs_ = 0;  // idleNs_: when everything was last seen durable
  int64_t windowEndsNs_ = INT64_MAX;
};

}  // namespace quorate
