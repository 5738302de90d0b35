#include "addon/arguments.h"

#include <cmath>
#include <cstring>

namespace quorate::addon {

void refuse(Code code, std::string detail) { throw Refusal{code, std::move(detail)}; }

napi_value makeError(napi_env env, Code code, const std::string& detail) {
  const std::string text = std::string(codeName(code)) + ": " + (detail.empty() ? codeMessage(code) : detail);
  napi_value name, message, error = nullptr, why, yes;
  napi_create_string_utf8(env, codeName(code), NAPI_AUTO_LENGTH, &name);
  napi_create_string_utf8(env, text.data(), text.size(), &message);
  napi_create_string_utf8(env, detail.data(), detail.size(), &why);
  napi_get_boolean(env, true, &yes);
  if (napi_create_error(env, name, message, &error) != napi_ok) return nullptr;
  napi_set_named_property(env, error, "detail", why);
  napi_set_named_property(env, error, "quorate", yes);
  return error;
}

napi_value throwError(napi_env env, Code code, const std::string& detail) {
  if (napi_value error = makeError(env, code, detail)) napi_throw(env, error);
  return nullptr;
}

namespace {

[[noreturn]] void refuseRange(const char* name, const char* unit, uint64_t min, uint64_t max) {
  refuse(Code::BAD_REQUEST, std::string(name) + " must be " + unit + " from " + std::to_string(min) + " to " + std::to_string(max));
}

}  // namespace

MutBytes readBytes(napi_env env, napi_value value, const char* name, size_t min, size_t max) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array) {
    refuse(Code::BAD_REQUEST, std::string(name) + " must be a Uint8Array");
  }
  if (length < min || length > max) {
    if (min == max) refuse(Code::BAD_REQUEST, std::string(name) + " must have " + std::to_string(min) + " bytes");
    refuse(Code::BAD_REQUEST, std::string(name) + " must have " + std::to_string(min) + " to " + std::to_string(max) + " bytes");
  }
  // An empty or detached view has no memory: core compares and copies zero bytes of something.
  static uint8_t nothing[1];
  return {length == 0 ? nothing : static_cast<uint8_t*>(data), length};
}

uint64_t readInteger(napi_env env, napi_value value, const char* name, uint64_t min, uint64_t max) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= static_cast<double>(min) && number <= static_cast<double>(max)) || number != std::trunc(number)) {
    refuseRange(name, "an integer", min, max);
  }
  return static_cast<uint64_t>(number);
}

bool readBoolean(napi_env env, napi_value value, const char* name) {
  bool result = false;
  if (napi_get_value_bool(env, value, &result) != napi_ok) refuse(Code::BAD_REQUEST, std::string(name) + " must be a boolean");
  return result;
}

std::string readText(napi_env env, napi_value value, const char* name, size_t min, size_t max) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) refuse(Code::BAD_REQUEST, std::string(name) + " must be a string");
  if (length < min || length > max) refuseRange(name, "a string with a length in bytes", min, max);
  std::string text(length + 1, '\0');
  napi_get_value_string_utf8(env, value, text.data(), text.size(), &length);
  text.resize(length);
  if (std::memchr(text.data(), 0, text.size()) != nullptr) refuse(Code::BAD_REQUEST, std::string(name) + " has a NUL byte");
  return text;
}

Arguments::Arguments(napi_env env, napi_callback_info info) : env_(env) {
  size_t count = kMax;
  napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);  // what was not given becomes undefined
}

SecretPtr secretOf(uint64_t handle, const char* name, size_t min, size_t max) {
  SecretPtr secret = HandleTable::get(handle);
  if (!secret) refuse(Code::BAD_REQUEST, std::string(name) + ": no such handle");
  if (secret->size() < min || secret->size() > max) refuseRange(name, "a secret with a length in bytes", min, max);
  return secret;
}

SecretPtr Arguments::secret(size_t i, const char* name, size_t min, size_t max) const { return secretOf(handle(i, name), name, min, max); }

Napi::Value makeBytes(Napi::Env env, size_t n, MutBytes* memory) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, n);
  *memory = {static_cast<uint8_t*>(buffer.Data()), n};
  return Napi::Uint8Array::New(env, n, buffer, 0);
}

Napi::Value makeBytes(Napi::Env env, Bytes bytes) {
  MutBytes memory;
  Napi::Value result = makeBytes(env, bytes.size(), &memory);
  if (!bytes.empty()) std::memcpy(memory.data(), bytes.data(), bytes.size());
  return result;
}

Napi::Value makeHandle(Napi::Env env, Secret&& secret) {
  return Napi::Number::New(env, static_cast<double>(HandleTable::put(std::move(secret))));
}

napi_value call(Binding binding, napi_env env, napi_callback_info info) noexcept {
  try {
    return binding(Arguments(env, info));
  } catch (const Refusal& refusal) {
    return throwError(env, refusal.code, refusal.detail);
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
  } catch (const std::bad_alloc&) {
    return throwError(env, Code::LIMIT_EXCEEDED, "out of memory");
  } catch (const std::exception& error) {
    return throwError(env, Code::INTERNAL, error.what());
  }
  return nullptr;
}

void define(napi_env env, napi_value object, std::span<const Export> exports) {
  for (const Export& one : exports) {
    napi_property_descriptor property{one.name, nullptr, one.callback, nullptr, nullptr, nullptr, napi_enumerable, nullptr};
    napi_define_properties(env, object, 1, &property);
  }
}

}  // namespace quorate::addon
