// The message functions of 3.0: one key and mechanism for many messages. A message that fails leaves the rest as it was.
#include <algorithm>

#include "pkcs11/operation.h"

namespace quorate::pkcs11 {

namespace {

namespace F = fields::MechanismRequest;
constexpr CK_ULONG kIvBytes = 12;

CK_RV end(Module& m, Use use, CK_SESSION_HANDLE session) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  return activeOperation(*s, use, true) == nullptr ? CKR_OPERATION_NOT_INITIALIZED : ended(*s, CKR_OK);
}

// IVs are the caller's, or 96 random bits of the daemon's, which counts them. Counters are refused: one that starts again with the process, or
// runs in two, would repeat an IV, and with it give the authentication key away.
CK_RV readMessage(Use use, const void* parameter, CK_ULONG bytes, CK_GCM_MESSAGE_PARAMS* out) {
  if (parameter == nullptr || bytes != sizeof(*out)) return CKR_MECHANISM_PARAM_INVALID;
  std::memcpy(out, parameter, sizeof(*out));
  if (out->pIv == nullptr || out->ulIvLen != kIvBytes || out->pTag == nullptr) return CKR_MECHANISM_PARAM_INVALID;
  if (out->ulTagBits < 96 || out->ulTagBits > 128 || out->ulTagBits % 8 != 0) return CKR_MECHANISM_PARAM_INVALID;
  if (use == kDecrypt || out->ivGenerator == CKG_NO_GENERATE) return CKR_OK;
  const bool isRandom = out->ivGenerator == CKG_GENERATE || out->ivGenerator == CKG_GENERATE_RANDOM;
  return isRandom && out->ulIvFixedBits == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

CK_RV exchange(Session& s, const CK_GCM_MESSAGE_PARAMS& params, std::string_view aad, std::string_view in, MechanismAnswer* answer) {
  const Operation& operation = *s.operation;
  const bool isEncrypt = operation.use == kEncrypt;
  const bool isGenerated = isEncrypt && params.ivGenerator != CKG_NO_GENERATE;
  Request& request = s.request;
  request.cutTo(operation.prefix);
  request.number(F::tag_bits, params.ulTagBits);
  if (!aad.empty()) request.bytes(F::aad, aad);
  if (isGenerated) request.number(F::generate_iv, 1);
  if (!isGenerated) request.bytes(F::iv, viewOf(params.pIv, kIvBytes));
  if (isEncrypt) {
    request.last(F::data, in);
  } else {
    request.bytes(F::data, in, viewOf(params.pTag, params.ulTagBits / 8));
  }
  if (const CK_RV rv = s.slot.wire.call(isEncrypt ? Method::MechanismEncrypt : Method::MechanismDecrypt, &request, &s.answer); rv != CKR_OK) return rv;
  if (const CK_RV rv = readMechanismAnswer(s.answer, answer); rv != CKR_OK) return rv;
  const size_t tagBytes = isEncrypt ? params.ulTagBits / 8 : 0;
  if (answer->data.size() != in.size() + tagBytes || (isGenerated && answer->iv.size() != kIvBytes)) return CKR_DEVICE_ERROR;
  if (isGenerated) std::memcpy(params.pIv, answer->iv.data(), kIvBytes);
  if (isEncrypt) std::memcpy(params.pTag, answer->data.data() + in.size(), tagBytes);
  answer->data = answer->data.substr(0, in.size());
  return CKR_OK;
}

CK_RV process(Session& s, const CK_GCM_MESSAGE_PARAMS& params, std::string_view aad, std::string_view in, CK_BYTE* out, CK_ULONG* outBytes) {
  const CK_ULONG room = *outBytes;
  *outBytes = in.size();
  if (out == nullptr && !in.empty()) return CKR_OK;
  if (room < in.size()) return CKR_BUFFER_TOO_SMALL;
  MechanismAnswer answer;
  const CK_RV rv = exchange(s, params, aad, in, &answer);
  if (rv == CKR_OK && !answer.data.empty()) std::memcpy(out, answer.data.data(), answer.data.size());
  s.answer.bytes.clear();
  return rv;
}

CK_RV once(Module& m, Use use, CK_SESSION_HANDLE session, const void* parameter, CK_ULONG parameterBytes, const CK_BYTE* aad, CK_ULONG aadBytes, const CK_BYTE* in,
           CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const Operation* const operation = activeOperation(*s, use, true);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  if (operation->inMessage) return CKR_OPERATION_ACTIVE;
  CK_GCM_MESSAGE_PARAMS params;
  if (const CK_RV rv = readMessage(use, parameter, parameterBytes, &params); rv != CKR_OK) return rv;
  if (outBytes == nullptr || (aad == nullptr && aadBytes != 0) || (in == nullptr && inBytes != 0)) return CKR_ARGUMENTS_BAD;
  if (inBytes > limits::message_bytes_max || aadBytes > limits::message_bytes_max) return CKR_DATA_LEN_RANGE;
  return process(*s, params, viewOf(aad, aadBytes), viewOf(in, inBytes), out, outBytes);
}

CK_RV beginOne(Module& m, Use use, CK_SESSION_HANDLE session, const void* parameter, CK_ULONG parameterBytes, const CK_BYTE* aad, CK_ULONG aadBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Operation* const operation = activeOperation(*s, use, true);
  if (operation == nullptr) return CKR_OPERATION_NOT_INITIALIZED;
  if (operation->inMessage) return CKR_OPERATION_ACTIVE;
  if (const CK_RV rv = readMessage(use, parameter, parameterBytes, &operation->message); rv != CKR_OK) return rv;
  if (aad == nullptr && aadBytes != 0) return CKR_ARGUMENTS_BAD;
  if (aadBytes > limits::message_bytes_max) return CKR_DATA_LEN_RANGE;
  operation->aad = Buffer(viewOf(aad, aadBytes));
  operation->held.clear();
  operation->inMessage = true;
  return CKR_OK;
}

// Parts are gathered; the last one gives all that comes out.
CK_RV next(Module& m, Use use, CK_SESSION_HANDLE session, const void* parameter, CK_ULONG parameterBytes, const CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out,
           CK_ULONG* outBytes, CK_FLAGS flags) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  Operation* const operation = activeOperation(*s, use, true);
  if (operation == nullptr || !operation->inMessage) return CKR_OPERATION_NOT_INITIALIZED;
  if (outBytes == nullptr || (in == nullptr && inBytes != 0)) return CKR_ARGUMENTS_BAD;
  if (inBytes > limits::message_bytes_max - operation->held.size()) return CKR_DATA_LEN_RANGE;
  // The last part's own pointers, where it has some: the tag that decryption compares may be known only then.
  CK_GCM_MESSAGE_PARAMS params = operation->message, last;
  if (readMessage(use, parameter, parameterBytes, &last) == CKR_OK) {
    params.pIv = last.pIv;
    params.pTag = last.pTag;
  }
  if ((flags & CKF_END_OF_MESSAGE) == 0) {
    operation->held.append(viewOf(in, inBytes));
    *outBytes = 0;
    return CKR_OK;
  }
  const size_t whole = operation->held.size() + inBytes;
  if ((out == nullptr && whole != 0) || *outBytes < whole) {
    *outBytes = whole;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  operation->held.append(viewOf(in, inBytes));
  operation->inMessage = false;
  const Buffer held = std::move(operation->held), aad = std::move(operation->aad);
  return process(*s, params, aad.view(), held.view(), out, outBytes);
}

// No mechanism here has parameters for each signature.
bool isEmpty(const void* parameter, CK_ULONG bytes) { return parameter == nullptr && bytes == 0; }

CK_RV makeOne(Session& s, std::string_view data, CK_BYTE* out, CK_ULONG* outBytes) {
  const Operation& operation = *s.operation;
  const size_t length = resultLength(*operation.row, operation.facts, kSign, operation.key.entry->type, data.size()).most;
  const CK_ULONG room = *outBytes;
  *outBytes = length;
  if (out == nullptr) return CKR_OK;
  if (room < length) return CKR_BUFFER_TOO_SMALL;
  MechanismAnswer answer;
  if (const CK_RV rv = sendWhole(s, data, {}, &answer); rv != CKR_OK) return rv;
  if (answer.data.size() != length) return CKR_DEVICE_ERROR;
  std::memcpy(out, answer.data.data(), length);
  return CKR_OK;
}

CK_RV verifyOne(Session& s, std::string_view data, const CK_BYTE* signature, CK_ULONG bytes) {
  const Operation& operation = *s.operation;
  if (bytes != resultLength(*operation.row, operation.facts, kVerify, operation.key.entry->type, data.size()).most) return CKR_SIGNATURE_LEN_RANGE;
  MechanismAnswer answer;
  if (const CK_RV rv = sendWhole(s, data, viewOf(signature, bytes), &answer); rv != CKR_OK) return rv;
  return answer.isValid ? CKR_OK : CKR_SIGNATURE_INVALID;
}

// Whether a message may be given whole (`isPart` false), or a part of it.
CK_RV startSigning(Session& s, Use use, bool isPart, const void* parameter, CK_ULONG parameterBytes, const CK_BYTE* data, CK_ULONG bytes) {
  const Operation* const operation = activeOperation(s, use, true);
  if (operation == nullptr || (isPart && !operation->inMessage)) return CKR_OPERATION_NOT_INITIALIZED;
  if (!isPart && operation->inMessage) return CKR_OPERATION_ACTIVE;
  if (!isEmpty(parameter, parameterBytes)) return CKR_MECHANISM_PARAM_INVALID;
  if (data == nullptr && bytes != 0) return CKR_ARGUMENTS_BAD;
  return bytes > limits::message_bytes_max - operation->held.size() ? CKR_DATA_LEN_RANGE : CKR_OK;
}

CK_RV beginSigning(Module& m, Use use, CK_SESSION_HANDLE session, const void* parameter, CK_ULONG parameterBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (const CK_RV rv = startSigning(*s, use, false, parameter, parameterBytes, nullptr, 0); rv != CKR_OK) return rv;
  s->operation->held.clear();
  s->operation->inMessage = true;
  return CKR_OK;
}

}  // namespace

namespace call {

CK_RV MessageEncryptInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kEncrypt, session, mechanism, key, true); }
CK_RV MessageDecryptInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kDecrypt, session, mechanism, key, true); }
CK_RV MessageSignInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kSign, session, mechanism, key, true); }
CK_RV MessageVerifyInit(Module& m, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) { return beginOperation(m, kVerify, session, mechanism, key, true); }
CK_RV MessageEncryptFinal(Module& m, CK_SESSION_HANDLE session) { return end(m, kEncrypt, session); }
CK_RV MessageDecryptFinal(Module& m, CK_SESSION_HANDLE session) { return end(m, kDecrypt, session); }
CK_RV MessageSignFinal(Module& m, CK_SESSION_HANDLE session) { return end(m, kSign, session); }
CK_RV MessageVerifyFinal(Module& m, CK_SESSION_HANDLE session) { return end(m, kVerify, session); }

CK_RV EncryptMessage(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* aad, CK_ULONG aadBytes, CK_BYTE* in, CK_ULONG inBytes,
                     CK_BYTE* out, CK_ULONG* outBytes) {
  return once(m, kEncrypt, session, parameter, parameterBytes, aad, aadBytes, in, inBytes, out, outBytes);
}
CK_RV DecryptMessage(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* aad, CK_ULONG aadBytes, CK_BYTE* in, CK_ULONG inBytes,
                     CK_BYTE* out, CK_ULONG* outBytes) {
  return once(m, kDecrypt, session, parameter, parameterBytes, aad, aadBytes, in, inBytes, out, outBytes);
}
CK_RV EncryptMessageBegin(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* aad, CK_ULONG aadBytes) {
  return beginOne(m, kEncrypt, session, parameter, parameterBytes, aad, aadBytes);
}
CK_RV DecryptMessageBegin(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* aad, CK_ULONG aadBytes) {
  return beginOne(m, kDecrypt, session, parameter, parameterBytes, aad, aadBytes);
}
CK_RV EncryptMessageNext(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes,
                         CK_FLAGS flags) {
  return next(m, kEncrypt, session, parameter, parameterBytes, in, inBytes, out, outBytes, flags);
}
CK_RV DecryptMessageNext(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* in, CK_ULONG inBytes, CK_BYTE* out, CK_ULONG* outBytes,
                         CK_FLAGS flags) {
  return next(m, kDecrypt, session, parameter, parameterBytes, in, inBytes, out, outBytes, flags);
}

CK_RV SignMessage(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG* signatureBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (const CK_RV rv = startSigning(*s, kSign, false, parameter, parameterBytes, data, bytes); rv != CKR_OK) return rv;
  return signatureBytes == nullptr ? CKR_ARGUMENTS_BAD : makeOne(*s, viewOf(data, bytes), signature, signatureBytes);
}
CK_RV SignMessageBegin(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes) { return beginSigning(m, kSign, session, parameter, parameterBytes); }
CK_RV SignMessageNext(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG* signatureBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (const CK_RV rv = startSigning(*s, kSign, true, parameter, parameterBytes, data, bytes); rv != CKR_OK) return rv;
  Operation& operation = *s->operation;
  Buffer whole;
  whole.append(operation.held.view());
  whole.append(viewOf(data, bytes));
  if (signatureBytes == nullptr) {  // more is to come
    operation.held = std::move(whole);
    return CKR_OK;
  }
  const CK_RV rv = makeOne(*s, whole.view(), signature, signatureBytes);
  if (signature != nullptr && rv != CKR_BUFFER_TOO_SMALL) operation.inMessage = false;
  return rv;
}

CK_RV VerifyMessage(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG signatureBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (const CK_RV rv = startSigning(*s, kVerify, false, parameter, parameterBytes, data, bytes); rv != CKR_OK) return rv;
  return signature == nullptr && signatureBytes != 0 ? CKR_ARGUMENTS_BAD : verifyOne(*s, viewOf(data, bytes), signature, signatureBytes);
}
CK_RV VerifyMessageBegin(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes) { return beginSigning(m, kVerify, session, parameter, parameterBytes); }
CK_RV VerifyMessageNext(Module& m, CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameterBytes, CK_BYTE* data, CK_ULONG bytes, CK_BYTE* signature, CK_ULONG signatureBytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (const CK_RV rv = startSigning(*s, kVerify, true, parameter, parameterBytes, data, bytes); rv != CKR_OK) return rv;
  Operation& operation = *s->operation;
  operation.held.append(viewOf(data, bytes));
  if (signature == nullptr) return signatureBytes == 0 ? CKR_OK : CKR_ARGUMENTS_BAD;  // more is to come
  operation.inMessage = false;
  return verifyOne(*s, operation.held.view(), signature, signatureBytes);
}

}  // namespace call
}  // namespace quorate::pkcs11
