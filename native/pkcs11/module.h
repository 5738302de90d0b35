// One initialised module: what C_Initialize makes and C_Finalize drops.
#pragma once
#include <sys/types.h>

#include <map>
#include <memory>
#include <mutex>

#include "pkcs11/keys.h"
#include "pkcs11/session.h"
#include "pkcs11/wire.h"

namespace quorate::pkcs11 {

inline constexpr CK_SLOT_ID kSlot = 0;

// The application's mutex where it wants its own used, else the operating system's. Held during each call: the calls of all threads of
// the application share one connection and take turns.
class ModuleLock {
 public:
  // CKR_ARGUMENTS_BAD (some of the four functions), or what CreateMutex answers.
  CK_RV prepare(const CK_C_INITIALIZE_ARGS* args);
  ~ModuleLock();
  CK_RV lock();
  void unlock();

 private:
  std::mutex own_;
  CK_C_INITIALIZE_ARGS given_{};
  CK_VOID_PTR mutex_ = nullptr;
  bool isGiven_ = false;
};

// What the daemon says of itself, for as long as the connection lasts.
struct TokenFacts {
  uint64_t epoch = 0;  // of the connection that it was learnt on; 0: never
  std::string domain, storeId;
  bool isSealed = true;
};

struct Module {
  ModuleLock lock;
  pid_t pid = 0;
  Wire wire;
  KeyCache keys{wire};
  SessionTable sessions;
  CK_SESSION_HANDLE lastSession = 0;
  TokenFacts token;
  // The module of the process that this one was forked from. Another thread may have held its lock, or be halfway through a change, when
  // the fork happened, so it can't be destroyed here; only its connection is closed.
  std::shared_ptr<Module> inherited;
};

// What each LIVE entry point calls when the module is initialised and locked.
namespace call {
#define OPEN(name, params)
#define LIVE(name, params) CK_RV name(Module& m, PKCS11_UNWRAP params);
#define PKCS11_UNWRAP(...) __VA_ARGS__
#define ABSENT(name, params)
#define LEGACY(name, params)
#define FN(kind, name, params, args) kind(name, params)
#include "pkcs11/functions.def"
#undef OPEN
#undef LIVE
#undef ABSENT
#undef LEGACY
}  // namespace call

// nullptr: CKR_SESSION_HANDLE_INVALID.
Session* findSession(Module& m, CK_SESSION_HANDLE handle);

CK_RV initialize(CK_VOID_PTR args);
CK_RV finalize(CK_VOID_PTR reserved);
// The module of this process; empty before C_Initialize, after C_Finalize, and in a child after fork.
std::shared_ptr<Module> current();

}  // namespace quorate::pkcs11
