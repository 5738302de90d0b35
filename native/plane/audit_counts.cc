#include "plane/audit_counts.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace quorate {

namespace {

size_t mix(const CountRow& call) {
  uint64_t id;
  std::memcpy(&id, call.keyId.data(), sizeof(id));  // random already
  uint64_t h = (call.session * 0x9e3779b97f4a7c15ull) ^ id ^ (static_cast<uint64_t>(call.version) << 32 | static_cast<uint32_t>(call.method) << 16 | call.status);
  h ^= h >> 29;
  h *= 0xbf58476d1ce4e5b9ull;
  return static_cast<size_t>(h ^ h >> 32);
}

// The kernel keeps what was stored before a kill, in the order in which this thread stored it; so only the compiler must not reorder.
void inOrder() { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace

bool AuditCounts::add(const CountRow& call, uint64_t sequence) {
  if (last_ < table_->rows && table_->row[last_].sameCall(call)) {
    table_->row[last_].count += call.count;
    return true;
  }
  size_t place = mix(call) & (kPlaces - 1);
  for (; places_[place] != 0; place = (place + 1) & (kPlaces - 1)) {
    const size_t i = places_[place] - 1;
    if (!table_->row[i].sameCall(call)) continue;
    last_ = i;
    table_->row[i].count += call.count;
    return true;
  }
  const auto i = static_cast<size_t>(table_->rows);
  if (i == kRowsMax) return false;
  if (i == 0) {
    table_->sequence = sequence;
    table_->openedMs = auditTimeMs();
  }
  table_->row[i] = call;
  inOrder();
  table_->rows = i + 1;
  places_[place] = static_cast<uint16_t>(i + 1);
  last_ = i;
  return true;
}

void AuditCounts::clear() {
  table_->rows = 0;
  inOrder();
  last_ = 0;
  std::fill(std::begin(places_), std::end(places_), uint16_t{0});
}

}  // namespace quorate
