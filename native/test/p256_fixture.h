// Keys and signatures for the tests of the P-256 lanes.
#pragma once
#include <random>

#include "core/ec.h"
#include "core/gcm.h"
#include "core/key_der.h"
#include "core/p256_lanes.h"
#include "key_fixtures.h"

namespace quorate::test {

// Without lanes the same calls must do the same, by libcrypto; what asserts that lanes were used is skipped.
inline bool lanesAbsent() { return !p256LanesPick(cpuFeatures(), gcmForced()); }

inline constexpr size_t kSpkiHeader = 26;
inline const KeyRow& row() { return *keyRow(KeyType::EC_P256); }

struct LaneKey {
  Buffer stored, spki;  // of tests: no secret
  P256KeptComb comb;
};

// Fast: by its public half alone, without a pairwise test.
inline void makeKey(Bytes scalar, LaneKey* key) {
  Buffer publicKey;
  key->stored.assign(scalar.begin(), scalar.end());
  REQUIRE(row().verbs->publicOf(row(), scalar, &publicKey) == Code::OK);
  writePublicKeyInfo(row().algorithm, publicKey, &key->spki);
}

inline std::mt19937 generator(20);
inline Buffer randomBuffer(size_t n) {
  Buffer out(n);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(generator());
  return out;
}
inline Buffer randomScalar() {
  Buffer out = randomBuffer(32);
  out[0] &= 0x7f;
  return out;
}

// libcrypto's word on it, from the SPKI as its own decoder reads it.
inline bool theyVerify(Bytes spki, Bytes digest, Bytes signature) {
  const Pkey key = evpPublic(spki);
  Buffer der;
  writeEcdsaSignature(signature, &der);
  const PkeyContext context(EVP_PKEY_CTX_new(key.get(), nullptr));
  REQUIRE(EVP_PKEY_verify_init(context.get()) == 1);
  return EVP_PKEY_verify(context.get(), der.data(), der.size(), digest.data(), digest.size()) == 1;
}

// Each lane signs with keys[i % keys.size()]. All signatures are libcrypto's opinion of valid, and come from lanes.
inline std::vector<EcdsaLane> signAll(std::span<LaneKey* const> keys, std::span<const Buffer> digests, bool combs) {
  std::vector<EcdsaLane> lanes(digests.size());
  for (size_t i = 0; i < lanes.size(); i++) {
    LaneKey& key = *keys[i % keys.size()];
    lanes[i].stored = key.stored;
    lanes[i].spki = key.spki;
    lanes[i].digest = digests[i];
    lanes[i].comb = combs ? &key.comb : nullptr;
  }
  REQUIRE(ecdsaP256SignLanes(lanes) == Code::OK);
  for (const EcdsaLane& lane : lanes) {
    CHECK(lane.code == Code::OK);
    CHECK(lane.inLane == !lanesAbsent());
    CHECK(theyVerify(lane.spki, lane.digest, lane.signature));
  }
  return lanes;
}

inline EcdsaVerifyLane verifying(Bytes spki, Bytes digest, Bytes signature, P256KeptComb* comb = nullptr) {
  EcdsaVerifyLane lane;
  lane.spki = spki;
  lane.digest = digest;
  lane.signature = signature;
  lane.comb = comb;
  return lane;
}

inline Buffer orderLess(unsigned n) {
  Bn order(BN_dup(EC_GROUP_get0_order(ecGroup(row()))));
  BN_sub_word(order.get(), n);
  Buffer out(32);
  REQUIRE(BN_bn2binpad(order.get(), out.data(), 32) == 32);
  return out;
}
inline Buffer small(uint8_t n) {
  Buffer out(32);
  out[31] = n;
  return out;
}

}  // namespace quorate::test
