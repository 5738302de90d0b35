// The keys that this principal sees, as objects: a private and a public one for each.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/types.gen.h"
#include "pkcs11/der.h"
#include "pkcs11/wire.h"

namespace quorate::pkcs11 {

struct KeyEntry {
  std::string id;  // 16 bytes
  std::string name;
  KeyType type{};
  KeyScheme scheme{};
  KeyState state{};
  uint32_t version = 0;  // the current one: the object's
  bool imported = false, publicOnly = false, exportable = false;
  uint64_t generation = 0;
  uint64_t number = 0;  // from 1, for as long as the module is initialised: the objects' handles are made of it
  uint64_t seen = 0;    // the listing that last had it

  // Asked for when an attribute needs it; empty: not yet, or no longer true.
  std::string spki;
  PublicParts parts;

  std::string hexId() const;
};

enum class Half { privateKey, publicKey };
struct ObjectRef {
  const KeyEntry* key = nullptr;
  Half half{};
};

class KeyCache {
 public:
  explicit KeyCache(Wire& wire) : wire_(wire) {}

  // Asks the daemon for the keys whose names begin with `prefix` (empty: all), a page of 1,000 for each message. Keys that a whole listing
  // no longer has are forgotten, and their handles with them.
  CK_RV refresh(const std::string& prefix);
  // Those of the last refresh, by name; both halves, unless the private one was never in the daemon.
  std::vector<ObjectRef> listed() const;
  // The name of a key that is known already; empty otherwise.
  std::string nameOf(const std::string& id) const;

  // The object of a handle; key is nullptr when there is none.
  ObjectRef find(CK_OBJECT_HANDLE handle) const;
  static CK_OBJECT_HANDLE handleOf(const ObjectRef& object) { return 2 * object.key->number + (object.half == Half::publicKey ? 1 : 0); }

  // Makes spki and parts true of the object's version. One message the first time.
  CK_RV loadPublic(const KeyEntry& key);
  // The daemon answered for another version than the object's: what is known of the key is out of date.
  void forgetPublic(const KeyEntry& key);

 private:
  CK_RV page(const std::string& prefix, std::string* pageToken);
  void take(KeyEntry key);

  Wire& wire_;
  std::map<std::string, KeyEntry> keys_;  // by id
  std::map<uint64_t, std::string> ids_;   // by number
  uint64_t lastNumber_ = 0, listing_ = 0;
};

}  // namespace quorate::pkcs11
