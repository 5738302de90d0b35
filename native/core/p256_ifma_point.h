// Points of P-256, eight at a time: x = X/ZZ, y = Y/ZZZ with ZZ^3 = ZZZ^2 (the formulas madd-2008-s, add-2008-s and dbl-2008-s-1 of the
// Explicit-Formulas Database, with a = -3).
//
// No formula here handles the point at infinity, nor add() and addAffine() equal or opposite points. What they then give has ZZ = 0,
// as has everything computed from that, and a point that is right never has (the order is odd, so nothing doubles to infinity). So the
// caller looks once, at the end, and leaves such a lane to slower code. With scalars of full length as sums of odd digits
// (signedBits), that happens to nobody who does not look for it.
#pragma once
#include "core/p256_ifma.h"
#include "core/p256_ifma_field.h"

namespace quorate {
namespace {

using F = FieldPrime;

// X < 2.01 p, Y < 4 p, ZZ and ZZZ < 2 p.
struct Point {
  Number x, y, zz, zzz;
};
// Both below p when they come from a table, x below 2.01 p and y below 4 p otherwise.
struct Affine {
  Number x, y;
};

// b, in Montgomery's form: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b is the curve's.
constexpr Limbs kCurveB{{0xe3c3e27d2604b, 0xb0cc53b0f63bc, 0x69886bc651d06, 0x93e7b3ebbd557, 0x5ac635d8aa3a}};

QUORATE_LANES_INLINE Number negatedWhere(__mmask8 where, const Number& a) {
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = _mm512_mask_sub_epi64(a.limb[i], where, word(4 * F::kModulus.at[i]), a.limb[i]); });
  return carried(t);
}

QUORATE_LANES_INLINE Point fromAffine(const Affine& a, __mmask8 negative) {
  const Number one = quorate::one<F>();
  return {a.x, negatedWhere(negative, a.y), one, one};
}

// What both additions end with: P = U2 - U1 < 6 p, R = S2 - S1 < 7 p, U1 < 2.01 p, S1 < 4 p.
QUORATE_LANES_INLINE void finishAddition(const Number& p, const Number& r, const Number& u1, const Number& s1, const Number& zz,
                                         const Number& zzz, Point* out) {
  const Number pp = squared<F>(p);
  const Number ppp = times<F>(p, pp), q = times<F>(u1, pp), rr = squared<F>(r);
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = subtract(subtract(rr.limb[i], ppp.limb[i]), add(q.limb[i], q.limb[i])); });
  out->x = reducedField(t);
  out->y = sumOfProducts<F>(r, minus<F, 4>(q, out->x), minus<F, 4>(zeroNumber(), s1), ppp);
  out->zz = times<F>(zz, pp);
  out->zzz = times<F>(zzz, ppp);
}

// a + b, or a - b where `negative` says so. b's y below 2 p.
QUORATE_LANES_INLINE void addAffine(Point* a, const Affine& b, __mmask8 negative) {
  const Number u2 = times<F>(b.x, a->zz), s2 = times<F>(b.y, a->zzz);
  Vec t[5];
  QUORATE_EACH(i, 5) {
    const Vec s = _mm512_mask_sub_epi64(s2.limb[i], negative, word(0), s2.limb[i]);
    t[i] = add(subtract(s, a->y.limb[i]), word(uint64_t{6} * F::kModulus.at[i]));
  });
  const Number r = reducedField(t), p = minus<F, 4>(u2, a->x);
  finishAddition(p, r, a->x, a->y, a->zz, a->zzz, a);
}

QUORATE_LANES_INLINE void add(Point* a, const Point& b, __mmask8 negative) {
  const Number u1 = times<F>(a->x, b.zz), s1 = times<F>(a->y, b.zzz), u2 = times<F>(b.x, a->zz);
  const Number s2 = times<F>(negatedWhere(negative, b.y), a->zzz);
  const Number zz = times<F>(a->zz, b.zz), zzz = times<F>(a->zzz, b.zzz);
  finishAddition(minus<F, 4>(u2, u1), minus<F, 4>(s2, s1), u1, s1, zz, zzz, a);
}

QUORATE_LANES_INLINE void twice(Point* a) {
  const Number u = plus(a->y, a->y), v = squared<F>(u), w = times<F>(u, v), s = times<F>(a->x, v);
  const Number third = times<F>(minus<F, 4>(a->x, a->zz), plus(a->x, a->zz));
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = quorate::add(quorate::add(third.limb[i], third.limb[i]), third.limb[i]); });
  const Number m = reducedField(t), mm = squared<F>(m);
  QUORATE_EACH(i, 5) { t[i] = subtract(mm.limb[i], quorate::add(s.limb[i], s.limb[i])); });
  a->x = reducedField(t);
  a->y = sumOfProducts<F>(m, minus<F, 4>(s, a->x), minus<F, 4>(zeroNumber(), a->y), w);
  a->zz = times<F>(v, a->zz);
  a->zzz = times<F>(w, a->zzz);
}

QUORATE_LANES_INLINE __mmask8 onCurve(const Affine& a) {
  const Number xx = squared<F>(a.x), one = quorate::one<F>();
  const Number right = plus(times<F>(minus<F, 4>(xx, plus(plus(one, one), one)), a.x), entered<F>(constant(kCurveB)));
  return isZero(left<F>(minus<F, 4>(squared<F>(a.y), right)));
}

// 64-bit words, lowest first, of 256 bits and what a shift puts beyond.
struct Words {
  Vec at[5];
};
template <int down, int up>
QUORATE_LANES_INLINE Vec joined(Vec lower, Vec upper) {
  return _mm512_or_si512(_mm512_srli_epi64(lower, down), _mm512_slli_epi64(upper, up));
}
QUORATE_LANES_INLINE Words wordsOf(const Number& a) {
  const Vec* l = a.limb;
  return {{joined<0, 52>(l[0], l[1]), joined<12, 40>(l[1], l[2]), joined<24, 28>(l[2], l[3]), joined<36, 16>(l[3], l[4]), word(0)}};
}
QUORATE_LANES_INLINE Number numberOf(const Vec w[4]) {
  Number out = {{w[0], joined<52, 12>(w[0], w[1]), joined<40, 24>(w[1], w[2]), joined<28, 36>(w[2], w[3]), _mm512_srli_epi64(w[3], 16)}};
  QUORATE_EACH(i, 4) { out.limb[i] = _mm512_and_si512(out.limb[i], word(kLimbMask)); });
  return out;
}

// For an odd number below 2^256: bit j of the result says whether 2^j is added or subtracted, j below `total`, and the sum of all is the
// number. (If all are subtracted, they make 1 - 2^total; adding 2^j instead makes 2^(j+1) more.) total from 257 to 319.
QUORATE_LANES_INLINE Words signedBits(const Number& odd, unsigned total) {
  Words words = wordsOf(odd);
  QUORATE_EACH(i, 4) {
    const Vec next = i == 3 ? word(0) : words.at[i + 1];
    words.at[i] = _mm512_or_si512(_mm512_srli_epi64(words.at[i], 1), _mm512_slli_epi64(next, 63));
  });
  words.at[4] = word(uint64_t{1} << (total - 1 - 256));
  return words;
}
// The `count` bits from bit `from`.
QUORATE_LANES_INLINE Vec bitsFrom(const Words& words, size_t from, unsigned count) {
  const __m128i down = _mm_cvtsi64_si128(static_cast<long long>(from % 64)), up = _mm_cvtsi64_si128(static_cast<long long>(64 - from % 64));
  const Vec upper = from / 64 == 4 ? word(0) : words.at[from / 64 + 1];
  const Vec both = _mm512_or_si512(_mm512_srl_epi64(words.at[from / 64], down), _mm512_sll_epi64(upper, up));
  return _mm512_and_si512(both, word((uint64_t{1} << count) - 1));
}

// A digit of `count` signed bits: its sign, and where a table of odd multiples has it.
struct Digit {
  __mmask8 negative;
  Vec entry;
};
QUORATE_LANES_INLINE Digit digitOf(Vec bits, unsigned count) {
  const __mmask8 negative = _mm512_testn_epi64_mask(bits, word(uint64_t{1} << (count - 1)));
  const Vec entry = _mm512_mask_xor_epi64(bits, negative, bits, word(~uint64_t{0}));
  return {negative, _mm512_and_si512(entry, word((uint64_t{1} << (count - 1)) - 1))};
}

}  // namespace
}  // namespace quorate
