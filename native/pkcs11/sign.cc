// Making and checking signatures. *Init sends nothing: the daemon gets key, mechanism and data in one message at the end.
#include <algorithm>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "core/limits.gen.h"
#include "pkcs11/attributes.h"
#include "pkcs11/module.h"

namespace quorate::pkcs11 {

namespace {

bool hasFlag(const ObjectRef& object, CK_ATTRIBUTE_TYPE type) {
  std::string value;
  return attributeValue(object, type, &value) == Presence::value && value == std::string(1, CK_TRUE);
}

CK_RV begin(Module& m, Purpose purpose, CK_SESSION_HANDLE session, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE handle) {
  Session* const s = findSession(m, session);
  if (s == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if (mechanism == nullptr) {  // 3.0: ends the one that is active
    if (!s->operation || s->operation->purpose != purpose) return CKR_OPERATION_NOT_INITIALIZED;
    s->operation.reset();
    return CKR_OK;
  }
  if (s->operation) return CKR_OPERATION_ACTIVE;
  const ObjectRef object = m.keys.find(handle);
  if (object.key == nullptr) return CKR_KEY_HANDLE_INVALID;
  if (mechanism->pParameter == nullptr && mechanism->ulParameterLen != 0) return CKR_MECHANISM_PARAM_INVALID;
  Operation made;
  if (const CK_RV rv = choose(*mechanism, *object.key, &made.chosen); rv != CKR_OK) return rv;
  if (!hasFlag(object, purpose == Purpose::sign ? CKA_SIGN : CKA_VERIFY)) return CKR_KEY_FUNCTION_NOT_PERMITTED;
  made.purpose = purpose;
  made.object = handle;
  s->operation = std::move(made);
  return CKR_OK;
}

CK_RV activeOperation(Module& m, Purpose purpose, CK_SESSION_HANDLE session, Session** found) {
  *found = findSession(m, session);
  if (*found == nullptr) return CKR_SESSION_HANDLE_INVALID;
  return (*found)->operation && (*found)->operation->purpose == purpose ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED;
}

// Every failure but a short buffer ends the operation.
CK_RV ended(Session& s, CK_RV rv) {
  s.operation.reset();
  return rv;
}

CK_RV update(Module& m, Purpose purpose, CK_SESSION_HANDLE session, const CK_BYTE* part, CK_ULONG bytes) {
  Session* s;
  if (const CK_RV rv = activeOperation(m, purpose, session, &s); rv != CKR_OK) return rv;
  if (part == nullptr && bytes != 0) return ended(*s, CKR_ARGUMENTS_BAD);
  Operation& operation = *s->operation;
  if (bytes > limits::message_bytes_max - operation.data.size()) return ended(*s, CKR_DATA_LEN_RANGE);
  operation.inParts = true;
  if (bytes != 0) operation.data.append(reinterpret_cast<const char*>(part), bytes);
  return CKR_OK;
}

// Fields 1 to 6 of SignRequest and VerifyRequest are the same.
static_assert(static_cast<int>(fields::SignRequest::salt_bytes) == static_cast<int>(fields::VerifyRequest::salt_bytes));

CK_RV writeRequest(const Operation& operation, const KeyEntry& key, std::string_view data, protozero::pbf_writer* writer) {
  namespace F = fields::SignRequest;
  if (data.size() > limits::message_bytes_max) return CKR_DATA_LEN_RANGE;
  SignInput input;
  if (const CK_RV rv = inputOf(operation.chosen, data, &input); rv != CKR_OK) return rv;
  writer->add_string(F::key, key.hexId());
  writer->add_bytes(input.isDigest ? F::digest : F::message, input.bytes.data(), input.bytes.size());
  if (input.hash != Hash::HASH_UNSPECIFIED) writer->add_enum(F::hash, static_cast<int32_t>(input.hash));
  if (key.scheme == KeyScheme::ECDSA) writer->add_enum(F::format, static_cast<int32_t>(SignatureFormat::P1363));
  if (operation.chosen.saltBytes != 0) writer->add_uint32(F::salt_bytes, operation.chosen.saltBytes);
  return CKR_OK;
}

CK_RV sendSign(Module& m, const Operation& operation, const KeyEntry& key, std::string_view data, std::string* signature) {
  std::string request, answer;
  protozero::pbf_writer writer(request);
  if (const CK_RV rv = writeRequest(operation, key, data, &writer); rv != CKR_OK) return rv;
  if (const CK_RV rv = m.wire.call(Method::Sign, request, &answer); rv != CKR_OK) return rv;
  uint32_t version = 0;
  protozero::pbf_reader reader(answer);
  while (reader.next()) {
    switch (reader.tag()) {
      case fields::SignResponse::signature: *signature = reader.get_bytes(); break;
      case fields::SignResponse::version: version = reader.get_uint32(); break;
      default: reader.skip();
    }
  }
  // Whoever knows the old public key would find this signature wrong, and never learn why.
  if (version != key.version) {
    m.keys.forgetPublic(key);
    return CKR_KEY_HANDLE_INVALID;
  }
  return signature->size() == signatureBytes(key.type) ? CKR_OK : CKR_DEVICE_ERROR;
}

CK_RV finishSign(Module& m, Session& s, std::string_view data, CK_BYTE* out, CK_ULONG* bytes) {
  const Operation& operation = *s.operation;
  const KeyEntry* const key = m.keys.find(operation.object).key;
  if (bytes == nullptr) return ended(s, CKR_ARGUMENTS_BAD);
  if (key == nullptr) return ended(s, CKR_KEY_HANDLE_INVALID);
  const CK_ULONG room = *bytes;
  *bytes = signatureBytes(key->type);
  if (out == nullptr) return CKR_OK;
  if (room < *bytes) return CKR_BUFFER_TOO_SMALL;
  std::string signature;
  const CK_RV rv = sendSign(m, operation, *key, data, &signature);
  if (rv == CKR_OK) std::memcpy(out, signature.data(), signature.size());
  return ended(s, rv);
}

CK_RV finishVerify(Module& m, Session& s, std::string_view data, const CK_BYTE* signature, CK_ULONG bytes) {
  const Operation& operation = *s.operation;
  const KeyEntry* const key = m.keys.find(operation.object).key;
  if (signature == nullptr) return ended(s, CKR_ARGUMENTS_BAD);
  if (key == nullptr) return ended(s, CKR_KEY_HANDLE_INVALID);
  if (bytes != signatureBytes(key->type)) return ended(s, CKR_SIGNATURE_LEN_RANGE);
  std::string request, answer;
  protozero::pbf_writer writer(request);
  if (const CK_RV rv = writeRequest(operation, *key, data, &writer); rv != CKR_OK) return ended(s, rv);
  writer.add_bytes(fields::VerifyRequest::signature, reinterpret_cast<const char*>(signature), bytes);
  writer.add_uint32(fields::VerifyRequest::version, key->version);
  if (const CK_RV rv = m.wire.call(Method::Verify, request, &answer); rv != CKR_OK) return ended(s, rv);
  bool isValid = false;
  protozero::pbf_reader reader(answer);
  while (reader.next()) {
    if (reader.tag() == fields::VerifyResponse::valid) {
      isValid = reader.get_bool();
    } else {
      reader.skip();
    }
  }
  return ended(s, isValid ? CKR_OK : CKR_SIGNATURE_INVALID);
}

std::string_view viewOf(const CK_BYTE* data, CK_ULONG bytes) { return {reinterpret_cast<const char*>(data), bytes}; }

}  // namespace

namespace call {

CK_RV SignInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return begin(m, Purpose::sign, session, mechanism, key); }
CK_RV VerifyInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return begin(m, Purpose::verify, session, mechanism, key); }
CK_RV SignUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* part, CK_ULONG bytes) { return update(m, Purpose::sign, session, part, bytes); }
CK_RV VerifyUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* part, CK_ULONG bytes) { return update(m, Purpose::verify, session, part, bytes); }

// After an Update the whole can't be given any more: the operation ends.
CK_RV Sign(Module& m, CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG* signatureBytes) {
  Session* s;
  if (const CK_RV rv = activeOperation(m, Purpose::sign, session, &s); rv != CKR_OK) return rv;
  if (s->operation->inParts) return ended(*s, CKR_OPERATION_NOT_INITIALIZED);
  if (data == nullptr && bytes != 0) return ended(*s, CKR_ARGUMENTS_BAD);
  return finishSign(m, *s, viewOf(data, bytes), signature, signatureBytes);
}

CK_RV SignFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* signature, CK_ULONG* signatureBytes) {
  Session* s;
  if (const CK_RV rv = activeOperation(m, Purpose::sign, session, &s); rv != CKR_OK) return rv;
  return finishSign(m, *s, s->operation->data, signature, signatureBytes);
}

CK_RV Verify(Module& m, CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG signatureBytes) {
  Session* s;
  if (const CK_RV rv = activeOperation(m, Purpose::verify, session, &s); rv != CKR_OK) return rv;
  if (s->operation->inParts) return ended(*s, CKR_OPERATION_NOT_INITIALIZED);
  if (data == nullptr && bytes != 0) return ended(*s, CKR_ARGUMENTS_BAD);
  return finishVerify(m, *s, viewOf(data, bytes), signature, signatureBytes);
}

CK_RV VerifyFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* signature, CK_ULONG signatureBytes) {
  Session* s;
  if (const CK_RV rv = activeOperation(m, Purpose::verify, session, &s); rv != CKR_OK) return rv;
  return finishVerify(m, *s, s->operation->data, signature, signatureBytes);
}

}  // namespace call
}  // namespace quorate::pkcs11
