// ECDSA over P-256 in eight lanes of AVX512-IFMA (FIPS 186-5 6.4). Signing takes the same instructions and addresses whatever the nonces,
// scalars and digests are; verifying does not, and sees only what is public once the signature is.
#include "core/p256_ifma.h"

#if defined(__x86_64__)
#include <immintrin.h>

// GCC 12's own AVX-512 header passes an undefined vector where a mask selects nothing of it, and warns of that.
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

// scalar or order - scalar: the odd one, and which.
QUORATE_LANES_INLINE Number madeOdd(const Number& scalar, __mmask8* negated) {
  *negated = static_cast<__mmask8>(~isOdd(scalar));
  return choose(*negated, scalar, minus<Order, 1>(zeroNumber(), scalar));
}

// In [1, order - 1].
QUORATE_LANES_INLINE __mmask8 inRange(const Number& a) {
  __mmask8 below;
  lessModulus(a, Order::kModulus, &below);
  return below & static_cast<__mmask8>(~isZero(a));
}

QUORATE_LANES_INLINE __mmask8 isOne(Number a) {
  a.limb[0] = subtract(a.limb[0], word(1));
  return isZero(a);
}

// The nonces modulo the order, in Montgomery's form: of 512 uniform bits, the bias is 2^-256 (FIPS 186-5 A.3.1).
QUORATE_LANES_INLINE Number nonceOf(const P256SignInput& input) {
  const size_t stride = sizeof input.nonces[0];
  const uint8_t* first = input.nonces[0].data();
  const Number upper = entered<Order>(loaded(first, stride)), lower = entered<Order>(loaded(first + 32, stride));
  return plus(lower, times<Order>(upper, power<Order, 256 + 260>()));
}

// r: the x coordinate of nonce G, modulo the order. -nonce gives the same.
[[gnu::noinline]] void commitment(const P256GeneratorTable& table, const Number* nonce, Number* r) {
  __mmask8 negated;
  Point point = multipleOfGenerator(table, madeOdd(left<Order>(*nonce), &negated));
  invert<F>(&point.zz);
  *r = onceReduced(left<F>(times<F>(point.x, point.zz)), Order::kModulus);
}

}  // namespace

uint8_t p256IfmaSign(const P256GeneratorTable& table, const P256SignInput& input, P256Signatures* out) {
  const Number k = nonceOf(input);
  Number r;
  commitment(table, &k, &r);
  const Number d = entered<Order>(loaded(input.scalars)), z = entered<Order>(loaded(input.digests));
  const Number t = plus(z, times<Order>(entered<Order>(r), d));
  // One inversion gives those of the nonce and of s: with i = 1/(k t), s = t/k = t t i and 1/s = k k i.
  Number i = times<Order>(k, t);
  invert<Order>(&i);
  const Number s = left<Order>(times<Order>(t, times<Order>(t, i)));
  stored(r, &out->r);
  stored(s, &out->s);
  stored(left<Order>(times<Order>(k, times<Order>(k, i))), &out->inverses);
  // A nonce of zero makes r, s or both zero.
  return inRange(r) & inRange(s);
}

P256Verdicts p256IfmaVerify(const P256Comb& generator, const P256VerifyInput& input) {
  const Number r = loaded(input.signatures->r), s = loaded(input.signatures->s);
  __mmask8 possible = inRange(r) & inRange(s), doubt = 0;
  Number inverse = entered<Order>(s);
  if (input.inversesKnown) {
    inverse = entered<Order>(loaded(input.signatures->inverses));
    possible &= isOne(onceReduced(times<Order>(s, inverse), Order::kModulus));
  } else {
    invert<Order>(&inverse);
  }
  __mmask8 negated1, negated2;
  const Number u1 = madeOdd(onceReduced(times<Order>(loaded(input.digests), inverse), Order::kModulus), &negated1);
  const Number u2 = madeOdd(onceReduced(times<Order>(r, inverse), Order::kModulus), &negated2);
  const CombTerm ofGenerator = combTerm(word(reinterpret_cast<uintptr_t>(&generator)), u1, negated1);
  Point sum;
  if (input.combs[0] != nullptr) {
    const CombTerm ofKey = combTerm(_mm512_loadu_si512(input.combs.data()), u2, negated2);
    sumOfCombs(&ofKey, &ofGenerator, &sum);
  } else {
    Affine q;
    doubt |= static_cast<__mmask8>(~loadedPoint(input.x, input.y, &q));
    sumWithPoint(q, &u2, negated2, &ofGenerator, &sum);
  }
  // The point's x may be r + order, when that is below p.
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = subtract(add(r.limb[i], word(Order::kModulus.at[i])), word(F::kModulus.at[i])); });
  doubt |= _mm512_movepi64_mask(carried(t).limb[4]) | isZero(left<F>(sum.zz));
  const __mmask8 same = isZero(left<F>(minus<F, 4>(times<F>(entered<F>(r), sum.zz), sum.x)));
  return {static_cast<uint8_t>(possible & same & ~doubt), static_cast<uint8_t>(possible & doubt)};
}

}  // namespace quorate

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
