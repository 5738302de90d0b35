// Secrets by handle: make, drop, and carry between files and the arena.
#include "addon/bindings.h"
#include "addon/system.h"

namespace quorate::addon {

namespace {

Napi::Value secretRandom(const Arguments& in) {
  Secret secret;
  require(Secret::random(in.integer(0, "n", 1, limits::secret_bytes_max), &secret));
  return makeHandle(in.env(), std::move(secret));
}

Napi::Value secretFromBytes(const Arguments& in) {
  const MutBytes bytes = readBytes(in.env(), in.value(0), "bytes", 1, limits::secret_bytes_max);
  Secret secret;
  require(Secret::copy(bytes, &secret));
  wipe(bytes);
  return makeHandle(in.env(), std::move(secret));
}

// A handle that is gone already is dropped: a clean-up after a failure must not hide that failure.
Napi::Value secretDrop(const Arguments& in) {
  HandleTable::drop(in.handle(0, "handle"));
  return {};
}

Napi::Value secretSize(const Arguments& in) {
  return Napi::Number::New(in.env(), static_cast<double>(in.secret(0, "handle", 1, limits::secret_value_bytes_max)->size()));
}

Napi::Value secretCount(const Arguments& in) { return Napi::Number::New(in.env(), static_cast<double>(HandleTable::size())); }

Napi::Value secretReadFile(const Arguments& in) {
  Secret secret;
  std::string detail;
  require(readSecretFile(in.path(0, "path"), in.integer(1, "maxBytes", 1, limits::secret_bytes_max), &secret, &detail), detail);
  return makeHandle(in.env(), std::move(secret));
}

Napi::Value secretWriteFile(const Arguments& in) {
  std::string detail;
  require(writeSecretFile(in.path(0, "path"), *in.secret(1, "handle"), &detail), detail);
  return {};
}

// SQLCipher takes its key as text only. V8's heap keeps this string until it is collected: docs/THREATS.md.
Napi::Value secretPageKeyHex(const Arguments& in) {
  const SecretPtr secret = in.secret(0, "handle", 32, 32);
  // No table: its index would be secret. 'a' - 10 + nibble, less 39 below ten.
  const auto digit = [](int nibble) { return static_cast<char>(87 + nibble - (((nibble - 10) >> 31) & 39)); };
  char text[64];
  for (size_t i = 0; i < 32; i++) {
    text[2 * i] = digit(secret->data()[i] >> 4);
    text[2 * i + 1] = digit(secret->data()[i] & 15);
  }
  napi_value result = nullptr;
  napi_create_string_latin1(in.env(), text, sizeof text, &result);
  wipe(text, sizeof text);
  return {in.env(), result};
}

constexpr Export kExports[] = {
    {"secretRandom", entry<secretRandom>},       {"secretFromBytes", entry<secretFromBytes>},
    {"secretDrop", entry<secretDrop>},           {"secretSize", entry<secretSize>},
    {"secretCount", entry<secretCount>},         {"secretReadFile", entry<secretReadFile>},
    {"secretWriteFile", entry<secretWriteFile>}, {"secretPageKeyHex", entry<secretPageKeyHex>},
};

}  // namespace

std::span<const Export> secretExports() { return kExports; }

}  // namespace quorate::addon
