// The module: exports of src/crypto/addon.ts.
#include <atomic>

#include "addon/bindings.h"

namespace quorate::addon {

namespace {

// The arena, the handles and the plane belong to the process; a second environment (a worker thread, a vm context of its own)
// would share the daemon's keys without its checks.
std::atomic<bool> loaded{false};

napi_value load(napi_env env, napi_value exports) {
  if (loaded.exchange(true)) {
    return throwError(env, Code::INTERNAL, "the addon serves one environment of a process: load it on the main thread, once");
  }
  for (const auto table : {processExports(), secretExports(), recordExports(), keyExports(), hpkeExports(), transportExports(), objectExports(), planeExports(), sessionExports(), nameExports(), auditExports(), credentialExports()}) define(env, exports, table);
  napi_value primitives;
  napi_create_object(env, &primitives);
  for (const auto table : {gcmExports(), managedExports(), symmetricExports(), asymmetricExports(), jsonExports()}) define(env, primitives, table);
  napi_set_named_property(env, exports, "primitives", primitives);
  return exports;
}

}  // namespace

}  // namespace quorate::addon

NAPI_MODULE_INIT() { return quorate::addon::load(env, exports); }
