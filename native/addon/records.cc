// What the store and the seals need: derivation, sealed records, shares. Core does the work.
#include <memory>

#include "addon/bindings.h"
#include "addon/job.h"
#include "core/record.h"
#include "core/shamir.h"
#include "core/symmetric.h"

namespace quorate::addon {

namespace {

constexpr size_t kKekBytes = 32;
constexpr size_t kShareHeadBytes = 6;  // x, threshold, set id (4): shamir.h
constexpr size_t kAadBytesMax = 64 * 1024;

Napi::Value hkdfHandle(const Arguments& in) {
  const SecretPtr secret = in.secret(0, "handle");
  const Bytes salt = in.bytes(1, "salt"), info = in.bytes(2, "info");
  Secret out;
  require(Secret::make(in.integer(3, "n", 1, limits::secret_bytes_max), &out));
  require(hkdf(Hash::SHA_256, *secret, salt, info, out.span()));
  return makeHandle(in.env(), std::move(out));
}

Napi::Value scryptHandle(const Arguments& in) {
  const SecretPtr passphrase = in.secret(0, "handle");
  const Bytes view = in.bytes(1, "salt", 0, 1024);
  const auto log2n = static_cast<unsigned>(in.integer(2, "log2n", 1, 32));
  const auto r = static_cast<unsigned>(in.integer(3, "r", 1, 32));
  const auto p = static_cast<unsigned>(in.integer(4, "p", 1, 16));
  auto out = std::make_shared<Secret>();
  require(Secret::make(in.integer(5, "n", 1, limits::secret_bytes_max), out.get()));
  // The view's memory stays JavaScript's, which runs on meanwhile: the worker gets a copy.
  Buffer salt(view.begin(), view.end());
  return Job::start(
      in.env(), [=](std::string*) { return scrypt(*passphrase, salt, log2n, r, p, out->span()); },
      [=](Napi::Env env) { return makeHandle(env, std::move(*out)); });
}

Napi::Value hmacHandle(const Arguments& in) {
  const SecretPtr secret = in.secret(0, "handle", 1, limits::secret_value_bytes_max);
  const Bytes data = in.bytes(1, "data");
  uint8_t out[32];
  require(hmac(Hash::SHA_256, *secret, data, out));
  return makeBytes(in.env(), out);
}

Napi::Value sealRecordBytes(const Arguments& in) {
  const SecretPtr kek = in.secret(0, "kek", kKekBytes, kKekBytes);
  const Bytes aad = in.bytes(1, "aad", 0, kAadBytesMax), plaintext = in.bytes(2, "plaintext", 0, limits::frame_bytes_max);
  MutBytes out;
  const Napi::Value result = makeBytes(in.env(), plaintext.size() + kRecordOverheadBytes, &out);
  require(sealRecord(*kek, aad, plaintext, out));
  return result;
}

Napi::Value openRecordBytes(const Arguments& in) {
  const SecretPtr kek = in.secret(0, "kek", kKekBytes, kKekBytes);
  const Bytes aad = in.bytes(1, "aad", 0, kAadBytesMax), sealed = in.bytes(2, "sealed", 0, limits::frame_bytes_max + kRecordOverheadBytes);
  if (sealed.size() < kRecordOverheadBytes) refuse(Code::STORE_CORRUPT, "a sealed record is cut short");
  MutBytes out;
  const Napi::Value result = makeBytes(in.env(), sealed.size() - kRecordOverheadBytes, &out);
  require(openRecord(*kek, aad, sealed, out));
  return result;
}

Napi::Value sealSecret(const Arguments& in) {
  const SecretPtr kek = in.secret(0, "kek", kKekBytes, kKekBytes);
  const Bytes aad = in.bytes(1, "aad", 0, kAadBytesMax);
  const SecretPtr secret = in.secret(2, "secret", 1, limits::secret_value_bytes_max);
  MutBytes out;
  const Napi::Value result = makeBytes(in.env(), secret->size() + kRecordOverheadBytes, &out);
  require(sealRecord(*kek, aad, *secret, out));
  return result;
}

Napi::Value openSecret(const Arguments& in) {
  const SecretPtr kek = in.secret(0, "kek", kKekBytes, kKekBytes);
  const Bytes aad = in.bytes(1, "aad", 0, kAadBytesMax), sealed = in.bytes(2, "sealed");
  if (sealed.size() <= kRecordOverheadBytes || sealed.size() > limits::secret_value_bytes_max + kRecordOverheadBytes) {
    refuse(Code::STORE_CORRUPT, "a sealed secret has an impossible length");
  }
  Secret out;
  require(Secret::make(sealed.size() - kRecordOverheadBytes, &out));
  require(openRecord(*kek, aad, sealed, out.span()));
  return makeHandle(in.env(), std::move(out));
}

Napi::Value split(const Arguments& in) {
  const SecretPtr secret = in.secret(0, "secret", 1, limits::secret_bytes_max - kShareHeadBytes);
  const auto count = static_cast<unsigned>(in.integer(1, "count", 1, limits::shares_max));
  const auto threshold = static_cast<unsigned>(in.integer(2, "threshold", 1, count));
  std::vector<Secret> shares;
  require(shamirSplit(*secret, count, threshold, &shares));
  Napi::Array result = Napi::Array::New(in.env(), shares.size());
  for (uint32_t i = 0; i < shares.size(); i++) result.Set(i, makeHandle(in.env(), std::move(shares[i])));
  return result;
}

Napi::Value combine(const Arguments& in) {
  bool isArray = false;
  napi_is_array(in.env(), in.value(0), &isArray);
  uint32_t count = 0;
  if (isArray) napi_get_array_length(in.env(), in.value(0), &count);
  if (!isArray || count > limits::shares_max) refuse(Code::BAD_REQUEST, "shares must be an array of at most 255 handles");
  std::vector<SecretPtr> shares;
  for (uint32_t i = 0; i < count; i++) {
    const Napi::Value element = Napi::Array(in.env(), in.value(0)).Get(i);
    shares.push_back(secretOf(readInteger(in.env(), element, "shares", 1, kHandleMax), "shares"));
  }
  Secret out;
  require(shamirCombine(shares, &out));
  return makeHandle(in.env(), std::move(out));
}

Napi::Value encodeShare(const Arguments& in) {
  Secret text;
  require(shareEncode(*in.secret(0, "share", kShareHeadBytes + 1), &text));
  return makeHandle(in.env(), std::move(text));
}

Napi::Value decodeShare(const Arguments& in) {
  static constexpr char digits[] = "0123456789abcdef";
  Secret share;
  require(shareDecode(*in.secret(0, "text"), &share));
  std::string set;
  for (size_t i = 2; i < kShareHeadBytes; i++) set.append({digits[share.data()[i] >> 4], digits[share.data()[i] & 15]});
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("x", share.data()[0]);
  result.Set("threshold", share.data()[1]);
  result.Set("set", set);
  result.Set("share", makeHandle(in.env(), std::move(share)));
  return result;
}

constexpr Export kExports[] = {
    {"hkdf", entry<hkdfHandle>},         {"scrypt", entry<scryptHandle>},      {"hmac", entry<hmacHandle>},
    {"sealRecord", entry<sealRecordBytes>}, {"openRecord", entry<openRecordBytes>}, {"sealSecret", entry<sealSecret>},
    {"openSecret", entry<openSecret>},   {"shamirSplit", entry<split>},        {"shamirCombine", entry<combine>},
    {"shareEncode", entry<encodeShare>}, {"shareDecode", entry<decodeShare>},
};

}  // namespace

std::span<const Export> recordExports() { return kExports; }

}  // namespace quorate::addon
