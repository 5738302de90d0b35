// Searches this process's writable memory, the arena aside, for pieces of secrets: in the order they are stored in and in
// reverse (libcrypto keeps numbers with the lowest limb first), 8 bytes at a time, so that a copy is found when a later
// allocation has overwritten its beginning. What is looked for is held masked, and the search reads through a window that it
// skips, so that it does not find itself; and it allocates nothing, lest it overwrite in the heap what it should find.
#pragma once
#include <string>

#include "core/secret.h"

namespace quorate::test {

class MemorySearch {
 public:
  MemorySearch();
  ~MemorySearch();
  MemorySearch(const MemorySearch&) = delete;
  MemorySearch& operator=(const MemorySearch&) = delete;

  // Remembers `secret` (from 8 bytes) under `name`, a literal. Pieces of mostly equal bytes are left out: they are everywhere.
  void add(const char* name, Bytes secret);
  // The number of hits, 0 when nothing was found. A process that cannot read itself is a failure: it counts as a hit.
  size_t find();
  // What the last find found, one line each: name, order, address, mapping.
  std::vector<std::string> report() const;

 private:
  struct Piece {
    uint64_t masked;
    const char* name;
    uint16_t at;
    bool reversed;
  };
  struct Hit {
    const Piece* piece;
    uintptr_t address;
    char mapping[32];
  };
  struct Memory;  // mapped, not allocated

  void addPiece(const char* name, size_t at, bool reversed, const uint8_t* bytes);
  void findIn(uintptr_t from, uintptr_t to, const char* mapping);
  void scan(uintptr_t from, uintptr_t to, const char* mapping);
  const Piece* match(uint64_t value) const;

  Memory* memory_;
};

// While one is alive, blocks that libcrypto frees are kept as they are and not used again, so that no later allocation hides
// what was not wiped. One at a time.
class KeptHeap {
 public:
  KeptHeap();
  ~KeptHeap();
  KeptHeap(const KeptHeap&) = delete;
  KeptHeap& operator=(const KeptHeap&) = delete;
};

// False where the search makes no sense: under AddressSanitizer, whose quarantine and fake stacks keep freed memory.
bool memorySearchable();

}  // namespace quorate::test
