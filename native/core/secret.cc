// The arena: one reservation, cut into slabs with a guard page on either side of each. A slab serves blocks of one size
// class while any of its blocks is in use. All bookkeeping lies outside the slabs, so a write past a block cannot corrupt
// it: every free is checked against the slab's bitmap.
#include "core/secret.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/random.h"
#include "core/require.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define ARENA_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define ARENA_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define ARENA_POISON(p, n) ((void)0)
#define ARENA_UNPOISON(p, n) ((void)0)
#endif

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace quorate {
namespace {

constexpr size_t kSlabBytes = limits::arena_slab_bytes;
constexpr size_t kSmallestBlock = 64;  // one cache line, and the alignment of every block
// Keys and what they are made with end at 8 KiB; above it are values of secrets, of which a slab holds 6, 5, 4, 3, 2 or one.
constexpr size_t kClassBytes[] = {64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 10880, 13056, 16384, 21824, 32768, 65536};
constexpr unsigned kClasses = std::size(kClassBytes);
constexpr uint32_t kNone = UINT32_MAX;
static_assert(kClassBytes[kClasses - 1] == kArenaBlockBytesMax);

constexpr size_t classBytes(unsigned sizeClass) { return kClassBytes[sizeClass]; }

// The class of a block of n * 64 bytes.
struct ClassTable {
  uint8_t of[kArenaBlockBytesMax / kSmallestBlock + 1] = {};
  constexpr ClassTable() {
    for (size_t n = 1; n < std::size(of); n++) {
      while (kClassBytes[of[n]] < n * kSmallestBlock) of[n]++;
    }
  }
};
constexpr ClassTable kClassTable;
unsigned classOf(size_t n) { return kClassTable.of[(n + kSmallestBlock - 1) / kSmallestBlock]; }

struct Slab {
  uint32_t previous = kNone, next = kNone;  // in the list of its class's slabs that have a free block, or of unassigned slabs
  unsigned sizeClass = 0;
  uint32_t used = 0;                               // 0 exactly while unassigned
  uint64_t free[kSlabBytes / kSmallestBlock / 64];  // bit set: block free
  uint32_t blocks() const { return uint32_t(kSlabBytes / classBytes(sizeClass)); }
};

struct State {
  std::mutex mutex;
  uint8_t* base = nullptr;  // set once at open, like the next two
  size_t guardBytes = 0, slabCount = 0;
  std::vector<Slab> slabs;
  uint32_t unassigned = kNone;
  uint32_t partial[kClasses];  // heads of lists
  size_t bytesUsed = 0, blocks = 0, slabsFree = 0;

  uint8_t* slabAt(size_t index) const { return base + guardBytes + index * (kSlabBytes + guardBytes); }
  void push(uint32_t* head, uint32_t index);
  void remove(uint32_t* head, uint32_t index);
  uint8_t* take(unsigned sizeClass);
};

// Never destroyed: secrets in static objects are released after main.
State& state() {
  static State* const instance = new State;
  return *instance;
}
std::atomic<bool> opened{false};

void State::push(uint32_t* head, uint32_t index) {
  slabs[index].previous = kNone;
  slabs[index].next = *head;
  if (*head != kNone) slabs[*head].previous = index;
  *head = index;
}

void State::remove(uint32_t* head, uint32_t index) {
  Slab& slab = slabs[index];
  if (slab.previous != kNone) slabs[slab.previous].next = slab.next;
  else *head = slab.next;
  if (slab.next != kNone) slabs[slab.next].previous = slab.previous;
}

uint8_t* State::take(unsigned sizeClass) {
  uint32_t index = partial[sizeClass];
  if (index == kNone) {
    index = unassigned;
    if (index == kNone) return nullptr;
    remove(&unassigned, index);
    slabsFree--;
    Slab& slab = slabs[index];
    slab.sizeClass = sizeClass;
    const uint32_t count = slab.blocks();
    for (uint32_t i = 0; i < std::size(slab.free); i++) {
      slab.free[i] = count >= (i + 1) * 64 ? ~0ull : count > i * 64 ? (1ull << (count - i * 64)) - 1 : 0;
    }
    push(&partial[sizeClass], index);
  }
  Slab& slab = slabs[index];
  uint32_t word = 0;
  while (slab.free[word] == 0) word++;
  const uint32_t block = word * 64 + uint32_t(std::countr_zero(slab.free[word]));
  slab.free[word] &= slab.free[word] - 1;
  if (++slab.used == slab.blocks()) remove(&partial[sizeClass], index);
  bytesUsed += classBytes(sizeClass);
  blocks++;
  return slabAt(index) + block * classBytes(sizeClass);
}

std::string kib(uint64_t bytes) { return std::to_string(bytes / 1024) + " KiB"; }

std::string lockFailure(size_t need, int error) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const std::string allowed = limit.rlim_cur == RLIM_INFINITY ? "unlimited" : kib(limit.rlim_cur);
  return "the secure arena needs " + kib(need) + " of locked memory and RLIMIT_MEMLOCK is " + allowed + " (" + std::strerror(error) +
         "); raise it with LimitMEMLOCK= or ulimit -l";
}

// Maps and locks everything, or leaves nothing behind.
Code mapSlabs(State& arena, std::string* detail) {
  const size_t total = arena.guardBytes + arena.slabCount * (kSlabBytes + arena.guardBytes);
  void* mapped = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    *detail = "the secure arena cannot reserve " + kib(total) + ": " + std::strerror(errno);
    return Code::ARENA_LOCK_FAILED;
  }
  arena.base = static_cast<uint8_t*>(mapped);
  for (size_t i = 0; i < arena.slabCount; i++) {
    uint8_t* slab = arena.slabAt(i);
    if (mprotect(slab, kSlabBytes, PROT_READ | PROT_WRITE) != 0 || madvise(slab, kSlabBytes, MADV_DONTDUMP) != 0 ||
        mlock(slab, kSlabBytes) != 0) {
      *detail = lockFailure(arena.slabCount * kSlabBytes, errno);
      munmap(mapped, total);
      arena.base = nullptr;
      return Code::ARENA_LOCK_FAILED;
    }
    // A child of fork sees zeros. Kernels before 4.14 lack it; there the child holds copies, as it does of everything.
    madvise(slab, kSlabBytes, MADV_WIPEONFORK);
    ARENA_POISON(slab, kSlabBytes);
  }
  return Code::OK;
}

// The slab that p lies in, or slabCount.
size_t slabOf(const State& arena, const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p), first = reinterpret_cast<uintptr_t>(arena.base) + arena.guardBytes;
  if (address < first) return arena.slabCount;
  const size_t index = (address - first) / (kSlabBytes + arena.guardBytes);
  if (index >= arena.slabCount || (address - first) % (kSlabBytes + arena.guardBytes) >= kSlabBytes) return arena.slabCount;
  return index;
}

}  // namespace

Code Arena::open(size_t bytes, std::string* detail) {
  State& arena = state();
  std::lock_guard lock(arena.mutex);
  std::string ignored;
  if (detail == nullptr) detail = &ignored;
  if (opened) {
    if (bytes <= arena.slabCount * kSlabBytes) return Code::OK;
    *detail = "the secure arena is open already, with " + kib(arena.slabCount * kSlabBytes);
    return Code::ARENA_LOCK_FAILED;
  }
  arena.guardBytes = size_t(sysconf(_SC_PAGESIZE));
  arena.slabCount = bytes == 0 ? 1 : (bytes - 1) / kSlabBytes + 1;
  if (arena.slabCount > UINT32_MAX / 2) {
    *detail = "the secure arena cannot have " + kib(bytes);
    return Code::ARENA_LOCK_FAILED;
  }
  if (Code code = mapSlabs(arena, detail); code != Code::OK) return code;
  arena.slabs.assign(arena.slabCount, Slab{});
  for (uint32_t& head : arena.partial) head = kNone;
  for (size_t i = arena.slabCount; i-- > 0;) arena.push(&arena.unassigned, uint32_t(i));
  arena.slabsFree = arena.slabCount;
  opened = true;
  return Code::OK;
}

uint8_t* Arena::allocate(size_t n) {
  if (n == 0 || n > kArenaBlockBytesMax || !opened) return nullptr;
  State& arena = state();
  uint8_t* p;
  {
    std::lock_guard lock(arena.mutex);
    p = arena.take(classOf(n));
  }
  if (p != nullptr) ARENA_UNPOISON(p, n);
  return p;
}

void Arena::release(uint8_t* p, size_t n) {
  if (p == nullptr) return;
  State& arena = state();
  QUORATE_REQUIRE(opened && n > 0 && n <= kArenaBlockBytesMax);
  const size_t index = slabOf(arena, p);
  QUORATE_REQUIRE(index < arena.slabCount);
  const unsigned sizeClass = classOf(n);
  const size_t offset = size_t(p - arena.slabAt(index));
  QUORATE_REQUIRE(offset % classBytes(sizeClass) == 0);
  // Outside the lock. Should the checks below find a double free, the process ends anyway.
  ARENA_UNPOISON(p, classBytes(sizeClass));
  wipe(p, classBytes(sizeClass));
  ARENA_POISON(p, classBytes(sizeClass));

  std::lock_guard lock(arena.mutex);
  Slab& slab = arena.slabs[index];
  const size_t block = offset / classBytes(sizeClass);
  const uint64_t bit = 1ull << (block % 64);
  QUORATE_REQUIRE(slab.used > 0 && slab.sizeClass == sizeClass);
  QUORATE_REQUIRE((slab.free[block / 64] & bit) == 0);  // a double free
  const bool wasFull = slab.used == slab.blocks();
  slab.free[block / 64] |= bit;
  slab.used--;
  arena.bytesUsed -= classBytes(sizeClass);
  arena.blocks--;
  if (wasFull) arena.push(&arena.partial[sizeClass], uint32_t(index));
  if (slab.used == 0) {
    arena.remove(&arena.partial[sizeClass], uint32_t(index));
    arena.push(&arena.unassigned, uint32_t(index));
    arena.slabsFree++;
  }
}

ArenaStats Arena::stats() {
  State& arena = state();
  std::lock_guard lock(arena.mutex);
  return {opened ? arena.slabCount * kSlabBytes : 0, arena.bytesUsed, arena.blocks, opened, opened ? arena.slabCount : 0, arena.slabsFree};
}

bool Arena::holds(const void* p, size_t n) {
  if (!opened || n > kSlabBytes) return false;
  const State& arena = state();
  const size_t index = slabOf(arena, p);
  return index < arena.slabCount && static_cast<const uint8_t*>(p) + n <= arena.slabAt(index) + kSlabBytes;
}

std::vector<std::pair<uintptr_t, size_t>> Arena::ranges() {
  std::vector<std::pair<uintptr_t, size_t>> out;
  if (!opened) return out;
  const State& arena = state();
  for (size_t i = 0; i < arena.slabCount; i++) out.emplace_back(reinterpret_cast<uintptr_t>(arena.slabAt(i)), kSlabBytes);
  return out;
}

Secret::~Secret() { Arena::release(data_, capacity_); }

Secret::Secret(Secret&& other) noexcept : data_(other.data_), size_(other.size_), capacity_(other.capacity_) {
  other.data_ = nullptr;
  other.size_ = other.capacity_ = 0;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Arena::release(data_, capacity_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
  }
  return *this;
}

Code Secret::make(size_t n, Secret* out) {
  Secret made;
  if (n > 0) {
    made.data_ = Arena::allocate(n);
    if (made.data_ == nullptr) return Code::ARENA_FULL;
    made.size_ = made.capacity_ = n;
  }
  *out = std::move(made);
  return Code::OK;
}

Code Secret::copy(Bytes from, Secret* out) {
  Secret made;
  if (Code code = make(from.size(), &made); code != Code::OK) return code;
  if (!from.empty()) std::memcpy(made.data_, from.data(), from.size());
  *out = std::move(made);
  return Code::OK;
}

Code Secret::random(size_t n, Secret* out) {
  Secret made;
  if (Code code = make(n, &made); code != Code::OK) return code;
  randomBytes(made.span());
  *out = std::move(made);
  return Code::OK;
}

void Secret::truncate(size_t n) {
  QUORATE_REQUIRE(n <= size_);
  if (n < size_) wipe(data_ + n, size_ - n);
  size_ = n;
}

}  // namespace quorate
