// The table of peers: one object, and one number, for all connections that agree in uid, gid, groups, listener, unit, domain and identity.
#pragma once
#include <list>
#include <map>
#include <unordered_map>

#include "plane/plane.h"

namespace quorate {

// Bounded; one thread. Peers that nobody holds are kept, so that the next connection of the same kind finds its grants; the one that was not
// asked for longest goes first. A uid keeps at most a quarter, so that one who invents domains pushes out only its own. Those in
// use are never dropped: the limits of connections and upcalls bound them.
class Peers {
 public:
  explicit Peers(size_t most) : most_(most) {}

  // `wanted` but for its number.
  PeerPtr intern(Peer wanted);
  // Peers of this identity are not found again: should the number be used once more, it makes new ones.
  void forgetIdentity(uint64_t identity);
  size_t size() const { return recent_.size(); }

 private:
  using Recent = std::list<PeerPtr>;  // the last asked for is the last
  void forget(Recent::iterator at);
  // Drops one that nobody holds; of this uid, if given.
  bool evictOne(const uint32_t* uid);

  size_t most_;
  uint64_t last_ = 0;
  Recent recent_;
  std::map<std::string, Recent::iterator> index_;  // ordered: no choice of names makes it slow
  std::unordered_map<uint32_t, size_t> byUid_;
};

}  // namespace quorate
