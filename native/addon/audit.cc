// The audit log's face to JavaScript: one log for a process, opened after the plane has started. What it answers comes from its own thread or
// the plane's, and settles promises on the event loop.
#include "plane/audit_log.h"

#include <mutex>

#include "addon/bindings.h"
#include "addon/running.h"
#include "plane/audit_gate.h"
#include "plane/audit_note.h"
#include "plane/audit_seal.h"

namespace quorate::addon {

namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kRangeBytesMax = 64 << 20;
constexpr uint64_t kIndexMax = (1ull << 53) - 1;

// One answer on its way to its promise.
struct Answer {
  napi_deferred deferred = nullptr;
  Code code = Code::OK;
  std::string detail;
  std::optional<uint64_t> index;  // else the answer is fault and detail
  AuditFaultKind fault = AuditFaultKind::none;
};

// Never destroyed: the log's thread may be left behind when the process ends.
struct Desk {
  std::mutex mutex;
  napi_threadsafe_function answer = nullptr;  // guarded by mutex; nullptr when the environment is gone
  size_t open = 0;                            // event loop only: promises that are not settled; the process waits for them
  std::shared_ptr<AuditLog> log;              // event loop only
};
Desk& desk() {
  static Desk* const one = new Desk;
  return *one;
}

AuditLog& log() {
  if (!desk().log) refuse(Code::BAD_REQUEST, "the audit log is not open");
  return *desk().log;
}

Napi::Object makeFault(Napi::Env env, AuditFaultKind fault, const std::string& detail) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("fault", fault == AuditFaultKind::none ? "" : auditFaultWord(fault));
  result.Set("detail", detail);
  return result;
}

// On the event loop. The environment is null when it is being torn down.
void settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Answer> answer(static_cast<Answer*>(data));
  if (env == nullptr) return;
  const Napi::HandleScope scope(env);
  if (--desk().open == 0) napi_unref_threadsafe_function(env, desk().answer);
  if (answer->code != Code::OK) {
    napi_reject_deferred(env, answer->deferred, makeError(env, answer->code, answer->detail));
  } else if (answer->index) {
    napi_resolve_deferred(env, answer->deferred, Napi::Number::New(env, static_cast<double>(*answer->index)));
  } else {
    napi_resolve_deferred(env, answer->deferred, makeFault(env, answer->fault, answer->detail));
  }
}

void send(std::unique_ptr<Answer> answer) {
  const std::lock_guard lock(desk().mutex);
  if (desk().answer != nullptr && napi_call_threadsafe_function(desk().answer, answer.get(), napi_tsfn_nonblocking) == napi_ok) answer.release();
}

void startDesk(napi_env env) {
  if (desk().answer != nullptr) return;
  napi_threadsafe_function made = nullptr;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "quorate audit"), 0, 1, nullptr, nullptr, nullptr, settle, &made) != napi_ok)
    refuse(Code::INTERNAL, "no threadsafe function");
  napi_unref_threadsafe_function(env, made);
  napi_add_env_cleanup_hook(env, [](void*) {
    const std::lock_guard lock(desk().mutex);
    desk().answer = nullptr;
  }, nullptr);
  const std::lock_guard lock(desk().mutex);
  desk().answer = made;
}

// A promise, and what settles it from any thread, once.
Napi::Value promise(napi_env env, napi_deferred* deferred) {
  napi_value made;
  if (napi_create_promise(env, deferred, &made) != napi_ok) refuse(Code::INTERNAL, "no promise");
  if (desk().open++ == 0) napi_ref_threadsafe_function(env, desk().answer);
  return {env, made};
}

AuditLog::Done doneOf(napi_deferred deferred) {
  return [deferred](const AuditFault& fault, const std::string& detail) {
    auto answer = std::make_unique<Answer>();
    answer->deferred = deferred;
    answer->fault = fault.kind;
    answer->detail = fault ? fault.detail : detail;
    send(std::move(answer));
  };
}

napi_value property(const Arguments& in, const char* name) {
  napi_valuetype type;
  napi_typeof(in.env(), in.value(0), &type);
  if (type != napi_object) refuse(Code::BAD_REQUEST, "options must be an object");
  return Napi::Object(in.env(), in.value(0)).Get(name);
}

Napi::Value open(const Arguments& in) {
  const napi_value ring = property(in, "ring"), folder = property(in, "folder"), mode = property(in, "mode");
  AuditOptions options;
  options.ring = readText(in.env(), ring, "options.ring", 1, kPathBytesMax);
  options.folder = readText(in.env(), folder, "options.folder", 1, kPathBytesMax);
  const std::string word = readText(in.env(), mode, "options.mode", 1, 16);
  static constexpr const char* modes[] = {"off", "counts", "each"};
  const auto* found = std::find(std::begin(modes), std::end(modes), word);
  if (found == std::end(modes)) refuse(Code::BAD_REQUEST, "options.mode must be off, counts or each");
  if (desk().log) refuse(Code::BAD_REQUEST, "the audit log is open already");
  Plane* target = planeIfRunning();
  if (target == nullptr) refuse(Code::BAD_REQUEST, "the plane is not running");
  startDesk(in.env());
  std::string detail;
  require(AuditLog::open(std::move(options), &desk().log, &detail), detail);
  target->setAudit(desk().log, static_cast<AuditMode>(found - std::begin(modes)));
  return {};
}

Napi::Value unlock(const Arguments& in) {
  const napi_value values[] = {property(in, "seal"), property(in, "sign"), property(in, "origin"), property(in, "storeId"), property(in, "create")};
  AuditKeys keys;
  keys.seal = secretOf(readInteger(in.env(), values[0], "options.seal", 1, kHandleMax), "options.seal", kKeyBytes, kKeyBytes);
  const SecretPtr seed = secretOf(readInteger(in.env(), values[1], "options.sign", 1, kHandleMax), "options.sign", kKeyBytes, kKeyBytes);
  const std::string origin = readText(in.env(), values[2], "options.origin", 1, 200);
  const Bytes id = readBytes(in.env(), values[3], "options.storeId", 16, 16);
  StoreId storeId;
  std::copy(id.begin(), id.end(), storeId.begin());
  const bool create = readBoolean(in.env(), values[4], "options.create");
  AuditLog& target = log();
  require(AuditSigner::make(*seed, origin, &keys.signer));
  napi_deferred deferred;
  const Napi::Value result = promise(in.env(), &deferred);
  target.unlock(storeId, std::move(keys), create, doneOf(deferred));
  return result;
}

Napi::Value lock(const Arguments& in) {
  AuditLog& target = log();
  napi_deferred deferred;
  const Napi::Value result = promise(in.env(), &deferred);
  target.lock(doneOf(deferred));
  return result;
}

Napi::Value repair(const Arguments& in) {
  const bool acceptLoss = in.boolean(0, "acceptLoss");
  AuditLog& target = log();
  napi_deferred deferred;
  const Napi::Value result = promise(in.env(), &deferred);
  target.repair(acceptLoss, doneOf(deferred));
  return result;
}

Napi::Value append(const Arguments& in) {
  const Bytes leaf = in.bytes(0, "leaf", 1, limits::audit_entry_bytes_max);
  log();
  Plane* target = planeIfRunning();
  if (target == nullptr) refuse(Code::AUDIT_UNAVAILABLE, "the plane has stopped");
  napi_deferred deferred;
  const Napi::Value result = promise(in.env(), &deferred);
  target->appendLeaf(Buffer(leaf.begin(), leaf.end()), [deferred](Code code, uint64_t index) {
    auto answer = std::make_unique<Answer>();
    answer->deferred = deferred;
    answer->code = code;
    answer->index = index;
    send(std::move(answer));
  });
  return result;
}

Napi::Value flush(const Arguments& in) {
  log();
  Plane* target = planeIfRunning();
  if (target == nullptr) refuse(Code::AUDIT_UNAVAILABLE, "the plane has stopped");
  napi_deferred deferred;
  const Napi::Value result = promise(in.env(), &deferred);
  target->flushLog([deferred](Code code) {
    auto answer = std::make_unique<Answer>();
    answer->deferred = deferred;
    answer->code = code;
    send(std::move(answer));
  });
  return result;
}

Napi::Value statistics(const Arguments& in) {
  const AuditStats stats = log().stats();
  Napi::Object result = makeFault(in.env(), stats.fault, stats.detail);
  result.Set("available", stats.available);
  result.Set("locked", stats.locked);
  result.Set("segment", stats.segment);
  result.Set("ringDamaged", stats.ringDamaged);
  const std::pair<const char*, uint64_t> rows[] = {{"size", stats.size},         {"waiting", stats.waiting},     {"segments", stats.segments},
                                                   {"ringBytes", stats.ringBytes}, {"ringUsed", stats.ringUsed}, {"recovered", stats.recovered},
                                                   {"cutBytes", stats.cutBytes}, {"refused", stats.refused}};
  for (const auto& [name, count] : rows) result.Set(name, static_cast<double>(count));
  return result;
}

Napi::Value openRange(const Arguments& in) {
  const Bytes header = in.bytes(0, "header", kSegmentHeaderBytes, kSegmentHeaderBytes);
  const uint64_t index = in.integer(1, "index", 0, kIndexMax);
  const Bytes entries = in.bytes(2, "entries", 0, kRangeBytesMax);
  const SecretPtr key = log().sealKey();
  if (!key) refuse(Code::AUDIT_UNAVAILABLE, "the audit log is sealed");
  std::vector<Buffer> leaves;
  require(openEntries(*key, header, index, entries, &leaves));
  Napi::Array result = Napi::Array::New(in.env(), leaves.size());
  for (uint32_t i = 0; i < leaves.size(); i++) {
    const Napi::HandleScope scope(in.env());
    result.Set(i, makeBytes(in.env(), leaves[i]));
  }
  return result;
}

// After planeStop, whose last leaves it still writes.
Napi::Value close(const Arguments& in) {
  const auto graceMs = static_cast<uint32_t>(in.integer(0, "graceMs", 0, 60000));
  if (!desk().log) return Napi::Boolean::New(in.env(), true);
  const bool closed = desk().log->close(graceMs);
  desk().log.reset();
  return Napi::Boolean::New(in.env(), closed);
}

constexpr Export kExports[] = {
    {"auditOpen", entry<open>},     {"auditUnlock", entry<unlock>},     {"auditLock", entry<lock>},
    {"auditRepair", entry<repair>}, {"auditAppend", entry<append>},     {"auditStats", entry<statistics>},
    {"auditFlush", entry<flush>},   {"auditClose", entry<close>},        {"auditOpenEntries", entry<openRange>},
};

}  // namespace

std::span<const Export> auditExports() { return kExports; }

}  // namespace quorate::addon
