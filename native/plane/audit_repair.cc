// A log that lost leaves for good goes on in a new segment, whose first leaf says what had been there: its size, its root, and the subtrees from
// which the tree goes on. What is left of the old segments stays where it is; what would stand in the way is put aside under another name.
#include <fcntl.h>

#include <algorithm>

#include "plane/audit_leaf.h"
#include "plane/audit_walk.h"
#include "plane/audit_writer.h"

namespace quorate {

AuditFault AuditWriter::repair(bool acceptLoss, std::string* detail) {
  failedPrint_.clear();
  AuditFault fault = reopen();
  if (!fault) {
    *detail = "the log is whole: nothing was lost";
    return fault;
  }
  if (!acceptLoss || fault.kind == AuditFaultKind::full || fault.kind == AuditFaultKind::io) return fault;
  if (AuditFault failed = folder_.open(true)) return failed;
  AuditTree known;
  if (AuditFault failed = lastKnown(&known)) return failed;
  failedPrint_.clear();
  return beginAfter(known, fault.detail, detail);
}

// The largest tree that can be trusted: the one in memory; one that was signed; or as far as the leaves that are there lead.
AuditFault AuditWriter::lastKnown(AuditTree* out) const {
  if (started_) {
    *out = durable_.tree;
    return {};
  }
  Found found;
  if (AuditFault fault = look(&found)) return fault;
  if (walked_) *out = *walked_;
  const bool isSigned = found.frontier && found.checkpoint && found.frontier->size() == found.checkpoint->size && found.frontier->root() == found.checkpoint->root;
  if (isSigned && found.frontier->size() > out->size()) *out = *found.frontier;
  return {};
}

// As far as the leaves that are there lead from the first one on. Leaves before that must stay there.
uint64_t AuditWriter::answersFor(const Found& found) {
  const SegmentList list = list_;
  AuditWalk walk({}, {});
  Segment last;
  [[maybe_unused]] const AuditFault end = walkAll(found, &walk, &last);  // that it ends is known; where, is asked
  list_ = list;
  return walk.tree.size();
}

AuditFault AuditWriter::beginAfter(const AuditTree& known, const std::string& reason, std::string* detail) {
  Found found;
  if (AuditFault fault = look(&found)) return fault;
  const uint64_t from = std::min(answersFor(found), known.size());
  std::vector<FinishedSegment> finished;
  for (const uint64_t first : found.segments) {
    Segment segment;
    if (first < known.size() && !openSegment(first, &segment)) {
      finished.push_back({first, segment.bytes});
    } else if (AuditFault fault = folder_.putAside(segmentName(first))) {
      return fault;
    }
  }
  // Checkpoints of more leaves than the log goes on from would stand before ones of fewer.
  if (!found.checkpoint || found.checkpoint->size > known.size())
    if (AuditFault fault = folder_.putAside("checkpoints.log")) return fault;
  if (AuditFault fault = cutCheckpoints()) return fault;
  const Buffer gap = encodeGap(auditTimeMs(), reason, from, known);
  if (AuditFault fault = beginSegment(known, std::move(finished), gap)) return fault;
  cursor_ = durable_.cursor = ring_.taken();
  bind(tree_.size() - cursor_.sequence);
  checkpointed_.reset();
  *detail = "the log goes on at leaf " + std::to_string(known.size()) + ", which says what was there before: " + reason;
  return ready();
}

}  // namespace quorate
