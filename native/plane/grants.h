// Who may call what, for a while: (peer, use, key reference) -> the key, or a refusal. Installed by JavaScript.
#pragma once
#include <list>
#include <string_view>
#include <unordered_set>

#include "plane/keys.h"

namespace quorate {

// The use that is granted is the method; of the key that Wrap lets out, with this bit: who may wrap by a key may not take it away.
constexpr uint16_t kTargetUse = 0x8000;

struct GrantName {
  uint64_t peer = 0;
  uint16_t use = 0;
  std::string_view ref;  // as the request had it; "" for methods without a key
  uint32_t version = 0;  // FetchSecret: as it was asked for. A secret's versions have states of their own; a key's share the key's
};

struct Grant {
  uint64_t peer = 0;
  uint16_t use = 0;
  uint32_t version = 0;
  std::string ref = {};
  uint32_t uid = 0;            // whose quota it counts for
  uint32_t slice = 0;          // voidSlice() of it ends the grant; 0: none does
  KeyId keyId{};               // zero for methods without a key, and for refusals
  Code refused = Code::OK;     // else the answer
  std::string detail = {};
  int64_t expiresNs = 0;       // CLOCK_BOOTTIME
  bool used = false;           // since the eviction's hand last passed

  GrantName name() const { return {peer, use, ref, version}; }
};

// Bounded; one thread. A uid holds at most a quarter, so that one who asks for ever new names pushes out only its own.
class Grants {
 public:
  explicit Grants(size_t most);
  const Grant* find(const GrantName& name, int64_t nowNs);
  void put(Grant&& grant);
  // Every refusal with it: whatever changed may have ended its reason. The zero id: grants of methods without a key.
  void voidKey(const KeyId& keyId);
  void voidSlice(uint32_t slice);
  void clear();
  size_t size() const { return ring_.size(); }
  // Changes whenever a grant goes away: what find() gave is good while it stays.
  uint64_t epoch() const { return epoch_; }

 private:
  using Ring = std::list<Grant>;
  using At = Ring::iterator;
  struct Hash {
    using is_transparent = void;
    uint64_t seed;
    size_t operator()(const GrantName& name) const;
    size_t operator()(const At& at) const { return (*this)(at->name()); }
  };
  struct Equal {
    using is_transparent = void;
    static bool same(const GrantName& a, const GrantName& b) { return a.peer == b.peer && a.use == b.use && a.version == b.version && a.ref == b.ref; }
    bool operator()(const At& a, const At& b) const { return a == b; }
    bool operator()(const GrantName& a, const At& b) const { return same(a, b->name()); }
    bool operator()(const At& a, const GrantName& b) const { return same(a->name(), b); }
  };
  struct AtHash {
    size_t operator()(const At& at) const { return std::hash<const Grant*>()(&*at); }
  };
  using Set = std::unordered_set<At, AtHash>;
  void forget(At at);
  void forgetAll(const Set* set);
  void evictOne();

  size_t most_;
  Ring ring_;
  At hand_;
  std::unordered_set<At, Hash, Equal> index_;
  std::unordered_map<KeyId, Set, KeyIdHash> byKey_;  // without refusals
  Set refusals_;
  std::unordered_map<uint32_t, Set> bySlice_;        // without slice 0
  std::unordered_map<uint32_t, Set> byUid_;
  uint64_t epoch_ = 1;
};

}  // namespace quorate
