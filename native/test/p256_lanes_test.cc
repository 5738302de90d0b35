// Signatures in lanes: libcrypto as a second opinion for thousands of keys and digests, edge scalars, keys and digests, nonces from a
// stuck generator, and faults.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/rand.h>

#include <algorithm>
#include <set>

#include "core/gcm.h"
#include "core/p256_ifma.h"
#include "core/selftest.h"
#include "p256_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const auto kSkipped = doctest::skip(lanesAbsent());

int stuck(unsigned char* out, int bytes) {
  std::fill_n(out, bytes, 0x5a);
  return 1;
}
int always() { return 1; }
const RAND_METHOD kStuck = {nullptr, stuck, nullptr, nullptr, stuck, always};
class StuckGenerator {
 public:
  StuckGenerator() { REQUIRE(RAND_set_rand_method(&kStuck) == 1); }
  ~StuckGenerator() { RAND_set_rand_method(RAND_OpenSSL()); }
};

Buffer rOf(const EcdsaLane& lane) { return Buffer(lane.signature, lane.signature + 32); }

// The generator's table with one entry wrong, for its life.
class WrongTable {
 public:
  explicit WrongTable(size_t window) : limb_(const_cast<P256GeneratorTable*>(p256GeneratorTable())->windows[window].limb[2]) {
    for (size_t i = 0; i < P256GeneratorTable::kEntries; i += 2) limb_[i] ^= 1u << 20;
  }
  ~WrongTable() {
    for (size_t i = 0; i < P256GeneratorTable::kEntries; i += 2) limb_[i] ^= 1u << 20;
  }

 private:
  uint64_t* limb_;
};

}  // namespace

TEST_CASE("p256 lanes: libcrypto verifies signatures of random keys and digests, one to eight at a time") {
  for (size_t round = 0; round < 300; round++) {
    std::array<LaneKey, 8> keys;
    std::array<LaneKey*, 8> list;
    std::vector<Buffer> digests(1 + round % 8);
    for (size_t i = 0; i < 8; i++) makeKey(randomScalar(), list[i] = &keys[i]);
    for (Buffer& digest : digests) digest = randomBuffer(32);
    const std::vector<EcdsaLane> lanes = signAll(list, digests, round % 3 == 0);
    if (round % 3 != 0) continue;
    CHECK((keys[0].comb.get() != nullptr) == !lanesAbsent());
    signAll(list, digests, true);  // with the combs as they are
  }
}

TEST_CASE("p256 lanes: edge scalars, the same key in all lanes, digests of zero and of any length") {
  std::vector<Buffer> scalars = {small(1), small(2), small(3), orderLess(1), orderLess(2), orderLess(3), randomScalar()};
  Buffer halves = small(0);
  halves[15] = 1;  // 2^128
  scalars.push_back(halves);
  std::vector<Buffer> digests = {small(0),         small(1),        Buffer(32, 0xff), orderLess(0),
                                 randomBuffer(20), randomBuffer(1), randomBuffer(48), randomBuffer(64)};
  std::array<LaneKey, 8> keys;
  std::array<LaneKey*, 8> list;
  for (size_t i = 0; i < 8; i++) makeKey(scalars[i], list[i] = &keys[i]);
  for (size_t shift = 0; shift < 8; shift++) {
    signAll(list, digests, false);
    signAll(list, digests, true);
    std::rotate(digests.begin(), digests.begin() + 1, digests.end());
  }
  for (LaneKey* key : list) {
    signAll({&key, 1}, digests, false);
    LaneKey fresh;
    makeKey(key->stored, &fresh);
    LaneKey* const again = &fresh;
    signAll({&again, 1}, digests, true);  // one comb for eight lanes
  }
  // Bits beyond the leftmost 256 do not count; an empty digest is zero.
  const std::vector<Buffer> lengths = {Buffer(), randomBuffer(33), randomBuffer(200)};
  const std::vector<EcdsaLane> lanes = signAll(list, lengths, false);
  CHECK(theyVerify(lanes[2].spki, lanes[2].digest.first(32), lanes[2].signature));
}

TEST_CASE("p256 lanes: counts, lengths and keys that do not fit") {
  LaneKey key, other;
  makeKey(randomScalar(), &key);
  makeKey(randomScalar(), &other);
  const Buffer digest = randomBuffer(32);
  std::vector<EcdsaLane> none, nine(9), lanes(4);
  std::vector<EcdsaVerifyLane> noneVerify, nineVerify(9);
  CHECK(ecdsaP256SignLanes(none) == Code::BAD_REQUEST);
  CHECK(ecdsaP256SignLanes(nine) == Code::BAD_REQUEST);
  CHECK(ecdsaP256VerifyLanes(noneVerify) == Code::BAD_REQUEST);
  CHECK(ecdsaP256VerifyLanes(nineVerify) == Code::BAD_REQUEST);
  for (EcdsaLane& lane : lanes) lane = EcdsaLane{.stored = key.stored, .spki = key.spki, .digest = digest};
  lanes[0].stored = lanes[0].stored.first(31);
  lanes[2].spki = testPair(KeyType::EC_P384).spki;
  lanes[3].spki = other.spki;  // not its public half: the lane's signature does not verify
  CHECK(ecdsaP256SignLanes(lanes) == Code::KEY_INVALID);
  CHECK(lanes[0].code == Code::KEY_INVALID);
  CHECK(std::all_of(std::begin(lanes[0].signature), std::end(lanes[0].signature), [](uint8_t byte) { return byte == 0; }));
  CHECK(lanes[1].inLane == !lanesAbsent());
  for (size_t i = 1; i < 4; i++) {
    CHECK(lanes[i].code == Code::OK);
    CHECK(theyVerify(key.spki, digest, lanes[i].signature));
  }
  CHECK_FALSE(lanes[2].inLane);
  CHECK_FALSE(lanes[3].inLane);

  const Bytes good = lanes[1].signature;
  Buffer offCurve = key.spki, beyond = key.spki;
  offCurve.back() ^= 1;
  std::fill_n(beyond.begin() + kSpkiHeader + 1, 32, 0xff);
  std::vector<EcdsaVerifyLane> verify = {verifying(key.spki, digest, good),   verifying(key.spki, digest, good.first(63)),
                                         verifying(offCurve, digest, good),   verifying(beyond, digest, good),
                                         verifying(other.spki, digest, good), verifying(testPair(KeyType::EC_P384).spki, digest, good)};
  CHECK(ecdsaP256VerifyLanes(verify) == Code::KEY_INVALID);
  const Code codes[] = {Code::OK, Code::OK, Code::KEY_INVALID, Code::KEY_INVALID, Code::OK, Code::KEY_INVALID};
  for (size_t i = 0; i < verify.size(); i++) {
    CAPTURE(i);
    CHECK(verify[i].code == codes[i]);
    CHECK(verify[i].valid == (i == 0));
  }
  // A point of the curve with p added to its x has another encoding that no key may have.
  const Bn x(BN_new()), p(BN_new()), y(BN_new());
  const EC_GROUP* group = ecGroup(row());
  const EcPoint point(EC_POINT_new(group));
  const ErrorQueueMark mark;
  while (EC_POINT_set_compressed_coordinates(group, point.get(), x.get(), 0, nullptr) != 1) BN_add_word(x.get(), 1);
  REQUIRE(EC_POINT_get_affine_coordinates(group, point.get(), x.get(), y.get(), nullptr) == 1);
  REQUIRE(EC_GROUP_get_curve(group, p.get(), nullptr, nullptr, nullptr) == 1);
  BN_add(x.get(), x.get(), p.get());
  REQUIRE(BN_bn2binpad(x.get(), beyond.data() + kSpkiHeader + 1, 32) == 32);
  REQUIRE(BN_bn2binpad(y.get(), beyond.data() + kSpkiHeader + 33, 32) == 32);
  verify = {verifying(beyond, digest, good)};
  CHECK(ecdsaP256VerifyLanes(verify) == Code::KEY_INVALID);
  // A comb of a point that is on no curve is not kept.
  P256KeptComb none1, none2;
  verify = {verifying(key.spki, digest, good, &none1), verifying(offCurve, digest, good, &none2)};
  CHECK(ecdsaP256VerifyLanes(verify) == Code::KEY_INVALID);
  CHECK(verify[0].valid);
  CHECK(verify[1].code == Code::KEY_INVALID);
  CHECK(none2.get() == nullptr);
}

TEST_CASE("p256 lanes: so many as are worth it" * kSkipped) {
  std::array<LaneKey, 8> keys;
  for (LaneKey& key : keys) makeKey(randomScalar(), &key);
  const Buffer digest = randomBuffer(32);
  for (const bool combs : {false, true}) {
    for (size_t count = 1; count <= 8; count++) {
      std::vector<EcdsaLane> lanes(count);
      for (size_t i = 0; i < count; i++) {
        lanes[i] = EcdsaLane{.stored = keys[i].stored, .spki = keys[i].spki, .digest = digest, .comb = combs ? &keys[i].comb : nullptr};
      }
      CHECK(ecdsaP256SignSome(lanes) == Code::OK);
      for (const EcdsaLane& lane : lanes) {
        CHECK(lane.inLane == (count >= (combs ? kP256LanesWorth : kP256LanesWorthWithoutCombs)));
        CHECK(theyVerify(lane.spki, digest, lane.signature));
      }
    }
  }
}

TEST_CASE("p256 lanes: nonces differ for one digest, and with a stuck generator for other digests and keys") {
  LaneKey one, two;
  makeKey(randomScalar(), &one);
  makeKey(randomScalar(), &two);
  const Buffer a = randomBuffer(32), b = randomBuffer(32), longer = concat({a, hex("00")});
  LaneKey* const ones[] = {&one};
  std::set<Buffer> fresh;
  for (const EcdsaLane& lane : signAll(ones, std::vector<Buffer>(8, a), true)) fresh.insert(rOf(lane));
  CHECK(fresh.size() == 8);
  const StuckGenerator stuckGenerator;
  const std::vector<Buffer> digests = {a, a, b, a, longer};
  LaneKey* const keys[] = {&one, &one, &one, &two, &one};
  const std::vector<EcdsaLane> lanes = signAll(keys, digests, true), again = signAll(keys, digests, true);
  CHECK(rOf(lanes[0]) == rOf(lanes[1]));  // the generator is stuck indeed
  CHECK(rOf(lanes[0]) == rOf(again[0]));
  CHECK(rOf(lanes[0]) != rOf(lanes[2]));                      // the digest enters the nonce
  CHECK(rOf(lanes[0]) != rOf(lanes[3]));                      // and the private key does
  if (!lanesAbsent()) CHECK(rOf(lanes[0]) != rOf(lanes[4]));  // and all of the digest, beyond what is signed
}

TEST_CASE("p256 lanes: a signature that a fault made wrong is not released" * kSkipped) {
  std::array<LaneKey, 8> keys;
  std::array<LaneKey*, 8> list;
  for (size_t i = 0; i < 8; i++) makeKey(randomScalar(), list[i] = &keys[i]);
  for (const bool combs : {false, true}) {
    std::vector<EcdsaLane> lanes(8);
    const std::vector<Buffer> digests(8, randomBuffer(32));
    if (combs) signAll(list, digests, true);
    size_t alone = 0, inLane = 0;
    // The last window often: a verification that ended with the same wrong entry would agree with the signature.
    for (size_t step = 0; step < 24; step++) {
      const WrongTable wrong(std::min(4 * step, P256GeneratorTable::kWindows - 1));
      for (size_t i = 0; i < 8; i++) {
        lanes[i] = EcdsaLane{.stored = keys[i].stored, .spki = keys[i].spki, .digest = digests[i], .comb = combs ? &keys[i].comb : nullptr};
      }
      CHECK(ecdsaP256SignLanes(lanes) == Code::OK);
      for (const EcdsaLane& lane : lanes) {
        CHECK(theyVerify(lane.spki, lane.digest, lane.signature));
        (lane.inLane ? inLane : alone)++;
      }
    }
    CHECK(alone > 40);
    CHECK(inLane > 40);  // half the entries are right
    signAll(list, digests, combs);
  }
  // A comb gone wrong.
  auto* limb = const_cast<uint64_t*>(keys[3].comb.get()->point[0][0]);
  for (size_t i = 0; i < sizeof(P256Comb) / 8; i += 10) limb[i] ^= 2;
  std::vector<EcdsaLane> lanes(8);
  const Buffer digest = randomBuffer(32);
  for (size_t i = 0; i < 8; i++)
    lanes[i] = EcdsaLane{.stored = keys[i].stored, .spki = keys[i].spki, .digest = digest, .comb = &keys[i].comb};
  CHECK(ecdsaP256SignLanes(lanes) == Code::OK);
  for (size_t i = 0; i < 8; i++) {
    CHECK(lanes[i].inLane == (i != 3));
    CHECK(theyVerify(lanes[i].spki, digest, lanes[i].signature));
  }
}

TEST_CASE("p256 lanes: the self-test finds a wrong table" * kSkipped) {
  CHECK(p256LanesKnownAnswers());
  size_t found = 0;
  for (size_t window = 0; window < P256GeneratorTable::kWindows; window++) {
    const WrongTable wrong(window);
    found += !p256LanesKnownAnswers();
  }
  CHECK(found > P256GeneratorTable::kWindows / 2);  // half the entries are wrong, and few are read
  CHECK(p256LanesKnownAnswers());
}

TEST_CASE("p256 lanes: nonces that give no signature are not used" * kSkipped) {
  LaneKey key;
  makeKey(randomScalar(), &key);
  P256SignInput input{};
  P256Signatures out;
  for (size_t i = 0; i < 8; i++) {
    std::copy(key.stored.begin(), key.stored.end(), input.scalars[i].begin());
    input.nonces[i][63] = static_cast<uint8_t>(i);  // 0 in lane 0
  }
  const Buffer order = orderLess(0);
  std::copy(order.begin(), order.end(), input.nonces[5].begin() + 32);
  // z = -r d makes s zero: with k = 1, r is the generator's x.
  const BnContext context(BN_CTX_new());
  Bn x(BN_new()), d = publicNumber(key.stored);
  const EC_GROUP* group = ecGroup(row());
  const BIGNUM* n = EC_GROUP_get0_order(group);
  REQUIRE(EC_POINT_get_affine_coordinates(group, EC_GROUP_get0_generator(group), x.get(), nullptr, context.get()) == 1);
  BN_mod_mul(x.get(), x.get(), d.get(), n, context.get());
  BN_sub(x.get(), n, x.get());
  REQUIRE(BN_bn2binpad(x.get(), input.digests[1].data(), 32) == 32);
  CHECK(p256IfmaSign(*p256GeneratorTable(), input, &out) == 0xdc);
}

TEST_CASE("p256 lanes: no more combs than the process may have" * kSkipped) {
  std::vector<std::unique_ptr<LaneKey>> keys;
  const Buffer digest = randomBuffer(32);
  const auto verifyEight = [&](size_t from) {
    std::vector<EcdsaLane> lanes;
    for (size_t i = from; i < from + 8; i++) {
      lanes.push_back(EcdsaLane{.stored = keys[i]->stored, .spki = keys[i]->spki, .digest = digest, .comb = &keys[i]->comb});
    }
    CHECK(ecdsaP256SignLanes(lanes) == Code::OK);
    return std::all_of(lanes.begin(), lanes.end(), [](const EcdsaLane& lane) { return lane.inLane; });
  };
  for (size_t i = 0; i < kP256CombsMax + 16; i++) makeKey(randomScalar(), keys.emplace_back(std::make_unique<LaneKey>()).get());
  for (size_t i = 0; i < keys.size(); i += 8) CHECK(verifyEight(i));
  const auto has = [](const auto& key) { return key->comb.get() != nullptr; };
  CHECK(static_cast<size_t>(std::count_if(keys.begin(), keys.end(), has)) == kP256CombsMax);
  CHECK_FALSE(has(keys.back()));
  for (size_t i = 0; i < 8; i++) keys[i] = std::move(keys[kP256CombsMax + i]);
  CHECK(verifyEight(kP256CombsMax - 8));
  CHECK(verifyEight(0));
  CHECK(has(keys[0]));  // those that died made room
}

TEST_CASE("p256 lanes: which CPUs and words select them") {
  CpuFeatures cpu{.aesni = true, .vaes256 = true, .vaes512 = true, .shani = true, .ifma = true};
  for (const char* word : {"portable", "aesni", "vaes256"}) CHECK(p256LanesPick(cpu, word) == (&gcmPick(cpu, word) == &gcmPick(cpu, "")));
#if defined(__x86_64__)
  for (const char* word : {"portable", "aesni", "vaes256"}) CHECK_FALSE(p256LanesPick(cpu, word));
#endif
  for (const char* word : {"", "vaes512", "sparc"}) CHECK(p256LanesPick(cpu, word));
  cpu.ifma = false;
  for (const char* word : {"", "vaes512", "sparc"}) CHECK_FALSE(p256LanesPick(cpu, word));
  CHECK(p256LanesAvailable() == !lanesAbsent());
}
