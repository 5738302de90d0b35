// C_CreateObject, C_CopyObject, C_SetAttributeValue, C_DestroyObject.
#include "pkcs11/store.h"

namespace quorate::pkcs11 {

namespace {

namespace F = fields::MechanismRequest;

bool isKey(CK_OBJECT_CLASS kind) { return kind == CKO_SECRET_KEY || kind == CKO_PRIVATE_KEY || kind == CKO_PUBLIC_KEY; }

CK_RV create(Session& s, Template wanted, EntryPtr* made) {
  const CK_OBJECT_CLASS kind = numberIn(wanted, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  if (attributeOf(wanted, CKA_CLASS) == nullptr) return CKR_TEMPLATE_INCOMPLETE;
  if (kind > CKO_SECRET_KEY) return CKR_ATTRIBUTE_VALUE_INVALID;
  SheetWriter sheet;
  KeyNumbers numbers;
  Request request;
  if (const CK_RV rv = encodeTemplate(wanted, isKey(kind) ? &numbers : nullptr, CKR_TEMPLATE_INCONSISTENT, &sheet); rv != CKR_OK) return rv;
  if (const CK_RV rv = checkWriter(s, sheet.flag(CKA_TOKEN)); rv != CKR_OK) return rv;
  request.bytes(F::attributes, sheet.encode());
  if (isKey(kind)) {
    if (attributeOf(wanted, CKA_KEY_TYPE) == nullptr) return CKR_TEMPLATE_INCOMPLETE;
    const std::string* const params = sheet.find(CKA_EC_PARAMS);
    Buffer material;
    const CK_RV rv = writeMaterial(kind, numberIn(wanted, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION), params == nullptr ? "" : std::string_view(*params), numbers, &material);
    if (rv != CKR_OK) return rv;
    request.bytes(F::data, material.view());
  }
  return makeObject(s, Method::CreateObject, &request, made);
}

// Certificates and data are made anew: their value is in their attributes.
CK_RV copyValue(Session& s, const ObjectRef& from, Template wanted, const SheetWriter& changes, EntryPtr* made) {
  if (!from.sheet().flag(CKA_COPYABLE) && from.sheet().find(CKA_COPYABLE)) return CKR_ACTION_PROHIBITED;
  SheetWriter whole;
  for (const Sheet::Row& row : from.sheet().rows()) whole.set(row.type, std::string(from.sheet().valueOf(row)));
  for (const CK_ATTRIBUTE& each : wanted) {
    if (each.type == CKA_CLASS || each.type == CKA_VALUE || each.type == CKA_CERTIFICATE_TYPE) return CKR_ATTRIBUTE_READ_ONLY;
    const std::string* const value = changes.find(each.type);
    if (value != nullptr) whole.set(each.type, *value);
  }
  Request request;
  request.bytes(F::attributes, whole.encode());
  return makeObject(s, Method::CreateObject, &request, made);
}

// Which field a template for that object is in: what the daemon calls the public half's is that of a pair.
uint32_t attributesField(const ObjectRef& object) { return object.half == Half::publicKey && !object.entry->isLonePublic ? F::public_attributes : F::attributes; }

CK_RV copy(Session& s, CK_OBJECT_HANDLE handle, Template wanted, CK_OBJECT_HANDLE* out) {
  const ObjectRef from = s.slot.objects.find(handle);
  if (!from) return CKR_OBJECT_HANDLE_INVALID;
  SheetWriter sheet;
  if (const CK_RV rv = encodeTemplate(wanted, nullptr, CKR_ATTRIBUTE_READ_ONLY, &sheet); rv != CKR_OK) return rv;
  const bool isToken = attributeOf(wanted, CKA_TOKEN) != nullptr ? sheet.flag(CKA_TOKEN) : from.sheet().flag(CKA_TOKEN);
  if (const CK_RV rv = checkWriter(s, isToken); rv != CKR_OK) return rv;
  EntryPtr made;
  CK_RV rv = CKR_OK;
  if (!isKey(from.objectClass())) {
    rv = copyValue(s, from, wanted, sheet, &made);
  } else {
    Request request;
    sheet.setFlag(CKA_TOKEN, isToken);  // so that the template says which half is copied
    writeKey(*from.entry, F::key, &request);
    request.bytes(attributesField(from), sheet.encode());
    rv = makeObject(s, Method::CopyObject, &request, &made);
  }
  if (rv == CKR_OK) *out = ObjectRef{made, made->main.empty() ? Half::publicKey : Half::main}.handle();
  return rv;
}

CK_RV set(Session& s, const ObjectRef& object, const std::string& changes) {
  const Entry& entry = *object.entry;
  Request request;
  Answer answer;
  EntryPtr kept;
  if (!entry.isToken()) {
    request.epoch = entry.epoch;
    request.bytes(F::key, entry.ref);
    request.bytes(attributesField(object), changes);
    if (const CK_RV rv = s.slot.wire.call(Method::SetSessionObject, &request, &answer); rv != CKR_OK) return rv;
    return putSessionObject(s, answer, entry.epoch, entry.number, entry.owner, &kept);
  }
  namespace T = fields::SetObjectRequest;
  request.bytes(T::key, entry.ref);
  request.bytes(attributesField(object) == F::attributes ? T::attributes : T::public_attributes, changes);
  addIdempotencyKey(T::idempotency_key, &request);
  if (const CK_RV rv = callWriting(s, Method::SetObject, &request, &answer); rv != CKR_OK) return rv;
  return putStored(s, answer, &kept);
}

// Without its other half: the pair goes on.
Entry withoutPublic(const Entry& entry) {
  Entry out = entry;
  out.publicHalf = Sheet();
  out.certificate = {};
  return out;
}

CK_RV destroy(Session& s, const ObjectRef& object) {
  const Entry& entry = *object.entry;
  const bool isHalf = object.half == Half::publicKey && !entry.isLonePublic && !entry.main.empty();
  Request request;
  Answer answer;
  if (entry.isToken()) {
    namespace T = fields::DestroyObjectRequest;
    request.bytes(T::key, entry.ref);
    if (isHalf) request.number(T::public_half, 1);
    addIdempotencyKey(T::idempotency_key, &request);
    if (const CK_RV rv = callWriting(s, Method::DestroyObject, &request, &answer); rv != CKR_OK) return rv;
  } else if (!isHalf) {
    request.epoch = entry.epoch;
    request.bytes(fields::DestroySessionKeyRequest::key, entry.ref);
    if (const CK_RV rv = s.slot.wire.call(Method::DestroySessionKey, &request, &answer); rv != CKR_OK) return rv;
  }
  if (isHalf) {
    s.slot.objects.put(withoutPublic(entry));
  } else {
    s.slot.objects.drop(entry.number);
  }
  return CKR_OK;
}

}  // namespace

namespace call {

CK_RV CreateObject(Module& m, CK_SESSION_HANDLE session, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* object) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Template wanted;
  if (const CK_RV rv = readTemplate(attributes, count, &wanted); rv != CKR_OK) return rv;
  if (object == nullptr) return CKR_ARGUMENTS_BAD;
  EntryPtr made;
  if (const CK_RV rv = create(*s, wanted, &made); rv != CKR_OK) return rv;
  *object = ObjectRef{made, made->main.empty() ? Half::publicKey : Half::main}.handle();
  return CKR_OK;
}

CK_RV CopyObject(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE from, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* object) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Template wanted;
  if (const CK_RV rv = readTemplate(attributes, count, &wanted); rv != CKR_OK) return rv;
  return object == nullptr ? CKR_ARGUMENTS_BAD : copy(*s, from, wanted, object);
}

CK_RV SetAttributeValue(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const ObjectRef object = s->slot.objects.find(handle);
  if (!object) return CKR_OBJECT_HANDLE_INVALID;
  Template wanted;
  if (const CK_RV rv = readTemplate(attributes, count, &wanted); rv != CKR_OK) return rv;
  SheetWriter sheet;
  if (const CK_RV rv = encodeTemplate(wanted, nullptr, CKR_ATTRIBUTE_READ_ONLY, &sheet); rv != CKR_OK) return rv;
  if (const CK_RV rv = checkWriter(*s, object.entry->isToken()); rv != CKR_OK) return rv;
  return wanted.empty() ? CKR_OK : set(*s, object, sheet.encode());
}

CK_RV DestroyObject(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const ObjectRef object = s->slot.objects.find(handle);
  if (!object) return CKR_OBJECT_HANDLE_INVALID;
  if (const CK_RV rv = checkWriter(*s, object.entry->isToken()); rv != CKR_OK) return rv;
  return destroy(*s, object);
}

}  // namespace call
}  // namespace quorate::pkcs11
