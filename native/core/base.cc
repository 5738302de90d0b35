#include "core/base.h"

#include <cstring>

namespace quorate {

void wipe(void* p, size_t n) {
  if (n == 0) return;
  std::memset(p, 0, n);
  // The compiler must assume that this reads the bytes, so the stores above are not dead even when the object dies next.
  asm volatile("" : : "r"(p) : "memory");
}

bool equalConstantTime(Bytes a, Bytes b) {
  if (a.size() != b.size()) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); i++) {
    difference |= static_cast<uint8_t>(a[i] ^ b[i]);
    // Hides what was accumulated, so that no early exit can be derived once every bit is set.
    asm("" : "+r"(difference));
  }
  return difference == 0;
}

}  // namespace quorate
