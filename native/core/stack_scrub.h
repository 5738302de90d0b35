// libcrypto leaves scalars, nonces and limbs of primes in dead stack frames (ecp_nistz256_points_mul keeps the nonce's bytes in
// an array that it does not cleanse, for one). Secret operations therefore run in a frame of their own, and the stack below the
// caller is overwritten when they return.
#pragma once
#include <cstddef>
#include <cstring>
#include <utility>

namespace quorate {

// Overwrites the kScrubbedStackBytes below the caller's frame, and the vector registers. A sixth of a microsecond. libcrypto's secret
// operations were seen to leave something within the first 4 KiB, and nothing beyond.
inline constexpr size_t kScrubbedStackBytes = 16 * 1024;
void scrubStack();
// The registers alone: round keys stay in them after a kernel, until a signal or the dynamic linker puts them on the stack.
void clearVectorRegisters();

// The same for a hot path that knows how deep it went, without the registers.
template <size_t bytes>
[[gnu::noinline]] void scrubStackBytes() {
  char dead[bytes];
  std::memset(dead, 0, sizeof dead);
  asm volatile("" : : "r"(dead) : "memory");  // the stores are seen, so they stay
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
