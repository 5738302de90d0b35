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

// How the kernels leave nothing on the stack. Vectors that do not fit into the registers are spilled: round keys, powers of H, key
// stream, sums. So all work on secrets is done by functions that call nothing; each returns how deep its frame was, and the table's
// function, which itself holds nothing but pointers and lengths, overwrites everything from its own stack pointer down to there
// (V::wipeFrame), whatever the compiler, its flags and the alignment of the stack have made of the frame.

// The end of the running function's frame: its stack pointer, and below that the 128 bytes that a function which calls nothing may
// use without moving it (System V ABI, AMD64, 3.2.2). Comes after `last` and after all stores.
QUORATE_INLINE inline uintptr_t lowestStackByte(uint64_t last = 0) {
  uintptr_t lowest;
  asm volatile("lea -128(%%rsp), %0" : "=r"(lowest) : "r"(last) : "memory");
  return lowest;
}

// For V::wipeFrame: from here down to %0 what `store` names, 64 bytes at a time; then the general registers that calls may change, all but
// the one that holds the result. Registers that calls preserve hold the caller's values again.
#define QUORATE_WIPE_STACK(store) \
  "lea -64(%%rsp), %%rdx\n" store "and $-64, %%rdx\n1:\n" store "cmp %0, %%rdx\nlea -64(%%rdx), %%rdx\nja 1b\n"
#define QUORATE_WIPE_GENERAL                                                                   \
  "xor %%ecx, %%ecx\nxor %%edx, %%edx\nxor %%esi, %%esi\nxor %%edi, %%edi\nxor %%r8d, %%r8d\n" \
  "xor %%r9d, %%r9d\nxor %%r10d, %%r10d\nxor %%r11d, %%r11d\n"
#define QUORATE_WIPE_CLOBBERS                                                                                                       \
  "cc", "memory", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
      "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

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

// The key schedule, FIPS 197 section 5.2. AESENCLAST does SubWord: on four equal words its ShiftRows changes nothing, and what it
// adds is the round constant. AESKEYGENASSIST does the same in several times the time.

// a ^ a<<32 ^ a<<64 ^ a<<96: what every word of the next round key takes from the words before it.
QUORATE_INLINE inline __m128i prefixXor(__m128i a) {
  a = _mm_xor_si128(a, _mm_slli_si128(a, 4));
  return _mm_xor_si128(a, _mm_slli_si128(a, 8));
}

// SubWord(RotWord(word)) ^ rcon in all words.
template <int word>
QUORATE_INLINE inline __m128i rotatedWord(__m128i words, int rcon) {
  constexpr int kRotated = ((4 * word) << 24) | ((4 * word + 3) << 16) | ((4 * word + 2) << 8) | (4 * word + 1);
  return _mm_aesenclast_si128(_mm_shuffle_epi8(words, _mm_set1_epi32(kRotated)), _mm_set1_epi32(rcon));
}

QUORATE_INLINE inline void expand128(__m128i* k, const uint8_t* key) {
  constexpr int kRcon[10] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
  __m128i last = k[0] = loadBlock(key);
  unrolled<10>([&]<size_t i>() QUORATE_INLINE { k[i + 1] = last = _mm_xor_si128(prefixXor(last), rotatedWord<3>(last, kRcon[i])); });
}

// Six words a step: `a` holds four, the low half of `b` two. Two steps give three round keys.
QUORATE_INLINE inline void expand192(__m128i* k, const uint8_t* key) {
  __m128i a = loadBlock(key), b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(key + 16));
  const auto step = [&](int rcon) QUORATE_INLINE {
    a = _mm_xor_si128(prefixXor(a), rotatedWord<1>(b, rcon));
    b = _mm_xor_si128(_mm_xor_si128(b, _mm_slli_si128(b, 4)), _mm_shuffle_epi32(a, 0xff));
  };
  k[0] = a;
  unrolled<4>([&]<size_t i>() QUORATE_INLINE {
    const __m128i before = b;
    step(1 << (2 * i));
    k[3 * i + 1] = _mm_unpacklo_epi64(before, a);
    k[3 * i + 2] = _mm_unpacklo_epi64(_mm_unpackhi_epi64(a, a), b);
    step(2 << (2 * i));
    k[3 * i + 3] = a;
  });
}

QUORATE_INLINE inline void expand256(__m128i* k, const uint8_t* key) {
  __m128i a = k[0] = loadBlock(key), b = k[1] = loadBlock(key + 16);
  unrolled<7>([&]<size_t i>() QUORATE_INLINE {
    k[2 * i + 2] = a = _mm_xor_si128(prefixXor(a), rotatedWord<3>(b, 1 << i));
    if constexpr (i < 6) {
      const __m128i substituted = _mm_aesenclast_si128(_mm_shuffle_epi32(a, 0xff), _mm_setzero_si128());
      k[2 * i + 3] = b = _mm_xor_si128(prefixXor(b), substituted);
    }
  });
}

template <size_t rounds>
QUORATE_INLINE inline __m128i encryptZeros(const __m128i* k) {
  __m128i block = k[0];
  unrolled<rounds - 1>([&]<size_t r>() QUORATE_INLINE { block = _mm_aesenc_si128(block, k[r + 1]); });
  return _mm_aesenclast_si128(block, k[rounds]);
}

// Fills in the round keys and their number; returns H·x.
QUORATE_INLINE inline __m128i expandKey(__m128i (&k)[15], uint32_t& rounds, const uint8_t* key, size_t keyBytes) {
  assert(keyBytes == 16 || keyBytes == 24 || keyBytes == 32);
  rounds = static_cast<uint32_t>(keyBytes / 4 + 6);
  __m128i h;
  if (keyBytes == 16) {
    expand128(k, key);
    h = encryptZeros<10>(k);
  } else if (keyBytes == 24) {
    expand192(k, key);
    h = encryptZeros<12>(k);
  } else {
    expand256(k, key);
    h = encryptZeros<14>(k);
  }
  return timesX(_mm_shuffle_epi8(h, byteReversal()));
}

}  // namespace
}  // namespace quorate
