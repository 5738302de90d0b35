// Searches this process's writable memory, the arena aside, for pieces of secrets: in the order they are stored in and in
// reverse (libcrypto keeps numbers with the lowest limb first), 8 bytes at a time, so that a copy is found when a later
// allocation has overwritten its beginning. What is looked for is held masked, and the search reads through a window that it
// skips, so that it does not find itself.
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

  // Remembers `secret` (from 8 bytes) under `name`. Pieces of mostly equal bytes are left out: they are everywhere.
  void add(const char* name, Bytes secret);
  // One line for each hit: name, order, address, mapping. Empty when nothing was found.
  std::vector<std::string> find() const;

 private:
  struct Piece {
    uint64_t masked;
    std::string name;
  };
  void addPiece(const std::string& name, const uint8_t* bytes);
  void scan(uintptr_t from, uintptr_t to, const std::string& mapping, int memory, std::vector<std::string>* hits) const;
  const Piece* match(uint64_t value) const;

  uint64_t mask_;
  std::vector<Piece> pieces_;
  std::vector<uint32_t> slots_;  // by the low bits of the masked value: index into pieces_ + 1, probed linearly
  uint8_t* window_;
};

// False where the search makes no sense: under AddressSanitizer, whose quarantine and fake stacks keep freed memory.
bool memorySearchable();

}  // namespace quorate::test
