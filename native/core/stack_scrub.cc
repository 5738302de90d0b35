#include "core/stack_scrub.h"

#include <cstring>

namespace quorate {

[[gnu::noinline]] void scrubStack() {
  char dead[kScrubbedStackBytes];
  std::memset(dead, 0, sizeof dead);
  asm volatile("" : : "r"(dead) : "memory");  // the stores are seen, so they stay
}

}  // namespace quorate
