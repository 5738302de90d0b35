// The open sessions, for whoever asks: kept by the plane's thread, read by any.
#pragma once
#include <atomic>
#include <map>
#include <mutex>

#include "plane/plane.h"

namespace quorate {

// What a session shows of itself. The plane's thread alone writes it: the atomics at any time, the peer through the table.
struct SessionRow {
  uint64_t session = 0;
  int32_t pid = 0;
  int64_t openedNs = 0, openedMs = 0;   // CLOCK_BOOTTIME; Unix time
  PeerPtr peer;
  std::atomic<int64_t> usedNs{0};       // CLOCK_BOOTTIME, of the last request
  std::atomic<uint64_t> requests{0};
  std::atomic<uint32_t> sessionKeys{0}, streams{0};

  void count(uint64_t newRequests, int64_t nowNs) {
    usedNs.store(nowNs, std::memory_order_relaxed);
    requests.store(requests.load(std::memory_order_relaxed) + newRequests, std::memory_order_relaxed);
  }
};

class SessionTable {
 public:
  // The row stays where it is until it was removed.
  void add(SessionRow* row);
  void setPeer(SessionRow* row, PeerPtr peer);
  // From here on it is neither listed nor found. False when it was not there.
  bool remove(uint64_t session);
  std::vector<SessionInfo> list(int64_t nowNs) const;

 private:
  mutable std::mutex mutex_;
  std::map<uint64_t, SessionRow*> rows_;  // guarded by mutex_; in the order in which they were opened
};

}  // namespace quorate
