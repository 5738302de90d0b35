#include "own_stack.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "core/require.h"

namespace quorate::test {
namespace {

constexpr size_t kGuardBytes = 4096;
constexpr uint8_t kPaint = 0xa5;

}  // namespace

#if defined(__x86_64__)
// (function, arguments, end of the stack, registers, which vectors: 0 xmm, 1 ymm, 2 zmm with 16 to 31)
extern "C" uint64_t quorateTestCall(const void*, const uint64_t*, uint8_t*, void*, int);
asm(R"(
.text
.type quorateTestCall, @function
quorateTestCall:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, %rbp
  mov %rdi, %rax
  mov %rsi, %r10
  mov %rcx, %rbx
  mov %r8d, %r12d
  xor %r13d, %r13d
  xor %r14d, %r14d
  xor %r15d, %r15d
  lea -8(%rdx), %rsp
  push 64(%r10)
  push 56(%r10)
  push 48(%r10)
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  pxor %xmm\n, %xmm\n
  .endr
  cmp $1, %r12d
  jl 1f
  vzeroall
  je 1f
  .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
  vpxorq %zmm\n, %zmm\n, %zmm\n
  .endr
1:
  mov (%r10), %rdi
  mov 8(%r10), %rsi
  mov 16(%r10), %rdx
  mov 24(%r10), %rcx
  mov 32(%r10), %r8
  mov 40(%r10), %r9
  call *%rax
  mov %rax, 2048(%rbx)
  mov %rcx, 2056(%rbx)
  mov %rdx, 2064(%rbx)
  mov %rsi, 2072(%rbx)
  mov %rdi, 2080(%rbx)
  mov %r8, 2088(%rbx)
  mov %r9, 2096(%rbx)
  mov %r10, 2104(%rbx)
  mov %r11, 2112(%rbx)
  cmp $1, %r12d
  jl 2f
  je 3f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
  vmovdqu64 %zmm\n, 64*\n(%rbx)
  .endr
  vzeroupper
  jmp 4f
3:
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vmovdqu %ymm\n, 64*\n(%rbx)
  .endr
  vzeroupper
  jmp 4f
2:
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  movups %xmm\n, 64*\n(%rbx)
  .endr
4:
  mov %rbp, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size quorateTestCall, .-quorateTestCall
)");

uint64_t OwnStack::call(size_t offset, const void* function, const Arguments& arguments) {
  QUORATE_REQUIRE(offset % kOffsetStep == 0 && offset <= kOffsetMax);
  static const int vectors = __builtin_cpu_supports("avx512f") ? 2 : __builtin_cpu_supports("avx") ? 1 : 0;
  std::memset(mapped_ + kGuardBytes, kPaint, bytes_);
  return quorateTestCall(function, arguments, mapped_ + kGuardBytes + bytes_ - offset, &registers_, vectors);
}
#else
uint64_t OwnStack::call(size_t, const void*, const Arguments&) {
  QUORATE_REQUIRE(false);
  return 0;
}
#endif

OwnStack::OwnStack(size_t bytes) : bytes_(bytes), registers_{} {
  QUORATE_REQUIRE(bytes % kGuardBytes == 0);
  void* mapped = mmap(nullptr, kGuardBytes + bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  QUORATE_REQUIRE(mapped != MAP_FAILED && mprotect(mapped, kGuardBytes, PROT_NONE) == 0);
  mapped_ = static_cast<uint8_t*>(mapped);
}

OwnStack::~OwnStack() { munmap(mapped_, kGuardBytes + bytes_); }

std::vector<uint8_t> OwnStack::left() const {
  const uint8_t* const stack = mapped_ + kGuardBytes;
  const uint8_t* const registers = registers_.vectors[0];
  std::vector<uint8_t> all(stack, stack + bytes_);
  all.insert(all.end(), registers, registers + sizeof registers_.vectors + sizeof registers_.general);
  return all;
}

std::string OwnStack::place(size_t at) const {
  static const char* const kGeneral[] = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"};
  if (at < bytes_) return "stack, " + std::to_string(bytes_ - at) + " bytes below its end";
  at -= bytes_;
  if (at < sizeof registers_.vectors) return "vector register " + std::to_string(at / 64) + ", byte " + std::to_string(at % 64);
  return kGeneral[(at - sizeof registers_.vectors) / 8];
}

bool ownStackShowsAll() {
#if defined(__SANITIZE_ADDRESS__) || !defined(__x86_64__)
  return false;
#else
  return true;
#endif
}

}  // namespace quorate::test
