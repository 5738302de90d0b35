#include "core/stack_scrub.h"

#include <cstring>

namespace quorate {

// What a copy or an AVX kernel held last stays in vector registers until something else needs them, and lands on the stack when a
// library function is first called (the dynamic linker saves them all), or in a signal frame.
void clearVectorRegisters() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    // Registers 16 to 31, which code compiled without AVX-512 does not use, and vzeroall does not reach.
    asm volatile(
        ".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
        "vpxorq %%zmm\\n, %%zmm\\n, %%zmm\\n\n\t"
        ".endr" ::
            :);
  }
  if (__builtin_cpu_supports("avx")) {
    asm volatile("vzeroall" ::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                       "xmm14", "xmm15");
  } else {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
        "pxor %%xmm\\n, %%xmm\\n\n\t"
        ".endr" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
              "xmm15");
  }
#endif
}

[[gnu::noinline]] void scrubStack() {
  char dead[kScrubbedStackBytes];
  std::memset(dead, 0, sizeof dead);
  asm volatile("" : : "r"(dead) : "memory");  // the stores are seen, so they stay
  clearVectorRegisters();
}

}  // namespace quorate
