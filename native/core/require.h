// Checks of what the programmer owes. They stay in release builds: past one of these, memory that holds keys is at stake.
#pragma once
#include <cstdio>
#include <cstdlib>

namespace quorate {

[[noreturn]] inline void requirementFailed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "quorate: requirement failed: %s (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace quorate

#define QUORATE_REQUIRE(condition) \
  do {                             \
    if (__builtin_expect(!(condition), 0)) ::quorate::requirementFailed(#condition, __FILE__, __LINE__); \
  } while (0)
