// Where a leaf waits for the disk: a ring in a mapped file of the runtime folder (tmpfs), so that it outlives the process, not the machine.
// One thread appends (the plane's), one takes (the audit log's); neither waits for the other. What is not yet on disk is never overwritten.
//
// The file (format of this host and build; no other program reads it):
//   0      "QARR", u16 version, u64 bytes of the data, store id
//   64     u64 the next sequence, for noticing damage
//   128    two slots of the taker's state and which of them holds, so that a kill between two stores leaves one of them whole
//   4096   counts of hot calls that are not a leaf yet (audit_counts.h)
//   20480  data: entries of u32 length, u32 CRC-32C of what follows and the length, u64 sequence, leaf; each at a multiple of 8. A length of
//          2^32 - 1: go on at the beginning.
// The data is its own index: from the taker's place on, entries whose CRC fits and whose sequences follow on each other.
#pragma once
#include <atomic>
#include <memory>

#include "plane/audit_counts.h"
#include "plane/audit_seal.h"

namespace quorate {

// What the taker keeps across a restart.
struct RingTaken {
  uint64_t position = 0;   // bytes taken since the ring was made
  uint64_t sequence = 1;   // of the first entry that was not taken
  uint64_t delta = 0;      // a leaf's index in the log less its sequence, modulo 2^64
  uint64_t bound = 0;      // 1: delta is known
};

class AuditRing {
 public:
  static constexpr size_t kBytesMin = 128 * 1024, kEntryHeadBytes = 16;

  // Makes the file, or recovers what it holds; counts that were not a leaf yet become the last one. `bytes`: a power of two, at least kBytesMin;
  // an existing ring keeps its own. A file of another store or none at all is put aside as "<path>.old". AUDIT_UNAVAILABLE with detail.
  // A store id of zeros is not known yet: such a ring is any store's.
  static Code open(const std::string& path, size_t bytes, const StoreId& storeId, std::unique_ptr<AuditRing>* out, std::string* detail);
  ~AuditRing();
  AuditRing(const AuditRing&) = delete;
  AuditRing& operator=(const AuditRing&) = delete;

  // ---- the appending thread
  // Room for a leaf of at most n bytes; nullptr: there is none. Then commit() with what it took: the entry's sequence.
  uint8_t* room(size_t n);
  uint64_t commit(size_t n);
  uint64_t nextSequence() const { return next_; }
  AuditCounts& counts() { return counts_; }
  size_t bytesFree() const { return bytes_ - static_cast<size_t>(head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_acquire)); }

  // ---- the taking thread
  struct Cursor {
    uint64_t position = 0, sequence = 1;
  };
  struct Entry {
    uint64_t sequence = 0;
    Bytes leaf;  // until it is released
  };
  Cursor taken() const { return {slot().position, slot().sequence}; }
  // The entry behind the cursor, which then moves on. False: there is none yet.
  bool read(Cursor* cursor, Entry* out) const;
  // Entries before the cursor are on disk: their room is free.
  void release(const Cursor& cursor);
  // The ring is this store's from here on. What it held for another one when it was opened goes aside as "<path>.old": those leaves are not
  // of this store's log.
  void adopt(const StoreId& storeId);
  // Leaves of sequence s are the log's at index s + delta.
  void bind(uint64_t delta);
  bool isBound() const { return slot().bound == 1; }
  uint64_t delta() const { return slot().delta; }

  // ---- any thread
  size_t bytes() const { return bytes_; }
  size_t bytesUsed() const { return static_cast<size_t>(head_.load(std::memory_order_acquire) - tail_.load(std::memory_order_acquire)); }
  uint64_t headSequence() const { return nextSeen_.load(std::memory_order_acquire); }
  // Of open(): leaves that were found, and whether some that were appended are not there.
  uint64_t recovered() const { return recovered_; }
  bool damaged() const { return damaged_; }

 private:
  AuditRing(std::string path, uint8_t* map, size_t mapBytes);
  RingTaken& slot() const;
  void put(const RingTaken& taken);
  uint8_t* at(uint64_t position) const { return data_ + (position & (bytes_ - 1)); }
  bool valid(uint64_t position, uint64_t sequence, uint32_t* length) const;
  void recover();


  const std::string path_;
  uint8_t* const map_;
  const size_t mapBytes_;
  uint8_t* const data_;
  const size_t bytes_;
  AuditCounts counts_;
  uint64_t next_ = 1, placeEnd_ = 0;
  bool damaged_ = false;
  uint64_t recovered_ = 0;
  Cursor ownFrom_;  // behind what open() found
  // Monotonic positions.
  alignas(64) std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> nextSeen_{1};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

// CRC-32C (RFC 3720, appendix B.4). crc: of what came before, 0 to begin.
uint32_t crc32c(uint32_t crc, Bytes in);

}  // namespace quorate
