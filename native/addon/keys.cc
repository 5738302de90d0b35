// Keys by handle: generation and import on a worker thread, unwrapping, agreement, public halves.
#include <algorithm>

#include "addon/bindings.h"
#include "addon/job.h"
#include "core/keypair.h"
#include "core/managed.h"

namespace quorate::addon {

namespace {

// Larger than any SubjectPublicKeyInfo or point that core reads.
constexpr size_t kPublicBytesMax = 4096;

struct KeyResult {
  Secret stored;
  Buffer spki;
};

Napi::Value makeKey(Napi::Env env, KeyResult&& key) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("spki", makeBytes(env, key.spki));
  result.Set("handle", key.stored.empty() ? Napi::Number::New(env, 0) : makeHandle(env, std::move(key.stored)));
  return result;
}

Napi::Value generate(const Arguments& in) {
  const auto type = in.enumerator(0, "type", KeyType::AES_128, KeyType::RSA_4096);
  const uint64_t length = in.integer(1, "length", 0, limits::hmac_key_bytes_max);
  if (type == KeyType::HMAC && length != 0 && length < limits::hmac_key_bytes_min) {
    refuse(Code::BAD_REQUEST, "length must be 0 or an integer from " + std::to_string(limits::hmac_key_bytes_min) + " for an HMAC key");
  }
  auto key = std::make_shared<KeyResult>();
  return Job::start(
      in.env(), [=](std::string*) { return generateKey(type, length, &key->stored, &key->spki); },
      [=](Napi::Env env) { return makeKey(env, std::move(*key)); });
}

Napi::Value import(const Arguments& in) {
  const auto type = in.enumerator(0, "type", KeyType::AES_128, KeyType::RSA_4096);
  const auto format = in.enumerator(1, "format", MaterialFormat::RAW, MaterialFormat::SPKI_PUBLIC);
  in.secret(2, "material");
  const SecretPtr material = HandleTable::take(in.handle(2, "material"));
  auto key = std::make_shared<KeyResult>();
  return Job::start(
      in.env(), [=](std::string* detail) { return importKey(type, format, *material, &key->stored, &key->spki, detail); },
      [=](Napi::Env env) { return makeKey(env, std::move(*key)); });
}

struct WrappingKey {
  KeyType type{};
  KeyScheme scheme{};
  SecretPtr stored;
  KeyIdentity identity;
};

// All properties first, then their values: a getter may run JavaScript, which could detach a view read before it.
WrappingKey readWrappingKey(const Arguments& in, size_t i) {
  static constexpr const char* names[] = {"type", "scheme", "handle", "domain", "keyId", "version"};
  napi_valuetype type;
  napi_typeof(in.env(), in.value(i), &type);
  if (type != napi_object) refuse(Code::BAD_REQUEST, "kek must be an object");
  const Napi::Object object(in.env(), in.value(i));
  napi_value values[6];
  for (size_t n = 0; n < 6; n++) values[n] = object.Get(names[n]);
  WrappingKey kek;
  kek.type = static_cast<KeyType>(readInteger(in.env(), values[0], "kek.type", 1, static_cast<uint64_t>(KeyType::RSA_4096)));
  kek.scheme = static_cast<KeyScheme>(readInteger(in.env(), values[1], "kek.scheme", 1, static_cast<uint64_t>(KeyScheme::RSA_OAEP)));
  kek.stored = secretOf(readInteger(in.env(), values[2], "kek.handle", 1, kHandleMax), "kek.handle");
  kek.identity.domain = readText(in.env(), values[3], "kek.domain", 1, limits::name_bytes_max);
  const Bytes id = readBytes(in.env(), values[4], "kek.keyId", 16, 16);
  std::copy(id.begin(), id.end(), kek.identity.id.begin());
  kek.identity.version = static_cast<uint32_t>(readInteger(in.env(), values[5], "kek.version", 1, UINT32_MAX));
  return kek;
}

Code unwrapManaged(const WrappingKey& kek, Bytes context, Bytes wrapped, Secret* out) {
  if (wrapped.size() <= kManagedOverheadBytes || wrapped.size() - kManagedOverheadBytes > limits::secret_bytes_max) return Code::CIPHERTEXT_INVALID;
  std::shared_ptr<const ManagedKey> key;
  if (Code code = ManagedKey::prepare(*kek.stored, kek.identity, &key); code != Code::OK) return code;
  if (Code code = Secret::make(wrapped.size() - kManagedOverheadBytes, out); code != Code::OK) return code;
  return key->open(context, wrapped, out->span());
}

Code unwrapAes(const WrappingKey& kek, Bytes wrapped, bool padded, Secret* out) {
  if (wrapped.size() < 16 || wrapped.size() > limits::secret_bytes_max) return Code::CIPHERTEXT_INVALID;
  if (Code code = Secret::make(wrapped.size(), out); code != Code::OK) return code;
  size_t written = 0;
  const Code code = aesUnwrap(*kek.stored, padded, wrapped, out->span(), &written);
  if (code == Code::OK) out->truncate(written);
  return code;
}

Napi::Value unwrapMaterial(const Arguments& in) {
  const WrappingKey kek = readWrappingKey(in, 0);
  const Bytes context = in.bytes(1, "context", 0, limits::context_bytes_max), wrapped = in.bytes(2, "wrapped", 0, limits::frame_bytes_max);
  const bool padded = in.boolean(3, "padded");
  const bool isRsa = kek.type >= KeyType::RSA_2048;
  const bool fits = kek.scheme == KeyScheme::MANAGED  ? kek.type == KeyType::AES_256
                    : kek.scheme == KeyScheme::AES_KW ? symmetricBytes(kek.type) != 0
                                                      : kek.scheme == KeyScheme::RSA_OAEP && isRsa;
  if (!fits || (!isRsa && kek.stored->size() != symmetricBytes(kek.type))) {
    refuse(Code::BAD_REQUEST, "kek: its type, scheme and length do not go together, or do not unwrap");
  }
  Secret out;
  require(kek.scheme == KeyScheme::MANAGED  ? unwrapManaged(kek, context, wrapped, &out)
          : kek.scheme == KeyScheme::AES_KW ? unwrapAes(kek, wrapped, padded, &out)
                                            : oaepDecrypt(*kek.stored, Hash::SHA_256, context, wrapped, &out));
  // An empty plaintext is authentic, but nothing that can be a key.
  if (out.empty()) refuse(Code::CIPHERTEXT_INVALID, "nothing is wrapped in it");
  return makeHandle(in.env(), std::move(out));
}

Napi::Value agreeHandle(const Arguments& in) {
  const auto type = in.enumerator(0, "type", KeyType::EC_P256, KeyType::X25519);
  if (type == KeyType::ED25519) refuse(Code::BAD_REQUEST, "type must be an EC type or X25519");
  const SecretPtr stored = in.secret(1, "privateKey");
  Secret z;
  require(agree(type, *stored, in.bytes(2, "peer", 1, kPublicBytesMax), &z));
  return makeHandle(in.env(), std::move(z));
}

Napi::Value pem(const Arguments& in) { return Napi::String::New(in.env(), publicPem(in.bytes(0, "spki", 1, kPublicBytesMax))); }

Napi::Value jwk(const Arguments& in) {
  const auto type = in.enumerator(0, "type", KeyType::EC_P256, KeyType::RSA_4096);
  std::string json;
  require(publicJwk(type, in.bytes(1, "spki", 1, kPublicBytesMax), &json));
  return Napi::String::New(in.env(), json);
}

constexpr size_t kEd25519SeedBytes = 32, kEd25519PublicBytes = 32;
// It is hashed twice on the event loop: what the daemon signs itself (access tokens, checkpoints) is far below.
constexpr size_t kSignedBytesMax = 64 * 1024;

Napi::Value ed25519Public(const Arguments& in) {
  const SecretPtr seed = in.secret(0, "seed", kEd25519SeedBytes, kEd25519SeedBytes);
  Secret stored;
  Buffer spki;
  std::string detail;
  require(importKey(KeyType::ED25519, MaterialFormat::RAW, *seed, &stored, &spki, &detail), detail);
  // RFC 8410: the raw key is the last part of its SubjectPublicKeyInfo.
  return makeBytes(in.env(), Bytes(spki).last(kEd25519PublicBytes));
}

Napi::Value ed25519Sign(const Arguments& in) {
  const SecretPtr seed = in.secret(0, "seed", kEd25519SeedBytes, kEd25519SeedBytes);
  Buffer signature;
  const SignOptions options{.type = KeyType::ED25519, .scheme = KeyScheme::EDDSA};
  require(sign(options, *seed, in.bytes(1, "data", 0, kSignedBytesMax), &signature));
  return makeBytes(in.env(), signature);
}

constexpr Export kExports[] = {
    {"ed25519Public", entry<ed25519Public>}, {"ed25519Sign", entry<ed25519Sign>},
    {"generateKey", entry<generate>}, {"importKey", entry<import>},  {"unwrapMaterial", entry<unwrapMaterial>},
    {"agree", entry<agreeHandle>},    {"publicPem", entry<pem>},     {"publicJwk", entry<jwk>},
};

}  // namespace

std::span<const Export> keyExports() { return kExports; }

}  // namespace quorate::addon
