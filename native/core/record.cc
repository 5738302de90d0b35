#include "core/record.h"

#include <cstring>

#include "core/gcm.h"
#include "core/random.h"
#include "core/stack_scrub.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kSaltBytes = 16, kTagBytes = 16, kBodyAt = 1 + kSaltBytes;
constexpr uint8_t kIv[12] = {};  // each key seals one record

// The record's own key, on the stack for one call.
struct RecordKey {
  GcmKey gcmKey;
  RecordKey(Bytes kek, const uint8_t* salt, size_t messageBytes) {
    static const std::string kInfo = "quorate/v1/record";
    uint8_t keyMaterial[32];
    hkdf(Hash::SHA_256, kek, {salt, kSaltBytes}, bytesOf(kInfo), keyMaterial);
    gcm().initOnce(&gcmKey, keyMaterial, 32, messageBytes);
    wipe(keyMaterial, sizeof keyMaterial);
  }
  ~RecordKey() {
    wipe(&gcmKey, sizeof gcmKey);
    scrubStack();  // deriving the key has left its working values there
  }
};

}  // namespace

Code sealRecord(Bytes kek, Bytes aad, Bytes in, MutBytes out) {
  uint8_t salt[kSaltBytes];
  randomNonce(salt);
  return sealRecordWithSalt(kek, salt, aad, in, out);
}

Code sealRecordWithSalt(Bytes kek, const uint8_t salt[16], Bytes aad, Bytes in, MutBytes out) {
  if (kek.size() != 32) return Code::KEY_INVALID;
  if (out.size() != in.size() + kRecordOverheadBytes) return Code::INTERNAL;
  const RecordKey key(kek, salt, in.size());
  out[0] = kFormat;
  std::memcpy(out.data() + 1, salt, kSaltBytes);
  uint8_t* body = out.data() + kBodyAt;
  gcm().seal(&key.gcmKey, kIv, aad.data(), aad.size(), in.data(), in.size(), body, body + in.size());
  return Code::OK;
}

Code openRecord(Bytes kek, Bytes aad, Bytes in, MutBytes out) {
  const auto fail = [&](Code code) {
    wipe(out);
    return code;
  };
  if (kek.size() != 32) return fail(Code::KEY_INVALID);
  if (in.size() < kRecordOverheadBytes || in[0] != kFormat) return fail(Code::STORE_CORRUPT);
  const size_t n = in.size() - kRecordOverheadBytes;
  if (out.size() != n) return fail(Code::INTERNAL);
  const RecordKey key(kek, in.data() + 1, n);
  const uint8_t* body = in.data() + kBodyAt;
  const bool ok = gcm().open(&key.gcmKey, kIv, aad.data(), aad.size(), body, n, out.data(), body + n, kTagBytes);
  return ok ? Code::OK : fail(Code::STORE_CORRUPT);
}

}  // namespace quorate
