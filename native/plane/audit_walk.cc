#include "plane/audit_walk.h"

#include <algorithm>
#include <cstring>

#include "core/stack_scrub.h"
#include "plane/audit_leaf.h"

namespace quorate {

namespace {
constexpr size_t kRoomBytes = 256 * 1024;
}

AuditFault AuditWalk::compare() const {
  for (const Mark& mark : marks_)
    if (mark.size == tree.size() && mark.root != tree.root())
      return {AuditFaultKind::corrupt, std::string(mark.file) + ": the first " + std::to_string(mark.size) + " leaves are not those that it was written for"};
  return {};
}

AuditFault AuditWalk::take(Bytes leaf) {
  const TreeHash hash = auditLeafHash(leaf);
  if (tree.size() >= keepFrom) kept.push_back({hash, decodeGap(leaf).has_value()});
  tree.add(hash);
  return compare();
}

AuditFault AuditWalk::walk(int fd, const std::string& name, const SegmentKey& key, uint64_t bytes) {
  Buffer room(kRoomBytes), leaf(limits::audit_entry_bytes_max);
  size_t filled = 0;
  offset = kSegmentHeaderBytes;
  stop = nullptr;
  AuditFault fault = compare();
  while (!fault && stop == nullptr && offset < bytes) {
    size_t got = 0;
    const size_t want = static_cast<size_t>(std::min<uint64_t>(room.size() - filled, bytes - offset - filled));
    if (fault = readAt(fd, name, offset + filled, MutBytes(room).subspan(filled, want), &got); fault) break;
    filled += got;
    Bytes rest(room.data(), filled), sealed;
    EntryState state = EntryState::none;
    for (size_t takes = 0; !fault && (state = nextEntry(rest, &sealed, &takes)) == EntryState::whole; rest = rest.subspan(takes)) {
      if (!key.open(tree.size(), sealed, leaf.data())) {
        stop = "it does not open";
        break;
      }
      fault = take({leaf.data(), sealed.size() - kEntryTagBytes});
      offset += takes;
    }
    if (state == EntryState::bad) stop = "no entry has that length";
    if (state == EntryState::cut && offset + rest.size() >= bytes) stop = "it is not whole";
    if (got == 0 && state != EntryState::whole && offset < bytes && stop == nullptr) stop = "it is not whole";  // shorter than it was a moment ago
    std::memmove(room.data(), rest.data(), rest.size());
    filled = rest.size();
  }
  scrubStack();
  return fault;
}

}  // namespace quorate
