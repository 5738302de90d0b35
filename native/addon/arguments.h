// Arguments in, results out. A binding checks what it was given (types, ranges) and calls core or plane; nothing else.
// What it refuses becomes a JavaScript Error with `code` (a name of the error table), `detail` and `quorate: true`.
//
// No JavaScript runs between reading a view and using it: every value is fetched first, and nothing here calls back. A view
// of a SharedArrayBuffer may still change underneath: the daemon makes none.
#pragma once
#include <napi.h>

#include <string>
#include <vector>

#include "core/secret.h"

namespace quorate::addon {

// Thrown inside the binding only; entry() turns it into a JavaScript exception.
struct Refusal {
  Code code;
  std::string detail;
};
[[noreturn]] void refuse(Code code, std::string detail);
inline void require(Code code, const std::string& detail = "") {
  if (code != Code::OK) refuse(code, detail);
}

napi_value makeError(napi_env env, Code code, const std::string& detail);
// Leaves the exception pending; returns nullptr, so that a callback can return it.
napi_value throwError(napi_env env, Code code, const std::string& detail);

// Each throws Refusal with BAD_REQUEST, naming the argument, when the value is of another type or out of range.
MutBytes readBytes(napi_env env, napi_value value, const char* name, size_t min, size_t max);
uint64_t readInteger(napi_env env, napi_value value, const char* name, uint64_t min, uint64_t max);
bool readBoolean(napi_env env, napi_value value, const char* name);
// UTF-8 without NUL bytes: they would cut a path short in the kernel.
std::string readText(napi_env env, napi_value value, const char* name, size_t min, size_t max);

inline constexpr uint64_t kHandleMax = (1ull << 53) - 1;
inline constexpr size_t kPathBytesMax = 4095;
inline constexpr size_t kAnyBytes = 1ull << 32;

class Arguments {
 public:
  static constexpr size_t kMax = 9;
  Arguments(napi_env env, napi_callback_info info);

  Napi::Env env() const { return env_; }
  napi_value value(size_t i) const { return values_[i]; }
  Bytes bytes(size_t i, const char* name, size_t min = 0, size_t max = kAnyBytes) const { return readBytes(env_, values_[i], name, min, max); }
  MutBytes output(size_t i, const char* name, size_t min) const { return readBytes(env_, values_[i], name, min, kAnyBytes); }
  uint64_t integer(size_t i, const char* name, uint64_t min, uint64_t max) const { return readInteger(env_, values_[i], name, min, max); }
  bool boolean(size_t i, const char* name) const { return readBoolean(env_, values_[i], name); }
  std::string text(size_t i, const char* name, size_t min, size_t max) const { return readText(env_, values_[i], name, min, max); }
  std::string path(size_t i, const char* name) const { return readText(env_, values_[i], name, 1, kPathBytesMax); }
  uint64_t handle(size_t i, const char* name) const { return integer(i, name, 1, kHandleMax); }
  // The secret behind a handle; BAD_REQUEST when there is none, or its size is out of range.
  SecretPtr secret(size_t i, const char* name, size_t min = 1, size_t max = limits::secret_bytes_max) const;
  // An enumerator of types.gen.h, from `min` to `max`.
  template <class E>
  E enumerator(size_t i, const char* name, E min, E max) const {
    return static_cast<E>(integer(i, name, static_cast<uint64_t>(min), static_cast<uint64_t>(max)));
  }

 private:
  napi_env env_;
  napi_value values_[kMax];
};

SecretPtr secretOf(uint64_t handle, const char* name, size_t min = 1, size_t max = limits::secret_bytes_max);

Napi::Value makeBytes(Napi::Env env, Bytes bytes);
// Uninitialised memory that JavaScript will own; fill `*memory` before returning.
Napi::Value makeBytes(Napi::Env env, size_t n, MutBytes* memory);
Napi::Value makeHandle(Napi::Env env, Secret&& secret);

using Binding = Napi::Value (*)(const Arguments& in);
// The only way from JavaScript into a binding: no C++ exception leaves it.
napi_value call(Binding binding, napi_env env, napi_callback_info info) noexcept;
template <Binding binding>
napi_value entry(napi_env env, napi_callback_info info) noexcept {
  return call(binding, env, info);
}

struct Export {
  const char* name;
  napi_callback callback;
};
void define(napi_env env, napi_value object, std::span<const Export> exports);

}  // namespace quorate::addon
