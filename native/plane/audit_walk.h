// Goes through a segment that was written before: opens every leaf, hashes it, and compares the tree with what was said of it.
#pragma once
#include "plane/audit_folder.h"
#include "plane/audit_seal.h"
#include "plane/audit_tree.h"

namespace quorate {

class AuditWalk {
 public:
  struct Mark {
    uint64_t size;
    TreeHash root;
    const char* file;  // that says so
  };
  struct Kept {
    TreeHash hash;
    bool isGap;
  };

  AuditWalk(AuditTree start, std::vector<Mark> marks) : tree(std::move(start)), marks_(std::move(marks)) {}

  // From the segment's header to its end, or to the first entry that is not whole or does not open: `stop` says which, `offset` where.
  // A fault only when a mark does not fit, or the file cannot be read.
  AuditFault walk(int fd, const std::string& name, const SegmentKey& key, uint64_t bytes);

  AuditTree tree;
  uint64_t offset = 0;
  const char* stop = nullptr;  // why, when the end was not reached
  // Leaves from this index on are kept.
  uint64_t keepFrom = UINT64_MAX;
  std::vector<Kept> kept;

 private:
  AuditFault compare() const;
  AuditFault take(Bytes leaf);
  std::vector<Mark> marks_;
};

}  // namespace quorate
