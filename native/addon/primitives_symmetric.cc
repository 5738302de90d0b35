// primitives: MACs, derivation, key wrap, CBC and CTR over plain bytes. A failure of the data is null; of an argument, BAD_REQUEST.
#include "addon/bindings.h"
#include "core/symmetric.h"

namespace quorate::addon {

namespace {

constexpr size_t kBlockBytes = 16;

Bytes aesKey(const Arguments& in, size_t i, const char* name) {
  const Bytes material = in.bytes(i, name, 16, 32);
  if (material.size() % 8 != 0) refuse(Code::BAD_REQUEST, std::string(name) + " must have 16, 24 or 32 bytes");
  return material;
}

// null for what the data did, an exception for everything else.
Napi::Value bytesOrNull(const Arguments& in, Code code, Bytes out) {
  if (code == Code::OK) return makeBytes(in.env(), out);
  if (code == Code::CIPHERTEXT_INVALID || code == Code::BAD_REQUEST || code == Code::INPUT_TOO_LONG) return in.env().Null();
  refuse(code, "");
}

Hash hashOf(const Arguments& in, size_t i) { return in.enumerator(i, "hash", Hash::SHA_1, Hash::SHA_512); }

Napi::Value hmacBytes(const Arguments& in) {
  const Hash hash = hashOf(in, 0);
  uint8_t out[64];
  require(hmac(hash, in.bytes(1, "keyMaterial"), in.bytes(2, "data"), out));
  return makeBytes(in.env(), {out, hashBytes(hash)});
}

Napi::Value hkdfBytes(const Arguments& in) {
  const Hash hash = hashOf(in, 0);
  const Bytes material = in.bytes(1, "keyMaterial"), salt = in.bytes(2, "salt"), info = in.bytes(3, "info");
  Buffer out(in.integer(4, "n", 1, 65536));
  require(hkdf(hash, material, salt, info, out));
  return makeBytes(in.env(), out);
}

Napi::Value cmacBytes(const Arguments& in) {
  uint8_t out[kBlockBytes];
  require(aesCmac(aesKey(in, 0, "keyMaterial"), in.bytes(1, "data"), out));
  return makeBytes(in.env(), out);
}

Napi::Value keyWrap(const Arguments& in) {
  const Bytes kek = aesKey(in, 0, "kek");
  const bool padded = in.boolean(1, "padded");
  const Bytes data = in.bytes(2, "data", 0, limits::frame_bytes_max);
  Buffer out(data.size() + kBlockBytes);
  size_t written = 0;
  const Code code = aesWrap(kek, padded, data, out, &written);
  return bytesOrNull(in, code, {out.data(), written});
}

Napi::Value keyUnwrap(const Arguments& in) {
  const Bytes kek = aesKey(in, 0, "kek");
  const bool padded = in.boolean(1, "padded");
  const Bytes wrapped = in.bytes(2, "wrapped", 0, limits::frame_bytes_max);
  Buffer out(wrapped.size());
  size_t written = 0;
  const Code code = aesUnwrap(kek, padded, wrapped, out, &written);
  return bytesOrNull(in, code, {out.data(), written});
}

Napi::Value cbcEncrypt(const Arguments& in) {
  const Bytes material = aesKey(in, 0, "keyMaterial"), iv = in.bytes(1, "iv", kBlockBytes, kBlockBytes);
  const Bytes data = in.bytes(2, "data", 0, limits::frame_bytes_max);
  Buffer out(data.size() + kBlockBytes);
  size_t written = 0;
  require(aesCbcEncrypt(material, iv.data(), data, out, &written));
  return makeBytes(in.env(), {out.data(), written});
}

Napi::Value cbcDecrypt(const Arguments& in) {
  const Bytes material = aesKey(in, 0, "keyMaterial"), iv = in.bytes(1, "iv", kBlockBytes, kBlockBytes);
  const Bytes data = in.bytes(2, "data", 0, limits::frame_bytes_max);
  Buffer out(data.size() + kBlockBytes);
  size_t written = 0;
  const Code code = aesCbcDecrypt(material, iv.data(), data, out, &written);
  return bytesOrNull(in, code, {out.data(), written});
}

Napi::Value ctr(const Arguments& in) {
  const Bytes material = aesKey(in, 0, "keyMaterial"), counter = in.bytes(1, "counter", kBlockBytes, kBlockBytes);
  const Bytes data = in.bytes(2, "data", 0, limits::frame_bytes_max);
  MutBytes out;
  const Napi::Value result = makeBytes(in.env(), data.size(), &out);
  require(aesCtr(material, counter.data(), data, out));
  return result;
}

constexpr Export kExports[] = {
    {"hmac", entry<hmacBytes>},        {"hkdf", entry<hkdfBytes>},        {"cmac", entry<cmacBytes>}, {"keyWrap", entry<keyWrap>},
    {"keyUnwrap", entry<keyUnwrap>},   {"cbcEncrypt", entry<cbcEncrypt>}, {"cbcDecrypt", entry<cbcDecrypt>}, {"ctr", entry<ctr>},
};

}  // namespace

std::span<const Export> symmetricExports() { return kExports; }

}  // namespace quorate::addon
