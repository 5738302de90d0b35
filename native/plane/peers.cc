#include "plane/peers.h"

namespace quorate {

namespace {

// Each part of variable length behind its length: no two peers share a name.
std::string nameOf(const Peer& peer) {
  std::string name;
  const auto append = [&](const void* p, size_t n) { name.append(static_cast<const char*>(p), n); };
  append(&peer.uid, sizeof(peer.uid));
  append(&peer.gid, sizeof(peer.gid));
  append(&peer.listener, sizeof(peer.listener));
  append(&peer.identity, sizeof(peer.identity));
  const size_t groups = peer.groups.size();
  append(&groups, sizeof(groups));
  append(peer.groups.data(), groups * sizeof(uint32_t));
  const size_t unit = peer.unit.size();
  append(&unit, sizeof(unit));
  name += peer.unit;
  return name + peer.domain;
}

}  // namespace

PeerPtr Peers::intern(Peer wanted) {
  std::string name = nameOf(wanted);
  if (const auto known = index_.find(name); known != index_.end()) {
    recent_.splice(recent_.end(), recent_, known->second);
    return *known->second;
  }
  const uint32_t uid = wanted.uid;
  if (const auto own = byUid_.find(uid); own != byUid_.end() && own->second >= most_ / 4) evictOne(&uid);
  if (recent_.size() >= most_) evictOne(nullptr);
  wanted.number = ++last_;
  const auto at = recent_.insert(recent_.end(), std::make_shared<const Peer>(std::move(wanted)));
  index_.emplace(std::move(name), at);
  byUid_[uid]++;
  return *at;
}

void Peers::forget(Recent::iterator at) {
  const auto count = byUid_.find((*at)->uid);
  if (--count->second == 0) byUid_.erase(count);
  index_.erase(nameOf(**at));
  recent_.erase(at);
}

bool Peers::evictOne(const uint32_t* uid) {
  for (auto at = recent_.begin(); at != recent_.end(); ++at) {
    if (at->use_count() > 1 || (uid != nullptr && (*at)->uid != *uid)) continue;
    forget(at);
    return true;
  }
  return false;
}

void Peers::forgetIdentity(uint64_t identity) {
  for (auto at = recent_.begin(); at != recent_.end();) {
    const auto next = std::next(at);
    if ((*at)->identity == identity) forget(at);
    at = next;
  }
}

}  // namespace quorate
