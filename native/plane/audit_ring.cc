#include "plane/audit_ring.h"

#include <sys/mman.h>

#include <cstring>

#include "core/require.h"

namespace quorate {

namespace {

constexpr size_t kSequenceAt = 64, kSlotsAt = 128, kCountsAt = 4096, kDataAt = kCountsAt + AuditCounts::kBytes;
constexpr uint32_t kWrap = 0xffffffff;

struct Slots {
  uint64_t chosen;
  RingTaken slot[2];
};
Slots& slotsOf(uint8_t* map) { return *reinterpret_cast<Slots*>(map + kSlotsAt); }
static_assert(kSlotsAt + sizeof(Slots) <= kCountsAt);

struct EntryHead {
  uint32_t length, crc;
  uint64_t sequence;
};
static_assert(sizeof(EntryHead) == AuditRing::kEntryHeadBytes);

size_t entryBytes(size_t leaf) { return (AuditRing::kEntryHeadBytes + leaf + 7) & ~size_t{7}; }

uint32_t crcOf(const EntryHead& head, const uint8_t* leaf) {
  uint64_t both[2] = {head.length, head.sequence};
  return crc32c(crc32c(0, {reinterpret_cast<const uint8_t*>(both), sizeof(both)}), {leaf, head.length});
}

struct CrcTable {
  uint32_t of[256];
  constexpr CrcTable() : of() {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
      of[i] = c;
    }
  }
};
constexpr CrcTable kCrc;

uint32_t crcByTable(uint32_t c, Bytes in) {
  for (const uint8_t b : in) c = c >> 8 ^ kCrc.of[(c ^ b) & 0xff];
  return c;
}

#if defined(__x86_64__)
[[gnu::target("sse4.2")]] uint32_t crcByInstruction(uint32_t c, Bytes in) {
  uint64_t wide = c;
  size_t i = 0;
  for (; i + 8 <= in.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, in.data() + i, sizeof(word));
    wide = __builtin_ia32_crc32di(wide, word);
  }
  c = static_cast<uint32_t>(wide);
  for (; i < in.size(); i++) c = __builtin_ia32_crc32qi(c, in[i]);
  return c;
}
#endif

}  // namespace

uint32_t crc32c(uint32_t crc, Bytes in) {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2");
  if (fast) return ~crcByInstruction(~crc, in);
#endif
  return ~crcByTable(~crc, in);
}

AuditRing::AuditRing(std::string path, uint8_t* map, size_t mapBytes)
    : path_(std::move(path)), map_(map), mapBytes_(mapBytes), data_(map + kDataAt), bytes_(mapBytes - kDataAt), counts_(map + kCountsAt) {}

AuditRing::~AuditRing() { munmap(map_, mapBytes_); }

RingTaken& AuditRing::slot() const {
  Slots& slots = slotsOf(map_);
  return slots.slot[slots.chosen & 1];
}

void AuditRing::put(const RingTaken& taken) {
  Slots& slots = slotsOf(map_);
  const uint64_t other = (slots.chosen & 1) ^ 1;
  slots.slot[other] = taken;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  slots.chosen = other;
}

uint8_t* AuditRing::room(size_t n) {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  const size_t place = static_cast<size_t>(head & (bytes_ - 1)), toEnd = bytes_ - place, need = entryBytes(n);
  const size_t skip = toEnd < need ? toEnd : 0;
  if (bytesFree() < skip + need) return nullptr;
  placeEnd_ = head + skip;
  return at(placeEnd_) + kEntryHeadBytes;
}

uint64_t AuditRing::commit(size_t n) {
  QUORATE_REQUIRE(n <= limits::audit_entry_bytes_max);
  const uint64_t head = head_.load(std::memory_order_relaxed);
  if (placeEnd_ != head) std::memcpy(at(head), &kWrap, sizeof(kWrap));
  uint8_t* place = at(placeEnd_);
  EntryHead entry{static_cast<uint32_t>(n), 0, next_};
  entry.crc = crcOf(entry, place + kEntryHeadBytes);
  std::memcpy(place, &entry, sizeof(entry));
  std::memcpy(map_ + kSequenceAt, &++next_, sizeof(next_));
  nextSeen_.store(next_, std::memory_order_release);
  head_.store(placeEnd_ + entryBytes(n), std::memory_order_release);
  return entry.sequence;
}

bool AuditRing::valid(uint64_t position, uint64_t sequence, uint32_t* length) const {
  const size_t toEnd = bytes_ - static_cast<size_t>(position & (bytes_ - 1));
  if (toEnd < kEntryHeadBytes) return false;
  EntryHead head;
  std::memcpy(&head, at(position), sizeof(head));
  if (head.sequence != sequence || head.length > limits::audit_entry_bytes_max || entryBytes(head.length) > toEnd) return false;
  if (crcOf(head, at(position) + kEntryHeadBytes) != head.crc) return false;
  *length = head.length;
  return true;
}

bool AuditRing::read(Cursor* cursor, Entry* out) const {
  if (cursor->position == head_.load(std::memory_order_acquire)) return false;
  uint32_t word;
  std::memcpy(&word, at(cursor->position), sizeof(word));
  if (word == kWrap) cursor->position += bytes_ - (cursor->position & (bytes_ - 1));
  // Appended whole by this process, or checked by recover(): anything else is another program's writing in our memory.
  uint32_t length;
  QUORATE_REQUIRE(valid(cursor->position, cursor->sequence, &length));
  *out = {cursor->sequence, {at(cursor->position) + kEntryHeadBytes, length}};
  cursor->position += entryBytes(length);
  cursor->sequence++;
  return true;
}

void AuditRing::release(const Cursor& cursor) {
  RingTaken taken = slot();
  taken.position = cursor.position;
  taken.sequence = cursor.sequence;
  put(taken);
  tail_.store(cursor.position, std::memory_order_release);
}

void AuditRing::bind(uint64_t delta) {
  RingTaken taken = slot();
  taken.delta = delta;
  taken.bound = 1;
  put(taken);
}

void AuditRing::recover() {
  uint64_t appended;
  std::memcpy(&appended, map_ + kSequenceAt, sizeof(appended));
  if (slot().position % 8 != 0) {  // no ring writes that
    put({0, appended, 0, 0});
    damaged_ = true;
  }
  const RingTaken taken = slot();
  uint64_t position = taken.position;
  next_ = taken.sequence;
  uint32_t length;
  for (;;) {
    uint64_t from = position;
    uint32_t word;
    std::memcpy(&word, at(from), sizeof(word));
    if (word == kWrap) from += bytes_ - (from & (bytes_ - 1));
    if (!valid(from, next_, &length) || from + entryBytes(length) - taken.position > bytes_) break;
    position = from + entryBytes(length);
    next_++;
    recovered_++;
  }
  // One more than was told: the process died between an entry and its number.
  damaged_ = damaged_ || appended > next_ || next_ > appended + 1;
  std::memcpy(map_ + kSequenceAt, &next_, sizeof(next_));
  head_ = position;
  tail_ = taken.position;
  nextSeen_ = next_;
  if (counts_.plausible() && counts_.sequence() == next_ && !counts_.empty()) {
    const size_t most = kCountsHeadBytesMax + counts_.rows().size() * kCountRowBytesMax;
    if (uint8_t* place = room(most)) {
      commit(encodeCounts(counts_.openedMs(), counts_.rows(), place));
      recovered_++;
    } else {
      damaged_ = true;
    }
  }
  counts_.clear();
  ownFrom_ = {head_.load(), next_};
}

}  // namespace quorate
