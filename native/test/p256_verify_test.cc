// Verification in lanes against libcrypto's, and Wycheproof's vectors.
#include <algorithm>

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
    CHECK((decided > seen / 2) == p256LanesAvailable());
  }
}
