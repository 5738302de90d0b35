// C_Initialize, C_Finalize, locks and forks (PKCS #11 3.0, sections 5.4 and 6.6).
#include "pkcs11/module.h"

#include <pthread.h>
#include <sys/mman.h>
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

// Which process this is, asked without a system call: a page that the kernel empties in every child.
class Process {
 public:
  Process() {
    void* const page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (madvise(page, kPageBytes, MADV_WIPEONFORK) == 0) mark_ = static_cast<volatile char*>(page);
  }
  void claim() {
    pid_ = getpid();
    if (mark_ != nullptr) *mark_ = 1;
  }
  bool isClaimed() const { return mark_ != nullptr ? *mark_ == 1 : pid_ == getpid(); }

 private:
  static constexpr size_t kPageBytes = 4096;
  volatile char* mark_ = nullptr;
  pid_t pid_ = 0;
};
// Neither is destroyed by exit(): a thread that outlives main() may still call.
Process& process() {
  static auto* const one = new Process();
  return *one;
}
std::shared_ptr<Module>& held() {
  static auto* const module = new std::shared_ptr<Module>();
  return *module;
}

std::vector<std::shared_ptr<Module>>& buried() {
  static auto* const all = new std::vector<std::shared_ptr<Module>>();
  return *all;
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

Module::~Module() {
  for (Slot* slot = first_.next; slot != nullptr;) {
    Slot* const next = slot->next;
    delete slot;
    slot = next;
  }
}

Slot* Module::slot(CK_SLOT_ID id) {
  for (Slot* slot = &first_; slot != nullptr; slot = slot->next)
    if (slot->id == id) return slot;
  return nullptr;
}

std::vector<Slot*> Module::slots() {
  std::vector<Slot*> out;
  for (Slot* slot = &first_; slot != nullptr; slot = slot->next) out.push_back(slot);
  return out;
}

void Module::addSlots(const std::vector<std::string>& domains, const std::string& own) {
  const std::lock_guard guard(lock_);
  for (const std::string& domain : domains) {
    if (domain.empty() || domain == own) continue;
    Slot* last = &first_;
    bool isKnown = false;
    for (Slot* slot = &first_; slot != nullptr; slot = slot->next) {
      isKnown = isKnown || slot->domain == domain;
      last = slot;
    }
    if (!isKnown) last->next = new Slot(last->id + 1, domain);
  }
}

void Module::closeInherited() {
  for (Slot* slot = &first_; slot != nullptr; slot = slot->next) slot->wire.closeInherited();
}

std::shared_ptr<Session> Module::session(CK_SESSION_HANDLE handle) {
  const std::lock_guard guard(lock_);
  const auto at = sessions_.find(handle);
  return at == sessions_.end() ? nullptr : at->second;
}

CK_RV Module::openSession(Slot& slot, CK_FLAGS flags, CK_SESSION_HANDLE* out) {
  const std::lock_guard guard(lock_);
  if (sessions_.size() >= kSessionsMax) return CKR_SESSION_COUNT;
  const CK_SESSION_HANDLE handle = lastSession_ + 1;
  sessions_.emplace(handle, std::make_shared<Session>(slot, handle, flags));
  lastSession_ = handle;
  slot.sessions++;
  if ((flags & CKF_RW_SESSION) != 0) slot.writers++;
  *out = handle;
  return CKR_OK;
}

std::shared_ptr<Session> Module::closeSession(CK_SESSION_HANDLE handle) {
  const std::lock_guard guard(lock_);
  const auto at = sessions_.find(handle);
  if (at == sessions_.end()) return nullptr;
  std::shared_ptr<Session> session = std::move(at->second);
  sessions_.erase(at);
  session->slot.sessions--;
  if (session->isWriter()) session->slot.writers--;
  return session;
}

std::vector<CK_SESSION_HANDLE> Module::sessionsOf(const Slot& slot) {
  const std::lock_guard guard(lock_);
  std::vector<CK_SESSION_HANDLE> out;
  for (const auto& [handle, session] : sessions_)
    if (&session->slot == &slot) out.push_back(handle);
  return out;
}

CK_RV initialize(CK_VOID_PTR args) {
  watchForks();
  auto made = std::make_shared<Module>();
  const SlotGuard guard;
  std::shared_ptr<Module>& module = held();
  if (module && process().isClaimed()) return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  if (const CK_RV rv = made->lock.prepare(static_cast<const CK_C_INITIALIZE_ARGS*>(args)); rv != CKR_OK) return rv;
  if (module && !process().isClaimed()) module->closeInherited();
  process().claim();
  made->inherited = std::move(module);
  module = std::move(made);
  return CKR_OK;
}

CK_RV finalize(CK_VOID_PTR reserved) {
  if (reserved != nullptr) return CKR_ARGUMENTS_BAD;
  std::shared_ptr<Module> last;
  {
    const SlotGuard guard;
    if (!held() || !process().isClaimed()) return CKR_CRYPTOKI_NOT_INITIALIZED;
    last = std::move(held());
    held() = nullptr;
    // What came from the parent process is never destroyed: see Module::inherited.
    if (last->inherited) buried().push_back(std::move(last->inherited));
  }
  // A call of another thread keeps its own reference and ends by itself.
  return CKR_OK;
}

std::shared_ptr<Module> current() {
  const SlotGuard guard;
  const std::shared_ptr<Module>& module = held();
  return module && process().isClaimed() ? module : nullptr;
}

}  // namespace quorate::pkcs11
