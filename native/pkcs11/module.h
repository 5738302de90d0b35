// One initialised module: what C_Initialize makes and C_Finalize drops.
#pragma once
#include <memory>
#include <unordered_map>

#include "pkcs11/session.h"

namespace quorate::pkcs11 {

// The application's mutex, where it gives its own and does not allow the operating system's: held during each call, so that its threads take
// turns. Otherwise there is none: sessions and tables have locks of their own.
class ModuleLock {
 public:
  // CKR_ARGUMENTS_BAD (some of the four functions), or what CreateMutex answers.
  CK_RV prepare(const CK_C_INITIALIZE_ARGS* args);
  ~ModuleLock();
  CK_RV lock() { return isGiven_ ? given_.LockMutex(mutex_) : CKR_OK; }
  void unlock() {
    if (isGiven_) given_.UnlockMutex(mutex_);
  }

 private:
  CK_C_INITIALIZE_ARGS given_{};
  CK_VOID_PTR mutex_ = nullptr;
  bool isGiven_ = false;
};

class Module {
 public:
  Module() : first_(0, "") {}
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  ModuleLock lock;
  // The module of the process that this one was forked from. Another thread may have held its locks, or be halfway through a change, when
  // the fork happened, so it can't be destroyed here; only its connections are closed.
  std::shared_ptr<Module> inherited;

  Slot* slot(CK_SLOT_ID id);
  std::vector<Slot*> slots();
  // Slots of domains that have none yet are added.
  void addSlots(const std::vector<std::string>& domains, const std::string& own);
  void closeInherited();

  // Empty: CKR_SESSION_HANDLE_INVALID.
  std::shared_ptr<Session> session(CK_SESSION_HANDLE handle);
  // CKR_SESSION_COUNT
  CK_RV openSession(Slot& slot, CK_FLAGS flags, CK_SESSION_HANDLE* out);
  std::shared_ptr<Session> closeSession(CK_SESSION_HANDLE handle);
  std::vector<CK_SESSION_HANDLE> sessionsOf(const Slot& slot);

 private:
  Slot first_;
  std::mutex lock_;  // what is below, for a moment
  std::unordered_map<CK_SESSION_HANDLE, std::shared_ptr<Session>> sessions_;
  CK_SESSION_HANDLE lastSession_ = 0;
};

// A session that a call works with, locked until the call ends.
class Locked {
 public:
  Locked(Module& m, CK_SESSION_HANDLE handle) : session_(m.session(handle)) {
    if (!session_) return;
    guard_ = std::unique_lock(session_->calling);
    if (!session_->isClosed) return;
    guard_.unlock();
    session_.reset();
  }
  explicit operator bool() const { return session_ != nullptr; }
  Session* operator->() const { return session_.get(); }
  Session& operator*() const { return *session_; }

 private:
  std::shared_ptr<Session> session_;  // goes after its lock
  std::unique_lock<std::mutex> guard_;
};

// What each LIVE entry point calls when the module is initialised.
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

CK_RV initialize(CK_VOID_PTR args);
CK_RV finalize(CK_VOID_PTR reserved);
// The module of this process; empty before C_Initialize, after C_Finalize, and in a child after fork.
std::shared_ptr<Module> current();

}  // namespace quorate::pkcs11
