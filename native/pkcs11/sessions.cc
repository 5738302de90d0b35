// C_OpenSession to C_GetSessionInfo, C_SessionCancel, and random bytes.
#include <strings.h>

#include <algorithm>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "core/limits.gen.h"
#include "pkcs11/module.h"

namespace quorate::pkcs11 {

namespace {
constexpr CK_FLAGS kFindObjects = 0x40;  // CKF_FIND_OBJECTS
// A length that no request for random bytes has; a negative one in a CK_ULONG.
constexpr CK_ULONG kRandomBytesMax = 1ul << 30;
}  // namespace

Session* findSession(Module& m, CK_SESSION_HANDLE handle) {
  const auto at = m.sessions.find(handle);
  return at == m.sessions.end() ? nullptr : &at->second;
}

namespace call {

CK_RV OpenSession(Module& m, CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE* session) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  if (session == nullptr) return CKR_ARGUMENTS_BAD;
  if ((flags & CKF_SERIAL_SESSION) == 0) return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
  if (m.sessions.size() >= kSessionsMax) return CKR_SESSION_COUNT;
  if (const CK_RV rv = m.wire.connect(); rv != CKR_OK) return rv == CKR_DEVICE_REMOVED ? CKR_TOKEN_NOT_PRESENT : rv;
  *session = ++m.lastSession;
  m.sessions[*session].flags = flags & (CKF_RW_SESSION | CKF_SERIAL_SESSION);
  return CKR_OK;
}

CK_RV CloseSession(Module& m, CK_SESSION_HANDLE session) { return m.sessions.erase(session) == 1 ? CKR_OK : CKR_SESSION_HANDLE_INVALID; }

CK_RV CloseAllSessions(Module& m, CK_SLOT_ID slot) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  m.sessions.clear();
  return CKR_OK;
}

CK_RV GetSessionInfo(Module& m, CK_SESSION_HANDLE session, CK_SESSION_INFO* info) {
  const Session* const s = findSession(m, session);
  if (s == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  *info = {kSlot, (s->flags & CKF_RW_SESSION) != 0 ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION, s->flags, 0};
  return CKR_OK;
}

CK_RV SessionCancel(Module& m, CK_SESSION_HANDLE session, CK_FLAGS flags) {
  Session* const s = findSession(m, session);
  if (s == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if ((flags & kFindObjects) != 0) s->search.reset();
  if (s->operation && (flags & (s->operation->purpose == Purpose::sign ? CKF_SIGN : CKF_VERIFY)) != 0) s->operation.reset();
  return CKR_OK;
}

// The daemon's generator is seeded by the kernel, and by nobody who has only a socket.
CK_RV SeedRandom(Module& m, CK_SESSION_HANDLE session, CK_BYTE*, CK_ULONG) {
  return findSession(m, session) == nullptr ? CKR_SESSION_HANDLE_INVALID : CKR_RANDOM_SEED_NOT_SUPPORTED;
}

// One message for each MiB.
CK_RV GenerateRandom(Module& m, CK_SESSION_HANDLE session, CK_BYTE* random, CK_ULONG bytes) {
  if (findSession(m, session) == nullptr) return CKR_SESSION_HANDLE_INVALID;
  if ((random == nullptr && bytes != 0) || bytes > kRandomBytesMax) return CKR_ARGUMENTS_BAD;
  while (bytes > 0) {
    const auto length = static_cast<uint32_t>(std::min<CK_ULONG>(bytes, limits::random_bytes_max));
    std::string request, answer;
    protozero::pbf_writer(request).add_uint32(fields::RandomRequest::length, length);
    if (const CK_RV rv = m.wire.call(Method::Random, request, &answer); rv != CKR_OK) return rv;
    bool isWhole = false;
    protozero::pbf_reader reader(answer);
    while (reader.next()) {
      if (reader.tag() != fields::RandomResponse::random || reader.wire_type() != protozero::pbf_wire_type::length_delimited) {
        reader.skip();
        continue;
      }
      const protozero::data_view view = reader.get_view();
      isWhole = view.size() == length;
      if (isWhole) std::memcpy(random, view.data(), length);
    }
    // They may become a key of the application's.
    explicit_bzero(answer.data(), answer.size());
    if (!isWhole) return CKR_DEVICE_ERROR;
    random += length;
    bytes -= length;
  }
  return CKR_OK;
}

}  // namespace call
}  // namespace quorate::pkcs11
