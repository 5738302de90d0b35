#include "plane/keys.h"

#include "plane/usage.h"

namespace quorate {

namespace {
constexpr int64_t kFailedNs = 1'000'000'000;
// Of the arena, in quarters: what prepared keys may leave used. The rest is for requests' secrets and sessions.
constexpr size_t kArenaQuarters = 3;
// One slab in so many stays free where prepared keys can be dropped for it: a long value needs a whole one before it can be prepared.
constexpr size_t kSlabsKept = 8;
bool isCrowded(const ArenaStats& stats) { return stats.bytesUsed > stats.bytesMax / 4 * kArenaQuarters || stats.slabsFree < stats.slabs / kSlabsKept; }

// Whether the scheme computes on the raw bytes at each use. HMAC_SHA256: in parts (MechanismSign).
bool worksOnMaterial(KeyScheme scheme) { return scheme != KeyScheme::MANAGED && scheme != KeyScheme::AES_GCM; }

bool isAes(KeyType type) { return symmetricBytes(type) != 0; }

Code prepareHmac(PreparedKey* key) {
  const Code code = ArenaBox<HmacSha256State>::make(&key->hmac);
  if (code == Code::OK) hmacSha256Prepare(*key->stored, key->hmac.get());
  return code;
}

Code prepareScheme(PreparedKey* key) {
  const Bytes material = *key->stored;
  if (!isAsymmetric(key->type) && key->type != KeyType::HMAC && material.size() != symmetricBytes(key->type)) return Code::KEY_INVALID;
  switch (key->scheme) {
    case KeyScheme::MANAGED: return ManagedKey::prepare(material, KeyIdentity{key->domain, key->id, key->version}, &key->managed);
    case KeyScheme::AES_GCM: return prepareGcm(key);
    case KeyScheme::HMAC_SHA256: return prepareHmac(key);
    case KeyScheme::PKCS11: return key->type == KeyType::HMAC ? prepareHmac(key) : Code::OK;
    default: return Code::OK;
  }
}
// The sheets are of a key of this type, with what is here of it.
bool sheetsFit(const PreparedKey& key) {
  const KeySheets& sheets = *key.sheets;
  if (!isAsymmetric(key.type)) return sheets.main.objectClass == ObjectClass::secretKey && !sheets.publicHalf.there;
  if (key.publicOnly) return sheets.main.objectClass == ObjectClass::publicKey && !sheets.publicHalf.there;
  if (sheets.main.objectClass != ObjectClass::privateKey) return false;
  return !sheets.publicHalf.there || (sheets.publicHalf.objectClass == ObjectClass::publicKey && !key.spki.empty());
}
}  // namespace

Code prepareGcm(PreparedKey* key) {
  if (!key->gcm.empty()) return Code::OK;
  if (!isAes(key->type) || !key->stored) return Code::INTERNAL;
  const Code code = ArenaBox<GcmKey>::make(&key->gcm);
  if (code == Code::OK) gcm().init(key->gcm.get(), key->stored->data(), key->stored->size());
  return code;
}

bool takesIvs(const PreparedKey& key) { return key.scheme == KeyScheme::AES_GCM || (key.scheme == KeyScheme::PKCS11 && isAes(key.type)); }

const KeySheets* sheetsOf(PreparedKey* key) {
  if (key->sheets || key->scheme == KeyScheme::MANAGED) return key->sheets.get();
  Sheet main, publicHalf;
  bool hasMain = false, hasPublic = false;
  sheetOfKey(key->type, key->scheme, key->exportable, key->imported, key->publicOnly, "", key->id, &main, &publicHalf, &hasMain, &hasPublic);
  if (!hasMain) key->sheets = KeySheets::of(std::move(publicHalf), false, {});
  else key->sheets = KeySheets::of(std::move(main), hasPublic, std::move(publicHalf));
  return key->sheets.get();
}

Code prepareObject(ObjectParts&& parts, KeyPtr* out) {
  auto key = std::make_shared<PreparedKey>();
  key->domain = "session";
  key->type = parts.type;
  key->scheme = KeyScheme::PKCS11;
  key->session = true;
  key->version = 1;
  key->stored = std::move(parts.stored);
  key->publicOnly = key->stored == nullptr;
  key->spki = std::move(parts.spki);
  key->sheets = std::move(parts.sheets);
  key->origin = parts.origin;
  key->ivs = parts.ivs;
  if (key->stored)
    if (const Code code = prepareScheme(key.get()); code != Code::OK) return code;
  *out = std::move(key);
  return Code::OK;
}

// Of no type and no scheme, with nothing that only a key has. No stored form: the value has no bytes.
static Code prepareValue(InstalledVersion&& from, KeyPtr* out) {
  if (from.type != KeyType::KEY_TYPE_UNSPECIFIED || from.exportable || from.ivs != 0 || !from.spki.empty() || !from.attributes.empty() || !from.publicAttributes.empty()) return Code::KEY_INVALID;
  if (from.stored && from.stored->size() > limits::secret_value_bytes_max) return Code::KEY_INVALID;
  auto value = std::make_shared<PreparedKey>();
  value->id = from.keyId;
  value->domain = std::move(from.domain);
  value->version = from.version;
  value->stored = std::move(from.stored);
  *out = std::move(value);
  return Code::OK;
}

Code prepareKey(InstalledVersion&& from, KeyPtr* out) {
  if (from.scheme == KeyScheme::KEY_SCHEME_UNSPECIFIED) return prepareValue(std::move(from), out);
  if (!typeHasScheme(from.type, from.scheme)) return Code::KEY_INVALID;
  auto key = std::make_shared<PreparedKey>();
  key->id = from.keyId;
  key->domain = from.domain;
  key->type = from.type;
  key->scheme = from.scheme;
  key->exportable = from.exportable;
  key->version = from.version;
  key->spki = from.spki;
  key->stored = from.stored;
  key->ivs = from.ivs;
  key->imported = from.imported;
  key->publicOnly = key->stored == nullptr || key->stored->empty();
  if (key->publicOnly) {
    if (!isAsymmetric(key->type) || key->spki.empty()) return Code::KEY_INVALID;
    key->stored.reset();
  } else if (const Code code = prepareScheme(key.get()); code != Code::OK) {
    return code;
  }
  if (key->scheme == KeyScheme::PKCS11) {
    key->exportable = false;  // its attributes say what may leave, and by whom
    if (KeySheets::read(from.attributes, from.publicAttributes, &key->sheets) != Code::OK || !sheetsFit(*key)) return Code::KEY_INVALID;
  }
  if (!worksOnMaterial(key->scheme) && !key->exportable) key->stored.reset();
  *out = std::move(key);
  return Code::OK;
}

namespace {
constexpr size_t kLeftIvsMost = 65'536;

std::string versionName(const KeyId& id, uint32_t version) {
  std::string name(reinterpret_cast<const char*>(id.data()), id.size());
  name.append(reinterpret_cast<const char*>(&version), sizeof(version));
  return name;
}
}  // namespace

size_t arenaBytesOf(const PreparedKey& key) {
  size_t n = key.stored ? key.stored->size() : 0;
  if (key.managed) n += 2 * sizeof(GcmKey);
  if (!key.gcm.empty()) n += sizeof(GcmKey);
  if (!key.hmac.empty()) n += sizeof(HmacSha256State);
  return n;
}

void KeyCache::keepIvs(const PreparedKey& key) {
  if (key.ivs > 0 && leftIvs_.size() < kLeftIvsMost) leftIvs_[versionName(key.id, key.version)] += key.ivs;
}

void KeyCache::addIvs(const KeyId& id, uint32_t version, uint64_t count) {
  if (PreparedKey* key = at(id, version); key != nullptr && key->failed == Code::OK) {
    key->ivs += count;
    key->reserving = false;
  } else if (leftIvs_.size() < kLeftIvsMost) {
    leftIvs_[versionName(id, version)] += count;
  }
}

PreparedKey* KeyCache::at(const KeyId& id, uint32_t version) {
  const auto found = byId_.find(id);
  if (found == byId_.end()) return nullptr;
  for (const Ring::iterator at : found->second.all)
    if ((*at)->version == version) return at->get();
  return nullptr;
}

void KeyCache::forget(Ring::iterator at) {
  keepIvs(**at);
  const auto found = byId_.find((*at)->id);
  std::erase(found->second.all, at);
  if (found->second.all.empty()) byId_.erase(found);
  if (hand_ == at) ++hand_;
  ring_.erase(at);
  epoch_++;
}

void KeyCache::insert(KeyPtr key, bool current) {
  Versions& versions = byId_[key->id];
  for (size_t i = 0; i < versions.all.size(); i++) {
    if ((*versions.all[i])->version != key->version) continue;
    if (hand_ == versions.all[i]) ++hand_;
    keepIvs(**versions.all[i]);
    ring_.erase(versions.all[i]);
    versions.all.erase(versions.all.begin() + static_cast<ptrdiff_t>(i));
    break;
  }
  if (const auto left = leftIvs_.find(versionName(key->id, key->version)); left != leftIvs_.end() && takesIvs(*key) && key->failed == Code::OK) {
    key->ivs += left->second;
    leftIvs_.erase(left);
  }
  if (current) versions.current = key->version;
  else if (versions.current == key->version) versions.current = 0;
  versions.all.push_back(ring_.insert(hand_, std::move(key)));  // where the hand comes last
  epoch_++;
}

void KeyCache::install(InstalledVersion&& version, int64_t nowNs) {
  const bool current = version.current;
  while (ring_.size() >= most_ && evictOne()) {
  }
  // Every kept version leaves a block of its own in the arena; the stored form is shared with whoever installs it.
  while (isCrowded(Arena::stats()) && evictOne()) {
  }
  KeyPtr key;
  Code code = prepareKey(InstalledVersion(version), &key);
  while (code == Code::ARENA_FULL && evictOne()) code = prepareKey(InstalledVersion(version), &key);
  if (code != Code::OK) {
    key = std::make_shared<PreparedKey>();
    key->id = version.keyId;
    key->version = version.version;
    key->type = version.type;
    key->scheme = version.scheme;
    key->failed = code;
    key->failedUntilNs = nowNs + kFailedNs;
  }
  insert(std::move(key), current);
}

PreparedKey* KeyCache::find(const KeyId& id, uint32_t version, int64_t nowNs) {
  const auto found = byId_.find(id);
  if (found == byId_.end()) return nullptr;
  const uint32_t wanted = version == 0 ? found->second.current : version;
  if (wanted == 0) return nullptr;
  for (const Ring::iterator at : found->second.all) {
    if ((*at)->version != wanted) continue;
    if ((*at)->failed != Code::OK && nowNs >= (*at)->failedUntilNs) {
      forget(at);
      return nullptr;
    }
    (*at)->used = true;
    return at->get();
  }
  return nullptr;
}

PreparedKey* KeyCache::any(const KeyId& id) {
  const auto found = byId_.find(id);
  return found == byId_.end() ? nullptr : found->second.all.front()->get();
}

void KeyCache::voidKey(const KeyId& id) {
  const auto found = byId_.find(id);
  if (found == byId_.end()) return;
  for (const Ring::iterator at : std::vector<Ring::iterator>(found->second.all)) forget(at);
}

void KeyCache::clear() {
  for (const KeyPtr& key : ring_) keepIvs(*key);
  byId_.clear();
  ring_.clear();
  hand_ = ring_.end();
  epoch_++;
}

bool KeyCache::evictOne() {
  if (ring_.empty()) return false;
  for (;;) {
    if (hand_ == ring_.end()) hand_ = ring_.begin();
    if (!(*hand_)->used) break;
    (*hand_)->used = false;
    ++hand_;
  }
  forget(hand_);
  return true;
}

bool KeyCache::makeRoom() {
  bool dropped = false;
  for (ArenaStats stats = Arena::stats(); !dropped || stats.slabsFree == 0 || isCrowded(stats); stats = Arena::stats()) {
    if (!evictOne()) break;
    dropped = true;
  }
  return dropped;
}

}  // namespace quorate
