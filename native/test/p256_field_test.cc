// The lanes' arithmetic modulo P-256's p and n against libcrypto's numbers: every pair of edge values and random ones, each of the eight
// lanes with another pair; and the bounds that its comments claim.
#include <doctest/doctest.h>
#include <openssl/obj_mac.h>

#include <cstring>
#include <functional>
#include <random>

#include "core/gcm.h"
#include "core/libcrypto.h"
#include "core/p256_lanes.h"
#include "hex.h"

#if defined(__x86_64__)
#include <immintrin.h>

#ifndef __clang__
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#pragma GCC diagnostic ignored "-Wunused-function"
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512ifma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")
#endif
#include "core/p256_ifma_point.h"

// In functions of their own, with plain arguments: what they are called from is compiled for any CPU.
namespace quorate {
namespace {

struct Plain {
  alignas(64) uint64_t limb[5][8];
};
[[gnu::noinline]] Number read(const Plain& a) {
  Number out;
  QUORATE_EACH(i, 5) { out.limb[i] = _mm512_load_si512(a.limb[i]); });
  return out;
}
[[gnu::noinline]] void write(const Number& a, Plain* out) {
  QUORATE_EACH(i, 5) { _mm512_store_si512(out->limb[i], a.limb[i]); });
}
using Binary = void (*)(const Plain& a, const Plain& b, Plain* out);

template <class M>
void timesOf(const Plain& a, const Plain& b, Plain* out) {
  write(times<M>(read(a), read(b)), out);
}
template <class M>
void squaredOf(const Plain& a, const Plain&, Plain* out) {
  write(squared<M>(read(a)), out);
}
template <class M>
void sumOf(const Plain& a, const Plain& b, Plain* out) {
  write(sumOfProducts<M>(read(a), read(b), read(b), read(b)), out);
}
template <class M>
void minusOf(const Plain& a, const Plain& b, Plain* out) {
  write(minus<M, 2>(read(a), read(b)), out);
}
void plusOf(const Plain& a, const Plain& b, Plain* out) { write(plus(read(a), read(b)), out); }
template <class M>
void leftOf(const Plain& a, const Plain&, Plain* out) {
  write(left<M>(read(a)), out);
}
template <class M>
void inverseOf(const Plain& a, const Plain&, Plain* out) {
  Number value = entered<M>(read(a));
  invert<M>(&value);
  write(left<M>(value), out);
}
// 4 (a - 2 b), which is between -16 p and 8 p for what is below 2 p.
void reducedOf(const Plain& a, const Plain& b, Plain* out) {
  const Number x = read(a), y = read(b);
  Vec t[5];
  QUORATE_EACH(i, 5) { t[i] = _mm512_slli_epi64(subtract(x.limb[i], add(y.limb[i], y.limb[i])), 2); });
  write(reducedField(t), out);
}
void signedBitsOf(const Plain& a, const Plain&, Plain* out) {
  const Words bits = signedBits(read(a), 266);
  for (size_t i = 0; i < 5; i++) _mm512_store_si512(out->limb[i], bits.at[i]);
}
void wordsBack(const Plain& a, const Plain&, Plain* out) { write(numberOf(wordsOf(read(a)).at), out); }

}  // namespace
}  // namespace quorate
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

using namespace quorate;
using namespace quorate::test;

namespace {

const auto kSkipped = doctest::skip(!p256LanesPick(cpuFeatures(), gcmForced()));

struct Modulus {
  const char* name;
  Bn m;
};
Bn hexNumber(const char* digits) {
  BIGNUM* out = nullptr;
  REQUIRE(BN_hex2bn(&out, digits) > 0);
  return Bn(out);
}
Bn prime() { return hexNumber("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"); }
Bn order() { return hexNumber("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"); }

void put(Plain* plain, size_t lane, const BIGNUM* number) {
  const Bn rest(BN_dup(number));
  for (size_t i = 0; i < 5; i++) {
    uint8_t limb[8] = {};
    const Bn bits(BN_dup(rest.get()));
    BN_mask_bits(bits.get(), 52);
    REQUIRE(BN_bn2lebinpad(bits.get(), limb, 8) == 8);
    std::memcpy(&plain->limb[i][lane], limb, 8);
    BN_rshift(rest.get(), rest.get(), 52);
  }
  REQUIRE(BN_is_zero(rest.get()));
}
// Limbs of `bits` bits; no limb may have more.
Bn get(const Plain& plain, size_t lane, int bits = 52) {
  Bn out(BN_new());
  for (size_t i = 5; i-- > 0;) {
    if (bits == 52) CHECK((plain.limb[i][lane] >> 52) == 0);
    BN_lshift(out.get(), out.get(), bits);
    uint8_t limb[8];
    std::memcpy(limb, &plain.limb[i][lane], 8);
    const Bn part(BN_lebin2bn(limb, 8, nullptr));
    BN_add(out.get(), out.get(), part.get());
  }
  return out;
}

// 0, 1, 2, m - 1, m, m + 1, 2 m - 1, 2^256 - 1 reduced and not, alternating limbs, and random ones: all below 2 m.
std::vector<Bn> values(const BIGNUM* m) {
  std::vector<Bn> out;
  for (const char* digits : {"0", "1", "2", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "fffffffffffff",
                             "ffffffffffffe000000000000fffffffffffff", "100000000000000000000000000000000"}) {
    out.push_back(hexNumber(digits));
  }
  for (const int delta : {-1, 0, 1}) {
    out.emplace_back(BN_dup(m));
    if (delta < 0)
      BN_sub_word(out.back().get(), 1);
    else
      BN_add_word(out.back().get(), static_cast<BN_ULONG>(delta));
  }
  out.emplace_back(BN_dup(m));
  BN_lshift1(out.back().get(), m);
  BN_sub_word(out.back().get(), 1);
  out.push_back(hexNumber("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"));
  BN_sub(out.back().get(), out.back().get(), m);
  std::mt19937 generator(256);
  for (int i = 0; i < 20; i++) {
    uint8_t bytes[32];
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator());
    out.emplace_back(BN_bin2bn(bytes, 32, nullptr));
  }
  return out;
}

using Expected = std::function<void(BIGNUM* out, const BIGNUM* a, const BIGNUM* b, const BIGNUM* m, BN_CTX* context)>;

// f gives what is expected modulo m, and less than `bound` hundredths of m.
void checkAll(const std::string& name, const BIGNUM* m, Binary f, unsigned bound, const Expected& expected) {
  CAPTURE(name);
  const BnContext context(BN_CTX_new());
  const std::vector<Bn> all = values(m);
  Bn limit(BN_dup(m)), wanted(BN_new());
  BN_mul_word(limit.get(), bound);
  BN_div_word(limit.get(), 100);
  if (bound == 100) BN_copy(limit.get(), m);
  for (size_t i = 0; i < all.size(); i++) {
    for (size_t j = 0; j < all.size(); j += 8) {
      Plain a, b, out;
      for (size_t lane = 0; lane < 8; lane++) {
        put(&a, lane, all[i].get());
        put(&b, lane, all[(i + j + lane) % all.size()].get());
      }
      f(a, b, &out);
      for (size_t lane = 0; lane < 8; lane++) {
        const Bn got = get(out, lane);
        CHECK(BN_cmp(got.get(), limit.get()) < 0);
        expected(wanted.get(), all[i].get(), all[(i + j + lane) % all.size()].get(), m, context.get());
        BN_nnmod(got.get(), got.get(), m, context.get());
        BN_nnmod(wanted.get(), wanted.get(), m, context.get());
        CHECK(BN_cmp(got.get(), wanted.get()) == 0);
      }
    }
  }
}

// out = out / 2^260 modulo m
void outOfMontgomery(BIGNUM* out, const BIGNUM* m, BN_CTX* context) {
  Bn r(BN_new());
  BN_set_bit(r.get(), 260);
  BN_mod_inverse(r.get(), r.get(), m, context);
  BN_mod_mul(out, out, r.get(), m, context);
}

template <class M>
void checkModulus(const std::string& name, const Bn& m) {
  CAPTURE(name);
  const auto product = [](BIGNUM* out, const BIGNUM* a, const BIGNUM* b, const BIGNUM* n, BN_CTX* context) {
    BN_mul(out, a, b, context);
    outOfMontgomery(out, n, context);
  };
  // Factors below 2 m: less than (4 / 16 + 1) m; the sum of two such products less than (8 / 16 + 1) m.
  checkAll("times", m.get(), timesOf<M>, 126, product);
  checkAll("squared", m.get(), squaredOf<M>, 126,
           [&](BIGNUM* out, const BIGNUM* a, const BIGNUM*, const BIGNUM* n, BN_CTX* context) { product(out, a, a, n, context); });
  checkAll("sumOfProducts", m.get(), sumOf<M>, 151, [&](BIGNUM* out, const BIGNUM* a, const BIGNUM* b, const BIGNUM* n, BN_CTX* context) {
    const Bn sum(BN_new());
    BN_add(sum.get(), a, b);
    product(out, sum.get(), b, n, context);
  });
  checkAll("minus", m.get(), minusOf<M>, 401,
           [](BIGNUM* out, const BIGNUM* a, const BIGNUM* b, const BIGNUM*, BN_CTX*) { BN_sub(out, a, b); });
  checkAll("plus", m.get(), plusOf, 401, [](BIGNUM* out, const BIGNUM* a, const BIGNUM* b, const BIGNUM*, BN_CTX*) { BN_add(out, a, b); });
  checkAll("left", m.get(), leftOf<M>, 100, [](BIGNUM* out, const BIGNUM* a, const BIGNUM*, const BIGNUM* n, BN_CTX* context) {
    BN_copy(out, a);
    outOfMontgomery(out, n, context);
  });
  checkAll("invert", m.get(), inverseOf<M>, 100, [](BIGNUM* out, const BIGNUM* a, const BIGNUM*, const BIGNUM* n, BN_CTX* context) {
    const ErrorQueueMark mark;
    if (BN_mod_inverse(out, a, n, context) == nullptr) BN_zero(out);  // 0 and m
  });
}

}  // namespace

TEST_CASE("p256 lanes: arithmetic modulo the field's prime is libcrypto's" * kSkipped) {
  const Bn p = prime();
  checkModulus<FieldPrime>("p", p);
  checkAll("reducedField", p.get(), reducedOf, 201, [](BIGNUM* out, const BIGNUM* a, const BIGNUM* b, const BIGNUM*, BN_CTX*) {
    BN_sub(out, a, b);
    BN_sub(out, out, b);
    BN_lshift(out, out, 2);
  });
}

TEST_CASE("p256 lanes: arithmetic modulo the order is libcrypto's" * kSkipped) { checkModulus<Order>("n", order()); }

TEST_CASE("p256 lanes: the signs of an odd number's bits add up to it" * kSkipped) {
  for (const Bn& value : values(order().get())) {
    if (BN_num_bits(value.get()) > 256 || !BN_is_odd(value.get())) continue;
    Plain in, bits, back;
    for (size_t lane = 0; lane < 8; lane++) put(&in, lane, value.get());
    signedBitsOf(in, in, &bits);
    wordsBack(in, in, &back);
    CHECK(BN_cmp(get(back, 5).get(), value.get()) == 0);
    // sum of +-2^j, j < 266 = 2 bits - (2^266 - 1)
    const Bn sum = get(bits, 3, 64), all(BN_new());
    BN_lshift1(sum.get(), sum.get());
    BN_set_bit(all.get(), 266);
    BN_sub_word(all.get(), 1);
    BN_sub(sum.get(), sum.get(), all.get());
    CHECK(BN_cmp(sum.get(), value.get()) == 0);
  }
}
#endif
