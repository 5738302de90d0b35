// Between p256_lanes.cc, which makes nonces and falls back, and the AVX512-IFMA code: eight signatures at a time, in lanes.
// A number is 32 bytes, big-endian. Whoever calls has seen p256LanesAvailable(), and scrubs the stack and the vector registers.
#pragma once
#include <array>

#include "core/base.h"

namespace quorate {

inline constexpr size_t kP256Lanes = 8;

using P256Number = std::array<uint8_t, 32>;
using P256Numbers = std::array<P256Number, kP256Lanes>;

// Odd multiples of the generator, and of a public key: public, so a public key's is read at addresses that depend on the scalar; the
// generator's is read as a whole. Coordinates in Montgomery's form, five limbs each.
//
// The generator's: (2 i + 1) 2^(6 w) G for window w; limb by limb, since a permutation looks one limb up for all lanes.
struct P256GeneratorTable {
  static constexpr size_t kBits = 6, kWindows = 43, kEntries = size_t{1} << (kBits - 1);
  struct alignas(64) Window {
    uint64_t limb[10][kEntries];
  };
  Window windows[kWindows];
};
// A signed comb: block b of it holds, at i, the sum of +-2^(kSpacing (kTeeth b + j)) Q over its teeth j, the topmost always positive,
// the others as the bits of i say.
struct P256Comb {
  static constexpr size_t kBlocks = 2, kTeeth = 7, kSpacing = 19, kEntries = size_t{1} << (kTeeth - 1);
  uint64_t point[kBlocks][kEntries][10];
};

// Made by libcrypto when first asked for, and checked against it. nullptr: it could not be made, or is wrong.
const P256GeneratorTable* p256GeneratorTable();
// Made in lanes when first asked for; checked by every verification that uses it. nullptr: it could not be made.
const P256Comb* p256GeneratorComb();

struct P256SignInput {
  std::array<std::array<uint8_t, 64>, kP256Lanes> nonces;  // of any value: taken modulo the order
  P256Numbers scalars;                                     // in [1, order - 1]
  P256Numbers digests;                                     // of any value
};
struct P256Signatures {
  P256Numbers r, s;
  P256Numbers inverses;  // of s: what a verification needs, and checks
};
// FIPS 186-5 6.4.1 from step 4. Bit i of the result: lane i has a signature (its nonce, r and s are not zero).
uint8_t p256IfmaSign(const P256GeneratorTable& table, const P256SignInput& input, P256Signatures* out);

struct P256VerifyInput {
  const P256Signatures* signatures;
  bool inversesKnown;                             // otherwise made here
  std::array<const P256Comb*, kP256Lanes> combs;  // all or none
  P256Numbers x, y;                               // of the public keys, when there are no combs
  P256Numbers digests;
};
struct P256Verdicts {
  uint8_t valid;  // bit i: lane i's signature is valid
  uint8_t doubt;  // bit i: not decided. What is left to slower code is rare, but for points off the curve and coordinates beyond p
};
//
// With a comb of the generator, and not with the table that signatures are made with: a verification with the same one would find a
// signature right that a wrong entry made wrong, when the same entry is the last to be added in both.
P256Verdicts p256IfmaVerify(const P256Comb& generator, const P256VerifyInput& input);

// Bit i: combs[i] is made. Not for points off the curve.
uint8_t p256IfmaCombs(const P256Numbers& x, const P256Numbers& y, const std::array<P256Comb*, kP256Lanes>& combs);

}  // namespace quorate
