// Integers modulo P-256's field prime and modulo its order, eight independent ones at a time: five limbs of 52 bits, each limb of all
// eight in one 512-bit register, multiplied with AVX512-IFMA (vpmadd52luq, vpmadd52huq) after Montgomery with R = 2^260.
//
// Everything here runs the same instructions on the same addresses whatever the numbers are.
//
// Bounds. A Number's limbs lie in [0, 2^52), so it is below 2^260 = 16.0 p; what is said of one is a multiple of p (or of n, which has
// as many bits). times() and its like give less than (A B / 16 + 1) p for factors below A p and B p; minus() takes the multiple of p
// that keeps it from being negative; reduced() gives less than 2.01 p for anything between -32 p and 32 p.
//
// Only for files compiled for AVX512-IFMA, which include <immintrin.h> and then this after they have switched to it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#define QUORATE_LANES_INLINE __attribute__((always_inline)) inline

namespace quorate {
namespace {

using Vec = __m512i;
constexpr uint64_t kLimbMask = (uint64_t{1} << 52) - 1;

struct Number {
  Vec limb[5];
};
struct Limbs {
  uint64_t at[5];
};

template <size_t n, class F>
QUORATE_LANES_INLINE void unrolledLanes(F&& f) {
  [&]<size_t... i>(std::index_sequence<i...>) __attribute__((always_inline)) { (f.template operator()<i>(), ...); }
  (std::make_index_sequence<n>{});
}
#define QUORATE_EACH(i, n) unrolledLanes<n>([&]<size_t i>() __attribute__((always_inline))

QUORATE_LANES_INLINE Vec word(uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }
QUORATE_LANES_INLINE Vec low(Vec sum, Vec a, Vec b) { return _mm512_madd52lo_epu64(sum, a, b); }
QUORATE_LANES_INLINE Vec high(Vec sum, Vec a, Vec b) { return _mm512_madd52hi_epu64(sum, a, b); }
QUORATE_LANES_INLINE Vec add(Vec a, Vec b) { return _mm512_add_epi64(a, b); }
QUORATE_LANES_INLINE Vec subtract(Vec a, Vec b) { return _mm512_sub_epi64(a, b); }

// 2^bits modulo m, for the constants.
constexpr Limbs powerOfTwo(unsigned bits, const Limbs& m) {
  Limbs value{{1, 0, 0, 0, 0}};
  for (unsigned i = 0; i < bits; i++) {
    Limbs twice{}, less{};
    uint64_t carry = 0, borrow = 0;
    for (int j = 0; j < 5; j++) {
      twice.at[j] = (2 * value.at[j] + carry) & kLimbMask;
      carry = (2 * value.at[j] + carry) >> 52;
      less.at[j] = (twice.at[j] - m.at[j] - borrow) & kLimbMask;
      borrow = (twice.at[j] - m.at[j] - borrow) >> 63;
    }
    value = borrow ? twice : less;
  }
  return value;
}

// What Montgomery's reduction adds at limb i, so that the limb becomes a multiple of 2^52: m times the modulus.
struct FieldPrime {
  static constexpr Limbs kModulus{{0xfffffffffffff, 0x00fffffffffff, 0, 0x0001000000000, 0x0ffffffff0000}};
  // -1/p = 1 modulo 2^52, so m is the limb itself, of which the multiplications read 52 bits; and p = 2^256 - 2^224 + 2^192 + 2^96 - 1.
  template <size_t i>
  QUORATE_LANES_INLINE static void clear(Vec t[10]) {
    const Vec m = t[i], a = word(uint64_t{1} << 44), b = word(uint64_t{1} << 36), c = word(0x0ffffffff0000);
    t[i + 1] = low(add(t[i + 1], _mm512_srli_epi64(m, 52)), m, a);
    t[i + 2] = high(t[i + 2], m, a);
    t[i + 3] = low(t[i + 3], m, b);
    t[i + 4] = low(high(t[i + 4], m, b), m, c);
    t[i + 5] = high(t[i + 5], m, c);
  }
};
struct Order {
  static constexpr Limbs kModulus{{0x9cac2fc632551, 0xada7179e84f3b, 0xfffffffbce6fa, 0x0000fffffffff, 0x0ffffffff0000}};
  static constexpr uint64_t kInverse = 0x1c8aaee00bc4f;  // -1/n modulo 2^52
  template <size_t i>
  QUORATE_LANES_INLINE static void clear(Vec t[10]) {
    const Vec m = low(word(0), t[i], word(kInverse));
    QUORATE_EACH(j, 5) {
      const Vec limb = word(kModulus.at[j]);
      t[i + j] = low(t[i + j], m, limb);
      t[i + j + 1] = high(t[i + j + 1], m, limb);
    });
    t[i + 1] = add(t[i + 1], _mm512_srli_epi64(t[i], 52));
  }
};
static_assert((Order::kModulus.at[0] * Order::kInverse & kLimbMask) == kLimbMask);

QUORATE_LANES_INLINE Number constant(const Limbs& value) {
  Number out;
  QUORATE_EACH(i, 5) { out.limb[i] = word(value.at[i]); });
  return out;
}
QUORATE_LANES_INLINE Number zeroNumber() { return constant({}); }

// 2^bits modulo M's modulus.
template <class M, unsigned bits>
QUORATE_LANES_INLINE Number power() {
  constexpr Limbs value = powerOfTwo(bits, M::kModulus);
  return constant(value);
}

// Limbs of any sign, of a number that is not negative, made limbs of 52 bits.
QUORATE_LANES_INLINE Number carried(const Vec t[5]) {
  Number out;
  Vec carry = word(0);
  QUORATE_EACH(i, 5) {
    const Vec sum = i == 0 ? t[i] : add(t[i], carry);
    out.limb[i] = i == 4 ? sum : _mm512_and_si512(sum, word(kLimbMask));
    carry = _mm512_srai_epi64(sum, 52);
  });
  return out;
}

// A product, or a sum of products, before its reduction.
struct Product {
  Vec t[10];
};
QUORATE_LANES_INLINE void addProduct(Product& sum, const Number& a, const Number& b) {
  QUORATE_EACH(i, 5) {
    QUORATE_EACH(j, 5) {
      sum.t[i + j] = low(sum.t[i + j], a.limb[i], b.limb[j]);
      sum.t[i + j + 1] = high(sum.t[i + j + 1], a.limb[i], b.limb[j]);
    });
  });
}
QUORATE_LANES_INLINE Product product(const Number& a, const Number& b) {
  Product out;
  QUORATE_EACH(i, 10) { out.t[i] = word(0); });
  addProduct(out, a, b);
  return out;
}
template <class M>
QUORATE_LANES_INLINE Number montgomery(Product p) {
  QUORATE_EACH(i, 5) { M::template clear<i>(p.t); });
  return carried(p.t + 5);
}

template <class M>
QUORATE_LANES_INLINE Number times(const Number& a, const Number& b) {
  return montgomery<M>(product(a, b));
}
// a b + c d, with one reduction: less than ((A B + C D) / 16 + 1) p.
template <class M>
QUORATE_LANES_INLINE Number sumOfProducts(const Number& a, const Number& b, const Number& c, const Number& d) {
  Product p = product(a, b);
  addProduct(p, c, d);
  return montgomery<M>(p);
}
template <class M>
QUORATE_LANES_INLINE Number squared(const Number& a) {
  Product p;
  QUORATE_EACH(i, 10) { p.t[i] = word(0); });
  QUORATE_EACH(i, 5) {
    QUORATE_EACH(j, 5) {
      if constexpr (j > i) {
        p.t[i + j] = low(p.t[i + j], a.limb[i], a.limb[j]);
        p.t[i + j + 1] = high(p.t[i + j + 1], a.limb[i], a.limb[j]);
      }
    });
  });
  QUORATE_EACH(i, 10) { p.t[i] = add(p.t[i], p.t[i]); });
  QUORATE_EACH(i, 5) {
    p.t[2 * i] = low(p.t[2 * i], a.limb[i], a.limb[i]);
    p.t[2 * i + 1] = high(p.t[2 * i + 1], a.limb[i], a.limb[i]);
  });
  return montgomery<M>(p);
}

QUORATE_LANES_INLINE Number plus(const Number& a, const Number& b) {
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = add(a.limb[i], b.limb[i]); });
  return carried(t);
}
// a - b + multiple p; b below multiple p.
template <class M, unsigned multiple>
QUORATE_LANES_INLINE Number minus(const Number& a, const Number& b) {
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = add(subtract(a.limb[i], b.limb[i]), word(multiple * M::kModulus.at[i])); });
  return carried(t);
}

// For limbs of any sign that together lie between -32 p and 32 p: less than 2.01 p and not negative. The multiple of p is guessed from
// what is beyond 2^256, less one for what the lower limbs may borrow.
QUORATE_LANES_INLINE Number reducedField(Vec t[5]) {
  const Vec q = subtract(_mm512_srai_epi64(t[4], 48), word(1));
  t[0] = add(t[0], q);
  t[1] = subtract(t[1], _mm512_slli_epi64(q, 44));
  t[3] = subtract(t[3], _mm512_slli_epi64(q, 36));
  t[4] = add(subtract(t[4], _mm512_slli_epi64(q, 48)), _mm512_slli_epi64(q, 16));
  return carried(t);
}
QUORATE_LANES_INLINE Number reducedField(const Number& a) {
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = a.limb[i]; });
  return reducedField(t);
}

QUORATE_LANES_INLINE Number choose(__mmask8 second, const Number& a, const Number& b) {
  Number out;
  QUORATE_EACH(i, 5) { out.limb[i] = _mm512_mask_blend_epi64(second, a.limb[i], b.limb[i]); });
  return out;
}
QUORATE_LANES_INLINE __mmask8 isZero(const Number& a) {  // the number 0, not a multiple of the modulus
  Vec any = a.limb[0];
  QUORATE_EACH(i, 5) { any = _mm512_or_si512(any, a.limb[i]); });
  return _mm512_testn_epi64_mask(any, any);
}
QUORATE_LANES_INLINE __mmask8 isOdd(const Number& a) { return _mm512_test_epi64_mask(a.limb[0], word(1)); }

// a - m, and whether a is below m.
QUORATE_LANES_INLINE Number lessModulus(const Number& a, const Limbs& m, __mmask8* below) {
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = subtract(a.limb[i], word(m.at[i])); });
  Number out = carried(t);
  *below = _mm512_movepi64_mask(out.limb[4]);
  return out;
}
// For a below 2 m.
QUORATE_LANES_INLINE Number onceReduced(const Number& a, const Limbs& m) {
  __mmask8 below;
  const Number less = lessModulus(a, m, &below);
  return choose(below, less, a);
}

// Into Montgomery's form and out of it, there into [0, m).
template <class M>
QUORATE_LANES_INLINE Number entered(const Number& a) {
  return times<M>(a, power<M, 520>());
}
template <class M>
QUORATE_LANES_INLINE Number left(const Number& a) {
  return onceReduced(times<M>(a, power<M, 0>()), M::kModulus);
}
template <class M>
QUORATE_LANES_INLINE Number one() {
  return power<M, 260>();
}

template <class M>
[[gnu::noinline]] void squareTimes(Number* a, unsigned n) {
  Number value = *a;
  for (unsigned i = 0; i < n; i++) value = squared<M>(value);
  *a = value;
}
template <class M>
[[gnu::noinline]] void multiplyBy(Number* a, const Number* b) {
  *a = times<M>(*a, *b);
}

// 1/a by Fermat, in Montgomery's form; 0 for 0. The exponent is public: m - 2, four bits at a time from the top.
template <class M>
[[gnu::noinline]] void invert(Number* a) {
  Number power[16];
  power[1] = *a;
  for (int i = 2; i < 16; i++) {
    power[i] = power[i - 1];
    multiplyBy<M>(&power[i], a);
  }
  constexpr Limbs m = M::kModulus;
  static_assert(m.at[0] >= 2);
  const auto digit = [&](int i) { return (m.at[i / 13] - (i < 13 ? 2 : 0)) >> (4 * (i % 13)) & 15; };
  Number value = power[15];  // both moduli begin with 32 ones
  unsigned pending = 0;
  for (int i = 62; i >= 0; i--) {
    pending += 4;
    if (digit(i) == 0) continue;
    squareTimes<M>(&value, pending);
    multiplyBy<M>(&value, &power[digit(i)]);
    pending = 0;
  }
  *a = value;
}

}  // namespace
}  // namespace quorate
