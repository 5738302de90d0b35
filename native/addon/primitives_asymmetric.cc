// primitives: import, export, signatures, OAEP and agreement over plain bytes. A failure of the data is null or false; options
// that no data can satisfy throw core's code.
#include "addon/bindings.h"
#include "core/keypair.h"

namespace quorate::addon {

namespace {

constexpr size_t kMaterialBytesMax = 16 * 1024;

bool isDataFailure(Code code) {
  return code == Code::KEY_INVALID || code == Code::CIPHERTEXT_INVALID || code == Code::SIGNATURE_INVALID || code == Code::DIGEST_INVALID ||
         code == Code::INPUT_TOO_LONG;
}

Napi::Value bytesOrNull(const Arguments& in, Code code, Bytes out) {
  if (code == Code::OK) return makeBytes(in.env(), out);
  if (isDataFailure(code)) return in.env().Null();
  refuse(code, "");
}

KeyType typeOf(const Arguments& in) { return in.enumerator(0, "type", KeyType::AES_128, KeyType::RSA_4096); }
MaterialFormat formatOf(const Arguments& in) { return in.enumerator(1, "format", MaterialFormat::RAW, MaterialFormat::SPKI_PUBLIC); }

Napi::Value importBytes(const Arguments& in) {
  const KeyType type = typeOf(in);
  const MaterialFormat format = formatOf(in);
  Secret stored;
  Buffer spki;
  std::string detail;
  const Code code = importKey(type, format, in.bytes(2, "material", 0, kMaterialBytesMax), &stored, &spki, &detail);
  if (isDataFailure(code)) return in.env().Null();
  require(code, detail);
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("stored", makeBytes(in.env(), stored));
  result.Set("spki", makeBytes(in.env(), spki));
  return result;
}

Napi::Value exportBytes(const Arguments& in) {
  const KeyType type = typeOf(in);
  const MaterialFormat format = formatOf(in);
  const Bytes stored = in.bytes(2, "stored", 0, kMaterialBytesMax), spki = in.bytes(3, "spki", 0, kMaterialBytesMax);
  Secret out;
  const Code code = exportMaterial(type, format, stored, spki, &out);
  return bytesOrNull(in, code, out);
}

// (type, scheme, hash, prehashed, format, saltBytes): what sign and verify begin with.
SignOptions optionsOf(const Arguments& in) {
  SignOptions options;
  options.type = typeOf(in);
  options.scheme = in.enumerator(1, "scheme", KeyScheme::MANAGED, KeyScheme::RSA_OAEP);
  options.hash = in.enumerator(2, "hash", Hash::HASH_UNSPECIFIED, Hash::SHA_512);
  options.prehashed = in.boolean(3, "prehashed");
  options.format = in.enumerator(4, "format", SignatureFormat::SIGNATURE_FORMAT_UNSPECIFIED, SignatureFormat::P1363);
  options.saltBytes = static_cast<uint32_t>(in.integer(5, "saltBytes", 0, 512));
  return options;
}

Napi::Value signBytes(const Arguments& in) {
  const SignOptions options = optionsOf(in);
  const Bytes stored = in.bytes(6, "stored", 1, kMaterialBytesMax), input = in.bytes(7, "input", 0, limits::frame_bytes_max);
  Buffer signature;
  const Code code = sign(options, stored, input, &signature);
  return bytesOrNull(in, code, signature);
}

Napi::Value verifyBytes(const Arguments& in) {
  const SignOptions options = optionsOf(in);
  const Bytes spki = in.bytes(6, "spki", 1, kMaterialBytesMax), input = in.bytes(7, "input", 0, limits::frame_bytes_max);
  bool valid = false;
  const Code code = verify(options, spki, input, in.bytes(8, "signature", 0, kMaterialBytesMax), &valid);
  if (!isDataFailure(code)) require(code);
  return Napi::Boolean::New(in.env(), code == Code::OK && valid);
}

Napi::Value oaepEncryptBytes(const Arguments& in) {
  const Bytes spki = in.bytes(0, "spki", 1, kMaterialBytesMax);
  const Hash hash = in.enumerator(1, "hash", Hash::HASH_UNSPECIFIED, Hash::SHA_512);
  Buffer out;
  const Code code = oaepEncrypt(spki, hash, in.bytes(2, "label"), in.bytes(3, "data", 0, limits::frame_bytes_max), &out);
  return bytesOrNull(in, code, out);
}

Napi::Value oaepDecryptBytes(const Arguments& in) {
  const Bytes stored = in.bytes(0, "stored", 1, kMaterialBytesMax);
  const Hash hash = in.enumerator(1, "hash", Hash::HASH_UNSPECIFIED, Hash::SHA_512);
  Secret out;
  const Code code = oaepDecrypt(stored, hash, in.bytes(2, "label"), in.bytes(3, "data", 0, limits::frame_bytes_max), &out);
  return bytesOrNull(in, code, out);
}

Napi::Value agreeBytes(const Arguments& in) {
  const auto type = in.enumerator(0, "type", KeyType::EC_P256, KeyType::X25519);
  if (type == KeyType::ED25519) refuse(Code::BAD_REQUEST, "type must be an EC type or X25519");
  const Bytes stored = in.bytes(1, "stored", 1, kMaterialBytesMax);
  Secret z;
  const Code code = agree(type, stored, in.bytes(2, "peer", 0, kMaterialBytesMax), &z);
  return bytesOrNull(in, code, z);
}

constexpr Export kExports[] = {
    {"importKey", entry<importBytes>}, {"exportMaterial", entry<exportBytes>},     {"sign", entry<signBytes>},
    {"verify", entry<verifyBytes>},    {"oaepEncrypt", entry<oaepEncryptBytes>}, {"oaepDecrypt", entry<oaepDecryptBytes>},
    {"agree", entry<agreeBytes>},
};

}  // namespace

std::span<const Export> asymmetricExports() { return kExports; }

}  // namespace quorate::addon
