// Combs of public keys, made for eight keys at a time. Nothing secret.
#include "core/p256_ifma.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <memory>

#pragma GCC diagnostic ignored "-Wunused-function"  // of the headers, half is p256_ifma.cc's

#ifndef __clang__
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512ifma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")
#endif
#include "core/p256_ifma_comb.h"

namespace quorate {
namespace {

constexpr size_t kEntries = P256Comb::kEntries, kTeeth = P256Comb::kTeeth;

// The entries of one block from its teeth's points, in the order of a Gray code, so that each is the one before and twice a tooth.
void fillBlock(const Point* teeth, Point* out) {
  Point now = teeth[kTeeth - 1];
  for (size_t i = 0; i + 1 < kTeeth; i++) addPoint(&now, &teeth[i], 0xff);
  out[0] = now;
  for (size_t i = 1; i < kEntries; i++) {
    const size_t code = i ^ (i >> 1), tooth = static_cast<size_t>(__builtin_ctzll(i));
    Point second = teeth[tooth];
    doubleTimes(&second, 1);
    addPoint(&now, &second, code >> tooth & 1 ? 0 : 0xff);
    out[code] = now;
  }
}

// X and Y of all points become the affine x and y, with one inversion: of the product of all ZZZ. 1/ZZ = (ZZ/ZZZ)^2. Bit i of the
// result: no addition failed in lane i.
__mmask8 normalize(Point* points, size_t count, Number* running) {
  running[0] = points[0].zzz;
  for (size_t i = 1; i < count; i++) {
    running[i] = running[i - 1];
    multiplyBy<F>(&running[i], &points[i].zzz);
  }
  Number inverse = running[count - 1];
  const __mmask8 good = static_cast<__mmask8>(~isZero(left<F>(inverse)));
  invert<F>(&inverse);
  for (size_t i = count; i-- > 0;) {
    Number each = inverse;
    if (i > 0) multiplyBy<F>(&each, &running[i - 1]);
    multiplyBy<F>(&inverse, &points[i].zzz);
    multiplyBy<F>(&points[i].y, &each);
    multiplyBy<F>(&each, &points[i].zz);
    squareTimes<F>(&each, 1);
    multiplyBy<F>(&points[i].x, &each);
  }
  return good;
}

// In Montgomery's form, below p: what a comb holds.
Number settled(const Number& a) { return onceReduced(onceReduced(reducedField(a), F::kModulus), F::kModulus); }

void writeEntry(const Point& point, size_t block, size_t entry, const std::array<P256Comb*, kP256Lanes>& combs) {
  const Number x = settled(point.x), y = settled(point.y);
  for (size_t i = 0; i < 5; i++) {
    alignas(64) uint64_t both[2][kP256Lanes];
    _mm512_store_si512(both[0], x.limb[i]);
    _mm512_store_si512(both[1], y.limb[i]);
    for (size_t lane = 0; lane < kP256Lanes; lane++) {
      combs[lane]->point[block][entry][i] = both[0][lane];
      combs[lane]->point[block][entry][5 + i] = both[1][lane];
    }
  }
}

}  // namespace

uint8_t p256IfmaCombs(const P256Numbers& xIn, const P256Numbers& yIn, const std::array<P256Comb*, kP256Lanes>& combs) {
  struct Space {
    Point teeth[kTeeth], entries[P256Comb::kBlocks * kEntries];
    Number running[P256Comb::kBlocks * kEntries];
  };
  const auto space = std::make_unique<Space>();
  Affine q;
  const __mmask8 onCurve = loadedPoint(xIn, yIn, &q);
  Point tooth = fromAffine(q, 0);
  for (size_t block = 0; block < P256Comb::kBlocks; block++) {
    for (size_t i = 0; i < kTeeth; i++) {
      space->teeth[i] = tooth;
      doubleTimes(&tooth, P256Comb::kSpacing);
    }
    fillBlock(space->teeth, space->entries + block * kEntries);
  }
  const __mmask8 good = onCurve & normalize(space->entries, std::size(space->entries), space->running);
  for (size_t i = 0; i < std::size(space->entries); i++) writeEntry(space->entries[i], i / kEntries, i % kEntries, combs);
  return good;
}

}  // namespace quorate

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
