// AES-GCM with VAES and VPCLMULQDQ on 512-bit vectors.
#include <cassert>
#include <cstring>
#include <utility>

#include "core/gcm_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// GCC 12's own AVX-512 header passes an undefined vector where a mask selects nothing of it, and warns of that.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,aes,pclmul,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,aes,pclmul,bmi2")
#endif
#include "core/gcm_x86.h"
#include "core/gcm_x86_engine.h"
#include "core/gcm_x86_message.h"

namespace quorate {
namespace {

struct Zmm {
  using Vec = __m512i;
  static constexpr size_t lanes = 4, inFlight = 8, together = 4, powers = 68;

  QUORATE_INLINE static Vec joinHalves(Vec low, Vec high) { return _mm512_mask_blend_epi64(0xf0, low, high); }
  QUORATE_INLINE static Vec alternate(__m128i even, __m128i odd) { return _mm512_broadcast_i64x4(_mm256_set_m128i(odd, even)); }
  QUORATE_INLINE static Vec zero() { return _mm512_setzero_si512(); }
  QUORATE_INLINE static Vec broadcast(__m128i block) { return _mm512_broadcast_i32x4(block); }
  QUORATE_INLINE static Vec broadcast64(long long word) { return _mm512_set1_epi64(word); }
  QUORATE_INLINE static Vec fromBlock(__m128i block) { return _mm512_zextsi128_si512(block); }
  QUORATE_INLINE static Vec laneNumbers() { return _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0); }
  QUORATE_INLINE static Vec blockInLane(__m128i block, size_t lane) {
    return _mm512_maskz_expand_epi64(static_cast<__mmask8>(3 << (2 * lane)), fromBlock(block));
  }
  QUORATE_INLINE static __mmask64 firstBytesMask(size_t n) { return _bzhi_u64(~0ull, static_cast<unsigned>(n)); }
  QUORATE_INLINE static Vec load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  QUORATE_INLINE static Vec loadAny(const void* p) { return _mm512_loadu_si512(p); }
  QUORATE_INLINE static Vec loadBlocks(const __m128i* p) { return _mm512_loadu_si512(p); }
  QUORATE_INLINE static Vec loadPartial(const uint8_t* p, size_t n) { return _mm512_maskz_loadu_epi8(firstBytesMask(n), p); }
  QUORATE_INLINE static void store(uint8_t* p, Vec v) { _mm512_storeu_si512(p, v); }
  QUORATE_INLINE static void storeAny(void* p, Vec v) { _mm512_storeu_si512(p, v); }
  QUORATE_INLINE static void storePartial(uint8_t* p, Vec v, size_t n) { _mm512_mask_storeu_epi8(p, firstBytesMask(n), v); }
  QUORATE_INLINE static Vec keepBytes(Vec v, size_t n) { return _mm512_maskz_mov_epi8(firstBytesMask(n), v); }
  QUORATE_INLINE static Vec xor2(Vec a, Vec b) { return _mm512_xor_si512(a, b); }
  QUORATE_INLINE static Vec xor3(Vec a, Vec b, Vec c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  QUORATE_INLINE static Vec add32(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  QUORATE_INLINE static Vec shuffle(Vec v, Vec order) { return _mm512_shuffle_epi8(v, order); }
  QUORATE_INLINE static Vec swapHalves(Vec v) { return _mm512_shuffle_epi32(v, _MM_PERM_BADC); }
  QUORATE_INLINE static Vec unpackLow(Vec a, Vec b) { return _mm512_unpacklo_epi64(a, b); }
  QUORATE_INLINE static Vec unpackHigh(Vec a, Vec b) { return _mm512_unpackhi_epi64(a, b); }
  QUORATE_INLINE static Vec aesRound(Vec v, Vec k) { return _mm512_aesenc_epi128(v, k); }
  QUORATE_INLINE static Vec aesLastRound(Vec v, Vec k) { return _mm512_aesenclast_epi128(v, k); }
  QUORATE_INLINE static __m128i addLanes(Vec v) {
    const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  QUORATE_INLINE static void wipeFrame(uintptr_t lowest) {
    asm volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n"
                 QUORATE_WIPE_STACK("vmovdqu64 %%zmm0, (%%rdx)\n")
                 ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\nvpxor %%xmm\\n, %%xmm\\n, %%xmm\\n\n.endr\n"
                 ".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\nvpxorq %%xmm\\n, %%xmm\\n, %%xmm\\n\n.endr\n"
                 QUORATE_WIPE_GENERAL
                 : "+c"(lowest) : : QUORATE_WIPE_CLOBBERS, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",
                   "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
  }
  template <int halves>
  QUORATE_INLINE static Vec multiply(Vec a, Vec b) {
    return _mm512_clmulepi64_epi128(a, b, halves);
  }
};

bool usable(const CpuFeatures& cpu) { return cpu.vaes512; }

}  // namespace

const GcmImplementation kGcmVaes512 = {"vaes512", usable, init<Zmm>, initOnce<Zmm>, seal<Zmm>, open<Zmm>};

}  // namespace quorate

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
