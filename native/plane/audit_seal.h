// Segments of the audit log, docs/FORMAT.md: a header, then each leaf sealed for its own place.
//
//   "QALG" | u16 version 1 | store id (16) | salt (16) | u64 first index      then for each leaf: u32 length | ciphertext | tag (16)
//
// AES-256-GCM; key = HKDF-SHA-256(audit key, salt, "quorate/audit/segment"), IV = 4 zero bytes | u64 index, aad = the header. Little endian.
//
// The duty of whoever writes: one index of one salt seals one leaf, ever. A second one would repeat the IV.
#pragma once
#include <array>

#include "core/gcm.h"
#include "core/secret.h"

namespace quorate {

using StoreId = std::array<uint8_t, 16>;

inline constexpr size_t kSegmentHeaderBytes = 46, kEntryLengthBytes = 4, kEntryTagBytes = 16;
inline constexpr size_t kEntryOverheadBytes = kEntryLengthBytes + kEntryTagBytes;
inline constexpr size_t kEntryBytesMax = limits::audit_entry_bytes_max + kEntryOverheadBytes;

struct SegmentHeader {
  StoreId storeId{};
  std::array<uint8_t, 16> salt{};
  uint64_t firstIndex = 0;
};
using SegmentHeaderBytes = std::array<uint8_t, kSegmentHeaderBytes>;
SegmentHeaderBytes encodeSegmentHeader(const SegmentHeader& header);
// False: not the header of a segment.
bool decodeSegmentHeader(Bytes in, SegmentHeader* out);

// A segment's key, prepared. One thread.
class SegmentKey {
 public:
  // auditKey: 32 bytes (KEY_INVALID otherwise). ARENA_FULL
  static Code make(Bytes auditKey, const SegmentHeaderBytes& header, SegmentKey* out);
  bool empty() const { return key_.empty(); }
  // The whole entry: out has leaf.size() + kEntryOverheadBytes. Leaves key bytes in dead stack frames: the caller scrubs after its last one.
  void seal(uint64_t index, Bytes leaf, uint8_t* out) const;
  // sealed: ciphertext and tag, without the length. out has sealed.size() - kEntryTagBytes, zeros when it does not open. Scrub as above.
  bool open(uint64_t index, Bytes sealed, uint8_t* out) const;

 private:
  ArenaBox<GcmKey> key_;
  SegmentHeaderBytes header_{};
};

// The next entry of `in`: its sealed bytes and what it takes with its length. `cut`: it goes on behind `in`; `bad`: no entry has that length.
enum class EntryState { whole, cut, bad, none };
EntryState nextEntry(Bytes in, Bytes* sealed, size_t* takes);

// For readers: opens whole entries that stand one after the other, `index` being the first one's; the leaves up to the first that does not
// open, or is not whole. AUDIT_CORRUPT: `header` is no segment's. KEY_INVALID, ARENA_FULL
Code openEntries(Bytes auditKey, Bytes header, uint64_t index, Bytes entries, std::vector<Buffer>* leaves);

}  // namespace quorate
