// The secure arena: the only place where key material lives. Slabs of mlocked, MADV_DONTDUMP memory with a
// PROT_NONE guard page on either side; every block is wiped when it is freed.
#pragma once
#include <memory>
#include <mutex>
#include <unordered_map>

#include "core/base.h"

namespace quorate {

struct ArenaStats {
  size_t bytesMax = 0, bytesUsed = 0, blocks = 0;
  bool locked = false;  // mlock held for every slab
  size_t slabs = 0, slabsFree = 0;  // a block of a whole slab needs a free one
};

// The longest block: a whole slab.
inline constexpr size_t kArenaBlockBytesMax = limits::arena_slab_bytes;
static_assert(limits::secret_bytes_max <= kArenaBlockBytesMax && limits::secret_value_bytes_max <= kArenaBlockBytesMax);

class Arena {
 public:
  // Once for a process. ARENA_LOCK_FAILED when RLIMIT_MEMLOCK (without CAP_IPC_LOCK) does not allow `bytes`; `detail`
  // then says the limit and the need. Everything is mapped and locked here, so no later allocation can fail for locking.
  static Code open(size_t bytes, std::string* detail);
  // nullptr when full. 64-byte aligned, zeroed, n from 1 to kArenaBlockBytesMax. Thread-safe.
  static uint8_t* allocate(size_t n);
  // Wipes, then frees.
  static void release(uint8_t* p, size_t n);
  static ArenaStats stats();
  // True when [p, p+n) lies inside a slab (for tests and the memory search).
  static bool holds(const void* p, size_t n);
  // Address ranges of the slabs, for the memory search of tests.
  static std::vector<std::pair<uintptr_t, size_t>> ranges();
};

// Owns one block of the arena. Movable, not copyable; wiped when it dies.
class Secret {
 public:
  Secret() = default;
  ~Secret();
  Secret(Secret&&) noexcept;
  Secret& operator=(Secret&&) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  static Code make(size_t n, Secret* out);          // zeroed; ARENA_FULL
  static Code copy(Bytes from, Secret* out);        // ARENA_FULL; the caller wipes `from`
  static Code random(size_t n, Secret* out);        // from the DRBG
  void truncate(size_t n);                          // n <= size(); wipes the rest

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  operator Bytes() const { return {data_, size_}; }
  MutBytes span() { return {data_, size_}; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};
using SecretPtr = std::shared_ptr<const Secret>;

// A trivially destructible T placed in the arena and wiped with it (GcmKey, HMAC states ...).
template <class T>
class ArenaBox {
 public:
  static Code make(ArenaBox* out) { return Secret::make(sizeof(T), &out->block_); }
  T* get() { return reinterpret_cast<T*>(block_.data()); }
  const T* get() const { return reinterpret_cast<const T*>(block_.data()); }
  bool empty() const { return block_.empty(); }

 private:
  Secret block_;
};

// What JavaScript and the wire hold instead of a secret: a number. Thread-safe. Handles are never reused.
class HandleTable {
 public:
  static uint64_t put(Secret&& secret);        // 1 and up, below 2^53
  static SecretPtr get(uint64_t handle);       // nullptr when unknown
  static SecretPtr take(uint64_t handle);      // get, and forget the handle
  static bool drop(uint64_t handle);
  static size_t size();
};

}  // namespace quorate
