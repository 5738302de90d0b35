// What the log knows of its own segments: the file `segments`, replaced when one begins, so that a start notices one that is missing or
// shorter without reading it, and has the tree with which the last one began. Authenticated with the audit key. For the writer alone.
//
//   "QALS" | u16 version 1 | store id (16) | u32 finished segments | for each: u64 first index, u64 bytes |
//   u64 first index of the last one, which is the tree's size | 32 bytes for each of its complete subtrees, the largest first | MAC (32)
//
// MAC = HMAC-SHA-256(HKDF-SHA-256(audit key, store id, "quorate/audit/segments"), all before it). Little endian.
#pragma once
#include <optional>

#include "plane/audit_seal.h"
#include "plane/audit_tree.h"

namespace quorate {

struct FinishedSegment {
  uint64_t firstIndex = 0, bytes = 0;
};

struct SegmentList {
  std::vector<FinishedSegment> finished;  // ascending
  AuditTree start;                        // of the last one, which is being written; its first index is the tree's size
};

Buffer encodeSegmentList(const SegmentList& list, const StoreId& storeId, Bytes auditKey);
// Nothing: not made with this key for this store.
std::optional<SegmentList> decodeSegmentList(Bytes in, const StoreId& storeId, Bytes auditKey);

// The file `frontier`: "QALF" | u16 version 1 | store id (16) | u64 size | 32 bytes for each complete subtree, the largest first.
Buffer encodeFrontier(const AuditTree& tree, const StoreId& storeId);
std::optional<AuditTree> decodeFrontier(Bytes in, const StoreId& storeId);

}  // namespace quorate
