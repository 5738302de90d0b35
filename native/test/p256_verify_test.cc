// Verification in lanes against libcrypto's, and Wycheproof's vectors.
#include <algorithm>

#include "core/p256_ifma.h"
#include "p256_fixture.h"
#include "wycheproof.h"

using namespace quorate;
using namespace quorate::test;

TEST_CASE("p256 lanes: verification agrees with libcrypto on good, changed and extreme signatures") {
  const Buffer zero = small(0), order = orderLess(0), all(32, 0xff);
  for (size_t round = 0; round < 60; round++) {
    std::array<LaneKey, 8> keys;
    std::array<LaneKey*, 8> list;
    std::vector<Buffer> digests(8);
    for (size_t i = 0; i < 8; i++) makeKey(round % 2 ? randomScalar() : small(static_cast<uint8_t>(i + 1)), list[i] = &keys[i]);
    for (Buffer& digest : digests) digest = round % 5 == 4 ? zero : randomBuffer(32);
    const std::vector<EcdsaLane> lanes = signAll(list, digests, false);
    std::vector<Buffer> signatures;
    for (const EcdsaLane& lane : lanes) signatures.emplace_back(lane.signature, lane.signature + 64);
    if (round % 3 == 1) {
      for (size_t i = 0; i < 8; i += 2) signatures[i][generator() % 64] ^= static_cast<uint8_t>(1 << generator() % 8);
    } else if (round % 3 == 2) {
      const Bytes r = Bytes(signatures[0]).first(32), s = Bytes(signatures[0]).last(32);
      const Buffer negative = [&] {
        Buffer out(32);
        const Bn difference = publicNumber(s);
        BN_sub(difference.get(), EC_GROUP_get0_order(ecGroup(row())), difference.get());
        REQUIRE(BN_bn2binpad(difference.get(), out.data(), 32) == 32);
        return out;
      }();
      signatures = {concat({r, negative}), concat({r, zero}),    concat({zero, s}),  concat({order, s}),
                    concat({r, order}),    concat({zero, zero}), concat({all, all}), concat({small(1), small(1)})};
      for (size_t i = 0; i < 8; i++) digests[i] = digests[0];
    }
    for (const bool combs : {false, true}) {
      std::vector<EcdsaVerifyLane> verify;
      for (size_t i = 0; i < 8; i++) {
        LaneKey& key = keys[round % 3 == 2 ? 0 : i];
        verify.push_back(verifying(key.spki, digests[i], signatures[i], combs ? &key.comb : nullptr));
      }
      CHECK(ecdsaP256VerifyLanes(verify) == Code::OK);
      for (const EcdsaVerifyLane& lane : verify) CHECK(lane.valid == theyVerify(lane.spki, lane.digest, lane.signature));
    }
  }
}

namespace {

Buffer bytesOfNumber(const Bn& number) {
  Buffer out(32);
  REQUIRE(BN_bn2binpad(number.get(), out.data(), 32) == 32);
  return out;
}

// What the topmost step of a comb adds up, of its first `blocks` blocks: a multiple of the point.
Bn topTerms(const Bn& scalar, size_t blocks) {
  const BIGNUM* n = EC_GROUP_get0_order(ecGroup(row()));
  const BnContext context(BN_CTX_new());
  const Bn odd(BN_dup(scalar.get()));
  Bn sum(BN_new()), term(BN_new());
  const bool negated = !BN_is_odd(odd.get());
  if (negated) BN_sub(odd.get(), n, odd.get());
  constexpr size_t kTeeth = P256Comb::kTeeth, kSpacing = P256Comb::kSpacing;
  for (size_t tooth = 0; tooth < blocks * kTeeth; tooth++) {
    const size_t bit = tooth * kSpacing + kSpacing - 1, total = P256Comb::kBlocks * kTeeth * kSpacing;
    const bool positive = bit == total - 1 || BN_is_bit_set(odd.get(), static_cast<int>(bit + 1));
    BN_zero(term.get());
    BN_set_bit(term.get(), static_cast<int>(tooth * kSpacing));
    if (positive)
      BN_add(sum.get(), sum.get(), term.get());
    else
      BN_sub(sum.get(), sum.get(), term.get());
  }
  if (negated) BN_set_negative(sum.get(), !BN_is_negative(sum.get()));
  BN_nnmod(sum.get(), sum.get(), n, context.get());
  return sum;
}

}  // namespace

// A key and a signature made for each other, so that the lanes' formulas add two equal points, which they do not cover: the first terms of
// u2 Q are together the first of u1 G. What they then have, zeros, must not pass for a match. Whoever owns a key can do this.
TEST_CASE("p256 lanes: signatures that make the additions meet equal points") {
  const EC_GROUP* group = ecGroup(row());
  const BIGNUM* n = EC_GROUP_get0_order(group);
  const BnContext context(BN_CTX_new());
  const auto over = [&](const Bn& a, const Bn& b) {
    Bn out(BN_new());
    BN_mod_inverse(out.get(), b.get(), n, context.get());
    BN_mod_mul(out.get(), out.get(), a.get(), n, context.get());
    return out;
  };
  for (int round = 0; round < 20; round++) {
    const Bn u1 = publicNumber(randomScalar()), u2 = publicNumber(randomScalar()), sum(BN_new()), z(BN_new());
    const Bn d = over(topTerms(u1, 1), topTerms(u2, 2));
    LaneKey key;
    makeKey(bytesOfNumber(d), &key);
    // r is the x coordinate of u1 G + u2 Q, then something else; s = r / u2; the digest is u1 s.
    const EcPoint point(EC_POINT_new(group));
    Bn r(BN_new());
    BN_mod_mul(sum.get(), u2.get(), d.get(), n, context.get());
    BN_mod_add(sum.get(), sum.get(), u1.get(), n, context.get());
    REQUIRE(EC_POINT_mul(group, point.get(), sum.get(), nullptr, nullptr, context.get()) == 1);
    REQUIRE(EC_POINT_get_affine_coordinates(group, point.get(), r.get(), nullptr, context.get()) == 1);
    BN_nnmod(r.get(), r.get(), n, context.get());
    for (const bool right : {true, false}) {
      if (!right) r = publicNumber(randomScalar());
      const Bn s = over(r, u2);
      BN_mod_mul(z.get(), u1.get(), s.get(), n, context.get());
      const Buffer signature = concat({bytesOfNumber(r), bytesOfNumber(s)}), digest = bytesOfNumber(z);
      CHECK(theyVerify(key.spki, digest, signature) == right);
      EcdsaVerifyLane lane = verifying(key.spki, digest, signature, &key.comb);
      CHECK(ecdsaP256VerifyLanes({&lane, 1}) == Code::OK);
      CHECK(lane.valid == right);
      CHECK_FALSE(lane.inLane);
    }
  }
}

TEST_CASE("p256 lanes: the vectors of Wycheproof" * doctest::skip(wycheproofAbsent())) {
  const struct {
    const char* file;
    Hash hash;
  } files[] = {{"ecdsa_secp256r1_sha256_p1363_test.json", Hash::SHA_256},
               {"ecdsa_secp256r1_sha512_p1363_test.json", Hash::SHA_512},
               {"ecdsa_secp256r1_sha256_test.json", Hash::SHA_256},
               {"ecdsa_secp256r1_sha512_test.json", Hash::SHA_512}};
  for (const auto& each : files) {
    size_t decided = 0, seen = 0;
    wycheproof(each.file, [&](const Vector& v) {
      const Buffer spki = v.bytes("publicKeyDer"), message = v.bytes("msg"), given = v.bytes("sig");
      Buffer hashed(hashBytes(each.hash)), signature = given;
      REQUIRE(digest(each.hash, message, hashed.data()) == Code::OK);
      if (std::string(each.file).find("p1363") == std::string::npos) {
        signature.assign(64, 0);
        if (!readEcdsaSignature(given, 32, signature)) {
          CHECK_FALSE(v.valid());
          return;
        }
      }
      P256KeptComb comb;
      for (P256KeptComb* kept : {static_cast<P256KeptComb*>(nullptr), &comb}) {
        EcdsaVerifyLane lane = verifying(spki, hashed, signature, kept);
        CHECK(ecdsaP256VerifyLanes({&lane, 1}) == Code::OK);
        CHECK(lane.valid == v.valid());
        seen++;
        decided += lane.inLane;
      }
    });
    MESSAGE(std::string(each.file) << ": " << decided << " of " << seen << " decided in a lane");
    CHECK((decided > seen / 2) == !lanesAbsent());
  }
}
