// What there is: the module, its slot, the token in it, mechanisms.
#include <algorithm>
#include <cstdio>
#include <cstring>

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

// Who has no role here and is shown nothing has to log in to see something.
bool needsLogin(Slot& slot, const TokenFacts& facts) {
  if (facts.isSealed || facts.hasRoles || slot.login() != Login::none) return false;
  return slot.objects.refresh() != CKR_OK || !slot.objects.hasTokenObjects();
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

// Asking how many there are looks for new ones, as the standard says; those that were told stay what they are.
CK_RV GetSlotList(Module& m, CK_BBOOL present, CK_SLOT_ID* list, CK_ULONG* count) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  Slot* const first = m.slot(0);
  const bool isThere = first->wire.connect() == CKR_OK;
  TokenFacts facts;
  if (isThere && list == nullptr && first->login() == Login::none) first->forgetFacts();
  if (isThere && first->learn(&facts) == CKR_OK) m.addSlots(facts.domains, facts.domain);
  std::vector<CK_SLOT_ID> ids;
  for (const Slot* slot : m.slots())
    if (present == CK_FALSE || isThere) ids.push_back(slot->id);
  return giveList(list, count, ids, [](CK_SLOT_ID id) { return id; });
}

CK_RV GetSlotInfo(Module& m, CK_SLOT_ID id, CK_SLOT_INFO* info) {
  Slot* const slot = m.slot(id);
  if (slot == nullptr) return CKR_SLOT_ID_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  *info = {};
  put(info->slotDescription, slot->domain.empty() ? "Quorate daemon" : "Quorate daemon, domain " + slot->domain);
  put(info->manufacturerID, kManufacturer);
  info->flags = slot->wire.connect() == CKR_OK ? CKF_TOKEN_PRESENT : CK_FLAGS{0};
  info->firmwareVersion = versionOf(slot->wire.release());
  return CKR_OK;
}

// CKF_LOGIN_REQUIRED only for who sees nothing otherwise: the daemon knows who asks from the socket.
CK_RV GetTokenInfo(Module& m, CK_SLOT_ID id, CK_TOKEN_INFO* info) {
  Slot* const slot = m.slot(id);
  if (slot == nullptr) return CKR_SLOT_ID_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  TokenFacts facts;
  if (const CK_RV rv = slot->learn(&facts); rv != CKR_OK) return rv == CKR_DEVICE_REMOVED ? CKR_TOKEN_NOT_PRESENT : rv;
  *info = {};
  put(info->label, facts.domain.empty() ? "quorate" : "quorate " + facts.domain);
  put(info->manufacturerID, kManufacturer);
  put(info->model, "quorated");
  put(info->serialNumber, facts.storeId);
  info->flags = CKF_RNG | (facts.storeId.empty() ? CK_FLAGS{0} : CKF_TOKEN_INITIALIZED);
  if (needsLogin(*slot, facts)) info->flags |= CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
  info->ulMaxSessionCount = info->ulMaxRwSessionCount = kSessionsMax;
  info->ulSessionCount = slot->sessions;
  info->ulRwSessionCount = slot->writers;
  info->ulMaxPinLen = limits::token_bytes_max;
  info->ulTotalPublicMemory = info->ulFreePublicMemory = info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  info->firmwareVersion = versionOf(slot->wire.release());
  put(info->utcTime, "");
  return CKR_OK;
}

CK_RV GetMechanismList(Module& m, CK_SLOT_ID slot, CK_MECHANISM_TYPE* list, CK_ULONG* count) {
  if (m.slot(slot) == nullptr) return CKR_SLOT_ID_INVALID;
  return giveList(list, count, mechanisms(), [](const MechanismRow& row) { return row.type; });
}

CK_RV GetMechanismInfo(Module& m, CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info) {
  if (m.slot(slot) == nullptr) return CKR_SLOT_ID_INVALID;
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  const MechanismRow* const row = mechanismRow(type);
  if (row == nullptr) return CKR_MECHANISM_INVALID;
  *info = {row->least, row->most, row->flags()};
  return CKR_OK;
}

// Slots come with new domains, which is not waited for. Who would wait is told that it can't be.
CK_RV WaitForSlotEvent(Module&, CK_FLAGS flags, CK_SLOT_ID* slot, CK_VOID_PTR reserved) {
  if (slot == nullptr || reserved != nullptr) return CKR_ARGUMENTS_BAD;
  return (flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED;
}

}  // namespace call
}  // namespace quorate::pkcs11
