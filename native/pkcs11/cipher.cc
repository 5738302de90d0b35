// Encrypting and decrypting. What comes in parts goes to the daemon as soon as there is something to give back for it, as applications expect
// that size their buffers by it; AES-GCM, whose plaintext nobody may see before its tag is checked, goes as a whole at the end.
#include <algorithm>

#include "pkcs11/operation.h"

namespace quorate::pkcs11 {

namespace {

constexpr size_t kBlock = 16;

// How much is out after so many bytes went in.
size_t givenAfter(const Operation& operation, size_t taken) {
  if (operation.row->kind == MechanismKind::aesCtr) return taken;
  const bool keepsLast = operation.row->kind == MechanismKind::aesCbcPad && operation.use == kDecrypt;
  return (keepsLast && taken > 0 ? taken - 1 : taken) / kBlock * kBlock;
}

// What no length like that is right for is not sent.
CK_RV checkLength(const Operation& operation, size_t bytes) {
  const MechanismKind kind = operation.row->kind;
  const bool isDecrypt = operation.use == kDecrypt;
  const bool isWhole = kind == MechanismKind::aesEcb || kind == MechanismKind::aesCbc || (kind == MechanismKind::aesCbcPad && isDecrypt);
  const bool isEmpty = bytes == 0 && kind == MechanismKind::aesCbcPad && isDecrypt;
  const bool isShort = kind == MechanismKind::aesGcm && isDecrypt && bytes < operation.facts.tagBytes;
  if ((!isWhole || bytes % kBlock == 0) && !isEmpty && !isShort) return CKR_OK;
  return isDecrypt ? CKR_ENCRYPTED_DATA_LEN_RANGE : CKR_DATA_LEN_RANGE;
}

CK_RV whole(Session& s, std::string_view in, CK_BYTE* out, CK_ULONG* outBytes) {
  const Operation& operation = *s.operation;
  if (outBytes == nullptr) return ended(s, CKR_ARGUMENTS_BAD);
  if (operation.hasResult) return giveKept(s, out, outBytes);
  if (const CK_RV rv = checkLength(operation, in.size()); rv != CKR_OK) return ended(s, rv);
  const ResultLength length = resultLength(*operation.row, operation.facts, operation.use, operation.key.entry->type, in.size());
  if (out == nullptr || (length.isExact && *outBytes < length.most)) {
    *outBytes = length.most;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  MechanismAnswer answer;
  if (const CK_RV rv = sendWhole(s, in, {}, &answer); rv != CKR_OK) return ended(s, rv);
  if (answer.data.size() > length.most || (length.isExact && answer.data.size() != length.most)) return ended(s, CKR_DEVICE_ERROR);
  return giveResult(s, answer.data, out, outBytes);
}

CK_RV updateStreamed(Session& s, std::string_view part, CK_BYTE* out, CK_ULONG* outBytes) {
  Operation& operation = *s.operation;
  const size_t comes = givenAfter(operation, operation.taken + part.size()) - operation.given;
  if (out == nullptr || *outBytes < comes) {
    *outBytes = comes;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  operation.inParts = true;
  operation.taken += part.size();
  if (comes == 0) {
    operation.held.append(part);
    *outBytes = 0;
    return CKR_OK;
  }
  MechanismAnswer answer;
  CK_RV rv = CKR_OK;
  if (operation.held.empty()) {
    rv = sendPiece(s, part, false, {}, &answer);
  } else {
    operation.held.append(part);
    rv = sendPiece(s, operation.held.view(), false, {}, &answer);
    operation.held.clear();
  }
  if (rv == CKR_OK && answer.data.size() > *outBytes) rv = CKR_DEVICE_ERROR;
  if (rv != CKR_OK) return ended(s, rv);
  if (!answer.data.empty()) std::memcpy(out, answer.data.data(), answer.data.size());
  *outBytes = answer.data.size();
  operation.given += answer.data.size();
  s.answer.bytes.clear();
  return CKR_OK;
}

CK_RV update(Module& m, Use use, CK_SESSION_HANDLE session, const CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Operation* const operation = activeOperation(*s, use, false);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  if ((in == nullptr && inBytes != 0) || outBytes == nullptr || operation->hasResult) return ended(*s, CKR_ARGUMENTS_BAD);
  if (inBytes > limits::message_bytes_max) return ended(*s, CKR_DATA_LEN_RANGE);
  if (operation->row->isStreamed()) return updateStreamed(*s, viewOf(in, inBytes), out, outBytes);
  *outBytes = 0;
  if (out == nullptr && inBytes != 0) return CKR_OK;  // asked how much comes: nothing, before the end
  const CK_RV rv = collectData(*s, viewOf(in, inBytes));
  return rv == CKR_OK ? rv : ended(*s, rv);
}

CK_RV once(Module& m, Use use, CK_SESSION_HANDLE session, const CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const Operation* const operation = activeOperation(*s, use, false);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  // After an Update the whole can't be given any more: the operation ends.
  if (operation->inParts) return ended(*s, CKR_OPERATION_NOT_INITIALIZED);
  if (in == nullptr && inBytes != 0) return ended(*s, CKR_ARGUMENTS_BAD);
  if (inBytes > limits::message_bytes_max) return ended(*s, CKR_DATA_LEN_RANGE);
  return whole(*s, viewOf(in, inBytes), out, outBytes);
}

CK_RV finish(Module& m, Use use, CK_SESSION_HANDLE session, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Operation* const operation = activeOperation(*s, use, false);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  if (operation->remote == 0) return whole(*s, operation->held.view(), out, outBytes);
  if (outBytes == nullptr) return ended(*s, CKR_ARGUMENTS_BAD);
  if (const CK_RV rv = checkLength(*operation, operation->taken); rv != CKR_OK) return ended(*s, rv);
  const bool isPadded = operation->row->kind == MechanismKind::aesCbcPad;
  const size_t most = isPadded && use == kEncrypt ? (operation->taken / kBlock + 1) * kBlock - operation->given : operation->taken - operation->given;
  if (out == nullptr || (!(isPadded && use == kDecrypt) && *outBytes < most)) {
    *outBytes = most;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  MechanismAnswer answer;
  const Buffer held = std::move(operation->held);
  if (const CK_RV rv = sendPiece(*s, held.view(), true, {}, &answer); rv != CKR_OK) return ended(*s, rv);
  if (answer.data.size() > most) return ended(*s, CKR_DEVICE_ERROR);
  return giveResult(*s, answer.data, out, outBytes);
}

}  // namespace

namespace call {

CK_RV EncryptInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kEncrypt, session, mechanism, key); }
CK_RV DecryptInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kDecrypt, session, mechanism, key); }
CK_RV Encrypt(Module& m, CK_SESSION_HANDLE session, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  return once(m, kEncrypt, session, in, inBytes, out, outBytes);
}
CK_RV Decrypt(Module& m, CK_SESSION_HANDLE session, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  return once(m, kDecrypt, session, in, inBytes, out, outBytes);
}
CK_RV EncryptUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  return update(m, kEncrypt, session, in, inBytes, out, outBytes);
}
CK_RV DecryptUpdate(Module& m, CK_SESSION_HANDLE session, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  return update(m, kDecrypt, session, in, inBytes, out, outBytes);
}
CK_RV EncryptFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* out, CK_ULONG* outBytes) { return finish(m, kEncrypt, session, out, outBytes); }
CK_RV DecryptFinal(Module& m, CK_SESSION_HANDLE session, CK_BYTE* out, CK_ULONG* outBytes) { return finish(m, kDecrypt, session, out, outBytes); }

}  // namespace call
}  // namespace quorate::pkcs11
