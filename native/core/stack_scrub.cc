#include "core/stack_scrub.h"

namespace quorate {

// What a copy held last stays in vector registers until something else needs them, and lands on the stack when a library function is
// first called (the dynamic linker saves them all), or in a signal frame.
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

}  // namespace quorate

#if defined(__x86_64__)
asm(R"(
.text
.type quorateScrubStack, @function
.globl quorateScrubStack
.hidden quorateScrubStack
quorateScrubStack:
  mov %rdi, %rcx
  neg %rdi
  add %rsp, %rdi
  shr $3, %rcx
  xor %eax, %eax
  rep stosq
  xor %edx, %edx
  xor %esi, %esi
  xor %r8d, %r8d
  xor %r9d, %r9d
  xor %r10d, %r10d
  xor %r11d, %r11d
  ret
.size quorateScrubStack, .-quorateScrubStack
)");
#else
extern "C" void quorateScrubStack(size_t bytes) {
  volatile char* const dead = static_cast<char*>(__builtin_alloca(bytes));
  for (size_t i = 0; i < bytes; i++) dead[i] = 0;
}
#endif
