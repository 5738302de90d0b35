#define OPENSSL_SUPPRESS_DEPRECATED
#include "core/p256_lanes.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

#include "core/ec.h"
#include "core/gcm.h"
#include "core/key_der.h"
#include "core/p256_ifma.h"
#include "core/random.h"
#include "core/stack_scrub.h"

namespace quorate {
namespace {

constexpr SignOptions kP1363{.type = KeyType::EC_P256, .scheme = KeyScheme::ECDSA, .format = SignatureFormat::P1363};
constexpr size_t kNumberBytes = 32, kPointBytes = 65;
// What a call's secrets reach down to, and more (p256_residue_test.cc).
constexpr size_t kLanesStackBytes = 32 * 1024;
constexpr uint8_t kNonceLabel[] = "quorate: nonce of a P-256 lane";

std::atomic<size_t> combs{0};

const KeyRow& p256Row() { return *keyRow(KeyType::EC_P256); }

// The uncompressed point; empty when it is another key's SPKI or not strict DER.
Bytes pointOf(Bytes spki) {
  PublicKeyInfo info;
  if (!readPublicKeyInfo(spki, &info) || !equalConstantTime(info.algorithm, p256Row().algorithm)) return {};
  return info.publicKey.size() == kPointBytes && info.publicKey[0] == 0x04 ? info.publicKey : Bytes{};
}

// The leftmost 256 bits, as a number.
P256Number truncated(Bytes digest) {
  P256Number out{};
  const size_t length = std::min(digest.size(), out.size());
  std::copy_n(digest.begin(), length, out.end() - static_cast<ptrdiff_t>(length));
  return out;
}

void put(P256Number* out, Bytes from) { std::copy_n(from.begin(), out->size(), out->begin()); }

#if defined(__x86_64__)

void makeNonce(const EcdsaLane& lane, Bytes fresh, uint8_t out[SHA512_DIGEST_LENGTH]) {
  SHA512_CTX context;
  const uint64_t length = lane.digest.size();
  uint8_t lengthBytes[8];
  std::memcpy(lengthBytes, &length, sizeof lengthBytes);
  SHA512_Init(&context);
  SHA512_Update(&context, kNonceLabel, sizeof kNonceLabel);
  SHA512_Update(&context, lane.stored.data(), lane.stored.size());
  SHA512_Update(&context, lengthBytes, sizeof lengthBytes);
  SHA512_Update(&context, lane.digest.data(), lane.digest.size());
  SHA512_Update(&context, fresh.data(), fresh.size());
  SHA512_Final(out, &context);
  wipe(&context, sizeof context);
}

using Points = std::array<Bytes, kP256Lanes>;  // as pointOf gives them

void putPoints(const Points& points, P256Numbers* x, P256Numbers* y) {
  for (size_t i = 0; i < kP256Lanes; i++) {
    put(&(*x)[i], points[i].subspan(1, kNumberBytes));
    put(&(*y)[i], points[i].subspan(1 + kNumberBytes, kNumberBytes));
  }
}

// Combs for those that lack one, all in one go.
void makeCombs(const Points& points, const std::array<P256KeptComb*, kP256Lanes>& kept) {
  std::array<std::unique_ptr<P256Comb>, kP256Lanes> made;
  std::array<P256Comb*, kP256Lanes> targets;
  for (size_t i = 0; i < kP256Lanes; i++) {
    const auto here = kept.begin() + static_cast<ptrdiff_t>(i);
    const bool first = std::find(kept.begin(), here, kept[i]) == here;  // lanes may share a key
    if (first && kept[i]->get() == nullptr) made[i] = std::make_unique<P256Comb>();
    targets[i] = made[i] ? made[i].get() : nullptr;
  }
  P256Comb unused;
  std::replace(targets.begin(), targets.end(), static_cast<P256Comb*>(nullptr), &unused);
  P256Numbers x, y;
  putPoints(points, &x, &y);
  const uint8_t good = p256IfmaCombs(x, y, targets);
  for (size_t i = 0; i < kP256Lanes; i++) {
    if (made[i] && (good >> i & 1) != 0) kept[i]->offer(std::move(made[i]));
  }
}

// Every lane's comb, or nothing.
void findCombs(const Points& points, const std::array<P256KeptComb*, kP256Lanes>& kept, P256VerifyInput* input) {
  const auto each = [&](auto&& f) { return std::all_of(kept.begin(), kept.end(), f); };
  if (!each([](const P256KeptComb* k) { return k != nullptr; })) return;
  const auto has = [](const P256KeptComb* k) { return k->get() != nullptr; };
  if (!each(has) && combs.load(std::memory_order_relaxed) < kP256CombsMax) makeCombs(points, kept);
  if (!each(has)) return;
  for (size_t i = 0; i < kP256Lanes; i++) input->combs[i] = kept[i]->get();
}

P256Verdicts verifyAll(const Points& points, const std::array<P256KeptComb*, kP256Lanes>& kept, P256VerifyInput* input) {
  putPoints(points, &input->x, &input->y);
  findCombs(points, kept, input);
  return p256IfmaVerify(*p256GeneratorComb(), *input);
}

// Which lane a lane computes: lanes beyond the last, and those that cannot take part, repeat the first that can.
template <class Lane, class Usable>
bool assign(std::span<Lane> lanes, const Usable& usable, std::array<size_t, kP256Lanes>* source) {
  const auto first = std::find_if(lanes.begin(), lanes.end(), usable);
  if (first == lanes.end()) return false;
  for (size_t i = 0; i < kP256Lanes; i++) {
    (*source)[i] = i < lanes.size() && usable(lanes[i]) ? i : static_cast<size_t>(first - lanes.begin());
  }
  return true;
}

// Signatures that were verified; the other lanes are left as they are.
void signInLanes(std::span<EcdsaLane> lanes) {
  std::array<size_t, kP256Lanes> source;
  const auto usable = [](const EcdsaLane& lane) { return lane.stored.size() == kNumberBytes && !pointOf(lane.spki).empty(); };
  if (!assign(lanes, usable, &source)) return;
  P256SignInput input;
  std::array<uint8_t, 64> fresh[kP256Lanes];
  randomBytes({fresh[0].data(), sizeof fresh});
  P256VerifyInput check{};
  Points points;
  std::array<P256KeptComb*, kP256Lanes> kept;
  for (size_t i = 0; i < kP256Lanes; i++) {
    const EcdsaLane& lane = lanes[source[i]];
    if (source[i] == i)
      makeNonce(lane, fresh[i], input.nonces[i].data());
    else
      input.nonces[i] = input.nonces[source[i]];
    put(&input.scalars[i], lane.stored);
    input.digests[i] = check.digests[i] = truncated(lane.digest);
    points[i] = pointOf(lane.spki);
    kept[i] = lane.comb;
  }
  P256Signatures made;
  const uint8_t signedLanes = p256IfmaSign(*p256GeneratorTable(), input, &made);
  wipe(&input, sizeof input);
  wipe(fresh, sizeof fresh);
  check.signatures = &made;
  check.inversesKnown = true;
  const uint8_t good = signedLanes & verifyAll(points, kept, &check).valid;
  for (size_t i = 0; i < lanes.size(); i++) {
    if (source[i] != i || (good >> i & 1) == 0) continue;
    std::copy(made.r[i].begin(), made.r[i].end(), lanes[i].signature);
    std::copy(made.s[i].begin(), made.s[i].end(), lanes[i].signature + kNumberBytes);
    lanes[i].code = Code::OK;
    lanes[i].inLane = true;
  }
}

void verifyInLanes(std::span<EcdsaVerifyLane> lanes) {
  std::array<size_t, kP256Lanes> source;
  const auto usable = [](const EcdsaVerifyLane& lane) { return lane.signature.size() == 2 * kNumberBytes && !pointOf(lane.spki).empty(); };
  if (!assign(lanes, usable, &source)) return;
  P256VerifyInput input{};
  P256Signatures given;
  Points points;
  std::array<P256KeptComb*, kP256Lanes> kept;
  for (size_t i = 0; i < kP256Lanes; i++) {
    const EcdsaVerifyLane& lane = lanes[source[i]];
    put(&given.r[i], lane.signature.first(kNumberBytes));
    put(&given.s[i], lane.signature.last(kNumberBytes));
    input.digests[i] = truncated(lane.digest);
    points[i] = pointOf(lane.spki);
    kept[i] = lane.comb;
  }
  input.signatures = &given;
  const P256Verdicts verdicts = verifyAll(points, kept, &input);
  for (size_t i = 0; i < lanes.size(); i++) {
    if (source[i] != i || (verdicts.doubt >> i & 1) != 0) continue;
    lanes[i].valid = verdicts.valid >> i & 1;
    lanes[i].code = Code::OK;
    lanes[i].inLane = true;
  }
}

#else

void signInLanes(std::span<EcdsaLane>) {}
void verifyInLanes(std::span<EcdsaVerifyLane>) {}

#endif

void signAlone(EcdsaLane* lane) {
  Buffer signature;
  lane->code = lane->stored.size() == kNumberBytes ? ecdsaSign(p256Row(), kP1363, lane->stored, nullptr, lane->digest, &signature)
                                                   : Code::KEY_INVALID;
  if (lane->code == Code::OK) std::copy(signature.begin(), signature.end(), lane->signature);
}

void verifyAlone(EcdsaVerifyLane* lane) {
  const Bytes point = pointOf(lane->spki);
  lane->valid = false;
  lane->code = point.empty() ? Code::KEY_INVALID : ecdsaVerify(p256Row(), kP1363, point, lane->digest, lane->signature, &lane->valid);
}

template <class Lane>
Code firstCode(std::span<Lane> lanes) {
  for (const Lane& lane : lanes) {
    if (lane.code != Code::OK) return lane.code;
  }
  return Code::OK;
}

Code signEach(std::span<EcdsaLane> lanes, bool together) {
  if (lanes.empty() || lanes.size() > kP256LanesMax) return Code::BAD_REQUEST;
  const auto work = [&] {
    const ErrorQueueMark mark;
    for (EcdsaLane& lane : lanes) {
      std::fill(std::begin(lane.signature), std::end(lane.signature), uint8_t{0});
      lane.code = Code::INTERNAL;
      lane.inLane = false;
    }
    if (together) signInLanes(lanes);
    for (EcdsaLane& lane : lanes) {
      if (!lane.inLane) signAlone(&lane);
    }
    return firstCode(lanes);
  };
  const Code code = callInOwnFrame(work);
  quorateScrubStack(kLanesStackBytes);
  clearVectorRegisters();
  return code;
}

}  // namespace

P256KeptComb::~P256KeptComb() {
  const P256Comb* comb = get();
  if (comb == nullptr) return;
  delete comb;
  combs.fetch_sub(1, std::memory_order_relaxed);
}

void P256KeptComb::offer(std::unique_ptr<P256Comb> comb) {
  const P256Comb* none = nullptr;
  if (!comb_.compare_exchange_strong(none, comb.get(), std::memory_order_acq_rel)) return;
  comb.release();
  combs.fetch_add(1, std::memory_order_relaxed);
}

bool p256LanesPick(const CpuFeatures& cpu, const std::string& forced) {
  // QUORATE_CPU names a row of gcm.cc's table; what it forbids there on a CPU that has everything is forbidden here.
  constexpr CpuFeatures kAll{.aesni = true, .vaes256 = true, .vaes512 = true, .shani = true, .ifma = true};
  return cpu.ifma && &gcmPick(kAll, forced) == &gcmPick(kAll, "");
}

bool p256LanesAvailable() {
  static const bool available =
      p256LanesPick(cpuFeatures(), gcmForced()) && p256GeneratorTable() != nullptr && p256GeneratorComb() != nullptr;
  return available;
}

Code ecdsaP256SignLanes(std::span<EcdsaLane> lanes) { return signEach(lanes, p256LanesAvailable()); }

Code ecdsaP256SignSome(std::span<EcdsaLane> lanes) {
  const bool room = combs.load(std::memory_order_relaxed) < kP256CombsMax;
  const bool withCombs = std::all_of(
      lanes.begin(), lanes.end(), [room](const EcdsaLane& lane) { return lane.comb != nullptr && (room || lane.comb->get() != nullptr); });
  return signEach(lanes, p256LanesAvailable() && lanes.size() >= (withCombs ? kP256LanesWorth : kP256LanesWorthWithoutCombs));
}

Code ecdsaP256VerifyLanes(std::span<EcdsaVerifyLane> lanes) {
  if (lanes.empty() || lanes.size() > kP256LanesMax) return Code::BAD_REQUEST;
  const ErrorQueueMark mark;
  for (EcdsaVerifyLane& lane : lanes) lane.inLane = false;
  if (p256LanesAvailable()) verifyInLanes(lanes);
  for (EcdsaVerifyLane& lane : lanes) {
    if (!lane.inLane) verifyAlone(&lane);
  }
  return firstCode(lanes);
}

}  // namespace quorate
