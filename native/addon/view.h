// A Uint8Array's memory by the shortest way, for the calls that bench measures. See arguments.h for the others.
#pragma once
#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace quorate::addon {

struct View {
  uint8_t* data = nullptr;
  size_t size = 0;
  bool read(napi_env env, napi_value value) {
    napi_typedarray_type type;
    void* memory = nullptr;
    if (napi_get_typedarray_info(env, value, &type, &size, &memory, nullptr, nullptr) != napi_ok || type != napi_uint8_array) return false;
    static uint8_t nothing[1];  // an empty or detached view has no memory
    data = size == 0 ? nothing : static_cast<uint8_t*>(memory);
    return true;
  }
};

// True when the views share bytes without beginning at the same place: core reads one while it writes the other.
inline bool overlapsApart(const View& in, const View& out, size_t outSize) {
  const auto a = reinterpret_cast<uintptr_t>(in.data), b = reinterpret_cast<uintptr_t>(out.data);
  return a != b && a < b + outSize && b < a + in.size;
}
inline bool overlaps(const View& in, const View& out, size_t outSize) {
  return in.size != 0 && (in.data == out.data || overlapsApart(in, out, outSize));
}

inline napi_value makeLength(napi_env env, size_t length) {
  napi_value result = nullptr;
  if (length <= UINT32_MAX) {
    napi_create_uint32(env, static_cast<uint32_t>(length), &result);
  } else {
    napi_create_double(env, static_cast<double>(length), &result);
  }
  return result;
}

inline napi_value makeFailure(napi_env env) {
  napi_value result = nullptr;
  napi_create_int32(env, -1, &result);
  return result;
}

}  // namespace quorate::addon
