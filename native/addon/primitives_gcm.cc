// primitives.gcm*: raw AES-GCM of a chosen kernel. Bench measures these against WebCrypto, so they take the short way:
// one call for all arguments, one for each view (napi_get_typedarray_info without its ArrayBuffer is the cheapest there is),
// no object made, no exception thrown.
#include "addon/bindings.h"
#include "addon/prepared.h"
#include "addon/view.h"
#include "core/gcm.h"

namespace quorate::addon {

namespace {

struct PreparedGcm {
  const GcmImplementation* implementation = nullptr;
  ArenaBox<GcmKey> key;
};
PreparedTable<PreparedGcm> table;

Napi::Value gcmPrepare(const Arguments& in) {
  const std::string name = in.text(0, "kernel", 0, 16);
  const Bytes material = in.bytes(1, "keyMaterial", 16, 32);
  if (material.size() % 8 != 0) refuse(Code::BAD_REQUEST, "keyMaterial must have 16, 24 or 32 bytes");
  PreparedGcm prepared;
  prepared.implementation = name.empty() ? &gcm() : gcmByName(name);
  if (prepared.implementation == nullptr) refuse(Code::BAD_REQUEST, "kernel is unknown, or does not run on this CPU");
  require(ArenaBox<GcmKey>::make(&prepared.key));
  prepared.implementation->init(prepared.key.get(), material.data(), material.size());
  return Napi::Number::New(in.env(), table.put(std::move(prepared)));
}

Napi::Value gcmDrop(const Arguments& in) {
  table.drop(in.integer(0, "prepared", 1, UINT32_MAX));
  return {};
}

napi_value gcmSeal(napi_env env, napi_callback_info info) {
  size_t count = 5;
  napi_value values[5];
  napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  const PreparedGcm* prepared = table.get(env, values[0]);
  View iv, aad, in, out;
  if (prepared == nullptr || !iv.read(env, values[1]) || !aad.read(env, values[2]) || !in.read(env, values[3]) || !out.read(env, values[4]) ||
      iv.size != 12 || out.size < in.size + 16 || overlapsApart(in, out, in.size + 16)) {
    return throwError(env, Code::BAD_REQUEST, "gcmSeal takes (prepared, iv of 12 bytes, aad, plaintext, out of plaintext + 16 bytes, the same place or apart)");
  }
  prepared->implementation->seal(prepared->key.get(), iv.data, aad.data, aad.size, in.data, in.size, out.data, out.data + in.size);
  return makeLength(env, in.size + 16);
}

napi_value gcmOpen(napi_env env, napi_callback_info info) {
  size_t count = 6;
  napi_value values[6];
  napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  const PreparedGcm* prepared = table.get(env, values[0]);
  View iv, aad, in, out;
  double tagBytes = 0;
  if (prepared == nullptr || !iv.read(env, values[1]) || !aad.read(env, values[2]) || !in.read(env, values[3]) ||
      napi_get_value_double(env, values[4], &tagBytes) != napi_ok || !out.read(env, values[5]) || iv.size != 12 ||
      !(tagBytes >= 12 && tagBytes <= 16) || tagBytes != static_cast<double>(static_cast<size_t>(tagBytes))) {
    return throwError(env, Code::BAD_REQUEST, "gcmOpen takes (prepared, iv of 12 bytes, aad, sealed, tagBytes 12 to 16, out)");
  }
  const size_t tagSize = static_cast<size_t>(tagBytes);
  if (in.size < tagSize) return makeFailure(env);
  const size_t length = in.size - tagSize;
  if (out.size < length || overlapsApart(in, out, length)) {
    return throwError(env, Code::BAD_REQUEST, "gcmOpen: out must have the plaintext's length, the same place or apart");
  }
  const bool opened = prepared->implementation->open(prepared->key.get(), iv.data, aad.data, aad.size, in.data, length, out.data, in.data + length, tagSize);
  return opened ? makeLength(env, length) : makeFailure(env);
}

constexpr Export kExports[] = {
    {"gcmPrepare", entry<gcmPrepare>}, {"gcmDrop", entry<gcmDrop>}, {"gcmSeal", gcmSeal}, {"gcmOpen", gcmOpen}};

}  // namespace

std::span<const Export> gcmExports() { return kExports; }

}  // namespace quorate::addon
