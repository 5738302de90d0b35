// What the standard says of the edges: order of calls, bad pointers, bad handles, short buffers, operations left active.
#include <functional>
#include <map>

#include "program.h"

namespace {

int created, destroyed, held, locks;
CK_RV createMutex(CK_VOID_PTR* mutex) {
  *mutex = &held;
  created++;
  return CKR_OK;
}
CK_RV destroyMutex(CK_VOID_PTR) {
  destroyed++;
  return CKR_OK;
}
CK_RV lockMutex(CK_VOID_PTR) {
  held++;
  locks++;
  return CKR_OK;
}
CK_RV unlockMutex(CK_VOID_PTR) {
  held--;
  return CKR_OK;
}
CK_RV refuseMutex(CK_VOID_PTR*) { return CKR_HOST_MEMORY; }

}  // namespace

void life() {
  CK_INFO info;
  CK_ULONG count = 0;
  CK_SESSION_HANDLE session = 0;
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetInfo(&info));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetSlotList(CK_FALSE, nullptr, &count));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &session));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_EncryptInit(1, nullptr, 1));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_Finalize(nullptr));
  RV(CKR_ARGUMENTS_BAD, p11->C_GetFunctionList(nullptr));

  RV(CKR_OK, p11->C_Initialize(nullptr));
  RV(CKR_CRYPTOKI_ALREADY_INITIALIZED, p11->C_Initialize(nullptr));
  RV(CKR_ARGUMENTS_BAD, p11->C_Finalize(&info));
  RV(CKR_ARGUMENTS_BAD, p11->C_GetInfo(nullptr));
  RV(CKR_OK, p11->C_GetInfo(&info));
  IS(info.cryptokiVersion.major == 3 && std::memcmp(info.manufacturerID, "Quorate                         ", 32) == 0);
  session = openSession();
  RV(CKR_OK, p11->C_Finalize(nullptr));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_Finalize(nullptr));

  CK_C_INITIALIZE_ARGS args{};
  RV(CKR_OK, p11->C_Initialize(&args));
  CK_SESSION_INFO sessionInfo;
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_GetSessionInfo(session, &sessionInfo));  // the one before is gone
  RV(CKR_OK, p11->C_Finalize(nullptr));
  args.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS;
  RV(CKR_OK, p11->C_Initialize(&args));
  RV(CKR_OK, p11->C_Finalize(nullptr));
  args.pReserved = &info;
  RV(CKR_ARGUMENTS_BAD, p11->C_Initialize(&args));

  args = {createMutex, destroyMutex, lockMutex, unlockMutex, 0, nullptr};
  RV(CKR_OK, p11->C_Initialize(&args));
  RV(CKR_CRYPTOKI_ALREADY_INITIALIZED, p11->C_Initialize(&args));
  openSession();
  IS(created == 1 && locks > 0 && held == 0);
  RV(CKR_OK, p11->C_Finalize(nullptr));
  IS(destroyed == 1);
  args.UnlockMutex = nullptr;
  RV(CKR_ARGUMENTS_BAD, p11->C_Initialize(&args));
  args = {refuseMutex, destroyMutex, lockMutex, unlockMutex, 0, nullptr};
  RV(CKR_HOST_MEMORY, p11->C_Initialize(&args));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetInfo(&info));
  IS(created == 1 && destroyed == 1);
}

void interfaces() {
  CK_ULONG count = 0;
  CK_INTERFACE list[2], *found = nullptr;
  RV(CKR_ARGUMENTS_BAD, p11->C_GetInterfaceList(list, nullptr));
  RV(CKR_OK, p11->C_GetInterfaceList(nullptr, &count));
  IS(count == 2);
  count = 1;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_GetInterfaceList(list, &count));
  IS(count == 2);
  RV(CKR_OK, p11->C_GetInterfaceList(list, &count));

  CK_VERSION v3{3, 0}, v240{2, 40}, v31{3, 1}, v220{2, 20};
  RV(CKR_ARGUMENTS_BAD, p11->C_GetInterface(nullptr, nullptr, nullptr, 0));
  RV(CKR_OK, p11->C_GetInterface(bytes("PKCS 11"), &v3, &found, CKF_INTERFACE_FORK_SAFE));
  IS(found->pFunctionList == p11);
  RV(CKR_OK, p11->C_GetInterface(bytes("PKCS 11"), &v240, &found, 0));
  const auto* const old = static_cast<CK_FUNCTION_LIST*>(found->pFunctionList);
  IS(old->version.major == 2 && old->version.minor == 40 && old->C_Initialize == p11->C_Initialize && old->C_WaitForSlotEvent == p11->C_WaitForSlotEvent);
  CK_FUNCTION_LIST* got = nullptr;
  RV(CKR_OK, p11->C_GetFunctionList(&got));
  IS(got == old);
  RV(CKR_OK, p11->C_GetInterface(nullptr, &v240, &found, 0));
  for (CK_VERSION* version : {&v31, &v220}) RV(CKR_FUNCTION_FAILED, p11->C_GetInterface(nullptr, version, &found, 0));
  IS(found == nullptr);
  RV(CKR_FUNCTION_FAILED, p11->C_GetInterface(bytes("Vendor Quorate"), nullptr, &found, 0));
  RV(CKR_FUNCTION_FAILED, p11->C_GetInterface(nullptr, nullptr, &found, 0x80));

  RV(CKR_OK, p11->C_Initialize(nullptr));
  const auto* const entries = reinterpret_cast<void* const*>(&p11->C_Initialize);
  for (size_t i = 0; i < 92; i++) IS(entries[i] != nullptr);
  static_assert(sizeof(CK_FUNCTION_LIST_3_0) == 8 + 92 * sizeof(void*) && sizeof(CK_FUNCTION_LIST) == 8 + 68 * sizeof(void*));
  RV(CKR_FUNCTION_NOT_PARALLEL, p11->C_GetFunctionStatus(1));
  RV(CKR_FUNCTION_NOT_PARALLEL, p11->C_CancelFunction(1));
  RV(CKR_FUNCTION_NOT_SUPPORTED, p11->C_InitToken(0, nullptr, 0, nullptr));
  RV(CKR_FUNCTION_NOT_SUPPORTED, p11->C_SignRecoverInit(1, nullptr, 0));
  RV(CKR_FUNCTION_NOT_SUPPORTED, p11->C_SetOperationState(1, nullptr, 0, 0, 0));
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_MessageVerifyFinal(1));
  RV(CKR_FUNCTION_NOT_SUPPORTED, p11->C_DigestEncryptUpdate(1, nullptr, 0, nullptr, nullptr));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

void slots() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  CK_ULONG count = 0;
  CK_SLOT_ID slot = 9;
  RV(CKR_ARGUMENTS_BAD, p11->C_GetSlotList(CK_TRUE, nullptr, nullptr));
  RV(CKR_BUFFER_TOO_SMALL, p11->C_GetSlotList(CK_TRUE, &slot, &count));
  IS(count == 1 && slot == 9);
  RV(CKR_OK, p11->C_GetSlotList(CK_TRUE, &slot, &count));
  IS(slot == 0);
  CK_SLOT_INFO slotInfo;
  CK_TOKEN_INFO tokenInfo;
  RV(CKR_SLOT_ID_INVALID, p11->C_GetSlotInfo(1, &slotInfo));
  RV(CKR_ARGUMENTS_BAD, p11->C_GetSlotInfo(0, nullptr));
  RV(CKR_SLOT_ID_INVALID, p11->C_GetTokenInfo(~0ul, &tokenInfo));
  RV(CKR_ARGUMENTS_BAD, p11->C_GetTokenInfo(0, nullptr));
  RV(CKR_OK, p11->C_GetTokenInfo(0, &tokenInfo));
  IS(std::memcmp(tokenInfo.label, "quorate default                 ", 32) == 0);
  IS(tokenInfo.flags == (CKF_RNG | CKF_TOKEN_INITIALIZED) && std::memcmp(tokenInfo.serialNumber, "                ", 16) != 0);
  CK_ULONG wanted = 0;
  RV(CKR_OK, p11->C_GetMechanismList(0, nullptr, &wanted));
  IS(wanted > 10);
  std::vector<CK_MECHANISM_TYPE> list(wanted);
  count = wanted - 1;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_GetMechanismList(0, list.data(), &count));
  RV(CKR_OK, p11->C_GetMechanismList(0, list.data(), &count));
  CK_MECHANISM_INFO mechanism;
  for (const CK_MECHANISM_TYPE type : list) RV(CKR_OK, p11->C_GetMechanismInfo(0, type, &mechanism));
  RV(CKR_MECHANISM_INVALID, p11->C_GetMechanismInfo(0, 0x80000001, &mechanism));
  RV(CKR_ARGUMENTS_BAD, p11->C_GetMechanismInfo(0, CKM_ECDSA, nullptr));
  RV(CKR_NO_EVENT, p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr));
  RV(CKR_FUNCTION_NOT_SUPPORTED, p11->C_WaitForSlotEvent(0, &slot, nullptr));

  CK_SESSION_HANDLE session = 0;
  RV(CKR_SESSION_PARALLEL_NOT_SUPPORTED, p11->C_OpenSession(0, 0, nullptr, nullptr, &session));
  RV(CKR_SLOT_ID_INVALID, p11->C_OpenSession(7, CKF_SERIAL_SESSION, nullptr, nullptr, &session));
  RV(CKR_ARGUMENTS_BAD, p11->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, nullptr));
  RV(CKR_OK, p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session));
  CK_SESSION_INFO info;
  RV(CKR_ARGUMENTS_BAD, p11->C_GetSessionInfo(session, nullptr));
  RV(CKR_OK, p11->C_GetSessionInfo(session, &info));
  IS(info.state == CKS_RW_PUBLIC_SESSION && info.flags == (CKF_SERIAL_SESSION | CKF_RW_SESSION));
  RV(CKR_OK, p11->C_GetTokenInfo(0, &tokenInfo));
  IS(tokenInfo.ulSessionCount == 1 && tokenInfo.ulRwSessionCount == 1);
  CK_BYTE random[40] = {};
  RV(CKR_OK, p11->C_GenerateRandom(session, random, 0));
  RV(CKR_ARGUMENTS_BAD, p11->C_GenerateRandom(session, nullptr, 1));
  RV(CKR_ARGUMENTS_BAD, p11->C_GenerateRandom(session, random, ~0ul));
  RV(CKR_OK, p11->C_GenerateRandom(session, random, 32));
  IS(std::string(random, random + 32) != std::string(32, '\0') && std::string(random + 32, random + 40) == std::string(8, '\0'));
  std::vector<CK_BYTE> much(3 << 20);
  RV(CKR_OK, p11->C_GenerateRandom(session, much.data(), much.size()));
  IS(std::string(much.end() - 32, much.end()) != std::string(32, '\0'));
  RV(CKR_RANDOM_SEED_NOT_SUPPORTED, p11->C_SeedRandom(session, random, 1));
  RV(CKR_OK, p11->C_CloseSession(session));
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_CloseSession(session));
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_GenerateRandom(session, random, 32));
  session = openSession();
  RV(CKR_OK, p11->C_CloseAllSessions(0));
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_CloseSession(session));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

int main(int, char** argv) {
  const std::map<std::string, std::function<void()>> all = {
      {"life", life}, {"interfaces", interfaces}, {"slots", slots}, {"objects", objects}, {"state", state}, {"mechanisms", mechanisms}, {"ciphers", ciphers},
      {"messages", messages}, {"making", making}, {"material", material}, {"wrapping", wrapping}, {"badInput", badInput}, {"forks", forks}, {"threads", threads}};
  load();
  all.at(argv[1])();
  if (failures == 0) std::puts("as expected");
  return failures == 0 ? 0 : 1;
}
