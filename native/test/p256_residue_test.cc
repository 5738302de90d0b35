// What signing in lanes leaves behind: nothing on the stack and in registers that depends on a key, a nonce or anything else of the call
// (shown as gcm_residue_test.cc does, by two runs on the same stack), and no piece of a private scalar anywhere in memory.
#include <cstring>

#include "core/gcm.h"
#include "core/key_der.h"
#include "core/p256_lanes.h"
#include "core/stack_scrub.h"
#include "key_fixtures.h"
#include "memory_search.h"
#include "own_stack.h"

using namespace quorate;
using namespace quorate::test;

namespace {

struct Signing {
  std::array<Buffer, 8> stored, spki, digests;
  std::array<EcdsaLane, 8> lanes;
};

void fill(Signing* s, P256KeptComb* combs) {
  const KeyRow& row = *keyRow(KeyType::EC_P256);
  for (size_t i = 0; i < 8; i++) {
    Secret scalar;
    Buffer publicKey;
    REQUIRE(row.verbs->generate(row, &scalar) == Code::OK);
    s->stored[i].assign(scalar.data(), scalar.data() + 32);
    REQUIRE(row.verbs->publicOf(row, scalar, &publicKey) == Code::OK);
    writePublicKeyInfo(row.algorithm, publicKey, &s->spki[i]);
    s->digests[i] = publicKey;
    s->lanes[i] =
        EcdsaLane{.stored = s->stored[i], .spki = s->spki[i], .digest = s->digests[i], .comb = combs == nullptr ? nullptr : &combs[i]};
  }
}

uint64_t signLanes(EcdsaLane* lanes, size_t count) { return ecdsaP256SignLanes({lanes, count}) == Code::OK; }
// The same, which then keeps a copy of a signature in its frame.
[[gnu::noinline]] uint64_t leaves(EcdsaLane* lanes, size_t count) {
  const uint64_t result = signLanes(lanes, count);
  uint8_t copy[64];
  std::memcpy(copy, lanes[0].signature, sizeof copy);
  asm volatile("" : : "r"(copy) : "memory");
  return result;
}

// Where two calls differ in what they leave: "" for nowhere. What is looked at is a second signature each, when the combs are made.
std::string residue(const void* function, size_t count, bool combs, size_t offset) {
  static OwnStack stack(128 * 1024);
  static Signing here;  // at the same addresses each time
  std::vector<uint8_t> left[2];
  for (std::vector<uint8_t>& each : left) {
    std::array<P256KeptComb, 8> kept;
    fill(&here, combs ? kept.data() : nullptr);
    const OwnStack::Arguments arguments = {reinterpret_cast<uint64_t>(here.lanes.data()), count};
    if (signLanes(here.lanes.data(), 8) != 1 || stack.call(offset, function, arguments) != 1) return "it did not sign";
    each = stack.left();
    for (size_t i = 0; i < count; i++) CHECK(here.lanes[i].inLane);
  }
  if (left[0] == left[1]) return "";
  size_t different = 0, first = left[0].size();
  for (size_t i = 0; i < left[0].size(); i++) {
    if (left[0][i] == left[1][i]) continue;
    different++;
    first = std::min(first, i);
  }
  return std::to_string(different) + " bytes, the first: " + stack.place(first);
}

const auto kSkipped = doctest::skip(!p256LanesPick(cpuFeatures(), gcmForced()) || !ownStackShowsAll());

}  // namespace

TEST_CASE("p256 residue: signing in lanes leaves nothing on the stack and in registers" * kSkipped) {
  for (const bool combs : {false, true}) {
    for (const size_t count : {1u, 3u, 8u}) {
      for (size_t offset = 0; offset <= OwnStack::kOffsetMax; offset += OwnStack::kOffsetStep) {
        CAPTURE(combs);
        CAPTURE(count);
        CAPTURE(offset);
        CHECK(residue(reinterpret_cast<const void*>(signLanes), count, combs, offset) == "");
      }
    }
  }
  CHECK(residue(reinterpret_cast<const void*>(leaves), 8, false, 0).find("the first: stack, ") != std::string::npos);
}

TEST_CASE("p256 residue: no piece of a private scalar is left in memory" * doctest::skip(!memorySearchable())) {
  const KeptHeap kept;
  std::array<TestPair, 8> pairs;
  MemorySearch search;
  const Buffer digest = pattern(32);
  std::array<P256KeptComb, 8> combs;
  std::array<EcdsaLane, 8> lanes;
  for (size_t i = 0; i < 8; i++) {
    REQUIRE(generateKey(KeyType::EC_P256, 0, &pairs[i].stored, &pairs[i].spki) == Code::OK);
    search.add("private key", pairs[i].stored);
    lanes[i] = EcdsaLane{.stored = pairs[i].stored, .spki = pairs[i].spki, .digest = digest};
  }
  const auto check = [&](const char* after) {
    const size_t hits = search.find();
    CHECK_MESSAGE(hits == 0, after);
    for (const std::string& hit : search.report()) MESSAGE(after << ": " << hit);
  };
  check("generate");
  for (const size_t count : {1u, 8u}) {
    const Code code = ecdsaP256SignLanes(std::span(lanes).first(count));
    check("sign");
    CHECK(code == Code::OK);
  }
  for (size_t i = 0; i < 8; i++) lanes[i].comb = &combs[i];
  const Code code = ecdsaP256SignLanes(lanes);
  check("sign, with combs");
  CHECK(code == Code::OK);
  lanes[2].spki = pairs[3].spki;  // which falls back
  CHECK(ecdsaP256SignLanes(lanes) == Code::OK);
  check("sign, one of them by libcrypto");
}
