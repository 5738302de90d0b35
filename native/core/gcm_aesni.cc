// AES-GCM with AES-NI and PCLMULQDQ: one block a vector, sixteen registers, nothing that needs AVX.
#include <cassert>
#include <cstring>
#include <utility>

#include "core/gcm_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("aes,pclmul,ssse3,sse4.1"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("aes,pclmul,ssse3,sse4.1")
#endif
#include "core/gcm_x86.h"
#include "core/gcm_x86_engine.h"
#include "core/gcm_x86_message.h"

namespace quorate {
namespace {

struct Xmm {
  using Vec = __m128i;
  static constexpr size_t lanes = 1, inFlight = 8, together = 4, powers = 24;

  QUORATE_INLINE static Vec joinHalves(Vec, Vec high) { return high; }
  QUORATE_INLINE static Vec zero() { return _mm_setzero_si128(); }
  QUORATE_INLINE static Vec broadcast(__m128i block) { return block; }
  QUORATE_INLINE static Vec broadcast64(long long word) { return _mm_set1_epi64x(word); }
  QUORATE_INLINE static Vec fromBlock(__m128i block) { return block; }
  QUORATE_INLINE static Vec laneNumbers() { return _mm_setzero_si128(); }
  QUORATE_INLINE static Vec blockInLane(__m128i block, size_t) { return block; }
  QUORATE_INLINE static Vec load(const uint8_t* p) { return loadBlock(p); }
  QUORATE_INLINE static Vec loadAny(const void* p) { return _mm_load_si128(static_cast<const __m128i*>(p)); }
  QUORATE_INLINE static Vec loadBlocks(const __m128i* p) { return _mm_load_si128(p); }
  QUORATE_INLINE static Vec loadPartial(const uint8_t* p, size_t n) { return n == 16 ? loadBlock(p) : loadPartialBlock(p, n); }
  QUORATE_INLINE static void store(uint8_t* p, Vec v) { storeBlock(p, v); }
  QUORATE_INLINE static void storeAny(void* p, Vec v) { _mm_store_si128(static_cast<__m128i*>(p), v); }
  QUORATE_INLINE static void storePartial(uint8_t* p, Vec v, size_t n) { n == 16 ? storeBlock(p, v) : storePartialBlock(p, v, n); }
  QUORATE_INLINE static Vec keepBytes(Vec v, size_t n) { return _mm_and_si128(v, firstBytes(n)); }
  QUORATE_INLINE static Vec xor2(Vec a, Vec b) { return _mm_xor_si128(a, b); }
  QUORATE_INLINE static Vec xor3(Vec a, Vec b, Vec c) { return _mm_xor_si128(_mm_xor_si128(a, b), c); }
  QUORATE_INLINE static Vec add32(Vec a, Vec b) { return _mm_add_epi32(a, b); }
  QUORATE_INLINE static Vec shuffle(Vec v, Vec order) { return _mm_shuffle_epi8(v, order); }
  QUORATE_INLINE static Vec swapHalves(Vec v) { return _mm_shuffle_epi32(v, 0x4e); }
  QUORATE_INLINE static Vec unpackLow(Vec a, Vec b) { return _mm_unpacklo_epi64(a, b); }
  QUORATE_INLINE static Vec unpackHigh(Vec a, Vec b) { return _mm_unpackhi_epi64(a, b); }
  QUORATE_INLINE static Vec aesRound(Vec v, Vec k) { return _mm_aesenc_si128(v, k); }
  QUORATE_INLINE static Vec aesLastRound(Vec v, Vec k) { return _mm_aesenclast_si128(v, k); }
  QUORATE_INLINE static __m128i addLanes(Vec v) { return v; }
  QUORATE_INLINE static void wipeFrame(uintptr_t lowest) {
    asm volatile("pxor %%xmm0, %%xmm0\n"
                 QUORATE_WIPE_STACK("movups %%xmm0, (%%rdx)\nmovups %%xmm0, 16(%%rdx)\n"
                                    "movups %%xmm0, 32(%%rdx)\nmovups %%xmm0, 48(%%rdx)\n")
                 ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\npxor %%xmm\\n, %%xmm\\n\n.endr\n"
                 QUORATE_WIPE_GENERAL
                 : "+c"(lowest) : : QUORATE_WIPE_CLOBBERS);
  }
  template <int halves>
  QUORATE_INLINE static Vec multiply(Vec a, Vec b) {
    return _mm_clmulepi64_si128(a, b, halves);
  }
};

bool usable(const CpuFeatures& cpu) { return cpu.aesni; }

}  // namespace

const GcmImplementation kGcmAesni = {"aesni", usable, init<Xmm>, initOnce<Xmm>, seal<Xmm>, open<Xmm>};

}  // namespace quorate

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
