#include "plane/audit_gate.h"

#include <algorithm>

namespace quorate {

namespace {
constexpr int64_t kMsNs = 1'000'000;
constexpr size_t kReserveBytes = 64 * 1024;
constexpr size_t kCountsBytesMax = kCountsHeadBytesMax + AuditCounts::kRowsMax * kCountRowBytesMax;
// A row's leaf and a control leaf always fit into what mayServe() leaves.
static_assert(kReserveBytes >= 2 * (kCountsBytesMax + limits::audit_entry_bytes_max));
static_assert(AuditRing::kBytesMin >= 2 * kReserveBytes);
}  // namespace

AuditGate::AuditGate(std::shared_ptr<AuditLog> log, AuditMode mode)
    : log_(std::move(log)),
      ring_(log_->ring()),
      mode_(mode),
      reserveBytes_(std::max(kReserveBytes, ring_.bytes() / 16)),
      crowdBytes_(std::max(2 * reserveBytes_, ring_.bytes() / 4)),
      stallNs_(log_->tuning().stallMs * kMsNs),
      windowNs_(log_->tuning().syncMs * kMsNs) {}

void AuditGate::look(int64_t nowNs) {
  nowNs_ = nowNs;
  if (mode_ == AuditMode::each) timeMs_ = auditTimeMs();
  locked_ = log_->isLocked();
  synced_ = log_->syncedSequence();
  const uint64_t next = ring_.nextSequence();
  if (synced_ == next) idleNs_ = nowNs;
  stalled_ = !locked_ && synced_ != next && nowNs - std::max(idleNs_, log_->freshNs()) > stallNs_;
  follows_ = isOff() || locked_ || (!stalled_ && log_->fault() == AuditFaultKind::none);
}

bool AuditGate::isExempt(Method method) {
  switch (method) {
    case Method::Hello:
    case Method::Ping:
    case Method::Status:
    case Method::Health:
    case Method::VerifyAudit:
    case Method::RepairAudit: return true;
    default: return false;
  }
}

std::string AuditGate::reason() const {
  // A fault first: what waits because of it looks like a disk that does not answer.
  const bool isFaulty = !locked_ && log_->fault() != AuditFaultKind::none;
  if (stalled_ && !isFaulty) return "the audit log: the disk does not answer";
  if (follows_) return "the audit log: its ring is full";
  return "the audit log: " + log_->stats().detail;
}

void AuditGate::wakeWhenFull() {
  if (ring_.bytesUsed() > ring_.bytes() / 4 && !locked_) log_->wake();
}

bool AuditGate::closeCounts() {
  AuditCounts& counts = ring_.counts();
  if (counts.empty()) return true;
  uint8_t* place = ring_.room(kCountsHeadBytesMax + counts.rows().size() * kCountRowBytesMax);
  if (place == nullptr) return false;
  ring_.commit(encodeCounts(counts.openedMs(), counts.rows(), place));
  counts.clear();
  windowEndsNs_ = INT64_MAX;
  wakeWhenFull();
  return true;
}

bool AuditGate::count(const CountRow& call) {
  if (isOff()) return true;
  AuditCounts& counts = ring_.counts();
  if (mode_ == AuditMode::each && closeCounts()) {
    if (uint8_t* place = ring_.room(kCountsHeadBytesMax + kCountRowBytesMax)) {
      ring_.commit(encodeCounts(timeMs_, {&call, 1}, place));
      wakeWhenFull();
      return true;
    }
  }
  if (!counts.add(call, ring_.nextSequence()) && !(closeCounts() && counts.add(call, ring_.nextSequence()))) return false;
  if (windowEndsNs_ == INT64_MAX) windowEndsNs_ = nowNs_ + windowNs_;
  return true;
}

uint64_t AuditGate::append(Bytes leaf) {
  if (!closeCounts() || leaf.size() > limits::audit_entry_bytes_max) return 0;
  uint8_t* place = ring_.room(leaf.size());
  if (place == nullptr) return 0;
  std::copy(leaf.begin(), leaf.end(), place);
  return ring_.commit(leaf.size());
}

void AuditGate::closeWindow(int64_t nowNs) {
  if (nowNs < windowEndsNs()) return;
  windowEndsNs_ = closeCounts() ? INT64_MAX : nowNs + windowNs_;
}

}  // namespace quorate
