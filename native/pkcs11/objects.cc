// C_GetAttributeValue and the search for objects.
#include <cstring>

#include "core/limits.gen.h"
#include "pkcs11/attributes.h"
#include "pkcs11/module.h"

namespace quorate::pkcs11 {

namespace {

// More attributes than any object has: a count that was never set.
constexpr CK_ULONG kAttributesMax = 1024;

using Template = std::span<const CK_ATTRIBUTE>;

// The rules of C_GetAttributeValue for one attribute (3.0, section 5.7.5).
CK_RV give(Module& m, const ObjectRef& object, CK_ATTRIBUTE* attribute) {
  const CK_ULONG room = attribute->ulValueLen;
  attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
  if (needsPublic(attribute->type)) {
    if (const CK_RV rv = m.keys.loadPublic(*object.key); rv != CKR_OK) return rv;
  }
  std::string value;
  switch (attributeValue(object, attribute->type, &value)) {
    case Presence::sensitive: return CKR_ATTRIBUTE_SENSITIVE;
    case Presence::absent: return CKR_ATTRIBUTE_TYPE_INVALID;
    case Presence::value: break;
  }
  if (attribute->pValue != nullptr) {
    if (room < value.size()) return CKR_BUFFER_TOO_SMALL;
    if (!value.empty()) std::memcpy(attribute->pValue, value.data(), value.size());
  }
  attribute->ulValueLen = value.size();
  return CKR_OK;
}

bool isSame(const CK_ATTRIBUTE& wanted, const std::string& value) {
  return wanted.ulValueLen == value.size() && (value.empty() || std::memcmp(wanted.pValue, value.data(), value.size()) == 0);
}

// False also for attributes that hold templates: no object has any, so they are never followed.
bool has(const ObjectRef& object, const CK_ATTRIBUTE& wanted) {
  std::string value;
  return attributeValue(object, wanted.type, &value) == Presence::value && isSame(wanted, value);
}

// What needs the public key is compared last, for the few that are left.
CK_RV matches(Module& m, const ObjectRef& object, Template wanted, bool* result) {
  *result = false;
  for (const CK_ATTRIBUTE& each : wanted)
    if (!needsPublic(each.type) && !has(object, each)) return CKR_OK;
  for (const CK_ATTRIBUTE& each : wanted) {
    if (!needsPublic(each.type)) continue;
    if (const CK_RV rv = m.keys.loadPublic(*object.key); rv != CKR_OK) return rv;
    if (!has(object, each)) return CKR_OK;
  }
  *result = true;
  return CKR_OK;
}

const CK_ATTRIBUTE* attributeOf(Template wanted, CK_ATTRIBUTE_TYPE type) {
  for (const CK_ATTRIBUTE& each : wanted)
    if (each.type == type) return &each;
  return nullptr;
}

std::string bytesOf(const CK_ATTRIBUTE& attribute) { return {static_cast<const char*>(attribute.pValue), attribute.ulValueLen}; }

// No key can be like that, so the daemon need not be asked.
bool isHopeless(Template wanted) {
  const CK_ATTRIBUTE* const kind = attributeOf(wanted, CKA_CLASS);
  const CK_ATTRIBUTE* const label = attributeOf(wanted, CKA_LABEL);
  if (label != nullptr && (label->ulValueLen == 0 || label->ulValueLen > limits::name_bytes_max)) return true;
  if (kind == nullptr) return false;
  CK_OBJECT_CLASS value = 0;
  if (kind->ulValueLen != sizeof(value)) return true;
  std::memcpy(&value, kind->pValue, sizeof(value));
  return value != CKO_PRIVATE_KEY && value != CKO_PUBLIC_KEY;
}

CK_RV collect(Module& m, Template wanted, std::vector<CK_OBJECT_HANDLE>* found) {
  for (const ObjectRef& object : m.keys.listed()) {
    bool isMatch = false;
    if (const CK_RV rv = matches(m, object, wanted, &isMatch); rv != CKR_OK) return rv;
    if (isMatch) found->push_back(KeyCache::handleOf(object));
  }
  return CKR_OK;
}

// A label is the beginning of a name, so that one short page answers. So does the name that a key with a wanted CKA_ID had last; if it is
// not found under that, it was renamed or is unknown, and all are asked for.
CK_RV search(Module& m, Template wanted, std::vector<CK_OBJECT_HANDLE>* found) {
  if (isHopeless(wanted)) return CKR_OK;
  const CK_ATTRIBUTE* const label = attributeOf(wanted, CKA_LABEL);
  const CK_ATTRIBUTE* const id = attributeOf(wanted, CKA_ID);
  std::string prefix;
  if (label != nullptr) {
    prefix = bytesOf(*label);
  } else if (id != nullptr && id->ulValueLen == 16) {
    prefix = m.keys.nameOf(bytesOf(*id));
  }
  if (const CK_RV rv = m.keys.refresh(prefix); rv != CKR_OK) return rv;
  if (const CK_RV rv = collect(m, wanted, found); rv != CKR_OK) return rv;
  if (!found->empty() || label != nullptr || prefix.empty()) return CKR_OK;
  if (const CK_RV rv = m.keys.refresh(""); rv != CKR_OK) return rv;
  return collect(m, wanted, found);
}

}  // namespace

namespace call {

CK_RV GetAttributeValue(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  if (findSession(m, session) == nullptr) return CKR_SESSION_HANDLE_INVALID;
  const ObjectRef object = m.keys.find(handle);
  if (object.key == nullptr) return CKR_OBJECT_HANDLE_INVALID;
  if ((attributes == nullptr && count != 0) || count > kAttributesMax) return CKR_ARGUMENTS_BAD;
  CK_RV result = CKR_OK;
  for (CK_ULONG i = 0; i < count; i++) {
    const CK_RV rv = give(m, object, &attributes[i]);
    if (rv != CKR_OK) result = rv;  // the others are given all the same
  }
  return result;
}

CK_RV FindObjectsInit(Module& m, CK_SESSION_HANDLE session, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  Session* const s = findSession(m, session);
  if (s == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if ((attributes == nullptr && count != 0) || count > kAttributesMax) return CKR_ARGUMENTS_BAD;
  if (s->search) return CKR_OPERATION_ACTIVE;
  const Template wanted(attributes, count);
  for (const CK_ATTRIBUTE& each : wanted)
    if (each.pValue == nullptr && each.ulValueLen != 0) return CKR_ARGUMENTS_BAD;
  Search made;
  if (const CK_RV rv = search(m, wanted, &made.found); rv != CKR_OK) return rv;
  s->search = std::move(made);
  return CKR_OK;
}

CK_RV FindObjects(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* objects, CK_ULONG room, CK_ULONG* count) {
  Session* const s = findSession(m, session);
  if (s == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if (count == nullptr || (objects == nullptr && room != 0)) return CKR_ARGUMENTS_BAD;
  if (!s->search) return CKR_OPERATION_NOT_INITIALIZED;
  Search& found = *s->search;
  *count = std::min<CK_ULONG>(room, found.found.size() - found.next);
  for (CK_ULONG i = 0; i < *count; i++) objects[i] = found.found[found.next++];
  return CKR_OK;
}

CK_RV FindObjectsFinal(Module& m, CK_SESSION_HANDLE session) {
  Session* const s = findSession(m, session);
  if (s == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if (!s->search) return CKR_OPERATION_NOT_INITIALIZED;
  s->search.reset();
  return CKR_OK;
}

}  // namespace call
}  // namespace quorate::pkcs11
