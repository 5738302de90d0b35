// What there is: the module, its slot, the token in it, mechanisms.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <protozero/pbf_reader.hpp>

#include "pkcs11/module.h"

namespace quorate::pkcs11 {

namespace {

constexpr char kManufacturer[] = "Quorate";
constexpr CK_VERSION kLibraryVersion = {0, 1};  // of package.json

// Cryptoki's texts have no end but their field's, and are filled with spaces. What doesn't fit is cut, between characters.
template <size_t N>
void put(CK_BYTE (&field)[N], std::string_view text) {
  std::memset(field, ' ', N);
  size_t length = std::min(text.size(), N);
  while (length > 0 && length < text.size() && (static_cast<uint8_t>(text[length]) & 0xc0) == 0x80) length--;
  std::memcpy(field, text.data(), length);
}

CK_VERSION versionOf(const std::string& release) {
  unsigned major = 0, minor = 0;
  if (std::sscanf(release.c_str(), "%u.%u", &major, &minor) != 2) return {0, 0};
  return {static_cast<CK_BYTE>(major), static_cast<CK_BYTE>(minor)};
}

std::string textField(const std::string& message, uint32_t tag) {
  protozero::pbf_reader reader(message);
  while (reader.next()) {
    if (reader.tag() == tag && reader.wire_type() == protozero::pbf_wire_type::length_delimited) return reader.get_string();
    reader.skip();
  }
  return "";
}

bool boolField(const std::string& message, uint32_t tag) {
  protozero::pbf_reader reader(message);
  while (reader.next()) {
    if (reader.tag() == tag && reader.wire_type() == protozero::pbf_wire_type::varint) return reader.get_bool();
    reader.skip();
  }
  return false;
}

// Two messages, and none as long as the connection lasts and the daemon is unsealed.
CK_RV learnToken(Module& m) {
  if (const CK_RV rv = m.wire.connect(); rv != CKR_OK) return rv;
  if (m.token.epoch == m.wire.epoch() && !m.token.isSealed) return CKR_OK;
  std::string answer;
  TokenFacts facts;
  if (const CK_RV rv = m.wire.call(Method::Status, "", &answer); rv != CKR_OK) return rv;
  facts.isSealed = boolField(answer, fields::StatusResponse::sealed);
  facts.storeId = textField(answer, fields::StatusResponse::store_id);
  if (!facts.isSealed) {
    if (const CK_RV rv = m.wire.call(Method::WhoAmI, "", &answer); rv != CKR_OK) return rv;
    facts.domain = textField(answer, fields::WhoAmIResponse::domain);
  }
  facts.epoch = m.wire.epoch();
  m.token = facts;
  return CKR_OK;
}

// The rules for an answer of a count and a list (PKCS #11, section 5.2): without a list only the count is given.
template <class T, class Rows, class Value>
CK_RV giveList(T* list, CK_ULONG* count, const Rows& rows, Value value) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  const CK_ULONG room = *count;
  *count = rows.size();
  if (list == nullptr) return CKR_OK;
  if (room < rows.size()) return CKR_BUFFER_TOO_SMALL;
  std::transform(rows.begin(), rows.end(), list, value);
  return CKR_OK;
}

}  // namespace

namespace call {

CK_RV GetInfo(Module&, CK_INFO* info) {
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  *info = {};
  info->cryptokiVersion = {3, 0};
  put(info->manufacturerID, kManufacturer);
  put(info->libraryDescription, "Quorate PKCS#11 module");
  info->libraryVersion = kLibraryVersion;
  return CKR_OK;
}

CK_RV GetSlotList(Module& m, CK_BBOOL present, CK_SLOT_ID* list, CK_ULONG* count) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  const bool isShown = present == CK_FALSE || m.wire.connect() == CKR_OK;
  const CK_SLOT_ID slots[] = {kSlot};
  return giveList(list, count, std::span(slots, isShown ? 1 : 0), [](CK_SLOT_ID slot) { return slot; });
}

CK_RV GetSlotInfo(Module& m, CK_SLOT_ID slot, CK_SLOT_INFO* info) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  *info = {};
  put(info->slotDescription, "Quorate daemon");
  put(info->manufacturerID, kManufacturer);
  info->flags = m.wire.connect() == CKR_OK ? CKF_TOKEN_PRESENT : CK_FLAGS{0};
  info->firmwareVersion = versionOf(m.wire.release());
  return CKR_OK;
}

// No CKF_LOGIN_REQUIRED: the daemon knows who asks from the socket.
CK_RV GetTokenInfo(Module& m, CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  if (const CK_RV rv = learnToken(m); rv != CKR_OK) return rv == CKR_DEVICE_REMOVED ? CKR_TOKEN_NOT_PRESENT : rv;
  *info = {};
  put(info->label, m.token.domain.empty() ? "quorate" : "quorate " + m.token.domain);
  put(info->manufacturerID, kManufacturer);
  put(info->model, "quorated");
  put(info->serialNumber, m.token.storeId);
  info->flags = CKF_RNG | (m.token.storeId.empty() ? CK_FLAGS{0} : CKF_TOKEN_INITIALIZED);
  info->ulMaxSessionCount = info->ulMaxRwSessionCount = kSessionsMax;
  info->ulSessionCount = m.sessions.size();
  info->ulRwSessionCount = static_cast<CK_ULONG>(std::count_if(m.sessions.begin(), m.sessions.end(), [](const auto& s) { return (s.second.flags & CKF_RW_SESSION) != 0; }));
  info->ulTotalPublicMemory = info->ulFreePublicMemory = info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  info->firmwareVersion = versionOf(m.wire.release());
  put(info->utcTime, "");
  return CKR_OK;
}

CK_RV GetMechanismList(Module&, CK_SLOT_ID slot, CK_MECHANISM_TYPE* list, CK_ULONG* count) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  return giveList(list, count, mechanisms(), [](const MechanismRow& row) { return row.type; });
}

CK_RV GetMechanismInfo(Module&, CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  const MechanismRow* const row = mechanismRow(type);
  if (row == nullptr) return CKR_MECHANISM_INVALID;
  *info = {row->minBits, row->maxBits, row->flags};
  return CKR_OK;
}

// The slot never changes. Who would wait for that is told that it can't be waited for.
CK_RV WaitForSlotEvent(Module&, CK_FLAGS flags, CK_SLOT_ID* slot, CK_VOID_PTR reserved) {
  if (slot == nullptr || reserved != nullptr) return CKR_ARGUMENTS_BAD;
  return (flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED;
}

}  // namespace call
}  // namespace quorate::pkcs11
