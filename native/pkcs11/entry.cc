// The entry points, made from functions.def, and the interfaces that list them.
#include <cstring>
#include <new>

#include "pkcs11/cryptoki_functions.h"
#include "pkcs11/module.h"

namespace quorate::pkcs11 {
namespace {

// No exception leaves the module: the application may be C. What can throw in here is memory that has run out, and protozero on an answer
// that is not protobuf.
template <class Call>
CK_RV contained(Call call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return CKR_HOST_MEMORY;
  } catch (...) {
    return CKR_DEVICE_ERROR;
  }
}

template <class Call>
CK_RV live(Call call) {
  return contained([&]() -> CK_RV {
    const std::shared_ptr<Module> module = current();
    if (!module) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (module->lock.lock() != CKR_OK) return CKR_CANT_LOCK;
    struct Unlock {
      Module& m;
      ~Unlock() { m.lock.unlock(); }
    } const unlock{*module};
    return call(*module);
  });
}

extern const CK_FUNCTION_LIST kFunctions;
extern const CK_FUNCTION_LIST_3_0 kFunctions3;

const CK_FUNCTION_LIST kFunctions = {
    {2, 40},
#define FN(kind, name, params, args) &C_##name,
#define FN3(kind, name, params, args)
#include "pkcs11/functions.def"
};
const CK_FUNCTION_LIST_3_0 kFunctions3 = {
    {3, 0},
#define FN(kind, name, params, args) &C_##name,
#include "pkcs11/functions.def"
};

char kInterfaceName[] = "PKCS 11";
CK_INTERFACE interfaces[] = {
    {reinterpret_cast<CK_CHAR*>(kInterfaceName), const_cast<CK_FUNCTION_LIST_3_0*>(&kFunctions3), CKF_INTERFACE_FORK_SAFE},
    {reinterpret_cast<CK_CHAR*>(kInterfaceName), const_cast<CK_FUNCTION_LIST*>(&kFunctions), CKF_INTERFACE_FORK_SAFE},
};
constexpr CK_ULONG kInterfaces = 2;

}  // namespace

namespace open {

CK_RV Initialize(CK_VOID_PTR args) {
  return contained([&] { return initialize(args); });
}
CK_RV Finalize(CK_VOID_PTR reserved) {
  return contained([&] { return finalize(reserved); });
}

CK_RV GetFunctionList(CK_FUNCTION_LIST** list) {
  if (list == nullptr) return CKR_ARGUMENTS_BAD;
  *list = const_cast<CK_FUNCTION_LIST*>(&kFunctions);
  return CKR_OK;
}

CK_RV GetInterfaceList(CK_INTERFACE* list, CK_ULONG* count) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  const CK_ULONG room = *count;
  *count = kInterfaces;
  if (list == nullptr) return CKR_OK;
  if (room < kInterfaces) return CKR_BUFFER_TOO_SMALL;
  std::memcpy(list, interfaces, sizeof(interfaces));
  return CKR_OK;
}

// A name and a version that are NULL mean the default, which is the newest. Every flag that is asked for must be had.
CK_RV GetInterface(CK_UTF8CHAR* name, CK_VERSION* version, CK_INTERFACE** found, CK_FLAGS flags) {
  if (found == nullptr) return CKR_ARGUMENTS_BAD;
  *found = nullptr;
  for (CK_INTERFACE& each : interfaces) {
    const auto* const has = static_cast<const CK_VERSION*>(each.pFunctionList);
    if (name != nullptr && std::strcmp(reinterpret_cast<const char*>(name), kInterfaceName) != 0) continue;
    if (version != nullptr && (version->major != has->major || version->minor != has->minor)) continue;
    if ((flags & ~each.flags) != 0) continue;
    *found = &each;
    return CKR_OK;
  }
  return CKR_FUNCTION_FAILED;
}

}  // namespace open
}  // namespace quorate::pkcs11

#define EXPORTED extern "C" __attribute__((visibility("default")))
#define ARGUMENTS(...) __VA_ARGS__
#define OPEN(name, params, args) \
  EXPORTED CK_RV C_##name params { return quorate::pkcs11::open::name args; }
#define LIVE(name, params, args)                                                                                      \
  EXPORTED CK_RV C_##name params {                                                                                    \
    return quorate::pkcs11::live([&](quorate::pkcs11::Module& m) { return quorate::pkcs11::call::name(m, ARGUMENTS args); }); \
  }
#define ABSENT(name, params, args) \
  EXPORTED CK_RV C_##name params { return quorate::pkcs11::current() ? CKR_FUNCTION_NOT_SUPPORTED : CKR_CRYPTOKI_NOT_INITIALIZED; }
#define LEGACY(name, params, args) \
  EXPORTED CK_RV C_##name params { return CKR_FUNCTION_NOT_PARALLEL; }
#define FN(kind, name, params, args) kind(name, params, args)
#include "pkcs11/functions.def"
