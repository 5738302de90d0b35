// What the daemon keeps, as this principal sees it: asked for once, then by its changes (ObjectsEpoch, SyncObjects).
#include <protozero/pbf_reader.hpp>

#include "pkcs11/entries.h"

namespace quorate::pkcs11 {

namespace {

constexpr size_t kIdBytes = 16;
constexpr int64_t kMsNs = 1'000'000;
// A daemon that never ends its listing is no daemon: so many deadlines of a single answer are given to a whole one.
constexpr int kWalkDeadlines = 6;

std::string hexOf(std::string_view id) {
  std::string out;
  for (const char c : id) {
    out.push_back("0123456789abcdef"[static_cast<uint8_t>(c) >> 4]);
    out.push_back("0123456789abcdef"[c & 15]);
  }
  return out;
}

}  // namespace

bool readObjectView(std::string_view message, Entry* entry, bool* isRemoved) {
  namespace F = fields::ObjectView;
  protozero::pbf_reader reader(message.data(), message.size());
  std::string attributes, publicAttributes;
  KeyScheme scheme{};
  *isRemoved = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case F::id: entry->id = reader.get_bytes(); break;
      case F::type: entry->type = static_cast<KeyType>(reader.get_uint32()); break;
      case F::scheme: scheme = static_cast<KeyScheme>(reader.get_uint32()); break;
      case F::version: entry->version = reader.get_uint32(); break;
      case F::attributes: attributes = reader.get_bytes(); break;
      case F::public_attributes: publicAttributes = reader.get_bytes(); break;
      case F::public_key: entry->spki = reader.get_bytes(); break;
      case F::removed: *isRemoved = reader.get_bool(); break;
      default: reader.skip();
    }
  }
  if (entry->id.size() != kIdBytes) throw protozero::invalid_length_exception();
  entry->ref = hexOf(entry->id);
  completeEntry(std::move(attributes), std::move(publicAttributes), entry);
  return !*isRemoved && scheme != KeyScheme::MANAGED && (!entry->main.empty() || !entry->publicHalf.empty());
}

CK_RV ObjectTable::askEpoch(uint64_t* epoch) {
  Request request;
  Answer answer;
  if (const CK_RV rv = wire_.call(Method::ObjectsEpoch, &request, &answer); rv != CKR_OK) return rv;
  const std::string_view body = answer.body();
  protozero::pbf_reader reader(body.data(), body.size());
  *epoch = 0;
  while (reader.next()) {
    if (reader.tag() == fields::ObjectsEpochResponse::epoch) {
      *epoch = reader.get_uint64();
    } else {
      reader.skip();
    }
  }
  return CKR_OK;
}

CK_RV ObjectTable::refresh() {
  uint64_t epoch = 0;
  if (const CK_RV rv = askEpoch(&epoch); rv != CKR_OK) return rv;
  const auto isTrue = [&] {
    const std::lock_guard guard(lock_);
    return validUntilNs_ > nowNs() && syncedEpoch_ == epoch;
  };
  if (isTrue()) return CKR_OK;
  const std::lock_guard syncing(syncing_);
  if (isTrue()) return CKR_OK;  // another thread's walk
  if (const CK_RV rv = sync(); rv != CKR_OK) return rv;
  // Taken before the walk: what changed meanwhile is walked again.
  const std::lock_guard guard(lock_);
  syncedEpoch_ = epoch;
  return CKR_OK;
}

void ObjectTable::forgetSync() {
  const std::lock_guard guard(lock_);
  since_.clear();
  validUntilNs_ = 0;
}

CK_RV ObjectTable::page(std::string* pageToken, std::string* since, bool* isComplete, uint64_t walk) {
  namespace F = fields::SyncObjectsResponse;
  Request request;
  Answer answer;
  if (!since->empty()) request.bytes(fields::SyncObjectsRequest::since, *since);
  request.number(fields::SyncObjectsRequest::page_size, limits::page_size_max);
  if (!pageToken->empty()) request.bytes(fields::SyncObjectsRequest::page_token, *pageToken);
  pageToken->clear();
  if (const CK_RV rv = wire_.call(Method::SyncObjects, &request, &answer); rv != CKR_OK) return rv;
  const std::string_view body = answer.body();
  protozero::pbf_reader reader(body.data(), body.size());
  const std::lock_guard guard(lock_);
  int64_t validMs = 0;
  std::string newSince;
  while (reader.next()) {
    switch (reader.tag()) {
      case F::objects: {
        const protozero::data_view view = reader.get_view();
        Entry entry;
        bool isRemoved = false;
        if (readObjectView({view.data(), view.size()}, &entry, &isRemoved)) {
          seen_[putLocked(std::move(entry))->number] = walk;
        } else if (isRemoved) {
          dropIdLocked(entry.id);
        }
        break;
      }
      case F::next_page_token: *pageToken = reader.get_string(); break;
      case F::since: newSince = reader.get_string(); break;
      case F::complete: *isComplete = reader.get_bool(); break;
      case F::valid_ms: validMs = reader.get_uint32(); break;
      default: reader.skip();
    }
  }
  if (!pageToken->empty()) return CKR_OK;
  since_ = newSince;
  validUntilNs_ = nowNs() + validMs * kMsNs;
  return CKR_OK;
}

CK_RV ObjectTable::sync() {
  const int64_t endNs = nowNs() + kWalkDeadlines * (wire_.patienceMs() * kMsNs);
  std::string pageToken, since;
  bool isComplete = false;
  const uint64_t walk = ++walk_;
  {
    const std::lock_guard guard(lock_);
    since = since_;
  }
  do {
    if (nowNs() > endNs) return CKR_DEVICE_ERROR;
    if (const CK_RV rv = page(&pageToken, &since, &isComplete, walk); rv != CKR_OK) return rv;
  } while (!pageToken.empty());
  if (!isComplete) return CKR_OK;
  const std::lock_guard guard(lock_);
  std::vector<uint64_t> gone;
  for (const auto& [number, entry] : entries_)
    if (entry->isToken() && seen_[number] != walk) gone.push_back(number);
  for (const uint64_t number : gone) dropLocked(number);
  return CKR_OK;
}

}  // namespace quorate::pkcs11
