#include "memory_search.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "core/random.h"

namespace quorate::test {
namespace {

constexpr size_t kPieceBytes = 8;
constexpr size_t kSlots = 4096;
constexpr size_t kWindowBytes = 1 << 20;

bool telling(const uint8_t* bytes) {
  uint8_t sorted[kPieceBytes];
  std::memcpy(sorted, bytes, kPieceBytes);
  std::sort(sorted, sorted + kPieceBytes);
  return std::unique(sorted, sorted + kPieceBytes) - sorted >= 5;
}

}  // namespace

bool memorySearchable() {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return true;
#endif
}

MemorySearch::MemorySearch() : slots_(kSlots) {
  randomBytes({reinterpret_cast<uint8_t*>(&mask_), sizeof mask_});
  window_ = static_cast<uint8_t*>(mmap(nullptr, kWindowBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

MemorySearch::~MemorySearch() { munmap(window_, kWindowBytes); }

void MemorySearch::addPiece(const std::string& name, const uint8_t* bytes) {
  if (!telling(bytes)) return;
  uint64_t value;
  std::memcpy(&value, bytes, kPieceBytes);
  pieces_.push_back({value ^ mask_, name});
  value = 0;
  size_t slot = pieces_.back().masked % kSlots;
  while (slots_[slot] != 0) slot = (slot + 1) % kSlots;
  slots_[slot] = static_cast<uint32_t>(pieces_.size());
}

void MemorySearch::add(const char* name, Bytes secret) {
  for (size_t at = 0; at + kPieceBytes <= secret.size(); at += kPieceBytes) {
    const std::string place = std::string(name) + "+" + std::to_string(at);
    addPiece(place + " stored order", secret.data() + at);
    // Reversed pieces count from the end of the number: its limbs do.
    uint8_t reversed[kPieceBytes];
    std::reverse_copy(secret.data() + secret.size() - at - kPieceBytes, secret.data() + secret.size() - at, reversed);
    addPiece(place + " reversed", reversed);
    wipe(reversed, sizeof reversed);
  }
}

const MemorySearch::Piece* MemorySearch::match(uint64_t value) const {
  for (size_t slot = (value ^ mask_) % kSlots; slots_[slot] != 0; slot = (slot + 1) % kSlots) {
    if (pieces_[slots_[slot] - 1].masked == (value ^ mask_)) return &pieces_[slots_[slot] - 1];
  }
  return nullptr;
}

void MemorySearch::scan(uintptr_t from, uintptr_t to, const std::string& mapping, int memory, std::vector<std::string>* hits) const {
  // Windows overlap by a piece less one byte, so that nothing hides between two.
  for (uintptr_t at = from; at < to; at += kWindowBytes - kPieceBytes + 1) {
    const ssize_t got = pread(memory, window_, std::min(kWindowBytes, static_cast<size_t>(to - at)), static_cast<off_t>(at));
    for (ssize_t i = 0; i + static_cast<ssize_t>(kPieceBytes) <= got; i++) {
      uint64_t value;
      std::memcpy(&value, window_ + i, kPieceBytes);
      const Piece* piece = match(value);
      if (piece == nullptr) continue;
      char text[32];
      std::snprintf(text, sizeof text, " at %" PRIxPTR " ", at + static_cast<uintptr_t>(i));
      hits->push_back(piece->name + text + mapping);
    }
  }
}

std::vector<std::string> MemorySearch::find() const {
  std::vector<std::string> hits;
  std::vector<std::pair<uintptr_t, size_t>> skipped = Arena::ranges();
  skipped.emplace_back(reinterpret_cast<uintptr_t>(window_), kWindowBytes);
  const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  FILE* maps = std::fopen("/proc/self/maps", "re");
  std::vector<std::pair<std::pair<uintptr_t, uintptr_t>, std::string>> ranges;
  char line[512], permissions[8], name[256];
  while (maps != nullptr && std::fgets(line, sizeof line, maps) != nullptr) {
    uintptr_t from = 0, to = 0;
    name[0] = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %*s %*s %*s %255s", &from, &to, permissions, name) < 3) continue;
    if (permissions[0] == 'r' && permissions[1] == 'w') ranges.push_back({{from, to}, name[0] ? name : "anonymous"});
  }
  if (memory < 0 || maps == nullptr || ranges.empty()) hits.push_back("the memory of this process cannot be read");
  for (const auto& [range, mapping] : ranges) {
    uintptr_t at = range.first;
    while (at < range.second) {
      // Up to the next skipped range, then past it.
      uintptr_t end = range.second, resume = range.second;
      for (const auto& [base, bytes] : skipped) {
        if (base + bytes <= at || base >= end) continue;
        end = std::max(at, base);
        resume = base + bytes;
      }
      if (end > at) scan(at, end, mapping, memory, &hits);
      at = resume;
    }
  }
  if (maps != nullptr) std::fclose(maps);
  if (memory >= 0) close(memory);
  wipe(window_, kWindowBytes);
  return hits;
}

}  // namespace quorate::test
