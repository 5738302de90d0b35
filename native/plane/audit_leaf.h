// Leaves that the plane makes by itself: AuditEntry messages (src/protocol/quorate.proto). All others come from JavaScript.
#pragma once
#include <optional>
#include <string_view>

#include "core/managed.h"
#include "plane/audit_tree.h"

namespace quorate {

// A hot call, or several that agree in all of this.
struct CountRow {
  uint64_t session = 0;
  KeyId keyId{};         // all zero: of a session key, or of none
  uint32_t version = 0;  // 0: none
  uint16_t method = 0, status = 0;
  uint64_t count = 0;

  bool sameCall(const CountRow& other) const {
    return session == other.session && keyId == other.keyId && version == other.version && method == other.method && status == other.status;
  }
};
static_assert(sizeof(CountRow) == 40, "the ring keeps rows as they are");

inline constexpr size_t kCountRowBytesMax = 64, kCountsHeadBytesMax = 16;
// An AUDIT_COUNTS entry. out has kCountsHeadBytesMax + rows * kCountRowBytesMax; returns the bytes written.
size_t encodeCounts(uint64_t timeMs, std::span<const CountRow> rows, uint8_t* out);

// An AUDIT_CALL of one hot call that is logged by itself. resource: a key's reference as the request had it.
struct LoggedCall {
  uint64_t timeMs = 0, session = 0;
  uint32_t uid = 0, pid = 0, version = 0;
  uint16_t method = 0, status = 0;
  KeyId keyId{};
  std::string_view resource;
};
Buffer encodeCall(const LoggedCall& call);

// An AUDIT_GAP entry. Its detail: "from F size N root HEX subtrees HEX ...", the tree as it was last known, so that a reader can go on from
// there, and the first leaf that may be missing: what lies before it must be there, or a later loss could be hidden behind this one.
Buffer encodeGap(uint64_t timeMs, const std::string& reason, uint64_t from, const AuditTree& known);
// The tree that an AUDIT_GAP names. Nothing: not such an entry, or its root is not its subtrees'.
std::optional<AuditTree> decodeGap(Bytes leaf, uint64_t* from = nullptr);

uint64_t auditTimeMs();

}  // namespace quorate
