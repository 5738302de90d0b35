// Making and checking signatures and MACs, and digests. *Init sends nothing: the daemon gets key, mechanism and data in one message at the end,
// unless the data is long.
#include "pkcs11/operation.h"

namespace quorate::pkcs11 {

namespace {

CK_RV update(Module& m, Use use, CK_SESSION_HANDLE session, const CK_BYTE* part, CK_ULONG bytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const Operation* const operation = activeOperation(*s, use, false);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  if ((part == nullptr && bytes != 0) || operation->hasResult) return ended(*s, CKR_ARGUMENTS_BAD);
  const CK_RV rv = collectData(*s, viewOf(part, bytes));
  return rv == CKR_OK ? rv : ended(*s, rv);
}

// What is longer than one message goes in pieces, where the mechanism allows it.
CK_RV send(Session& s, std::string_view data, std::string_view signature, MechanismAnswer* answer) {
  Operation& operation = *s.operation;
  if (operation.remote == 0 && data.size() > kPieceBytes && operation.row->isStreamed()) {
    if (const CK_RV rv = collectData(s, data); rv != CKR_OK) return rv;
    data = operation.held.view();
  }
  if (operation.remote == 0) return data.size() > limits::message_bytes_max ? CKR_DATA_LEN_RANGE : sendWhole(s, data, signature, answer);
  return sendPiece(s, data, true, signature, answer);
}

CK_RV finishMaking(Session& s, std::string_view data, CK_BYTE* out, CK_ULONG* outBytes) {
  const Operation& operation = *s.operation;
  if (outBytes == nullptr) return ended(s, CKR_ARGUMENTS_BAD);
  const KeyType type = operation.key ? operation.key.entry->type : KeyType::KEY_TYPE_UNSPECIFIED;
  const size_t length = resultLength(*operation.row, operation.facts, operation.use, type, data.size()).most;
  const CK_ULONG room = *outBytes;
  if (out == nullptr || room < length) {
    *outBytes = length;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  MechanismAnswer answer;
  if (const CK_RV rv = send(s, data, {}, &answer); rv != CKR_OK) return ended(s, rv);
  return answer.data.size() == length ? giveResult(s, answer.data, out, outBytes) : ended(s, CKR_DEVICE_ERROR);
}

CK_RV finishVerify(Session& s, std::string_view data, const CK_BYTE* signature, CK_ULONG bytes) {
  const Operation& operation = *s.operation;
  if (signature == nullptr && bytes != 0) return ended(s, CKR_ARGUMENTS_BAD);
  if (bytes != resultLength(*operation.row, operation.facts, kVerify, operation.key.entry->type, data.size()).most) return ended(s, CKR_SIGNATURE_LEN_RANGE);
  MechanismAnswer answer;
  if (const CK_RV rv = send(s, data, viewOf(signature, bytes), &answer); rv != CKR_OK) return ended(s, rv);
  return ended(s, answer.isValid ? CKR_OK : CKR_SIGNATURE_INVALID);
}

// The whole at once. After an Update it can't be given any more: the operation ends.
CK_RV startWhole(Session& s, Use use, const CK_BYTE* data, CK_ULONG bytes) {
  const Operation* const operation = activeOperation(s, use, false);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  if (operation->inParts) return ended(s, CKR_OPERATION_NOT_INITIALIZED);
  return data == nullptr && bytes != 0 ? ended(s, CKR_ARGUMENTS_BAD) : CKR_OK;
}

CK_RV make(Module& m, Use use, CK_SESSION_HANDLE session, const CK_BYTE* data, CK_ULONG bytes, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const CK_RV rv = startWhole(*s, use, data, bytes);
  return rv == CKR_OK ? finishMaking(*s, viewOf(data, bytes), out, outBytes) : rv;
}

CK_RV makeFinal(Module& m, Use use, CK_SESSION_HANDLE session, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const Operation* const operation = activeOperation(*s, use, false);
  return operation == nullptr ? CKR_OPERATION_NOT_INITIALIZED : finishMaking(*s, operation->held.view(), out, outBytes);
}

}  // namespace

namespace call {

CK_RV SignInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kSign, session, mechanism, key); }
CK_RV VerifyInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kVerify, session, mechanism, key); }
CK_RV DigestInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism) { return beginOperation(m, kDigest, session, mechanism, CK_INVALID_HANDLE); }
CK_RV SignUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* part, CK_ULONG bytes) { return update(m, kSign, session, part, bytes); }
CK_RV VerifyUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* part, CK_ULONG bytes) { return update(m, kVerify, session, part, bytes); }
CK_RV DigestUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* part, CK_ULONG bytes) { return update(m, kDigest, session, part, bytes); }

CK_RV Sign(Module& m, CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG* signatureBytes) {
  return make(m, kSign, session, data, bytes, signature, signatureBytes);
}
CK_RV Digest(Module& m, CK_SESSION_HANDLE session, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  return make(m, kDigest, session, in, inBytes, out, outBytes);
}
CK_RV SignFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* signature, CK_ULONG* signatureBytes) { return makeFinal(m, kSign, session, signature, signatureBytes); }
CK_RV DigestFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* out, CK_ULONG* outBytes) { return makeFinal(m, kDigest, session, out, outBytes); }

CK_RV Verify(Module& m, CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG signatureBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const CK_RV rv = startWhole(*s, kVerify, data, bytes);
  return rv == CKR_OK ? finishVerify(*s, viewOf(data, bytes), signature, signatureBytes) : rv;
}

CK_RV VerifyFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* signature, CK_ULONG signatureBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const Operation* const operation = activeOperation(*s, kVerify, false);
  return operation == nullptr ? CKR_OPERATION_NOT_INITIALIZED : finishVerify(*s, operation->held.view(), signature, signatureBytes);
}

// A key's digest would be an oracle for its value.
CK_RV DigestKey(Module& m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (activeOperation(*s, kDigest, false) == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  return ended(*s, s->slot.objects.find(key) ? CKR_KEY_INDIGESTIBLE : CKR_KEY_HANDLE_INVALID);
}

}  // namespace call
}  // namespace quorate::pkcs11
