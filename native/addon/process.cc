// The process as a whole: kernels, arena, self-tests, hardening, lock, service manager.
#include "addon/bindings.h"
#include "addon/system.h"
#include "core/gcm.h"
#include "core/selftest.h"

namespace quorate::addon {

namespace {

Napi::Array textArray(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array array = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < texts.size(); i++) array.Set(i, texts[i]);
  return array;
}

Napi::Value kernels(const Arguments& in) {
  std::vector<std::string> runnable;
  for (const GcmImplementation* one : gcmImplementations()) {
    if (gcmByName(one->name) != nullptr) runnable.push_back(one->name);
  }
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("selected", gcm().name);
  result.Set("runnable", textArray(in.env(), runnable));
  result.Set("forced", gcmForced());
  return result;
}

Napi::Value openArena(const Arguments& in) {
  std::string detail;
  require(Arena::open(in.integer(0, "bytes", 1, 1ull << 40), &detail), detail);
  return {};
}

Napi::Value arenaStats(const Arguments& in) {
  const ArenaStats stats = Arena::stats();
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("bytesMax", static_cast<double>(stats.bytesMax));
  result.Set("bytesUsed", static_cast<double>(stats.bytesUsed));
  result.Set("blocks", static_cast<double>(stats.blocks));
  result.Set("locked", stats.locked);
  return result;
}

Napi::Value arenaRanges(const Arguments& in) {
  const auto ranges = Arena::ranges();
  Napi::Array result = Napi::Array::New(in.env(), ranges.size());
  for (uint32_t i = 0; i < ranges.size(); i++) {
    Napi::Object range = Napi::Object::New(in.env());
    range.Set("start", Napi::BigInt::New(in.env(), static_cast<uint64_t>(ranges[i].first)));
    range.Set("bytes", static_cast<double>(ranges[i].second));
    result.Set(i, range);
  }
  return result;
}

Napi::Value selfTest(const Arguments& in) {
  const SelfTestResult outcome = runSelfTests();
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("passed", textArray(in.env(), outcome.passed));
  result.Set("failed", textArray(in.env(), outcome.failed));
  return result;
}

Napi::Value harden(const Arguments&) {
  std::string detail;
  require(hardenProcess(&detail), detail);
  return {};
}

Napi::Value notify(const Arguments& in) {
  bool sent = false;
  std::string detail;
  require(notifyService(in.text(0, "message", 1, 8192), &sent, &detail), detail);
  return Napi::Boolean::New(in.env(), sent);
}

Napi::Value lock(const Arguments& in) {
  int fd = -1;
  std::string detail;
  require(lockFile(in.path(0, "path"), &fd, &detail), detail);
  return Napi::Number::New(in.env(), fd);
}

Napi::Value sealed(const Arguments& in) {
  int fd = -1;
  std::string detail;
  require(sealedFile(in.bytes(0, "content"), &fd, &detail), detail);
  return Napi::Number::New(in.env(), fd);
}

Napi::Value pathOfSocket(const Arguments& in) { return Napi::String::New(in.env(), socketPath(static_cast<int>(in.integer(0, "fd", 0, INT32_MAX)))); }

constexpr Export kExports[] = {
    {"kernels", entry<kernels>},         {"openArena", entry<openArena>}, {"arenaStats", entry<arenaStats>},
    {"arenaRanges", entry<arenaRanges>}, {"selfTest", entry<selfTest>},   {"hardenProcess", entry<harden>},
    {"notify", entry<notify>},           {"lockFile", entry<lock>},     {"socketPath", entry<pathOfSocket>},
    {"sealedFile", entry<sealed>},
};

}  // namespace

std::span<const Export> processExports() { return kExports; }

}  // namespace quorate::addon
