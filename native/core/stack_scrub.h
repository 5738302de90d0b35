// libcrypto leaves scalars, nonces and limbs of primes in dead stack frames (ecp_nistz256_points_mul keeps the nonce's bytes in
// an array that it does not cleanse, for one). Secret operations therefore run in a frame of their own, and the stack below the
// caller is overwritten when they return.
#pragma once
#include <cstddef>
#include <utility>

namespace quorate {

// Overwrites the `bytes` (a multiple of 8) below the caller's frame and the general registers that calls may change, without the vector
// registers: for a hot path that knows how deep it went.
// Not a function in C++, whose own frame would leave gaps where the compiler aligns it.
extern "C" void quorateScrubStack(size_t bytes);

// The registers alone: what a copy held last stays in them, until a signal or the dynamic linker puts them on the stack.
void clearVectorRegisters();

// Both, kScrubbedStackBytes deep. A sixth of a microsecond. libcrypto's secret operations were seen to leave something within the first
// 4 KiB, and nothing beyond. Inlined: a frame of its own would be another gap.
inline constexpr size_t kScrubbedStackBytes = 16 * 1024;
[[gnu::always_inline]] inline void scrubStack() {
  quorateScrubStack(kScrubbedStackBytes);
  clearVectorRegisters();
}

template <class Work>
[[gnu::noinline]] auto callInOwnFrame(Work& work) {
  return work();
}

template <class Work>
auto withScrubbedStack(Work&& work) {
  const auto result = callInOwnFrame(work);
  scrubStack();
  return result;
}

}  // namespace quorate
