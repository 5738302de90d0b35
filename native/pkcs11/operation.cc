#include "pkcs11/operation.h"

#include <algorithm>
#include <protozero/pbf_reader.hpp>

namespace quorate::pkcs11 {

namespace {

namespace F = fields::MechanismRequest;

Method methodOf(Use use) {
  switch (use) {
    case kEncrypt: return Method::MechanismEncrypt;
    case kDecrypt: return Method::MechanismDecrypt;
    case kSign: return Method::MechanismSign;
    case kVerify: return Method::MechanismVerify;
    default: return Method::MechanismDigest;
  }
}

CK_ATTRIBUTE_TYPE flagOf(Use use) {
  switch (use) {
    case kEncrypt: return CKA_ENCRYPT;
    case kDecrypt: return CKA_DECRYPT;
    case kSign: return CKA_SIGN;
    case kVerify: return CKA_VERIFY;
    case kWrap: return CKA_WRAP;
    case kUnwrap: return CKA_UNWRAP;
    default: return CKA_DERIVE;
  }
}

bool allows(std::string_view mechanisms, CK_MECHANISM_TYPE wanted) {
  for (size_t at = 0; at + sizeof(wanted) <= mechanisms.size(); at += sizeof(wanted))
    if (std::memcmp(mechanisms.data() + at, &wanted, sizeof(wanted)) == 0) return true;
  return false;
}

}  // namespace

CK_RV readMechanismAnswer(const Answer& answer, MechanismAnswer* out) {
  namespace A = fields::MechanismResponse;
  const std::string_view body = answer.body();
  try {
    protozero::pbf_reader reader(body.data(), body.size());
    while (reader.next()) {
      switch (reader.tag()) {
        case A::data: {
          const protozero::data_view view = reader.get_view();
          out->data = {view.data(), view.size()};
          break;
        }
        case A::iv: {
          const protozero::data_view view = reader.get_view();
          out->iv = {view.data(), view.size()};
          break;
        }
        case A::operation: out->operation = reader.get_uint64(); break;
        case A::valid: out->isValid = reader.get_bool(); break;
        default: reader.skip();
      }
    }
  } catch (const protozero::exception&) {
    return CKR_DEVICE_ERROR;
  }
  return CKR_OK;
}

void writeKey(const Entry& key, uint32_t tag, Request* request) {
  request->bytes(tag, key.ref);
  if (!key.isToken()) request->epoch = key.epoch;
  if (tag == F::key && key.version != 0) request->number(F::version, key.version);
}

CK_RV checkUse(const ObjectRef& key, const MechanismRow& row, Use use) {
  if (!row.takes(key.entry->type)) return CKR_KEY_TYPE_INCONSISTENT;
  if (!key.sheet().flag(flagOf(use))) return CKR_KEY_FUNCTION_NOT_PERMITTED;
  const auto allowed = key.sheet().find(CKA_ALLOWED_MECHANISMS);
  return !allowed || allows(*allowed, row.type) ? CKR_OK : CKR_MECHANISM_INVALID;
}

CK_RV beginOperation(Module& m, Use use, CK_SESSION_HANDLE session, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE handle, bool byMessage) {
  const Locked locked(m, session);
  if (!locked) return CKR_SESSION_HANDLE_INVALID;
  Session& s = *locked;
  if (mechanism == nullptr) return activeOperation(s, use, byMessage) == nullptr ? CKR_OPERATION_NOT_INITIALIZED : ended(s, CKR_OK);
  if (s.operation) return CKR_OPERATION_ACTIVE;
  const MechanismRow* const row = mechanismRow(mechanism->mechanism);
  ObjectRef key;
  if (use != kDigest) {
    key = s.slot.objects.find(handle);
    if (!key) return CKR_KEY_HANDLE_INVALID;
  }
  if (row == nullptr || (row->uses & use) == 0) return CKR_MECHANISM_INVALID;
  if (byMessage && (use == kEncrypt || use == kDecrypt) && row->kind != MechanismKind::aesGcm) return CKR_MECHANISM_INVALID;
  if (key) {
    if (const CK_RV rv = checkUse(key, *row, use); rv != CKR_OK) return rv;
  }
  Operation made;
  made.use = use;
  made.row = row;
  made.byMessage = byMessage;
  s.request.restart();
  s.request.epoch = 0;
  if (key) writeKey(*key.entry, F::key, &s.request);
  s.request.number(F::mechanism, row->type);
  if (const CK_RV rv = writeParameters(*mechanism, *row, byMessage, &s.request, &made.facts); rv != CKR_OK) return rv;
  made.key = std::move(key);
  made.prefix = s.request.head.size();
  s.operation.emplace(std::move(made));
  return CKR_OK;
}

Operation* activeOperation(Session& s, Use use, bool byMessage) {
  return s.operation && s.operation->use == use && s.operation->byMessage == byMessage ? &*s.operation : nullptr;
}

CK_RV ended(Session& s, CK_RV rv) {
  if (s.operation && s.operation->remote != 0 && s.operation->remoteEpoch == s.slot.wire.epoch()) {
    Request request;
    Answer answer;
    request.number(fields::MechanismCancelRequest::operation, s.operation->remote);
    request.epoch = s.operation->remoteEpoch;
    s.slot.wire.call(Method::MechanismCancel, &request, &answer);
  }
  s.operation.reset();
  s.answer.bytes.clear();
  return rv;
}

CK_RV sendWhole(Session& s, std::string_view data, std::string_view signature, MechanismAnswer* out) {
  const Operation& operation = *s.operation;
  s.request.cutTo(operation.prefix);
  if (!signature.empty()) s.request.bytes(F::signature, signature);
  s.request.last(F::data, data);
  if (const CK_RV rv = s.slot.wire.call(methodOf(operation.use), &s.request, &s.answer); rv != CKR_OK) return rv;
  return readMechanismAnswer(s.answer, out);
}

CK_RV sendPiece(Session& s, std::string_view data, bool isLast, std::string_view signature, MechanismAnswer* out) {
  namespace U = fields::MechanismUpdateRequest;
  Operation& operation = *s.operation;
  if (operation.remote == 0) {
    // The first one. What it begins lives with the connection that the message went over; the daemon has no other with that number since.
    s.request.cutTo(operation.prefix);
    s.request.number(F::more, 1);
    s.request.last(F::data, data);
    if (const CK_RV rv = s.slot.wire.connect(); rv != CKR_OK) return rv;
    const uint64_t epoch = s.slot.wire.epoch(), before = s.request.epoch;
    s.request.epoch = epoch;
    const CK_RV rv = before != 0 && before != epoch ? CKR_DEVICE_REMOVED : s.slot.wire.call(methodOf(operation.use), &s.request, &s.answer);
    s.request.epoch = before;
    if (rv != CKR_OK) return rv;
    if (const CK_RV read = readMechanismAnswer(s.answer, out); read != CKR_OK) return read;
    operation.remote = out->operation;
    operation.remoteEpoch = epoch;
    return operation.remote != 0 ? CKR_OK : CKR_DEVICE_ERROR;
  }
  Request request;
  request.epoch = operation.remoteEpoch;
  request.number(U::operation, operation.remote);
  if (isLast) request.number(U::last, 1);
  if (!signature.empty()) request.bytes(U::signature, signature);
  request.last(U::data, data);
  if (isLast) operation.remote = 0;  // it is over there, whatever comes of it
  if (const CK_RV rv = s.slot.wire.call(Method::MechanismUpdate, &request, &s.answer); rv != CKR_OK) return rv;
  return readMechanismAnswer(s.answer, out);
}

CK_RV collectData(Session& s, std::string_view data) {
  Operation& operation = *s.operation;
  operation.inParts = true;
  if (!operation.row->isStreamed()) {
    if (data.size() > limits::message_bytes_max - operation.held.size()) return CKR_DATA_LEN_RANGE;
    operation.held.append(data);
    return CKR_OK;
  }
  while (!data.empty()) {
    MechanismAnswer answer;
    if (data.size() <= kHeldBytesMax - operation.held.size()) {
      operation.held.append(data);
      return CKR_OK;
    }
    if (operation.held.empty()) {
      const std::string_view piece = data.substr(0, kPieceBytes);
      if (const CK_RV rv = sendPiece(s, piece, false, {}, &answer); rv != CKR_OK) return rv;
      data.remove_prefix(piece.size());
      continue;
    }
    const std::string_view rest = data.substr(0, kHeldBytesMax - operation.held.size());
    operation.held.append(rest);
    data.remove_prefix(rest.size());
    if (const CK_RV rv = sendPiece(s, operation.held.view(), false, {}, &answer); rv != CKR_OK) return rv;
    operation.held.clear();
  }
  return CKR_OK;
}

CK_RV giveResult(Session& s, std::string_view result, CK_BYTE* out, CK_ULONG* outBytes) {
  const CK_ULONG room = *outBytes;
  *outBytes = result.size();
  if (out == nullptr || room < result.size()) {
    Buffer kept(result);
    s.operation->result = std::move(kept);
    s.operation->hasResult = true;
    return out == nullptr ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  if (!result.empty()) std::memcpy(out, result.data(), result.size());
  return ended(s, CKR_OK);
}

CK_RV giveKept(Session& s, CK_BYTE* out, CK_ULONG* outBytes) {
  const Buffer kept = std::move(s.operation->result);
  s.operation->hasResult = false;
  return giveResult(s, kept.view(), out, outBytes);
}

}  // namespace quorate::pkcs11
