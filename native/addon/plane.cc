// The data plane's face to JavaScript: one plane for a process, upcalls in, answers out.
#include "plane/plane.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "addon/bindings.h"
#include "addon/running.h"
#include "addon/system.h"

namespace quorate::addon {

namespace {

constexpr uint64_t kTokenMax = (1ull << 53) - 1;
constexpr uint64_t kSessionMsMax = 10ull * 366 * 24 * 3600 * 1000;
constexpr uint64_t kIdMax = UINT32_MAX - 1;  // of a uid or gid: (uint32_t)-1 is none

// Lives while the plane runs. Its threadsafe function is referenced, so a running plane keeps the process alive, and an idle
// event loop after planeStop does not wait for it.
struct Running {
  std::unique_ptr<Plane> plane;
  napi_threadsafe_function wake = nullptr;
  std::atomic<bool> waking{false};  // a call to JavaScript is under way: more upcalls join it
};
Running* running = nullptr;  // touched on the event loop only; not destroyed with the statics, behind the plane's thread

bool everStarted = false;

Plane& plane() {
  if (running == nullptr) refuse(Code::BAD_REQUEST, "the plane is not running");
  return *running->plane;
}

// On the event loop. The environment is null when it is being torn down.
void onWake(napi_env env, napi_value callback, void* context, void*) {
  static_cast<Running*>(context)->waking.store(false);
  if (env == nullptr) return;
  napi_value undefined, error;
  napi_get_undefined(env, &undefined);
  if (napi_call_function(env, undefined, callback, 0, nullptr, nullptr) == napi_pending_exception) {
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);  // as for any other callback: uncaughtException
  }
}

void stopRunning(uint32_t graceMs) {
  if (running == nullptr) return;
  running->plane->stop(graceMs);  // joins its thread: nobody wakes us from here on
  running->plane.reset();
  // Abort drops calls not yet delivered; the finalizer frees `running` when none can come any more.
  napi_release_threadsafe_function(running->wake, napi_tsfn_abort);
  running = nullptr;
}

void stopWithEnvironment(void*) { stopRunning(0); }
void stopWithProcess() {
  if (running != nullptr) running->plane->stop(0);  // process.exit() runs no cleanup hook; statics die next
}

bool isGiven(napi_env env, napi_value value) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  return type != napi_undefined;
}

// -1, or nothing: keep.
int64_t ownerOf(const Arguments& in, size_t i, const char* name) {
  double number = 0;
  if (!isGiven(in.env(), in.value(i)) || (napi_get_value_double(in.env(), in.value(i), &number) == napi_ok && number == -1)) return -1;
  return static_cast<int64_t>(in.integer(i, name, 0, kIdMax));
}

Napi::Value start(const Arguments& in) {
  if (running != nullptr) refuse(Code::BAD_REQUEST, "the plane runs already");
  napi_valuetype optionsType, callbackType;
  napi_typeof(in.env(), in.value(0), &optionsType);
  napi_typeof(in.env(), in.value(1), &callbackType);
  if (optionsType != napi_object) refuse(Code::BAD_REQUEST, "options must be an object");
  if (callbackType != napi_function) refuse(Code::BAD_REQUEST, "onUpcalls must be a function");
  const Napi::Object given(in.env(), in.value(0));
  const napi_value release = given.Get("release"), idle = given.Get("sessionIdleMs"), life = given.Get("sessionLifeMs");
  PlaneOptions options;
  options.release = readText(in.env(), release, "options.release", 1, 64);
  if (isGiven(in.env(), idle)) options.tuning.sessionIdleMs = readInteger(in.env(), idle, "options.sessionIdleMs", 1, kSessionMsMax);
  if (isGiven(in.env(), life)) options.tuning.sessionLifeMs = readInteger(in.env(), life, "options.sessionLifeMs", 1, kSessionMsMax);
  if (running != nullptr) refuse(Code::BAD_REQUEST, "the plane runs already");  // a getter may have started it

  Running* next = new Running;
  const auto finalize = [](napi_env, void*, void* context) { delete static_cast<Running*>(context); };
  if (napi_create_threadsafe_function(in.env(), in.value(1), nullptr, Napi::String::New(in.env(), "quorate plane"), 0, 1, next, finalize,
                                      next, onWake, &next->wake) != napi_ok) {
    delete next;
    refuse(Code::INTERNAL, "no threadsafe function");
  }
  options.onUpcalls = [next] {
    if (!next->waking.exchange(true)) napi_call_threadsafe_function(next->wake, nullptr, napi_tsfn_nonblocking);
  };
  next->plane = Plane::start(std::move(options));
  if (!next->plane) {
    napi_release_threadsafe_function(next->wake, napi_tsfn_abort);
    refuse(Code::INTERNAL, "the plane's thread did not start");
  }
  running = next;
  everStarted = true;
  static const bool hooked = [&in] {
    napi_add_env_cleanup_hook(in.env(), stopWithEnvironment, nullptr);
    return std::atexit(stopWithProcess) == 0;
  }();
  (void)hooked;
  return {};
}

Napi::Value listen(const Arguments& in) {
  Plane& target = plane();
  const std::string path = in.path(0, "path");
  const auto mode = static_cast<unsigned>(in.integer(1, "mode", 0, 0777));
  const SocketAccess access(mode, ownerOf(in, 2, "uid"), ownerOf(in, 3, "gid"));
  int fd = -1;
  SocketFile file;
  std::string detail;
  require(listenUnix(path, access, &fd, &detail, &file), detail);
  return Napi::Number::New(in.env(), target.listen(fd, std::move(file)));
}

Napi::Value unlisten(const Arguments& in) {
  const auto listener = static_cast<uint32_t>(in.integer(0, "listener", 1, UINT32_MAX));
  if (Plane* target = planeIfRunning()) target->unlisten(listener);
  return {};
}

Napi::Value listenFd(const Arguments& in) {
  Plane& target = plane();
  const int fd = static_cast<int>(in.integer(0, "fd", 0, INT32_MAX));
  std::string detail;
  require(checkListening(fd, &detail), detail);
  return Napi::Number::New(in.env(), target.listen(fd));
}

Napi::Array makeGroups(Napi::Env env, const std::vector<uint32_t>& groups) {
  Napi::Array result = Napi::Array::New(env, groups.size());
  for (uint32_t i = 0; i < groups.size(); i++) result.Set(i, groups[i]);
  return result;
}

Napi::Object makeUpcall(Napi::Env env, const Upcall& upcall) {
  static constexpr const char* kinds[] = {"call", "grant", "reserve", "refused"};
  Napi::Object result = Napi::Object::New(env);
  result.Set("kind", kinds[static_cast<size_t>(upcall.kind)]);
  result.Set("token", static_cast<double>(upcall.token));
  setPeer(result, *upcall.peer);
  result.Set("groups", makeGroups(env, upcall.peer->groups));
  result.Set("session", static_cast<double>(upcall.session));
  result.Set("pid", upcall.pid);
  result.Set("method", upcall.method);
  result.Set("status", static_cast<uint32_t>(upcall.status));
  result.Set("target", upcall.target);
  result.Set("body", makeBytes(env, upcall.body));
  result.Set("keyRef", upcall.keyRef);
  result.Set("version", upcall.version);
  result.Set("keyId", makeBytes(env, upcall.keyId));
  return result;
}

Napi::Value drain(const Arguments& in) {
  const uint64_t max = in.integer(0, "max", 1, limits::upcalls_max);
  Plane* target = planeIfRunning();
  const std::vector<Upcall> upcalls = target != nullptr ? target->drain(max) : std::vector<Upcall>();
  Napi::Array result = Napi::Array::New(in.env(), upcalls.size());
  for (uint32_t i = 0; i < upcalls.size(); i++) {
    const Napi::HandleScope scope(in.env());
    result.Set(i, makeUpcall(in.env(), upcalls[i]));
  }
  return result;
}

uint64_t tokenOf(const Arguments& in) { return in.integer(0, "token", 1, kTokenMax); }
Code statusOf(const Arguments& in, uint64_t min) { return static_cast<Code>(in.integer(1, "status", min, UINT16_MAX)); }
uint32_t lifeOf(const Arguments& in, size_t i) { return static_cast<uint32_t>(in.integer(i, "lifeMs", 0, limits::grant_life_ms)); }
uint32_t sliceOf(const Arguments& in, size_t i) { return static_cast<uint32_t>(in.integer(i, "slice", 0, UINT32_MAX)); }
KeyId keyIdOf(const Arguments& in, size_t i) {
  const Bytes bytes = in.bytes(i, "keyId", 16, 16);
  KeyId id;
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

// The leaf of the audit log that belongs to an answer, if one does.
Buffer leafOf(const Arguments& in, size_t i) {
  if (!isGiven(in.env(), in.value(i))) return {};
  const Bytes leaf = in.bytes(i, "leaf", 1, limits::audit_entry_bytes_max);
  return Buffer(leaf.begin(), leaf.end());
}

Napi::Value reply(const Arguments& in) {
  const uint64_t token = tokenOf(in);
  const Code status = statusOf(in, 0);
  const Bytes body = in.bytes(2, "body", 0, limits::frame_bytes_max - limits::frame_header_bytes);
  Buffer leaf = leafOf(in, 3);
  const bool isStored = isGiven(in.env(), in.value(4)) && in.boolean(4, "isStored");
  if (Plane* target = planeIfRunning()) target->reply(token, status, Buffer(body.begin(), body.end()), std::move(leaf), isStored);
  return {};
}

Napi::Value grant(const Arguments& in) {
  const uint64_t token = tokenOf(in);
  const KeyId id = keyIdOf(in, 1);
  const uint32_t lifeMs = lifeOf(in, 2), slice = sliceOf(in, 3);
  Buffer leaf = leafOf(in, 4);
  if (Plane* target = planeIfRunning()) target->grant(token, id, lifeMs, slice, std::move(leaf));
  return {};
}

Napi::Value refuseCall(const Arguments& in) {
  const uint64_t token = tokenOf(in);
  const Code status = statusOf(in, 1);
  std::string detail = in.text(2, "detail", 0, 4096);
  const uint32_t lifeMs = lifeOf(in, 3), slice = sliceOf(in, 4);
  Buffer leaf = leafOf(in, 5);
  if (Plane* target = planeIfRunning()) target->refuse(token, status, std::move(detail), lifeMs, slice, std::move(leaf));
  return {};
}

Napi::Value resume(const Arguments& in) {
  const uint64_t token = tokenOf(in);
  if (Plane* target = planeIfRunning()) target->resume(token);
  return {};
}

// undefined: none.
Buffer sheetIn(napi_env env, napi_value value, const char* name) {
  if (!isGiven(env, value)) return {};
  const Bytes sheet = readBytes(env, value, name, 0, limits::object_sheet_bytes_max);
  return Buffer(sheet.begin(), sheet.end());
}

// All properties first, then their values: a getter may run JavaScript, which could detach a view read before it.
Napi::Value install(const Arguments& in) {
  static constexpr const char* names[] = {"keyId", "domain", "type", "scheme", "exportable", "version", "current", "handle", "spki", "ivs", "attributes", "publicAttributes", "imported"};
  const Napi::Env env = in.env();
  napi_valuetype type;
  napi_typeof(env, in.value(0), &type);
  if (type != napi_object) refuse(Code::BAD_REQUEST, "version must be an object");
  napi_value values[std::size(names)];
  for (size_t n = 0; n < std::size(names); n++) values[n] = Napi::Object(env, in.value(0)).Get(names[n]);
  InstalledVersion version;
  const Bytes id = readBytes(env, values[0], "keyId", 16, 16);
  std::copy(id.begin(), id.end(), version.keyId.begin());
  version.domain = readText(env, values[1], "domain", 1, limits::name_bytes_max);
  version.type = static_cast<KeyType>(readInteger(env, values[2], "type", 0, static_cast<uint64_t>(KeyType::RSA_4096)));
  version.scheme = static_cast<KeyScheme>(readInteger(env, values[3], "scheme", 0, static_cast<uint64_t>(KeyScheme::PKCS11)));
  version.exportable = readBoolean(env, values[4], "exportable");
  version.version = static_cast<uint32_t>(readInteger(env, values[5], "version", 1, UINT32_MAX));
  version.current = readBoolean(env, values[6], "current");
  const uint64_t handle = readInteger(env, values[7], "handle", 0, kHandleMax);
  const Bytes spki = readBytes(env, values[8], "spki", 0, 4096);
  version.spki.assign(spki.begin(), spki.end());
  version.ivs = readInteger(env, values[9], "ivs", 0, limits::iv_max);
  version.attributes = sheetIn(env, values[10], "attributes");
  version.publicAttributes = sheetIn(env, values[11], "publicAttributes");
  if (isGiven(env, values[12])) version.imported = readBoolean(env, values[12], "imported");
  const bool isValue = version.type == KeyType::KEY_TYPE_UNSPECIFIED;  // a secret's: it may have no bytes
  if (isValue != (version.scheme == KeyScheme::KEY_SCHEME_UNSPECIFIED)) refuse(Code::BAD_REQUEST, "a key has a type and a scheme, a secret's value neither");
  if (handle == 0 && spki.empty() && !isValue) refuse(Code::BAD_REQUEST, "a version needs a handle or an spki");
  if (handle != 0) secretOf(handle, "handle", 1, isValue ? limits::secret_value_bytes_max : limits::secret_bytes_max);
  Plane* target = planeIfRunning();
  if (handle != 0) version.stored = HandleTable::take(handle);
  if (target != nullptr) target->install(std::move(version));
  return {};
}

Napi::Value addIvs(const Arguments& in) {
  const KeyId id = keyIdOf(in, 0);
  const auto version = static_cast<uint32_t>(in.integer(1, "version", 1, UINT32_MAX));
  const uint64_t count = in.integer(2, "count", 1, limits::iv_max);
  if (Plane* target = planeIfRunning()) target->addIvs(id, version, count);
  return {};
}

Napi::Value voidKey(const Arguments& in) {
  const KeyId id = keyIdOf(in, 0);
  if (Plane* target = planeIfRunning()) target->voidKey(id);
  return {};
}

Napi::Value voidSlice(const Arguments& in) {
  const uint32_t slice = sliceOf(in, 0);
  if (Plane* target = planeIfRunning()) target->voidSlice(slice);
  return {};
}

Napi::Value voidGrants(const Arguments&) {
  if (Plane* target = planeIfRunning()) target->voidGrants();
  return {};
}

Napi::Value setMode(const Arguments& in) {
  static constexpr const char* modes[] = {"uninitialised", "sealed", "ready"};
  const std::string mode = in.text(0, "mode", 1, 16);
  const auto* found = std::find(std::begin(modes), std::end(modes), mode);
  if (found == std::end(modes)) refuse(Code::BAD_REQUEST, "mode must be uninitialised, sealed or ready");
  if (Plane* target = planeIfRunning()) target->setMode(static_cast<PlaneMode>(found - std::begin(modes)));
  return {};
}

Napi::Value statistics(const Arguments& in) {
  Plane* target = planeIfRunning();
  const PlaneStats stats = target != nullptr ? target->stats() : PlaneStats{};
  const std::pair<const char*, uint64_t> rows[] = {
      {"requests", stats.requests},       {"upcalls", stats.upcalls}, {"refusedBusy", stats.refusedBusy}, {"malformed", stats.malformed},
      {"grants", stats.grants},           {"keys", stats.keys},       {"sessionKeys", stats.sessionKeys}, {"streams", stats.streams},
      {"connections", stats.connections}, {"sessions", stats.sessions}, {"credentialsGiven", stats.credentialsGiven}, {"credentialsRefused", stats.credentialsRefused}};
  Napi::Object result = Napi::Object::New(in.env());
  for (const auto& [name, count] : rows) result.Set(name, static_cast<double>(count));
  Napi::Array answers = Napi::Array::New(in.env(), stats.answers.size());
  for (uint32_t i = 0; const auto& [method, ok, refused] : stats.answers) {
    Napi::Object one = Napi::Object::New(in.env());
    one.Set("method", static_cast<double>(method));
    one.Set("ok", static_cast<double>(ok));
    one.Set("refused", static_cast<double>(refused));
    answers.Set(i++, one);
  }
  result.Set("answers", answers);
  return result;
}

Napi::Value stop(const Arguments& in) {
  stopRunning(static_cast<uint32_t>(in.integer(0, "graceMs", 0, 60000)));
  return {};
}

constexpr Export kExports[] = {
    {"planeUnlisten", entry<unlisten>}, {"planeVoidGrants", entry<voidGrants>},
    {"planeStart", entry<start>},       {"planeListen", entry<listen>},
    {"planeListenFd", entry<listenFd>}, {"planeDrain", entry<drain>},
    {"planeReply", entry<reply>},       {"planeGrant", entry<grant>},
    {"planeRefuse", entry<refuseCall>}, {"planeResume", entry<resume>},
    {"planeInstall", entry<install>},   {"planeAddIvs", entry<addIvs>},
    {"planeVoidKey", entry<voidKey>},   {"planeVoidSlice", entry<voidSlice>},
    {"planeSetMode", entry<setMode>},   {"planeStats", entry<statistics>},
    {"planeStop", entry<stop>},
};

}  // namespace

// An answer that comes late has nobody to go to, and nothing is left to void.
Plane* planeIfRunning() {
  if (running == nullptr && everStarted) return nullptr;
  return &plane();
}

std::span<const Export> planeExports() { return kExports; }

}  // namespace quorate::addon
