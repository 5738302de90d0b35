// Users and groups by name and number, as the host's name service (NSS) has them. A name service may be a directory server that hangs for
// minutes: it gets a thread of its own, since libuv's few are the store's, and a bounded queue.
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "addon/bindings.h"
#include "plane/hot_request.h"
#include "plane/worker.h"

namespace quorate::addon {

namespace {

constexpr size_t kWaitingMax = 1024;
constexpr size_t kNameBytesMax = 256;        // of a user or group; Linux' LOGIN_NAME_MAX
constexpr size_t kEntryBytesMax = 16 << 20;  // a group with very many members
constexpr uint64_t kIdMax = UINT32_MAX - 1;  // (uint32_t)-1 is no uid

enum class Wanted { userName, groupName, userId, groupId };

struct Lookup {
  Wanted wanted{};
  uint32_t id = 0;
  std::string name;
  napi_deferred deferred = nullptr;
  // The answer: neither name nor id when there is no such entry.
  int error = 0;
  std::optional<std::string> foundName;
  std::optional<uint32_t> foundId;
};

// One of the getXXX_r family, with a buffer as large as it asks for. Returns its error; *found is nullptr when there is no entry.
template <class Entry, class Call>
int lookUp(Entry* entry, std::vector<char>* memory, Entry** found, Call call) {
  for (memory->resize(4096);; memory->resize(memory->size() * 4)) {
    *found = nullptr;
    const int error = call(entry, memory->data(), memory->size(), found);
    if (error != ERANGE || memory->size() >= kEntryBytesMax) return error;
  }
}

// What glibc's modules answer for an entry that does not exist (getpwnam(3)).
bool meansAbsent(int error) { return error == ENOENT || error == ESRCH || error == EBADF || error == EPERM; }

void perform(Lookup* lookup) {
  std::vector<char> memory;
  passwd user{};
  group members{};
  passwd* foundUser = nullptr;
  group* foundGroup = nullptr;
  const char* name = lookup->name.c_str();
  switch (lookup->wanted) {
    case Wanted::userName: lookup->error = lookUp(&user, &memory, &foundUser, [&](auto... rest) { return getpwuid_r(lookup->id, rest...); }); break;
    case Wanted::userId: lookup->error = lookUp(&user, &memory, &foundUser, [&](auto... rest) { return getpwnam_r(name, rest...); }); break;
    case Wanted::groupName: lookup->error = lookUp(&members, &memory, &foundGroup, [&](auto... rest) { return getgrgid_r(lookup->id, rest...); }); break;
    case Wanted::groupId: lookup->error = lookUp(&members, &memory, &foundGroup, [&](auto... rest) { return getgrnam_r(name, rest...); }); break;
  }
  if (meansAbsent(lookup->error)) lookup->error = 0;
  if (foundUser != nullptr) {
    lookup->foundName = foundUser->pw_name;
    lookup->foundId = foundUser->pw_uid;
  } else if (foundGroup != nullptr) {
    lookup->foundName = foundGroup->gr_name;
    lookup->foundId = foundGroup->gr_gid;
  }
}

// Never destroyed: its thread may hang in a module while the process ends.
struct NameService {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::unique_ptr<Lookup>> waiting;  // guarded by mutex
  napi_threadsafe_function answer = nullptr;    // guarded by mutex; nullptr when the environment is gone
  bool started = false;                         // event loop only, as the next
  size_t open = 0;                              // lookups whose promise is not settled: the process waits for them
};
NameService& service() {
  static NameService* const one = new NameService;
  return *one;
}

// On the event loop. The environment is null when it is being torn down.
void settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(data));
  if (env == nullptr) return;
  const Napi::HandleScope scope(env);
  if (--service().open == 0) napi_unref_threadsafe_function(env, service().answer);
  if (lookup->error != 0) {
    napi_reject_deferred(env, lookup->deferred, makeError(env, Code::BUSY, "the name service: " + std::string(strerror(lookup->error))));
    return;
  }
  napi_value result;
  napi_get_null(env, &result);
  const bool wantsName = lookup->wanted == Wanted::userName || lookup->wanted == Wanted::groupName;
  if (!wantsName && lookup->foundId) napi_create_uint32(env, *lookup->foundId, &result);
  // Another encoding's bytes would all become the same replacement character: such a name is as good as none.
  else if (wantsName && lookup->foundName && validUtf8(*lookup->foundName)) napi_create_string_utf8(env, lookup->foundName->data(), lookup->foundName->size(), &result);
  napi_resolve_deferred(env, lookup->deferred, result);
}

[[noreturn]] void serve() {
  settleThread("quorate-names");
  NameService& s = service();
  for (;;) {
    std::unique_lock lock(s.mutex);
    s.wake.wait(lock, [&] { return !s.waiting.empty(); });
    std::unique_ptr<Lookup> lookup = std::move(s.waiting.front());
    s.waiting.pop_front();
    lock.unlock();
    try {
      perform(lookup.get());
    } catch (const std::bad_alloc&) {
      lookup->error = ENOMEM;
    }
    lock.lock();
    if (s.answer != nullptr && napi_call_threadsafe_function(s.answer, lookup.get(), napi_tsfn_nonblocking) == napi_ok) lookup.release();
  }
}

void startService(napi_env env) {
  NameService& s = service();
  if (s.started) return;
  napi_threadsafe_function made = nullptr;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "quorate names"), 0, 1, nullptr, nullptr, nullptr, settle, &made) != napi_ok)
    refuse(Code::INTERNAL, "no threadsafe function");
  napi_unref_threadsafe_function(env, made);
  {
    const std::lock_guard lock(s.mutex);
    s.answer = made;
  }
  napi_add_env_cleanup_hook(env, [](void*) {
    const std::lock_guard lock(service().mutex);
    service().answer = nullptr;
  }, nullptr);
  std::thread(serve).detach();
  s.started = true;
}

Napi::Value ask(napi_env env, std::unique_ptr<Lookup> lookup) {
  startService(env);
  NameService& s = service();
  const std::lock_guard lock(s.mutex);
  if (s.waiting.size() >= kWaitingMax) refuse(Code::BUSY, "the name service answers too slowly");
  napi_value promise;
  if (napi_create_promise(env, &lookup->deferred, &promise) != napi_ok) refuse(Code::INTERNAL, "no promise");
  s.waiting.push_back(std::move(lookup));
  if (s.open++ == 0) napi_ref_threadsafe_function(env, s.answer);
  s.wake.notify_one();
  return {env, promise};
}

template <Wanted wanted>
Napi::Value byId(const Arguments& in) {
  auto lookup = std::make_unique<Lookup>();
  lookup->wanted = wanted;
  lookup->id = static_cast<uint32_t>(in.integer(0, "id", 0, kIdMax));
  return ask(in.env(), std::move(lookup));
}

template <Wanted wanted>
Napi::Value byName(const Arguments& in) {
  auto lookup = std::make_unique<Lookup>();
  lookup->wanted = wanted;
  lookup->name = in.text(0, "name", 1, kNameBytesMax);
  return ask(in.env(), std::move(lookup));
}

constexpr Export kExports[] = {
    {"userName", entry<byId<Wanted::userName>>},
    {"groupName", entry<byId<Wanted::groupName>>},
    {"userId", entry<byName<Wanted::userId>>},
    {"groupId", entry<byName<Wanted::groupId>>},
};

}  // namespace

std::span<const Export> nameExports() { return kExports; }

}  // namespace quorate::addon
