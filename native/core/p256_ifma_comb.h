// Multiples of the generator and of public keys, eight lanes at a time, from p256_ifma.h's tables.
#pragma once
#include "core/p256_ifma_point.h"

namespace quorate {
namespace {

// Eight numbers of 32 bytes, `stride` apart, big-endian, below 2^256.
QUORATE_LANES_INLINE Number loaded(const uint8_t* first, size_t stride) {
  alignas(64) uint64_t words[4][kP256Lanes];
  for (size_t lane = 0; lane < kP256Lanes; lane++) {
    for (size_t i = 0; i < 4; i++) {
      uint64_t bigEndian;
      __builtin_memcpy(&bigEndian, first + lane * stride + 8 * (3 - i), 8);
      words[i][lane] = __builtin_bswap64(bigEndian);
    }
  }
  Vec w[4];
  QUORATE_EACH(i, 4) { w[i] = _mm512_load_si512(words[i]); });
  return numberOf(w);
}
QUORATE_LANES_INLINE Number loaded(const P256Numbers& in) { return loaded(in[0].data(), sizeof in[0]); }

QUORATE_LANES_INLINE void stored(const Number& a, P256Numbers* out) {
  alignas(64) uint64_t words[4][kP256Lanes];
  const Words w = wordsOf(a);
  QUORATE_EACH(i, 4) { _mm512_store_si512(words[i], w.at[i]); });
  for (size_t lane = 0; lane < kP256Lanes; lane++) {
    for (size_t i = 0; i < 4; i++) {
      const uint64_t bigEndian = __builtin_bswap64(words[i][lane]);
      __builtin_memcpy((*out)[lane].data() + 8 * (3 - i), &bigEndian, 8);
    }
  }
}

// Whether its coordinates are below p and it lies on the curve.
QUORATE_LANES_INLINE __mmask8 loadedPoint(const P256Numbers& xIn, const P256Numbers& yIn, Affine* out) {
  const Number x = loaded(xIn), y = loaded(yIn);
  __mmask8 xBelow, yBelow;
  lessModulus(x, F::kModulus, &xBelow);
  lessModulus(y, F::kModulus, &yBelow);
  *out = {entered<F>(x), entered<F>(y)};
  return xBelow & yBelow & onCurve(*out);
}

// The whole window is read whatever the entries are, and looked up in registers.
QUORATE_LANES_INLINE Affine generatorEntry(const P256GeneratorTable::Window& window, Vec entry) {
  static_assert(P256GeneratorTable::kEntries == 32);
  const __mmask8 upper = _mm512_test_epi64_mask(entry, word(16));
  Number at[2];
  QUORATE_EACH(c, 2) {
    QUORATE_EACH(i, 5) {
      const uint64_t* row = window.limb[5 * c + i];
      const auto sixteen = [&](const uint64_t* p) __attribute__((always_inline)) {
        return _mm512_permutex2var_epi64(_mm512_load_si512(p), entry, _mm512_load_si512(p + 8));
      };
      at[c].limb[i] = _mm512_mask_blend_epi64(upper, sixteen(row), sixteen(row + 16));
    });
  });
  return {at[0], at[1]};
}

constexpr unsigned kGeneratorBits = P256GeneratorTable::kBits;
constexpr unsigned kGeneratorTotal = kGeneratorBits * P256GeneratorTable::kWindows;

// scalar G, in constant time. scalar: odd, below the order.
QUORATE_LANES_INLINE Point multipleOfGenerator(const P256GeneratorTable& table, const Number& scalar) {
  const Words bits = signedBits(scalar, kGeneratorTotal);
  Digit digit = digitOf(bitsFrom(bits, 0, kGeneratorBits), kGeneratorBits);
  Point point = fromAffine(generatorEntry(table.windows[0], digit.entry), digit.negative);
  for (size_t i = 1; i < P256GeneratorTable::kWindows; i++) {
    digit = digitOf(bitsFrom(bits, kGeneratorBits * i, kGeneratorBits), kGeneratorBits);
    addAffine(&point, generatorEntry(table.windows[i], digit.entry), digit.negative);
  }
  return point;
}

constexpr unsigned kCombTotal = P256Comb::kBlocks * P256Comb::kTeeth * P256Comb::kSpacing;

// Not in constant time: gathers at public addresses.
QUORATE_LANES_INLINE Affine combEntry(Vec combs, size_t block, Vec entry) {
  constexpr size_t kPointBytes = sizeof(P256Comb::point[0][0]);
  const Vec at = add(combs, _mm512_mullo_epi64(add(entry, word(block * P256Comb::kEntries)), word(kPointBytes)));
  Number found[2];
  QUORATE_EACH(c, 2) {
    QUORATE_EACH(i, 5) { found[c].limb[i] = _mm512_i64gather_epi64(add(at, word(8 * (5 * c + i))), nullptr, 1); });
  });
  return {found[0], found[1]};
}
QUORATE_LANES_INLINE Digit combDigit(const Words& bits, size_t block, size_t step) {
  Vec digit = word(0);
  for (size_t tooth = P256Comb::kTeeth; tooth-- > 0;) {
    const Vec bit = bitsFrom(bits, (block * P256Comb::kTeeth + tooth) * P256Comb::kSpacing + step, 1);
    digit = _mm512_or_si512(add(digit, digit), bit);
  }
  return digitOf(digit, P256Comb::kTeeth);
}
// A scalar (odd, below 2^256) times the points of eight combs, where `negative` says so times their opposites.
struct CombTerm {
  Vec combs;  // their addresses
  Words bits;
  __mmask8 negative;
};
QUORATE_LANES_INLINE CombTerm combTerm(Vec combs, const Number& scalar, __mmask8 negative) {
  return {combs, signedBits(scalar, kCombTotal), negative};
}
[[gnu::noinline]] void addCombStep(const CombTerm* term, size_t step, size_t firstBlock, Point* sum) {
  Point point = *sum;
  for (size_t block = firstBlock; block < P256Comb::kBlocks; block++) {
    const Digit digit = combDigit(term->bits, block, step);
    addAffine(&point, combEntry(term->combs, block, digit.entry), digit.negative ^ term->negative);
  }
  *sum = point;
}

[[gnu::noinline]] void doubleTimes(Point* a, unsigned n) {
  Point point = *a;
  for (unsigned i = 0; i < n; i++) twice(&point);
  *a = point;
}
[[gnu::noinline]] void addPoint(Point* a, const Point* b, __mmask8 negative) { add(a, *b, negative); }

[[gnu::noinline]] void sumOfCombs(const CombTerm* a, const CombTerm* b, Point* out) {
  constexpr size_t kTop = P256Comb::kSpacing - 1;
  const Digit digit = combDigit(a->bits, 0, kTop);
  *out = fromAffine(combEntry(a->combs, 0, digit.entry), digit.negative ^ a->negative);
  for (size_t step = kTop + 1; step-- > 0;) {
    if (step != kTop) doubleTimes(out, 1);
    addCombStep(a, step, step == kTop ? 1 : 0, out);
    addCombStep(b, step, 0, out);
  }
}

constexpr unsigned kPointBits = 4, kPointWindows = 65, kPointEntries = 1 << (kPointBits - 1);

// Not in constant time in a way that counts: nothing is secret.
QUORATE_LANES_INLINE Point pointEntry(const Point odd[kPointEntries], Vec entry) {
  Point out = odd[0];
  for (unsigned e = 1; e < kPointEntries; e++) {
    const __mmask8 here = _mm512_cmpeq_epi64_mask(entry, word(e));
    out = {choose(here, out.x, odd[e].x), choose(here, out.y, odd[e].y), choose(here, out.zz, odd[e].zz),
           choose(here, out.zzz, odd[e].zzz)};
  }
  return out;
}
// scalar a + term, without a comb of a: windows of four bits over its odd multiples to 15.
[[gnu::noinline]] void sumWithPoint(const Affine& a, const Number* scalar, __mmask8 negative, const CombTerm* term, Point* out) {
  Point odd[kPointEntries];
  Point second = odd[0] = fromAffine(a, 0);
  doubleTimes(&second, 1);
  for (size_t i = 1; i < kPointEntries; i++) {
    odd[i] = odd[i - 1];
    addPoint(&odd[i], &second, 0);
  }
  const Words bits = signedBits(*scalar, kPointBits * kPointWindows);
  const size_t top = kPointBits * (kPointWindows - 1);
  for (size_t at = top + 1; at-- > 0;) {
    if (at != top) doubleTimes(out, 1);
    if (at % kPointBits == 0) {
      const Digit digit = digitOf(bitsFrom(bits, at, kPointBits), kPointBits);
      const Point entry = pointEntry(odd, digit.entry);
      const __mmask8 sign = digit.negative ^ negative;
      if (at == top)
        *out = {entry.x, negatedWhere(sign, entry.y), entry.zz, entry.zzz};
      else
        addPoint(out, &entry, sign);
    }
    if (at < P256Comb::kSpacing) addCombStep(term, at, 0, out);
  }
}

}  // namespace
}  // namespace quorate
