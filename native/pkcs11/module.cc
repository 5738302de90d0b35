// C_Initialize, C_Finalize, locks and forks (PKCS #11 3.0, sections 5.4 and 6.6).
#include "pkcs11/module.h"

#include <pthread.h>
#include <unistd.h>

namespace quorate::pkcs11 {

namespace {

// Guards only the pointer, and for a moment: it is free again when a fork happens, which no lock that is held over a call would be.
pthread_mutex_t slotLock = PTHREAD_MUTEX_INITIALIZER;
void lockSlot() { pthread_mutex_lock(&slotLock); }
void unlockSlot() { pthread_mutex_unlock(&slotLock); }

struct SlotGuard {
  SlotGuard() { lockSlot(); }
  ~SlotGuard() { unlockSlot(); }
};

// Never destroyed by exit(): a thread that outlives main() may still call.
std::shared_ptr<Module>& held() {
  static auto* const module = new std::shared_ptr<Module>();
  return *module;
}

void watchForks() {
  static const int done = pthread_atfork(lockSlot, unlockSlot, unlockSlot);
  (void)done;
}

}  // namespace

CK_RV ModuleLock::prepare(const CK_C_INITIALIZE_ARGS* args) {
  if (args == nullptr) return CKR_OK;
  if (args->pReserved != nullptr) return CKR_ARGUMENTS_BAD;
  const int given = (args->CreateMutex != nullptr) + (args->DestroyMutex != nullptr) + (args->LockMutex != nullptr) + (args->UnlockMutex != nullptr);
  if (given != 0 && given != 4) return CKR_ARGUMENTS_BAD;
  if (given == 0 || (args->flags & CKF_OS_LOCKING_OK) != 0) return CKR_OK;
  given_ = *args;
  if (const CK_RV rv = given_.CreateMutex(&mutex_); rv != CKR_OK) return rv;
  isGiven_ = true;
  return CKR_OK;
}

ModuleLock::~ModuleLock() {
  if (isGiven_) given_.DestroyMutex(mutex_);
}

CK_RV ModuleLock::lock() {
  if (isGiven_) return given_.LockMutex(mutex_);
  own_.lock();
  return CKR_OK;
}

void ModuleLock::unlock() {
  if (isGiven_) {
    given_.UnlockMutex(mutex_);
  } else {
    own_.unlock();
  }
}

CK_RV initialize(CK_VOID_PTR args) {
  watchForks();
  auto made = std::make_shared<Module>();
  made->pid = getpid();
  const SlotGuard guard;
  std::shared_ptr<Module>& module = held();
  if (module && module->pid == made->pid) return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  if (const CK_RV rv = made->lock.prepare(static_cast<const CK_C_INITIALIZE_ARGS*>(args)); rv != CKR_OK) return rv;
  if (module) module->wire.closeInherited();
  made->inherited = std::move(module);
  module = std::move(made);
  return CKR_OK;
}

CK_RV finalize(CK_VOID_PTR reserved) {
  if (reserved != nullptr) return CKR_ARGUMENTS_BAD;
  std::shared_ptr<Module> last;
  {
    const SlotGuard guard;
    if (!held() || held()->pid != getpid()) return CKR_CRYPTOKI_NOT_INITIALIZED;
    last = std::move(held());
    held() = nullptr;
    // What came from the parent process is kept where it is: see Module::inherited.
    if (last->inherited) held() = std::move(last->inherited);
  }
  // A call of another thread keeps its own reference and ends by itself.
  return CKR_OK;
}

std::shared_ptr<Module> current() {
  const SlotGuard guard;
  const std::shared_ptr<Module>& module = held();
  return module && module->pid == getpid() ? module : nullptr;
}

}  // namespace quorate::pkcs11
