#include "plane/grants.h"

#include <algorithm>
#include <cstring>

#include "core/random.h"

namespace quorate {

namespace {
// Mixes two words through a 128-bit product: fast, and with a secret seed no client can aim at one bucket.
uint64_t mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xd1b54a32d192ed03ull);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
uint64_t randomSeed() {
  uint64_t seed;
  randomBytes({reinterpret_cast<uint8_t*>(&seed), sizeof(seed)});
  return seed;
}
}  // namespace

size_t Grants::Hash::operator()(const GrantName& name) const {
  uint64_t h = mix(seed ^ name.peer, name.use | static_cast<uint64_t>(name.version) << 16);
  const char* p = name.ref.data();
  for (size_t left = name.ref.size(); left > 0;) {
    const size_t n = std::min<size_t>(left, 8);
    uint64_t word = 0;
    std::memcpy(&word, p, n);
    h = mix(h ^ word, seed + n);
    p += n;
    left -= n;
  }
  return static_cast<size_t>(h);
}

Grants::Grants(size_t most) : most_(std::max<size_t>(most, 4)), hand_(ring_.end()), index_(64, Hash{randomSeed()}, Equal{}) {}

const Grant* Grants::find(const GrantName& name, int64_t nowNs) {
  const auto found = index_.find(name);
  if (found == index_.end()) return nullptr;
  const At at = *found;
  if (nowNs >= at->expiresNs) {
    forget(at);
    return nullptr;
  }
  at->used = true;
  return &*at;
}

void Grants::forget(At at) {
  index_.erase(at);
  const auto drop = [at](auto& map, const auto& key) {
    const auto set = map.find(key);
    set->second.erase(at);
    if (set->second.empty()) map.erase(set);
  };
  if (at->refused == Code::OK) drop(byKey_, at->keyId);
  else refusals_.erase(at);
  if (at->slice != 0) drop(bySlice_, at->slice);
  drop(byUid_, at->uid);
  if (hand_ == at) ++hand_;
  ring_.erase(at);
  epoch_++;
}

void Grants::evictOne() {
  for (;;) {
    if (hand_ == ring_.end()) hand_ = ring_.begin();
    if (!hand_->used) break;
    hand_->used = false;
    ++hand_;
  }
  forget(hand_);
}

void Grants::put(Grant&& grant) {
  if (const auto found = index_.find(grant.name()); found != index_.end()) forget(*found);
  if (const auto own = byUid_.find(grant.uid); own != byUid_.end() && own->second.size() >= most_ / 4) forget(*own->second.begin());
  if (ring_.size() >= most_) evictOne();
  const At at = ring_.insert(hand_, std::move(grant));  // where the hand comes last
  index_.insert(at);
  if (at->refused == Code::OK) byKey_[at->keyId].insert(at);
  else refusals_.insert(at);
  if (at->slice != 0) bySlice_[at->slice].insert(at);
  byUid_[at->uid].insert(at);
}

void Grants::forgetAll(const Set* set) {
  for (const At at : std::vector<At>(set->begin(), set->end())) forget(at);
}

void Grants::voidKey(const KeyId& keyId) {
  forgetAll(&refusals_);
  if (const auto found = byKey_.find(keyId); found != byKey_.end()) forgetAll(&found->second);
}

void Grants::voidSlice(uint32_t slice) {
  if (const auto found = bySlice_.find(slice); found != bySlice_.end()) forgetAll(&found->second);
}

void Grants::clear() {
  index_.clear();
  byKey_.clear();
  refusals_.clear();
  bySlice_.clear();
  byUid_.clear();
  ring_.clear();
  hand_ = ring_.end();
  epoch_++;
}

}  // namespace quorate
