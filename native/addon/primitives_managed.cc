// primitives.managed* and xaes*: Quorate's own format and the construction below it.
#include <algorithm>

#include "addon/bindings.h"
#include "addon/prepared.h"
#include "addon/view.h"
#include "core/managed.h"

namespace quorate::addon {

namespace {

using PreparedManaged = std::shared_ptr<const ManagedKey>;
PreparedTable<PreparedManaged> table;

constexpr size_t kXaesNonceBytes = 24;
constexpr size_t kTagBytes = 16;

Napi::Value managedPrepare(const Arguments& in) {
  const Bytes material = in.bytes(0, "keyMaterial", 32, 32);
  KeyIdentity identity;
  identity.domain = in.text(1, "domain", 1, limits::name_bytes_max);
  const Bytes id = in.bytes(2, "keyId", 16, 16);
  std::copy(id.begin(), id.end(), identity.id.begin());
  identity.version = static_cast<uint32_t>(in.integer(3, "version", 1, UINT32_MAX));
  PreparedManaged prepared;
  require(ManagedKey::prepare(material, identity, &prepared));
  return Napi::Number::New(in.env(), table.put(std::move(prepared)));
}

Napi::Value managedDrop(const Arguments& in) {
  table.drop(in.integer(0, "prepared", 1, UINT32_MAX));
  return {};
}

napi_value managedSeal(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value values[4];
  napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  const PreparedManaged* prepared = table.get(env, values[0]);
  View context, in, out;
  if (prepared == nullptr || !context.read(env, values[1]) || !in.read(env, values[2]) || !out.read(env, values[3]) ||
      context.size > limits::context_bytes_max || out.size < in.size + kManagedOverheadBytes || overlaps(in, out, in.size + kManagedOverheadBytes)) {
    return throwError(env, Code::BAD_REQUEST, "managedSeal takes (prepared, context, plaintext, out of plaintext + 96 bytes, apart)");
  }
  const Code code = (*prepared)->seal({context.data, context.size}, {in.data, in.size}, {out.data, in.size + kManagedOverheadBytes});
  if (code != Code::OK) return throwError(env, code, "");
  return makeLength(env, in.size + kManagedOverheadBytes);
}

napi_value managedOpen(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value values[4];
  napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  const PreparedManaged* prepared = table.get(env, values[0]);
  View context, in, out;
  if (prepared == nullptr || !context.read(env, values[1]) || !in.read(env, values[2]) || !out.read(env, values[3]) || context.size > limits::context_bytes_max) {
    return throwError(env, Code::BAD_REQUEST, "managedOpen takes (prepared, context, sealed, out)");
  }
  if (in.size < kManagedOverheadBytes) return makeFailure(env);
  const size_t length = in.size - kManagedOverheadBytes;
  if (out.size < length || overlaps(in, out, length)) {
    return throwError(env, Code::BAD_REQUEST, "managedOpen: out must have the plaintext's length, apart from sealed");
  }
  const Code code = (*prepared)->open({context.data, context.size}, {in.data, in.size}, {out.data, length});
  return code == Code::OK ? makeLength(env, length) : makeFailure(env);
}

Napi::Value xaesSealBytes(const Arguments& in) {
  const Bytes material = in.bytes(0, "keyMaterial", 32, 32), nonce = in.bytes(1, "nonce", kXaesNonceBytes, kXaesNonceBytes);
  const Bytes aad = in.bytes(2, "aad"), plaintext = in.bytes(3, "plaintext", 0, limits::frame_bytes_max);
  MutBytes out;
  const Napi::Value result = makeBytes(in.env(), plaintext.size() + kTagBytes, &out);
  require(xaesSeal(material, nonce.data(), aad, plaintext, out));
  return result;
}

Napi::Value xaesOpenBytes(const Arguments& in) {
  const Bytes material = in.bytes(0, "keyMaterial", 32, 32), nonce = in.bytes(1, "nonce", kXaesNonceBytes, kXaesNonceBytes);
  const Bytes aad = in.bytes(2, "aad"), sealed = in.bytes(3, "sealed", 0, limits::frame_bytes_max);
  if (sealed.size() < kTagBytes) return in.env().Null();
  MutBytes out;
  const Napi::Value result = makeBytes(in.env(), sealed.size() - kTagBytes, &out);
  return xaesOpen(material, nonce.data(), aad, sealed, out) == Code::OK ? result : in.env().Null();
}

constexpr Export kExports[] = {
    {"managedPrepare", entry<managedPrepare>}, {"managedDrop", entry<managedDrop>},   {"managedSeal", managedSeal},
    {"managedOpen", managedOpen},              {"xaesSeal", entry<xaesSealBytes>}, {"xaesOpen", entry<xaesOpenBytes>},
};

}  // namespace

std::span<const Export> managedExports() { return kExports; }

}  // namespace quorate::addon
