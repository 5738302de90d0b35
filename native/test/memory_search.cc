#include "memory_search.h"

#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/random.h"
#include "core/require.h"

namespace quorate::test {
namespace {

constexpr size_t kPieceBytes = 8;
constexpr size_t kPiecesMax = 2048, kSlots = 8192, kHitsMax = 64, kSkippedMax = 256;
constexpr size_t kWindowBytes = 1 << 20, kMapsBytes = 1 << 18;

bool telling(const uint8_t* bytes) {
  uint64_t seen[4] = {};
  int distinct = 0;
  for (size_t i = 0; i < kPieceBytes; i++) {
    uint64_t& word = seen[bytes[i] >> 6];
    distinct += (word >> (bytes[i] & 63) & 1) == 0;
    word |= uint64_t{1} << (bytes[i] & 63);
  }
  return distinct >= 5;
}

// libcrypto's allocator in this process: malloc's, but for what is kept.
constexpr size_t kKeptMax = 1 << 18;
std::atomic<bool> keeping{false};
std::atomic<size_t> keptCount{0};
void** kept = nullptr;  // mapped: it must not move among the blocks that are searched

void* cryptoAllocate(size_t bytes, const char*, int) { return std::malloc(bytes); }

void cryptoFree(void* block, const char*, int) {
  if (block == nullptr || !keeping) {
    std::free(block);
    return;
  }
  const size_t at = keptCount++;
  QUORATE_REQUIRE(at < kKeptMax);
  kept[at] = block;
}

void* cryptoReallocate(void* block, size_t bytes, const char*, int) {
  if (block == nullptr || !keeping) return std::realloc(block, bytes);
  void* moved = std::malloc(bytes);
  if (moved != nullptr) std::memcpy(moved, block, std::min(bytes, malloc_usable_size(block)));
  cryptoFree(block, nullptr, 0);
  return moved;
}

// libcrypto takes another allocator only before its first allocation.
const bool allocatorTaken = CRYPTO_set_mem_functions(cryptoAllocate, cryptoReallocate, cryptoFree) == 1;

}  // namespace

KeptHeap::KeptHeap() {
  QUORATE_REQUIRE(allocatorTaken && !keeping && keptCount == 0);
  if (kept == nullptr) {
    void* mapped = mmap(nullptr, kKeptMax * sizeof(void*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    QUORATE_REQUIRE(mapped != MAP_FAILED);
    kept = static_cast<void**>(mapped);
  }
  keeping = true;
}

KeptHeap::~KeptHeap() {
  keeping = false;
  for (size_t i = 0; i < keptCount; i++) {
    wipe(kept[i], malloc_usable_size(kept[i]));
    std::free(kept[i]);
  }
  keptCount = 0;
}

struct MemorySearch::Memory {
  uint8_t window[kWindowBytes];
  char maps[kMapsBytes];
  uint64_t mask;
  size_t pieceCount, hitCount, skippedCount;
  int self;  // /proc/self/mem
  Piece pieces[kPiecesMax];
  uint16_t slots[kSlots];  // by the low bits of the masked value: index into pieces + 1, probed linearly
  Hit hits[kHitsMax];
  std::pair<uintptr_t, size_t> skipped[kSkippedMax];
};

bool memorySearchable() {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return true;
#endif
}

MemorySearch::MemorySearch() {
  void* mapped = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  QUORATE_REQUIRE(mapped != MAP_FAILED);
  memory_ = static_cast<Memory*>(mapped);
  randomBytes({reinterpret_cast<uint8_t*>(&memory_->mask), sizeof memory_->mask});
  for (const auto& range : Arena::ranges()) {
    QUORATE_REQUIRE(memory_->skippedCount < kSkippedMax - 1);
    memory_->skipped[memory_->skippedCount++] = range;
  }
  memory_->skipped[memory_->skippedCount++] = {reinterpret_cast<uintptr_t>(mapped), sizeof(Memory)};
  memory_->self = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
}

MemorySearch::~MemorySearch() {
  close(memory_->self);
  munmap(memory_, sizeof(Memory));
}

void MemorySearch::addPiece(const char* name, size_t at, bool reversed, const uint8_t* bytes) {
  if (!telling(bytes)) return;
  QUORATE_REQUIRE(memory_->pieceCount < kPiecesMax);
  uint64_t value;
  std::memcpy(&value, bytes, kPieceBytes);
  const uint64_t masked = value ^ memory_->mask;
  memory_->pieces[memory_->pieceCount++] = {masked, name, static_cast<uint16_t>(at), reversed};
  size_t slot = masked % kSlots;
  while (memory_->slots[slot] != 0) slot = (slot + 1) % kSlots;
  memory_->slots[slot] = static_cast<uint16_t>(memory_->pieceCount);
  wipe(&value, sizeof value);
}

void MemorySearch::add(const char* name, Bytes secret) {
  for (size_t at = 0; at + kPieceBytes <= secret.size(); at += kPieceBytes) {
    addPiece(name, at, false, secret.data() + at);
    // Reversed pieces count from the end of the number: its limbs do.
    uint8_t reversed[kPieceBytes];
    std::reverse_copy(secret.data() + secret.size() - at - kPieceBytes, secret.data() + secret.size() - at, reversed);
    addPiece(name, at, true, reversed);
    wipe(reversed, sizeof reversed);
  }
}

const MemorySearch::Piece* MemorySearch::match(uint64_t value) const {
  const uint64_t masked = value ^ memory_->mask;
  for (size_t slot = masked % kSlots; memory_->slots[slot] != 0; slot = (slot + 1) % kSlots) {
    const Piece& piece = memory_->pieces[memory_->slots[slot] - 1];
    if (piece.masked == masked) return &piece;
  }
  return nullptr;
}

void MemorySearch::scan(uintptr_t from, uintptr_t to, const char* mapping) {
  // Windows overlap by a piece less one byte, so that nothing hides between two.
  for (uintptr_t at = from; at < to; at += kWindowBytes - kPieceBytes + 1) {
    const size_t wanted = std::min(kWindowBytes, static_cast<size_t>(to - at));
    const ssize_t got = pread(memory_->self, memory_->window, wanted, static_cast<off_t>(at));
    for (ssize_t i = 0; i + static_cast<ssize_t>(kPieceBytes) <= got; i++) {
      uint64_t value;
      std::memcpy(&value, memory_->window + i, kPieceBytes);
      const Piece* piece = match(value);
      if (piece == nullptr || memory_->hitCount == kHitsMax) continue;
      Hit& hit = memory_->hits[memory_->hitCount++];
      hit = {piece, at + static_cast<uintptr_t>(i), {}};
      std::strncpy(hit.mapping, mapping, sizeof hit.mapping - 1);
    }
  }
}

// A mapping without the ranges that are skipped.
void MemorySearch::findIn(uintptr_t from, uintptr_t to, const char* mapping) {
  while (from < to) {
    uintptr_t end = to, resume = to;
    for (size_t i = 0; i < memory_->skippedCount; i++) {
      const auto& [base, bytes] = memory_->skipped[i];
      if (base + bytes <= from || base >= end) continue;
      end = std::max(from, base);
      resume = base + bytes;
    }
    scan(from, end, mapping);
    from = resume;
  }
}

size_t MemorySearch::find() {
  memory_->hitCount = 0;
  size_t length = 0, mappings = 0;
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  for (ssize_t got = 1; maps >= 0 && got > 0 && length < kMapsBytes - 1; length += static_cast<size_t>(std::max<ssize_t>(got, 0))) {
    got = read(maps, memory_->maps + length, kMapsBytes - 1 - length);
  }
  if (maps >= 0) close(maps);
  QUORATE_REQUIRE(length < kMapsBytes - 1);
  memory_->maps[length] = 0;
  for (char* line = memory_->maps; *line != 0;) {
    char* const end = std::strchr(line, '\n');
    *end = 0;
    char* rest = line;
    const uintptr_t from = std::strtoull(rest, &rest, 16), to = std::strtoull(rest + 1, &rest, 16);
    const char* const name = std::strrchr(rest, ' ');
    if (rest[1] == 'r' && rest[2] == 'w') {
      findIn(from, to, name[1] == 0 ? "anonymous" : name + 1);
      mappings++;
    }
    line = end + 1;
  }
  wipe(memory_->window, kWindowBytes);
  if (mappings == 0 || memory_->self < 0) memory_->hits[memory_->hitCount++] = {nullptr, 0, "unreadable"};
  return memory_->hitCount;
}

std::vector<std::string> MemorySearch::report() const {
  std::vector<std::string> lines;
  for (size_t i = 0; i < memory_->hitCount; i++) {
    const Hit& hit = memory_->hits[i];
    char text[160];
    if (hit.piece == nullptr) {
      std::snprintf(text, sizeof text, "the memory of this process cannot be read");
    } else {
      std::snprintf(text, sizeof text, "%s+%u %s at %" PRIxPTR " %s", hit.piece->name, hit.piece->at,
                    hit.piece->reversed ? "reversed" : "as stored", hit.address, hit.mapping);
    }
    lines.push_back(text);
  }
  return lines;
}

}  // namespace quorate::test
