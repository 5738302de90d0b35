// C_FindObjects*, C_GetAttributeValue, C_GetObjectSize.
#include <cstring>
#include <protozero/pbf_reader.hpp>

#include "pkcs11/attributes.h"
#include "pkcs11/module.h"

namespace quorate::pkcs11 {

namespace {

constexpr CK_ULONG kAttributesMax = 1024;

// The value of a key that may be told, asked for once in a call.
class Value {
 public:
  Value(Slot& slot, const Entry& entry) : slot_(slot), entry_(entry) {}
  CK_RV read(CK_OBJECT_CLASS kind, CK_ATTRIBUTE_TYPE type, std::string_view* out) {
    if (!isRead_) {
      if (const CK_RV rv = ask(kind); rv != CKR_OK) return rv;
      isRead_ = true;
    }
    const std::string_view* const number = numberOf(&numbers_, type);
    if (number == nullptr) return CKR_ATTRIBUTE_TYPE_INVALID;
    *out = *number;
    return CKR_OK;
  }

 private:
  CK_RV ask(CK_OBJECT_CLASS kind) {
    Request request;
    request.bytes(fields::GetObjectValueRequest::key, entry_.ref);
    request.epoch = entry_.epoch;
    Code refusal = Code::OK;
    if (const CK_RV rv = slot_.wire.call(Method::GetObjectValue, &request, &answer_, &refusal); rv != CKR_OK) return refusal == Code::DENIED ? CKR_ATTRIBUTE_SENSITIVE : rv;
    const std::string_view body = answer_.body();
    protozero::pbf_reader reader(body.data(), body.size());
    std::string_view value;
    while (reader.next()) {
      if (reader.tag() == fields::GetObjectValueResponse::value) {
        const protozero::data_view view = reader.get_view();
        value = {view.data(), view.size()};
      } else {
        reader.skip();
      }
    }
    if (kind == CKO_PRIVATE_KEY) return readPrivateKey(value, entry_.type, &numbers_) ? CKR_OK : CKR_DEVICE_ERROR;
    numbers_.value = value;
    return CKR_OK;
  }

  Slot& slot_;
  const Entry& entry_;
  Answer answer_;  // wiped when this goes
  KeyNumbers numbers_;
  bool isRead_ = false;
};

// A template's value is an array of the application's: types, lengths, and the values where it gave places for them.
CK_RV giveTemplate(std::string_view encoded, CK_ATTRIBUTE* attribute, CK_ULONG room) {
  const Sheet sheet{std::string(encoded)};
  const CK_ULONG bytes = sheet.rows().size() * sizeof(CK_ATTRIBUTE);
  if (attribute->pValue == nullptr) {
    attribute->ulValueLen = bytes;
    return CKR_OK;
  }
  if (room < bytes) return CKR_BUFFER_TOO_SMALL;
  CK_RV result = CKR_OK;
  char* at = static_cast<char*>(attribute->pValue);
  for (const Sheet::Row& row : sheet.rows()) {
    CK_ATTRIBUTE inside;
    std::memcpy(&inside, at, sizeof(inside));
    inside.type = row.type;
    if (inside.pValue != nullptr && inside.ulValueLen < row.length) {
      inside.ulValueLen = CK_UNAVAILABLE_INFORMATION;
      result = CKR_BUFFER_TOO_SMALL;
    } else {
      if (inside.pValue != nullptr && row.length != 0) std::memcpy(inside.pValue, sheet.valueOf(row).data(), row.length);
      inside.ulValueLen = row.length;
    }
    std::memcpy(at, &inside, sizeof(inside));
    at += sizeof(inside);
  }
  attribute->ulValueLen = bytes;
  return result;
}

// The rules of C_GetAttributeValue for one attribute (3.0, section 5.7.5).
CK_RV give(const ObjectRef& object, Value* secret, CK_ATTRIBUTE* attribute) {
  const CK_ULONG room = attribute->ulValueLen;
  attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
  std::string own;
  std::string_view value;
  switch (attributeValue(object, attribute->type, &own, &value)) {
    case Presence::sensitive: return CKR_ATTRIBUTE_SENSITIVE;
    case Presence::absent: return CKR_ATTRIBUTE_TYPE_INVALID;
    case Presence::value: break;
    case Presence::secret:
      if (const CK_RV rv = secret->read(object.objectClass(), attribute->type, &value); rv != CKR_OK) return rv;
  }
  const AttributeRow* const row = attributeRow(attribute->type);
  if (row != nullptr && row->kind == AttributeKind::tmplate) return giveTemplate(value, attribute, room);
  if (attribute->pValue != nullptr) {
    if (room < value.size()) return CKR_BUFFER_TOO_SMALL;
    if (!value.empty()) std::memcpy(attribute->pValue, value.data(), value.size());
  }
  attribute->ulValueLen = value.size();
  return CKR_OK;
}

// What no object in the daemon can be, so that it need not be asked.
bool isLocal(Template wanted) {
  const CK_ATTRIBUTE* const token = attributeOf(wanted, CKA_TOKEN);
  const CK_ATTRIBUTE* const kind = attributeOf(wanted, CKA_CLASS);
  const CK_ATTRIBUTE* const label = attributeOf(wanted, CKA_LABEL);
  if (token != nullptr && (token->ulValueLen != 1 || *static_cast<const CK_BYTE*>(token->pValue) != CK_TRUE)) return true;
  if (label != nullptr && label->ulValueLen > limits::object_label_bytes_max) return true;
  return kind != nullptr && numberIn(wanted, CKA_CLASS, CK_UNAVAILABLE_INFORMATION) > CKO_SECRET_KEY;
}

}  // namespace

namespace call {

CK_RV GetAttributeValue(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const ObjectRef object = s->slot.objects.find(handle);
  if (!object) return CKR_OBJECT_HANDLE_INVALID;
  if ((attributes == nullptr && count != 0) || count > kAttributesMax) return CKR_ARGUMENTS_BAD;
  Value secret(s->slot, *object.entry);
  CK_RV result = CKR_OK;
  for (CK_ULONG i = 0; i < count; i++) {
    const CK_RV rv = give(object, &secret, &attributes[i]);
    if (rv != CKR_OK) result = rv;  // the others are given all the same
  }
  return result;
}

CK_RV GetObjectSize(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, CK_ULONG* bytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const ObjectRef object = s->slot.objects.find(handle);
  if (!object) return CKR_OBJECT_HANDLE_INVALID;
  if (bytes == nullptr) return CKR_ARGUMENTS_BAD;
  *bytes = object.sheet().encoded().size() + object.entry->spki.size();
  return CKR_OK;
}

CK_RV FindObjectsInit(Module& m, CK_SESSION_HANDLE session, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Template wanted;
  if (const CK_RV rv = readTemplate(attributes, count, &wanted); rv != CKR_OK) return rv;
  if (s->search) return CKR_OPERATION_ACTIVE;
  if (!isLocal(wanted)) {
    if (const CK_RV rv = s->slot.objects.refresh(); rv != CKR_OK) return rv;
  }
  s->search.emplace(Search{s->slot.objects.matching(wanted)});
  return CKR_OK;
}

CK_RV FindObjects(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* objects, CK_ULONG room, CK_ULONG* count) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (count == nullptr || (objects == nullptr && room != 0)) return CKR_ARGUMENTS_BAD;
  if (!s->search) return CKR_OPERATION_NOT_INITIALIZED;
  Search& search = *s->search;
  *count = std::min<CK_ULONG>(room, search.found.size() - search.next);
  for (CK_ULONG i = 0; i < *count; i++) objects[i] = search.found[search.next++];
  return CKR_OK;
}

CK_RV FindObjectsFinal(Module& m, CK_SESSION_HANDLE session) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (!s->search) return CKR_OPERATION_NOT_INITIALIZED;
  s->search.reset();
  return CKR_OK;
}

}  // namespace call
}  // namespace quorate::pkcs11
