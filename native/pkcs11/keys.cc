#include "pkcs11/keys.h"

#include <algorithm>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "core/limits.gen.h"
#include "pkcs11/location.h"

namespace quorate::pkcs11 {

namespace {

constexpr size_t kIdBytes = 16;
// A daemon that never ends its listing is no daemon: so many deadlines of a single answer are given to a whole one.
constexpr int kListingDeadlines = 6;

struct Version {
  uint32_t number = 0;
  bool imported = false, publicOnly = false;
};

// Throws protozero's exceptions: the entry points catch them.
Version readVersion(protozero::pbf_reader reader) {
  Version out;
  while (reader.next()) {
    switch (reader.tag()) {
      case fields::KeyVersion::version: out.number = reader.get_uint32(); break;
      case fields::KeyVersion::imported: out.imported = reader.get_bool(); break;
      case fields::KeyVersion::public_only: out.publicOnly = reader.get_bool(); break;
      default: reader.skip();
    }
  }
  return out;
}

KeyEntry readKey(protozero::pbf_reader reader) {
  namespace F = fields::Key;
  KeyEntry out;
  std::vector<Version> versions;
  while (reader.next()) {
    switch (reader.tag()) {
      case F::id: out.id = reader.get_bytes(); break;
      case F::name: out.name = reader.get_string(); break;
      case F::type: out.type = static_cast<KeyType>(reader.get_uint32()); break;
      case F::scheme: out.scheme = static_cast<KeyScheme>(reader.get_uint32()); break;
      case F::state: out.state = static_cast<KeyState>(reader.get_uint32()); break;
      case F::current_version: out.version = reader.get_uint32(); break;
      case F::versions: versions.push_back(readVersion(reader.get_message())); break;
      case F::exportable: out.exportable = reader.get_bool(); break;
      case F::generation: out.generation = reader.get_uint64(); break;
      default: reader.skip();
    }
  }
  for (const Version& version : versions) {
    if (version.number != out.version) continue;
    out.imported = version.imported;
    out.publicOnly = version.publicOnly;
  }
  return out;
}

// What can be used through Cryptoki so far: keys that sign, as long as they are there.
bool isObject(const KeyEntry& key) {
  const bool signs = key.scheme == KeyScheme::ECDSA || key.scheme == KeyScheme::EDDSA || key.scheme == KeyScheme::RSA_PSS || key.scheme == KeyScheme::RSA_PKCS1;
  return signs && key.id.size() == kIdBytes && key.state >= KeyState::PRE_ACTIVE && key.state <= KeyState::COMPROMISED;
}

bool isRsa(KeyType type) { return type == KeyType::RSA_2048 || type == KeyType::RSA_3072 || type == KeyType::RSA_4096; }

}  // namespace

std::string KeyEntry::hexId() const {
  std::string out;
  for (const char c : id) {
    out.push_back("0123456789abcdef"[static_cast<uint8_t>(c) >> 4]);
    out.push_back("0123456789abcdef"[c & 15]);
  }
  return out;
}

void KeyCache::take(KeyEntry key) {
  if (!isObject(key)) return;
  key.seen = listing_;
  const auto at = keys_.find(key.id);
  if (at == keys_.end()) {
    key.number = ++lastNumber_;
    ids_[key.number] = key.id;
    keys_.emplace(key.id, std::move(key));
    return;
  }
  key.number = at->second.number;
  if (key.generation == at->second.generation && key.version == at->second.version) {
    key.spki = std::move(at->second.spki);
    key.parts = std::move(at->second.parts);
  }
  at->second = std::move(key);
}

CK_RV KeyCache::page(const std::string& prefix, std::string* pageToken) {
  namespace F = fields::ListKeysRequest;
  std::string request, answer;
  protozero::pbf_writer writer(request);
  writer.add_uint32(F::page_size, limits::page_size_max);
  if (!pageToken->empty()) writer.add_string(F::page_token, *pageToken);
  if (!prefix.empty()) writer.add_string(F::prefix, prefix);
  pageToken->clear();
  Code refusal;
  if (const CK_RV rv = wire_.call(Method::ListKeys, request, &answer, &refusal); rv != CKR_OK) {
    // No key can have such a name: it is no text, or has characters that names have not.
    const bool isNoName = refusal == Code::NAME_INVALID || refusal == Code::BAD_REQUEST;
    return isNoName && !prefix.empty() ? CKR_OK : rv;
  }
  protozero::pbf_reader reader(answer);
  while (reader.next()) {
    switch (reader.tag()) {
      case fields::ListKeysResponse::keys: take(readKey(reader.get_message())); break;
      case fields::ListKeysResponse::next_page_token: *pageToken = reader.get_string(); break;
      default: reader.skip();
    }
  }
  return CKR_OK;
}

CK_RV KeyCache::refresh(const std::string& prefix) {
  listing_++;
  std::string pageToken;
  const int64_t endMs = Wire::nowMs() + kListingDeadlines * static_cast<int64_t>(timeoutMs());
  while (Wire::nowMs() < endMs) {
    if (const CK_RV rv = page(prefix, &pageToken); rv != CKR_OK) return rv;
    if (!pageToken.empty()) continue;
    if (prefix.empty()) {
      std::erase_if(keys_, [&](const auto& each) { return each.second.seen != listing_; });
      std::erase_if(ids_, [&](const auto& each) { return !keys_.contains(each.second); });
    }
    return CKR_OK;
  }
  return CKR_DEVICE_ERROR;
}

std::vector<ObjectRef> KeyCache::listed() const {
  std::vector<ObjectRef> out;
  for (const auto& [id, key] : keys_) {
    if (key.seen != listing_) continue;
    if (!key.publicOnly) out.push_back({&key, Half::privateKey});
    out.push_back({&key, Half::publicKey});
  }
  std::stable_sort(out.begin(), out.end(), [](const ObjectRef& a, const ObjectRef& b) { return a.key->name < b.key->name; });
  return out;
}

std::string KeyCache::nameOf(const std::string& id) const {
  const auto at = keys_.find(id);
  return at == keys_.end() ? "" : at->second.name;
}

ObjectRef KeyCache::find(CK_OBJECT_HANDLE handle) const {
  const Half half = (handle & 1) != 0 ? Half::publicKey : Half::privateKey;
  const auto id = ids_.find(handle >> 1);
  if (id == ids_.end()) return {};
  const KeyEntry& key = keys_.at(id->second);
  return key.publicOnly && half == Half::privateKey ? ObjectRef{} : ObjectRef{&key, half};
}

CK_RV KeyCache::loadPublic(const KeyEntry& key) {
  if (!key.spki.empty()) return CKR_OK;
  namespace F = fields::ExportPublicKeyRequest;
  std::string request, answer;
  protozero::pbf_writer writer(request);
  writer.add_string(F::key, key.hexId());
  writer.add_uint32(F::version, key.version);
  writer.add_enum(F::format, static_cast<int32_t>(PublicFormat::SPKI));
  if (const CK_RV rv = wire_.call(Method::ExportPublicKey, request, &answer); rv != CKR_OK) return rv;
  KeyEntry& own = keys_.at(key.id);
  protozero::pbf_reader reader(answer);
  while (reader.next()) {
    if (reader.tag() == fields::ExportPublicKeyResponse::public_key) {
      own.spki = reader.get_bytes();
    } else {
      reader.skip();
    }
  }
  if (readPublicKey(own.spki, isRsa(own.type), &own.parts)) return CKR_OK;
  own.spki.clear();
  return CKR_DEVICE_ERROR;
}

void KeyCache::forgetPublic(const KeyEntry& key) {
  const auto at = keys_.find(key.id);
  if (at != keys_.end()) at->second.spki.clear();
}

}  // namespace quorate::pkcs11
