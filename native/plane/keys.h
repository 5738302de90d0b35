// Key versions prepared for use: round keys, hash powers, HMAC states, kept in the arena until voided or evicted.
#pragma once
#include <list>
#include <unordered_map>

#include "core/p256_lanes.h"
#include "plane/key_sheets.h"
#include "plane/plane.h"

namespace quorate {

// A key version, or an object of a session: also a certificate or data, which has a sheet and no type. Or a version of a secret, of no type and no
// scheme: bytes that FetchSecret hands out, and never a key (isValue).
struct PreparedKey : std::enable_shared_from_this<PreparedKey> {
  KeyId id{};
  std::string domain;
  KeyType type{};
  KeyScheme scheme{};
  bool exportable = false;
  bool session = false;  // lives in a session, not in the cache
  uint32_t version = 0;
  // Raw material: kept where the scheme works on it, or the key may be wrapped. Empty for a public-only key.
  SecretPtr stored;
  bool publicOnly = false;
  Buffer spki;
  std::shared_ptr<const ManagedKey> managed;  // MANAGED
  // AES_GCM; PKCS11: from the first use with AES-GCM on (prepareGcm), and workers look at it for that mechanism alone.
  ArenaBox<GcmKey> gcm;
  ArenaBox<HmacSha256State> hmac;             // HMAC_SHA256; PKCS11: secrets

  // Below: the plane's thread only. Workers read what is above.
  SheetsPtr sheets;        // by sheetsOf()
  bool imported = true;    // not PKCS11: as in InstalledVersion
  ObjectOrigin origin{};   // of a session's object
  size_t arenaBytes = 0;   // session: as it was counted last
  bool sheetsCounted = false;  // session: likewise. A raw key's sheets come later, and are small
  uint64_t ivs = 0;        // takesIvs(): random IVs that may still be used
  bool reserving = false;  // takesIvs(): a reserve upcall ahead of need is under way
  bool used = false;       // since the eviction's hand last passed
  P256KeptComb comb;       // of a P-256 key that signed in lanes
  Code failed = Code::OK;  // preparing it failed: a placeholder without material, until failedUntilNs
  int64_t failedUntilNs = 0;

  // A certificate or data of a session has a scheme.
  bool isValue() const { return scheme == KeyScheme::KEY_SCHEME_UNSPECIFIED; }
};
using KeyPtr = std::shared_ptr<PreparedKey>;
// Keeps a key alive while others may be evicted. nullptr of nullptr.
inline KeyPtr holdOf(const PreparedKey* key) { return key == nullptr ? nullptr : const_cast<PreparedKey*>(key)->shared_from_this(); }

// An id as references write it: 32 hexadecimal digits.
struct IdText {
  char text[32];
  IdText() {}
  explicit IdText(const KeyId& id) {
    constexpr char kHex[] = "0123456789abcdef";
    for (size_t i = 0; i < id.size(); i++) {
      text[2 * i] = kHex[id[i] >> 4];
      text[2 * i + 1] = kHex[id[i] & 15];
    }
  }
};

// Takes the version's material and prepares its scheme. ARENA_FULL; KEY_INVALID when type, scheme, material and attributes do not fit.
Code prepareKey(InstalledVersion&& from, KeyPtr* out);
// What a session object is made of. Of certificates and data: the sheets alone. ARENA_FULL
struct ObjectParts {
  KeyType type{};
  ObjectOrigin origin{};
  SecretPtr stored = nullptr;  // none
  Buffer spki = {};
  SheetsPtr sheets = nullptr;
  uint64_t ivs = 0;
};
Code prepareObject(ObjectParts&& parts, KeyPtr* out);
// For AES-GCM, once. ARENA_FULL; INTERNAL: it is no AES key with its material.
Code prepareGcm(PreparedKey* key);
// Random IVs of this key are reserved and counted: AES-GCM may be done with it.
bool takesIvs(const PreparedKey& key);
// The attributes that govern its use by mechanism: its own, or what its scheme amounts to. nullptr: a managed key, which has none.
const KeySheets* sheetsOf(PreparedKey* key);
// Arena bytes that a prepared key takes, roughly.
size_t arenaBytesOf(const PreparedKey& key);

struct KeyIdHash {
  size_t operator()(const KeyId& id) const {  // ids are random: any eight bytes will do
    uint64_t h;
    __builtin_memcpy(&h, id.data(), sizeof(h));
    return static_cast<size_t>(h);
  }
};

// The prepared versions of stored keys, bounded; the one that was not used for long goes first (second chance). One thread.
class KeyCache {
 public:
  explicit KeyCache(size_t most) : most_(most) {}

  // Prepares and keeps a version; evicts others when there is no room, and keeps a quarter of the arena free for what
  // JavaScript and sessions put there, an eighth of it in whole slabs. A version that still does not fit is remembered as failed for a second.
  void install(InstalledVersion&& version, int64_t nowNs);
  // More random IVs for an AES-GCM version, also when it is not prepared now.
  void addIvs(const KeyId& id, uint32_t version, uint64_t count);
  // version 0: the current one. nullptr when it is not prepared.
  PreparedKey* find(const KeyId& id, uint32_t version, int64_t nowNs);
  // Any version of the key: they share type and scheme.
  PreparedKey* any(const KeyId& id);
  void voidKey(const KeyId& id);
  void clear();
  // Drops one version that was not used for long. False when there is none.
  bool evictOne();
  // Drops versions until a block of any size fits. False when nothing was dropped.
  bool makeRoom();
  size_t size() const { return ring_.size(); }
  // Changes with every install, void and eviction: pointers that find() gave are good while it stays.
  uint64_t epoch() const { return epoch_; }
  // A key that the cache does not hold went away.
  void touch() { epoch_++; }

 private:
  using Ring = std::list<KeyPtr>;
  struct Versions {
    std::vector<Ring::iterator> all;
    uint32_t current = 0;  // 0: not known
  };
  void forget(Ring::iterator at);
  void insert(KeyPtr key, bool current);
  PreparedKey* at(const KeyId& id, uint32_t version);
  void keepIvs(const PreparedKey& key);

  size_t most_;
  Ring ring_;
  Ring::iterator hand_ = ring_.end();
  std::unordered_map<KeyId, Versions, KeyIdHash> byId_;
  // Reserved IVs of versions that are not prepared now: they were reserved durably, and giving them up at every void would use up
  // the 2^32 that a key has. By id and version.
  std::unordered_map<std::string, uint64_t> leftIvs_;
  uint64_t epoch_ = 1;
};

}  // namespace quorate
