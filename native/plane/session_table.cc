#include "plane/session_table.h"

#include <algorithm>

namespace quorate {

void SessionTable::add(SessionRow* row) {
  const std::lock_guard lock(mutex_);
  rows_.emplace(row->session, row);
}

void SessionTable::setPeer(SessionRow* row, PeerPtr peer) {
  const std::lock_guard lock(mutex_);
  row->peer.swap(peer);
}

bool SessionTable::remove(uint64_t session) {
  const std::lock_guard lock(mutex_);
  return rows_.erase(session) != 0;
}

std::vector<SessionInfo> SessionTable::list(int64_t nowNs) const {
  const auto get = [](const auto& value) { return value.load(std::memory_order_relaxed); };
  std::vector<SessionInfo> out;
  const std::lock_guard lock(mutex_);
  out.reserve(rows_.size());
  for (const auto& [session, row] : rows_) {
    const auto idleNs = static_cast<uint64_t>(std::max<int64_t>(nowNs - get(row->usedNs), 0));
    out.push_back({session, row->peer, row->pid, row->openedMs, idleNs / 1'000'000, get(row->requests), get(row->sessionKeys), get(row->streams)});
  }
  return out;
}

}  // namespace quorate
