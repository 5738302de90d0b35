// Material wrapped to a key from outside, and what was wrapped outside to a key of ours.
#include "core/transport.h"

#include "addon/bindings.h"

namespace quorate::addon {

namespace {

// Larger than any SubjectPublicKeyInfo that core reads.
constexpr size_t kPublicBytesMax = 4096;

TransportRecipient recipient(const Arguments& in, size_t i) {
  TransportRecipient to;
  std::string detail;
  require(readRecipient(in.bytes(i, "recipient", 1, kPublicBytesMax), &to, &detail), detail);
  return to;
}

Napi::Value transportRecipient(const Arguments& in) {
  const TransportRecipient to = recipient(in, 0);
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("type", Napi::Number::New(in.env(), static_cast<double>(to.type)));
  result.Set("mechanism", Napi::Number::New(in.env(), static_cast<double>(to.mechanism)));
  return result;
}

Napi::Value wrap(const Arguments& in) {
  const TransportRecipient to = recipient(in, 0);
  const Bytes aad = in.bytes(1, "aad", 0, limits::context_bytes_max);
  const auto type = in.enumerator(2, "type", KeyType::AES_128, KeyType::RSA_4096);
  const SecretPtr stored = in.secret(3, "material");
  Buffer wrapped;
  require(wrapTransport(to, aad, type, *stored, in.bytes(4, "spki", 0, kPublicBytesMax), &wrapped));
  return makeBytes(in.env(), wrapped);
}

Napi::Value unwrap(const Arguments& in) {
  TransportOpener with;
  with.type = in.enumerator(0, "type", KeyType::X25519, KeyType::RSA_4096);
  const SecretPtr stored = in.secret(1, "privateKey");
  with.stored = *stored;
  with.mechanism = in.enumerator(2, "mechanism", WrapMechanism::WRAP_RSA_OAEP, WrapMechanism::WRAP_HPKE);
  with.hash = in.enumerator(3, "hash", Hash::SHA_1, Hash::SHA_512);
  with.context = in.bytes(4, "context", 0, limits::context_bytes_max);
  Secret out;
  require(unwrapTransport(with, in.bytes(5, "wrapped", 0, limits::frame_bytes_max), &out));
  return makeHandle(in.env(), std::move(out));
}

// Handle 0: an empty value, in both directions.
Napi::Value wrapOne(const Arguments& in) {
  const TransportRecipient to = recipient(in, 0);
  const Bytes aad = in.bytes(1, "aad", 0, limits::context_bytes_max);
  const uint64_t handle = in.integer(2, "value", 0, kHandleMax);
  const SecretPtr value = handle == 0 ? nullptr : secretOf(handle, "value", 1, limits::secret_value_bytes_max);
  Buffer wrapped;
  require(wrapValue(to, aad, value == nullptr ? Bytes{} : Bytes(*value), &wrapped));
  return makeBytes(in.env(), wrapped);
}

Napi::Value unwrapOne(const Arguments& in) {
  TransportOpener with;
  with.type = in.enumerator(0, "type", KeyType::X25519, KeyType::RSA_4096);
  const SecretPtr stored = in.secret(1, "privateKey");
  with.stored = *stored;
  with.context = in.bytes(2, "aad", 0, limits::context_bytes_max);
  Secret out;
  require(unwrapValue(with, in.bytes(3, "wrapped", 0, limits::frame_bytes_max), &out));
  return out.empty() ? Napi::Number::New(in.env(), 0) : makeHandle(in.env(), std::move(out));
}

constexpr Export kExports[] = {
    {"wrapValue", entry<wrapOne>},
    {"unwrapValue", entry<unwrapOne>},
    {"transportRecipient", entry<transportRecipient>},
    {"wrapTransport", entry<wrap>},
    {"unwrapTransport", entry<unwrap>},
};

}  // namespace

std::span<const Export> transportExports() { return kExports; }

}  // namespace quorate::addon
