// HPKE by handles: how a secret of the arena travels to another host's arena.
#include "core/hpke.h"

#include "addon/bindings.h"

namespace quorate::addon {

namespace {

constexpr size_t kTextBytesMax = 64 * 1024;  // info, aad

Napi::Value keyPair(const Arguments& in) {
  Secret privateKey;
  uint8_t publicKey[kHpkeKeyBytes];
  require(hpkeKeyPair(&privateKey, publicKey));
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("publicKey", makeBytes(in.env(), publicKey));
  result.Set("handle", makeHandle(in.env(), std::move(privateKey)));
  return result;
}

Napi::Value publicOf(const Arguments& in) {
  uint8_t publicKey[kHpkeKeyBytes];
  require(hpkePublic(*in.secret(0, "handle", kHpkeKeyBytes, kHpkeKeyBytes), publicKey));
  return makeBytes(in.env(), publicKey);
}

Napi::Value seal(const Arguments& in) {
  const Bytes publicKey = in.bytes(0, "publicKey", kHpkeKeyBytes, kHpkeKeyBytes);
  const Bytes info = in.bytes(1, "info", 0, kTextBytesMax), aad = in.bytes(2, "aad", 0, kTextBytesMax);
  const SecretPtr secret = in.secret(3, "secret");
  Buffer sealed(secret->size() + kHpkeOverheadBytes);
  const Code code = hpkeSeal(publicKey, info, aad, *secret, sealed);
  require(code, code == Code::KEY_INVALID ? "the public key is a point of small order" : "");
  return makeBytes(in.env(), sealed);
}

Napi::Value open(const Arguments& in) {
  const SecretPtr privateKey = in.secret(0, "privateKey", kHpkeKeyBytes, kHpkeKeyBytes);
  const Bytes info = in.bytes(1, "info", 0, kTextBytesMax), aad = in.bytes(2, "aad", 0, kTextBytesMax);
  const Bytes sealed = in.bytes(3, "sealed");
  if (sealed.size() <= kHpkeOverheadBytes || sealed.size() > limits::secret_bytes_max + kHpkeOverheadBytes) {
    refuse(Code::CIPHERTEXT_INVALID, "a sealed secret has an impossible length");
  }
  Secret out;
  require(Secret::make(sealed.size() - kHpkeOverheadBytes, &out));
  require(hpkeOpen(*privateKey, info, aad, sealed, out.span()));
  return makeHandle(in.env(), std::move(out));
}

constexpr Export kExports[] = {
    {"hpkeKeyPair", entry<keyPair>}, {"hpkePublic", entry<publicOf>}, {"hpkeSeal", entry<seal>}, {"hpkeOpen", entry<open>},
};

}  // namespace

std::span<const Export> hpkeExports() { return kExports; }

}  // namespace quorate::addon
