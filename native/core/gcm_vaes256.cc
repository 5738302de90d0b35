// AES-GCM with VAES and VPCLMULQDQ on 256-bit vectors, for CPUs without AVX-512.
#include <cassert>
#include <cstring>
#include <utility>

#include "core/gcm_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,vaes,vpclmulqdq,aes,pclmul,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,vaes,vpclmulqdq,aes,pclmul,bmi2")
#endif
#include "core/gcm_x86.h"
#include "core/gcm_x86_engine.h"
#include "core/gcm_x86_message.h"

namespace quorate {
namespace {

struct Ymm {
  using Vec = __m256i;
  static constexpr size_t lanes = 2, inFlight = 8, together = 4, powers = 48;

  QUORATE_INLINE static Vec joinHalves(Vec, Vec high) { return high; }
  QUORATE_INLINE static Vec alternate(__m128i even, __m128i odd) { return _mm256_set_m128i(odd, even); }
  QUORATE_INLINE static Vec zero() { return _mm256_setzero_si256(); }
  QUORATE_INLINE static Vec broadcast(__m128i block) { return _mm256_broadcastsi128_si256(block); }
  QUORATE_INLINE static Vec broadcast64(long long word) { return _mm256_set1_epi64x(word); }
  QUORATE_INLINE static Vec fromBlock(__m128i block) { return _mm256_inserti128_si256(_mm256_setzero_si256(), block, 0); }
  QUORATE_INLINE static Vec laneNumbers() { return _mm256_set_epi32(0, 0, 0, 1, 0, 0, 0, 0); }
  // Only asked for lane 1: a block in lane 0 is fromBlock.
  QUORATE_INLINE static Vec blockInLane(__m128i block, size_t) { return _mm256_inserti128_si256(_mm256_setzero_si256(), block, 1); }
  QUORATE_INLINE static Vec load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  QUORATE_INLINE static Vec loadAny(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  QUORATE_INLINE static Vec loadBlocks(const __m128i* p) { return loadAny(p); }
  QUORATE_INLINE static Vec loadPartial(const uint8_t* p, size_t n) {
    if (n == 32) return load(p);
    if (n < 16) return fromBlock(loadPartialBlock(p, n));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(loadBlock(p)), loadPartialBlock(p + 16, n - 16), 1);
  }
  QUORATE_INLINE static void store(uint8_t* p, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  QUORATE_INLINE static void storeAny(void* p, Vec v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  QUORATE_INLINE static void storePartial(uint8_t* p, Vec v, size_t n) {
    if (n == 32) return store(p, v);
    if (n < 16) return storePartialBlock(p, _mm256_castsi256_si128(v), n);
    storeBlock(p, _mm256_castsi256_si128(v));
    storePartialBlock(p + 16, _mm256_extracti128_si256(v, 1), n - 16);
  }
  QUORATE_INLINE static Vec keepBytes(Vec v, size_t n) {
    const __m256i index = _mm256_set_epi64x(0x1f1e1d1c1b1a1918, 0x1716151413121110, 0x0f0e0d0c0b0a0908, 0x0706050403020100);
    return _mm256_and_si256(v, _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(n)), index));
  }
  QUORATE_INLINE static Vec xor2(Vec a, Vec b) { return _mm256_xor_si256(a, b); }
  QUORATE_INLINE static Vec xor3(Vec a, Vec b, Vec c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  QUORATE_INLINE static Vec add32(Vec a, Vec b) { return _mm256_add_epi32(a, b); }
  QUORATE_INLINE static Vec shuffle(Vec v, Vec order) { return _mm256_shuffle_epi8(v, order); }
  QUORATE_INLINE static Vec swapHalves(Vec v) { return _mm256_shuffle_epi32(v, 0x4e); }
  QUORATE_INLINE static Vec unpackLow(Vec a, Vec b) { return _mm256_unpacklo_epi64(a, b); }
  QUORATE_INLINE static Vec unpackHigh(Vec a, Vec b) { return _mm256_unpackhi_epi64(a, b); }
  QUORATE_INLINE static Vec aesRound(Vec v, Vec k) { return _mm256_aesenc_epi128(v, k); }
  QUORATE_INLINE static Vec aesLastRound(Vec v, Vec k) { return _mm256_aesenclast_epi128(v, k); }
  QUORATE_INLINE static __m128i addLanes(Vec v) { return _mm_xor_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)); }
  QUORATE_INLINE static void wipeFrame(uintptr_t lowest) {
    asm volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n"
                 QUORATE_WIPE_STACK("vmovdqu %%ymm0, (%%rdx)\nvmovdqu %%ymm0, 32(%%rdx)\n")
                 ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\nvpxor %%xmm\\n, %%xmm\\n, %%xmm\\n\n.endr\n"
                 QUORATE_WIPE_GENERAL
                 : "+c"(lowest) : : QUORATE_WIPE_CLOBBERS);
  }
  template <int halves>
  QUORATE_INLINE static Vec multiply(Vec a, Vec b) {
    return _mm256_clmulepi64_epi128(a, b, halves);
  }
};

bool usable(const CpuFeatures& cpu) { return cpu.vaes256; }

}  // namespace

const GcmImplementation kGcmVaes256 = {"vaes256", usable, init<Ymm>, initOnce<Ymm>, seal<Ymm>, open<Ymm>};

}  // namespace quorate

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
