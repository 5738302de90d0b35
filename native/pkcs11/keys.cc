// C_GenerateKey, C_GenerateKeyPair, C_WrapKey, C_UnwrapKey, C_DeriveKey: one message each, and one more to keep a token object.
#include "pkcs11/store.h"

namespace quorate::pkcs11 {

namespace {

namespace F = fields::MechanismRequest;
// Making an RSA key is a search for primes, and others may wait for theirs.
constexpr int kGenerateDeadlines = 6;

// The mechanism, its parameters and the key that it is done with, checked and written.
CK_RV start(const CK_MECHANISM* mechanism, Use use, const ObjectRef* key, Request* request, const MechanismRow** row, MechanismFacts* facts) {
  if (mechanism == nullptr) return CKR_ARGUMENTS_BAD;
  *row = mechanismRow(mechanism->mechanism);
  if (*row == nullptr || ((*row)->uses & use) == 0) return CKR_MECHANISM_INVALID;
  if (key != nullptr) {
    if (const CK_RV rv = checkUse(*key, **row, use); rv != CKR_OK) return rv;
    writeKey(*key->entry, F::key, request);
  }
  request->number(F::mechanism, mechanism->mechanism);
  return writeParameters(*mechanism, **row, false, request, facts);
}

CK_RV addTemplate(const Session& s, uint32_t tag, const CK_ATTRIBUTE* attributes, CK_ULONG count, Request* request) {
  Template wanted;
  SheetWriter sheet;
  if (const CK_RV rv = readTemplate(attributes, count, &wanted); rv != CKR_OK) return rv;
  if (const CK_RV rv = encodeTemplate(wanted, nullptr, CKR_TEMPLATE_INCONSISTENT, &sheet); rv != CKR_OK) return rv;
  if (const CK_RV rv = checkWriter(s, sheet.flag(CKA_TOKEN)); rv != CKR_OK) return rv;
  request->bytes(tag, sheet.encode());
  return CKR_OK;
}

CK_OBJECT_HANDLE handleOf(const EntryPtr& made) { return ObjectRef{made, made->main.empty() ? Half::publicKey : Half::main}.handle(); }

// How long a wrapped key is, where that is known here; 0: the daemon knows.
size_t wrappedLength(const MechanismRow& row, const ObjectRef& wrapping, const ObjectRef& target) {
  const CK_ULONG bytes = target.objectClass() == CKO_SECRET_KEY ? target.sheet().number(CKA_VALUE_LEN, keyBits(target.entry->type) / 8) : 0;
  switch (row.kind) {
    case MechanismKind::rsaOaep: return keyBits(wrapping.entry->type) / 8;
    case MechanismKind::aesKeyWrap:
    case MechanismKind::aesKeyWrapPad: return bytes == 0 ? 0 : (bytes + 7) / 8 * 8 + 8;
    default: return 0;
  }
}

CK_RV wrap(Session& s, const CK_MECHANISM* mechanism, const ObjectRef& wrapping, const ObjectRef& target, CK_BYTE* out, CK_ULONG* outBytes) {
  Request request;
  Answer answer;
  const MechanismRow* row = nullptr;
  MechanismFacts facts;
  if (const CK_RV rv = start(mechanism, kWrap, &wrapping, &request, &row, &facts); rv != CKR_OK) return rv == CKR_KEY_TYPE_INCONSISTENT ? CKR_WRAPPING_KEY_TYPE_INCONSISTENT : rv;
  writeKey(*target.entry, F::target, &request);
  const size_t length = wrappedLength(*row, wrapping, target);
  const CK_ULONG room = *outBytes;
  if (length != 0 && (out == nullptr || room < length)) {
    *outBytes = length;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  MechanismAnswer wrapped;
  if (const CK_RV rv = s.slot.wire.call(Method::WrapObject, &request, &answer); rv != CKR_OK) return rv;
  if (const CK_RV rv = readMechanismAnswer(answer, &wrapped); rv != CKR_OK) return rv;
  *outBytes = wrapped.data.size();
  if (out == nullptr) return CKR_OK;
  if (room < wrapped.data.size()) return CKR_BUFFER_TOO_SMALL;
  if (!wrapped.data.empty()) std::memcpy(out, wrapped.data.data(), wrapped.data.size());
  return CKR_OK;
}

}  // namespace

namespace call {

CK_RV GenerateKey(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* key) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (key == nullptr) return CKR_ARGUMENTS_BAD;
  Request request;
  const MechanismRow* row = nullptr;
  MechanismFacts facts;
  if (const CK_RV rv = start(mechanism, kGenerate, nullptr, &request, &row, &facts); rv != CKR_OK) return rv;
  if (const CK_RV rv = addTemplate(*s, F::attributes, attributes, count, &request); rv != CKR_OK) return rv;
  EntryPtr made;
  const CK_RV rv = makeObject(*s, Method::GenerateObject, &request, &made);
  if (rv == CKR_OK) *key = handleOf(made);
  return rv;
}

CK_RV GenerateKeyPair(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_ATTRIBUTE* publicAttributes, CK_ULONG publicCount, CK_ATTRIBUTE* privateAttributes,
                      CK_ULONG privateCount, CK_OBJECT_HANDLE* publicKey, CK_OBJECT_HANDLE* privateKey) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (publicKey == nullptr || privateKey == nullptr) return CKR_ARGUMENTS_BAD;
  Request request;
  const MechanismRow* row = nullptr;
  MechanismFacts facts;
  if (const CK_RV rv = start(mechanism, kGeneratePair, nullptr, &request, &row, &facts); rv != CKR_OK) return rv;
  if (const CK_RV rv = addTemplate(*s, F::public_attributes, publicAttributes, publicCount, &request); rv != CKR_OK) return rv;
  if (const CK_RV rv = addTemplate(*s, F::attributes, privateAttributes, privateCount, &request); rv != CKR_OK) return rv;
  request.deadlines = kGenerateDeadlines;
  EntryPtr made;
  if (const CK_RV rv = makeObject(*s, Method::GenerateObject, &request, &made); rv != CKR_OK) return rv;
  *privateKey = ObjectRef{made, Half::main}.handle();
  *publicKey = ObjectRef{made, Half::publicKey}.handle();
  return CKR_OK;
}

CK_RV WrapKey(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (outBytes == nullptr) return CKR_ARGUMENTS_BAD;
  const ObjectRef with = s->slot.objects.find(wrapping), target = s->slot.objects.find(key);
  if (!with) return CKR_WRAPPING_KEY_HANDLE_INVALID;
  if (!target) return CKR_KEY_HANDLE_INVALID;
  return target.objectClass() == CKO_SECRET_KEY || target.objectClass() == CKO_PRIVATE_KEY ? wrap(*s, mechanism, with, target, out, outBytes) : CKR_KEY_NOT_WRAPPABLE;
}

CK_RV UnwrapKey(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE unwrapping, CK_BYTE* in, CK_ULONG inBytes, CK_ATTRIBUTE* attributes, CK_ULONG count,
                CK_OBJECT_HANDLE* key) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (key == nullptr || (in == nullptr && inBytes != 0)) return CKR_ARGUMENTS_BAD;
  const ObjectRef with = s->slot.objects.find(unwrapping);
  if (!with) return CKR_UNWRAPPING_KEY_HANDLE_INVALID;
  if (inBytes == 0 || inBytes > limits::secret_bytes_max) return CKR_WRAPPED_KEY_LEN_RANGE;
  Request request;
  const MechanismRow* row = nullptr;
  MechanismFacts facts;
  if (const CK_RV rv = start(mechanism, kUnwrap, &with, &request, &row, &facts); rv != CKR_OK) return rv == CKR_KEY_TYPE_INCONSISTENT ? CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT : rv;
  if (const CK_RV rv = addTemplate(*s, F::attributes, attributes, count, &request); rv != CKR_OK) return rv;
  request.bytes(F::data, viewOf(in, inBytes));
  EntryPtr made;
  const CK_RV rv = makeObject(*s, Method::UnwrapObject, &request, &made);
  if (rv == CKR_OK) *key = handleOf(made);
  return rv;
}

CK_RV DeriveKey(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE base, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* key) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (key == nullptr) return CKR_ARGUMENTS_BAD;
  const ObjectRef with = s->slot.objects.find(base);
  if (!with) return CKR_KEY_HANDLE_INVALID;
  Request request;
  const MechanismRow* row = nullptr;
  MechanismFacts facts;
  if (const CK_RV rv = start(mechanism, kDerive, &with, &request, &row, &facts); rv != CKR_OK) return rv;
  if (const CK_RV rv = addTemplate(*s, F::attributes, attributes, count, &request); rv != CKR_OK) return rv;
  EntryPtr made;
  const CK_RV rv = makeObject(*s, Method::DeriveObject, &request, &made);
  if (rv == CKR_OK) *key = handleOf(made);
  return rv;
}

}  // namespace call
}  // namespace quorate::pkcs11
