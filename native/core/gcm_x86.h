// What the three x86 kernels share: the prepared key, the AES key schedule, and arithmetic in GHASH's field on one block.
//
// A kernel's file includes every other header first, then opens a target region (QUORATE_TARGET_BEGIN) and includes this
// within it. Everything here is in an unnamed namespace: each kernel compiles its own copy with its own instruction set. A
// copy that the linker shared between kernels could hold instructions that the CPU lacks.
//
// GHASH values are kept byte-reversed, as in Gueron and Kounavis, "Intel Carry-Less Multiplication Instruction and its Usage for
// Computing the GCM Mode": a block is a polynomial whose coefficient of x^0 is the top bit. Powers of H are stored times x,
// which absorbs the shift by one bit that this reversal costs each product.
#include <immintrin.h>

namespace quorate {
namespace {

// Inlines a lambda into its caller, where it takes part in the caller's register allocation.
#define QUORATE_INLINE __attribute__((always_inline))

// f.operator()<0>() ... <N-1>(), written out at every optimisation level: -O2 leaves loops over registers rolled, and then the
// registers live in memory.
template <size_t N, class F>
QUORATE_INLINE inline void unrolled(F&& f) {
  [&]<size_t... I>(std::index_sequence<I...>) QUORATE_INLINE { (f.template operator()<I>(), ...); }(std::make_index_sequence<N>());
}

// Keeps the compiler from loading a value again from where it came from or went to. Memory may be shared with a hostile
// writer: what was hashed must be what was decrypted or stored, so it has to stay in a register or in our own stack.
template <class Vec>
QUORATE_INLINE inline void pin(Vec& value) {
  asm("" : "+v"(value));
}

// Keeps instructions in the order in which they are written: volatile statements do not pass each other.
template <class Vec>
QUORATE_INLINE inline void inOrder(Vec& value) {
  asm volatile("" : "+v"(value));
}

QUORATE_INLINE inline __m128i loadBlock(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
QUORATE_INLINE inline void storeBlock(uint8_t* p, __m128i block) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), block); }

template <class Word>
QUORATE_INLINE inline uint64_t loadWord(const uint8_t* p) {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// The first n bytes (0 to 15) of p, zeros after them, without touching p[n]; no copy on the stack that would need wiping.
QUORATE_INLINE inline __m128i loadPartialBlock(const uint8_t* p, size_t n) {
  uint64_t low = 0, high = 0;
  if (n >= 8) {
    low = loadWord<uint64_t>(p);
    // Eight bytes that end at p[n]; those that `low` has already are shifted out.
    if (n > 8) high = loadWord<uint64_t>(p + n - 8) >> (8 * (16 - n));
  } else if (n >= 4) {
    low = loadWord<uint32_t>(p);
    if (n > 4) low |= loadWord<uint32_t>(p + n - 4) >> (8 * (8 - n)) << 32;
  } else if (n > 0) {
    low = loadWord<uint8_t>(p);
    if (n > 1) low |= loadWord<uint8_t>(p + 1) << 8;
    if (n > 2) low |= loadWord<uint8_t>(p + 2) << 16;
  }
  return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}

QUORATE_INLINE inline void storePartialBlock(uint8_t* p, __m128i block, size_t n) {
  uint64_t word = static_cast<uint64_t>(_mm_cvtsi128_si64(block));
  if (n >= 8) {
    std::memcpy(p, &word, 8);
    word = static_cast<uint64_t>(_mm_extract_epi64(block, 1));
    p += 8;
    n -= 8;
  }
  if (n >= 4) {
    std::memcpy(p, &word, 4);
    word >>= 32;
    p += 4;
    n -= 4;
  }
  for (; n > 0; n--, p++, word >>= 8) *p = static_cast<uint8_t>(word);
}

// The IV with a zero counter. Read as it is mostly written, eight bytes and four: a wider load would wait for both stores to leave
// the store buffer.
QUORATE_INLINE inline __m128i loadIv(const uint8_t* iv) {
  return _mm_set_epi64x(static_cast<long long>(loadWord<uint32_t>(iv + 8)), static_cast<long long>(loadWord<uint64_t>(iv)));
}

// All ones in the first n bytes (0 to 16).
QUORATE_INLINE inline __m128i firstBytes(size_t n) {
  const __m128i index = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm_cmpgt_epi8(_mm_set1_epi8(static_cast<char>(n)), index);
}

QUORATE_INLINE inline __m128i byteReversal() { return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

// x^-64 of the reduction, for the field polynomial x^128 + x^7 + x^2 + x + 1 in reversed order.
constexpr long long kFold = static_cast<long long>(0xc200000000000000ull);

// a·b in GHASH's field, one of them stored times x.
QUORATE_INLINE inline __m128i multiplyBlock(__m128i a, __m128i b) {
  const __m128i fold = _mm_set1_epi64x(kFold);
  __m128i low = _mm_clmulepi64_si128(a, b, 0x00), high = _mm_clmulepi64_si128(a, b, 0x11);
  __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
  middle = _mm_xor_si128(_mm_xor_si128(middle, _mm_shuffle_epi32(low, 0x4e)), _mm_clmulepi64_si128(low, fold, 0x00));
  return _mm_xor_si128(_mm_xor_si128(high, _mm_shuffle_epi32(middle, 0x4e)), _mm_clmulepi64_si128(middle, fold, 0x00));
}

// H·x: a shift by one bit, reduced without a branch on the bit that falls out.
QUORATE_INLINE inline __m128i timesX(__m128i h) {
  const __m128i carries = _mm_srli_epi64(h, 63);
  const __m128i shifted = _mm_or_si128(_mm_slli_epi64(h, 1), _mm_slli_si128(carries, 8));
  const __m128i out = _mm_sub_epi64(_mm_setzero_si128(), _mm_shuffle_epi32(carries, 0xee));  // all ones if the top bit was set
  return _mm_xor_si128(shifted, _mm_and_si128(out, _mm_set_epi64x(kFold, 1)));
}

// a ^ a<<32 ^ a<<64 ^ a<<96: what every word of the next round key takes from the words before it.
QUORATE_INLINE inline __m128i prefixXor(__m128i a) {
  a = _mm_xor_si128(a, _mm_slli_si128(a, 4));
  return _mm_xor_si128(a, _mm_slli_si128(a, 8));
}

template <int rcon>
QUORATE_INLINE inline __m128i rotatedWord(__m128i last) {
  return _mm_shuffle_epi32(_mm_aeskeygenassist_si128(last, rcon), 0xff);
}

QUORATE_INLINE inline void expand128(__m128i* k, const uint8_t* key) {
  k[0] = loadBlock(key);
  k[1] = _mm_xor_si128(prefixXor(k[0]), rotatedWord<0x01>(k[0]));
  k[2] = _mm_xor_si128(prefixXor(k[1]), rotatedWord<0x02>(k[1]));
  k[3] = _mm_xor_si128(prefixXor(k[2]), rotatedWord<0x04>(k[2]));
  k[4] = _mm_xor_si128(prefixXor(k[3]), rotatedWord<0x08>(k[3]));
  k[5] = _mm_xor_si128(prefixXor(k[4]), rotatedWord<0x10>(k[4]));
  k[6] = _mm_xor_si128(prefixXor(k[5]), rotatedWord<0x20>(k[5]));
  k[7] = _mm_xor_si128(prefixXor(k[6]), rotatedWord<0x40>(k[6]));
  k[8] = _mm_xor_si128(prefixXor(k[7]), rotatedWord<0x80>(k[7]));
  k[9] = _mm_xor_si128(prefixXor(k[8]), rotatedWord<0x1b>(k[8]));
  k[10] = _mm_xor_si128(prefixXor(k[9]), rotatedWord<0x36>(k[9]));
}

// Six words a step: `a` holds four, the low half of `b` two.
template <int rcon>
QUORATE_INLINE inline void step192(__m128i& a, __m128i& b) {
  const __m128i assist = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(b, rcon), 0x55);
  a = _mm_xor_si128(prefixXor(a), assist);
  b = _mm_xor_si128(_mm_xor_si128(b, _mm_slli_si128(b, 4)), _mm_shuffle_epi32(a, 0xff));
}

QUORATE_INLINE inline void expand192(__m128i* k, const uint8_t* key) {
  __m128i a = loadBlock(key), b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(key + 16));
  // Two steps give three round keys.
  const auto join = [](__m128i* three, __m128i b0, __m128i a1, __m128i b1, __m128i a2) QUORATE_INLINE {
    three[0] = _mm_unpacklo_epi64(b0, a1);
    three[1] = _mm_unpacklo_epi64(_mm_unpackhi_epi64(a1, a1), b1);
    three[2] = a2;
  };
  k[0] = a;
  const auto twoSteps = [&]<int rcon>(__m128i* three) QUORATE_INLINE {
    const __m128i b0 = b;
    step192<rcon>(a, b);
    const __m128i a1 = a, b1 = b;
    step192<rcon * 2>(a, b);
    join(three, b0, a1, b1, a);
  };
  twoSteps.template operator()<0x01>(k + 1);
  twoSteps.template operator()<0x04>(k + 4);
  twoSteps.template operator()<0x10>(k + 7);
  twoSteps.template operator()<0x40>(k + 10);
}

template <int rcon>
QUORATE_INLINE inline void step256(__m128i* k) {
  k[2] = _mm_xor_si128(prefixXor(k[0]), rotatedWord<rcon>(k[1]));
  k[3] = _mm_xor_si128(prefixXor(k[1]), _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k[2], 0), 0xaa));
}

QUORATE_INLINE inline void expand256(__m128i* k, const uint8_t* key) {
  k[0] = loadBlock(key);
  k[1] = loadBlock(key + 16);
  step256<0x01>(k);
  step256<0x02>(k + 2);
  step256<0x04>(k + 4);
  step256<0x08>(k + 6);
  step256<0x10>(k + 8);
  step256<0x20>(k + 10);
  k[14] = _mm_xor_si128(prefixXor(k[12]), rotatedWord<0x40>(k[13]));
}

// Fills in the round keys and their number; returns H·x.
QUORATE_INLINE inline __m128i expandKey(__m128i (&k)[15], uint32_t& rounds, const uint8_t* key, size_t keyBytes) {
  assert(keyBytes == 16 || keyBytes == 24 || keyBytes == 32);
  if (keyBytes == 16) {
    expand128(k, key);
  } else if (keyBytes == 24) {
    expand192(k, key);
  } else {
    expand256(k, key);
  }
  rounds = static_cast<uint32_t>(keyBytes / 4 + 6);
  __m128i h = k[0];
  for (uint32_t r = 1; r < rounds; r++) h = _mm_aesenc_si128(h, k[r]);
  h = _mm_aesenclast_si128(h, k[rounds]);
  return timesX(_mm_shuffle_epi8(h, byteReversal()));
}

}  // namespace
}  // namespace quorate
