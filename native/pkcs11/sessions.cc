// C_OpenSession to C_GetSessionInfo, C_SessionCancel, and random bytes.
#include <strings.h>

#include <algorithm>
#include <cstring>
#include <protozero/pbf_reader.hpp>

#include "pkcs11/login.h"
#include "pkcs11/store.h"

namespace quorate::pkcs11 {

namespace {

// A length that no request for random bytes has; a negative one in a CK_ULONG.
constexpr CK_ULONG kRandomBytesMax = 1ul << 30;

CK_FLAGS flagOf(const Operation& operation) {
  switch (operation.use) {
    case kEncrypt: return operation.byMessage ? CKF_MESSAGE_ENCRYPT : CKF_ENCRYPT;
    case kDecrypt: return operation.byMessage ? CKF_MESSAGE_DECRYPT : CKF_DECRYPT;
    case kSign: return operation.byMessage ? CKF_MESSAGE_SIGN : CKF_SIGN;
    case kVerify: return operation.byMessage ? CKF_MESSAGE_VERIFY : CKF_VERIFY;
    default: return CKF_DIGEST;
  }
}

// Waits for a call of another thread in it, and destroys what it made. The last one logs out (3.0, section 5.6.8).
CK_RV close(Module& m, CK_SESSION_HANDLE handle) {
  const std::shared_ptr<Session> s = m.closeSession(handle);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const std::lock_guard calling(s->calling);
  s->isClosed = true;
  ended(*s, CKR_OK);
  s->search.reset();
  const uint64_t epoch = s->slot.wire.epoch();
  const std::vector<std::string> owned = s->slot.objects.dropOwned(handle);
  if (s->slot.sessions == 0 && s->slot.login() != Login::none) {
    logOut(s->slot);
    return CKR_OK;
  }
  for (const std::string& ref : owned) destroySessionObject(&s->slot.wire, ref, epoch);
  return CKR_OK;
}

CK_STATE stateOf(Session& s) {
  switch (s.slot.login()) {
    case Login::officer: return CKS_RW_SO_FUNCTIONS;
    case Login::user: return s.isWriter() ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
    default: return s.isWriter() ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
  }
}

// One message. CKR_DEVICE_ERROR: not so many bytes.
CK_RV askRandom(Session& s, CK_BYTE* out, size_t length) {
  Request request;
  request.number(fields::RandomRequest::length, length);
  if (const CK_RV rv = s.slot.wire.call(Method::Random, &request, &s.answer); rv != CKR_OK) return rv;
  const std::string_view body = s.answer.body();
  bool isWhole = false;
  protozero::pbf_reader reader(body.data(), body.size());
  while (reader.next()) {
    if (reader.tag() != fields::RandomResponse::random) {
      reader.skip();
      continue;
    }
    const protozero::data_view view = reader.get_view();
    isWhole = view.size() == length;
    if (isWhole) std::memcpy(out, view.data(), length);
  }
  // They may become a key of the application's.
  s.answer.bytes.clear();
  return isWhole ? CKR_OK : CKR_DEVICE_ERROR;
}

}  // namespace

namespace call {

CK_RV OpenSession(Module& m, CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE* session) {
  Slot* const found = m.slot(slot);
  if (found == nullptr) return CKR_SLOT_ID_INVALID;
  if (session == nullptr) return CKR_ARGUMENTS_BAD;
  if ((flags & CKF_SERIAL_SESSION) == 0) return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
  if ((flags & CKF_RW_SESSION) == 0 && found->login() == Login::officer) return CKR_SESSION_READ_WRITE_SO_EXISTS;
  if (const CK_RV rv = found->wire.connect(); rv != CKR_OK) return rv == CKR_DEVICE_REMOVED ? CKR_TOKEN_NOT_PRESENT : rv;
  return m.openSession(*found, flags & (CKF_RW_SESSION | CKF_SERIAL_SESSION), session);
}

CK_RV CloseSession(Module& m, CK_SESSION_HANDLE session) { return close(m, session); }

CK_RV CloseAllSessions(Module& m, CK_SLOT_ID slot) {
  const Slot* const found = m.slot(slot);
  if (found == nullptr) return CKR_SLOT_ID_INVALID;
  for (const CK_SESSION_HANDLE session : m.sessionsOf(*found)) close(m, session);
  return CKR_OK;
}

CK_RV GetSessionInfo(Module& m, CK_SESSION_HANDLE session, CK_SESSION_INFO* info) {
  const std::shared_ptr<Session> s = m.session(session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  *info = {s->slot.id, stateOf(*s), s->flags, 0};
  return CKR_OK;
}

// Also an operation that is gone with a restarted daemon.
CK_RV SessionCancel(Module& m, CK_SESSION_HANDLE session, CK_FLAGS flags) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if ((flags & CKF_FIND_OBJECTS) != 0) s->search.reset();
  return s->operation && (flags & flagOf(*s->operation)) != 0 ? ended(*s, CKR_OK) : CKR_OK;
}

// What is under way is in the daemon, or holds plaintext.
CK_RV GetOperationState(Module& m, CK_SESSION_HANDLE session, CK_BYTE*, CK_ULONG* bytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (bytes == nullptr) return CKR_ARGUMENTS_BAD;
  return s->operation ? CKR_STATE_UNSAVEABLE : CKR_OPERATION_NOT_INITIALIZED;
}

// The daemon's generator is seeded by the kernel, and by nobody who has only a socket.
CK_RV SeedRandom(Module& m, CK_SESSION_HANDLE session, CK_BYTE*, CK_ULONG) { return m.session(session) ? CKR_RANDOM_SEED_NOT_SUPPORTED : CKR_SESSION_HANDLE_INVALID; }

// One message for each MiB.
CK_RV GenerateRandom(Module& m, CK_SESSION_HANDLE session, CK_BYTE* random, CK_ULONG bytes) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if ((random == nullptr && bytes != 0) || bytes > kRandomBytesMax) return CKR_ARGUMENTS_BAD;
  while (bytes > 0) {
    const size_t length = std::min<CK_ULONG>(bytes, limits::random_bytes_max);
    if (const CK_RV rv = askRandom(*s, random, length); rv != CKR_OK) return rv;
    random += length;
    bytes -= length;
  }
  return CKR_OK;
}

}  // namespace call
}  // namespace quorate::pkcs11
