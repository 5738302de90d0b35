#include "pkcs11/entries.h"

#include <algorithm>

#include "pkcs11/attributes.h"

namespace quorate::pkcs11 {

namespace {

std::atomic<uint64_t> lastNumber = 0;

void indexOne(std::unordered_map<std::string, std::vector<CK_OBJECT_HANDLE>>* index, const Sheet& sheet, CK_ATTRIBUTE_TYPE type, CK_OBJECT_HANDLE handle, bool isAdded) {
  const auto value = sheet.find(type);
  if (sheet.empty()) return;
  std::string key(value.value_or(""));
  if (isAdded) {
    (*index)[std::move(key)].push_back(handle);
    return;
  }
  const auto at = index->find(key);
  if (at == index->end()) return;
  std::erase(at->second, handle);
  if (at->second.empty()) index->erase(at);
}

}  // namespace

void completeEntry(std::string attributes, std::string publicAttributes, Entry* entry) {
  entry->main = Sheet(std::move(attributes));
  entry->publicHalf = Sheet(std::move(publicAttributes));
  if (entry->main.number(CKA_CLASS, CKO_DATA) == CKO_PUBLIC_KEY) {
    entry->isLonePublic = true;
    entry->publicHalf = std::move(entry->main);
    entry->main = Sheet();
  }
  if (!entry->spki.empty() && !readPublicKey(entry->spki, isRsa(entry->type), &entry->parts)) entry->spki.clear();
}

// The views are of the sheet's own place, so they are made when the entry has its last one.
static void readCertificateOf(Entry* entry) {
  if (entry->main.number(CKA_CLASS, CK_UNAVAILABLE_INFORMATION) != CKO_CERTIFICATE) return;
  const auto value = entry->main.find(CKA_VALUE);
  if (value && !readCertificate(*value, &entry->certificate)) entry->certificate = {};
}

ObjectRef ObjectTable::find(CK_OBJECT_HANDLE handle) {
  const std::lock_guard guard(lock_);
  const auto at = entries_.find(handle >> 1);
  if (at == entries_.end()) return {};
  if (!isAlive(*at->second)) {
    dropLocked(at->first);
    return {};
  }
  ObjectRef out{at->second, (handle & 1) != 0 ? Half::publicKey : Half::main};
  if (out.sheet().empty()) return {};
  return out;
}

EntryPtr ObjectTable::put(Entry entry) {
  const std::lock_guard guard(lock_);
  return putLocked(std::move(entry));
}

EntryPtr ObjectTable::putLocked(Entry entry) {
  if (!entry.id.empty()) {
    const auto known = ids_.find(entry.id);
    if (known != ids_.end()) entry.number = known->second;
  }
  if (entry.number == 0) entry.number = ++lastNumber;
  const uint64_t number = entry.number;
  const auto at = entries_.find(number);
  if (at != entries_.end()) index(*at->second, false);
  auto kept = std::make_shared<Entry>(std::move(entry));
  readCertificateOf(kept.get());
  if (!kept->id.empty()) ids_[kept->id] = number;
  index(*kept, true);
  entries_[number] = kept;
  return kept;
}

void ObjectTable::index(const Entry& entry, bool isAdded) {
  for (const Half half : {Half::main, Half::publicKey}) {
    const Sheet& sheet = half == Half::main ? entry.main : entry.publicHalf;
    const CK_OBJECT_HANDLE handle = 2 * entry.number + (half == Half::publicKey ? 1 : 0);
    indexOne(&labels_, sheet, CKA_LABEL, handle, isAdded);
    indexOne(&attributeIds_, sheet, CKA_ID, handle, isAdded);
  }
}

void ObjectTable::drop(uint64_t number) {
  const std::lock_guard guard(lock_);
  dropLocked(number);
}

void ObjectTable::dropLocked(uint64_t number) {
  const auto at = entries_.find(number);
  if (at == entries_.end()) return;
  index(*at->second, false);
  if (!at->second->id.empty()) ids_.erase(at->second->id);
  seen_.erase(number);
  entries_.erase(at);
}

void ObjectTable::dropIdLocked(const std::string& id) {
  const auto at = ids_.find(id);
  if (at != ids_.end()) dropLocked(at->second);
}

std::vector<std::string> ObjectTable::dropOwned(CK_SESSION_HANDLE owner) {
  const std::lock_guard guard(lock_);
  std::vector<std::string> out;
  std::vector<uint64_t> numbers;
  for (const auto& [number, entry] : entries_) {
    if (entry->isToken() || (entry->owner != owner && isAlive(*entry))) continue;
    numbers.push_back(number);
    if (isAlive(*entry)) out.push_back(entry->ref);
  }
  for (const uint64_t number : numbers) dropLocked(number);
  return out;
}

bool ObjectTable::hasTokenObjects() {
  const std::lock_guard guard(lock_);
  return !ids_.empty();
}

std::vector<CK_OBJECT_HANDLE> ObjectTable::matching(Template wanted) {
  const CK_ATTRIBUTE* const label = attributeOf(wanted, CKA_LABEL);
  const CK_ATTRIBUTE* const id = attributeOf(wanted, CKA_ID);
  Handles out;
  const std::lock_guard guard(lock_);
  const auto consider = [&](CK_OBJECT_HANDLE handle) {
    const auto at = entries_.find(handle >> 1);
    if (at == entries_.end() || !isAlive(*at->second)) return;
    const ObjectRef object{at->second, (handle & 1) != 0 ? Half::publicKey : Half::main};
    if (object.sheet().empty()) return;
    for (const CK_ATTRIBUTE& each : wanted)
      if (!hasAttribute(object, each)) return;
    out.push_back(handle);
  };
  if (label != nullptr || id != nullptr) {
    const CK_ATTRIBUTE* const key = label != nullptr ? label : id;
    if (key->ulValueLen > limits::object_sheet_bytes_max) return out;
    const auto& index = label != nullptr ? labels_ : attributeIds_;
    const auto at = index.find(std::string(valueOf(*key)));
    if (at == index.end()) return out;
    for (const CK_OBJECT_HANDLE handle : at->second) consider(handle);
    std::sort(out.begin(), out.end());
    return out;
  }
  for (const auto& [number, entry] : entries_) {
    consider(2 * number);
    consider(2 * number + 1);
  }
  return out;
}

}  // namespace quorate::pkcs11
