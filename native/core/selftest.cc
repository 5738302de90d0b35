#include "core/selftest.h"

#include <cstring>

#include "core/selftest_known.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

bool zeros(Bytes bytes) {
  for (uint8_t b : bytes) {
    if (b != 0) return false;
  }
  return true;
}

// Seals `text` and compares; opens what was sealed, and not when a bit of it or of the tag differs.
bool gcmAnswers(const GcmImplementation& kernel, const GcmKey& key, Bytes text, Bytes ciphertext, Bytes tag) {
  const uint8_t *iv = known::kGcmIv.data(), *aad = known::kGcmAad.data();
  constexpr size_t kAadBytes = known::kGcmAad.size();
  Buffer out(text.size());
  uint8_t made[16];
  kernel.seal(&key, iv, aad, kAadBytes, text.data(), text.size(), out.data(), made);
  if (!equalConstantTime({made, 16}, tag)) return false;
  if (ciphertext.size() == text.size()) {
    if (!equalConstantTime(out, ciphertext)) return false;
  } else {
    uint8_t hash[32];
    digest(Hash::SHA_256, out, hash);
    if (!equalConstantTime({hash, 32}, ciphertext)) return false;
  }
  Buffer sealed = out, opened(text.size());
  if (!kernel.open(&key, iv, aad, kAadBytes, sealed.data(), sealed.size(), opened.data(), made, 16) || !equalConstantTime(opened, text)) return false;
  sealed[sealed.size() / 2] ^= 1;
  if (kernel.open(&key, iv, aad, kAadBytes, sealed.data(), sealed.size(), opened.data(), made, 16) || !zeros(opened)) return false;
  made[15] ^= 0x80;
  return !kernel.open(&key, iv, aad, kAadBytes, out.data(), out.size(), opened.data(), made, 16) && zeros(opened);
}

}  // namespace

bool gcmKnownAnswers(const GcmImplementation& kernel) {
  constexpr size_t kShort = known::kGcmText.size();
  const struct {
    size_t keyBytes;
    Bytes brief, lengthy;  // ciphertext and tag; SHA-256 of the ciphertext, and tag
  } rows[] = {{16, known::kGcmShort128, known::kGcmLong128}, {24, known::kGcmShort192, known::kGcmLong192}, {32, known::kGcmShort256, known::kGcmLong256}};
  Buffer lengthy(known::kGcmLongBytes);
  for (size_t i = 0; i < lengthy.size(); i++) lengthy[i] = uint8_t(7 * i + (i >> 8));
  bool ok = true;
  for (const auto& row : rows) {
    GcmKey key;
    kernel.init(&key, known::kGcmKey.data(), row.keyBytes);
    ok = ok && gcmAnswers(kernel, key, known::kGcmText, row.brief.first(kShort), row.brief.subspan(kShort));
    ok = ok && gcmAnswers(kernel, key, lengthy, row.lengthy.first(32), row.lengthy.subspan(32));
    kernel.initOnce(&key, known::kGcmKey.data(), row.keyBytes, kShort);
    ok = ok && gcmAnswers(kernel, key, known::kGcmText, row.brief.first(kShort), row.brief.subspan(kShort));
    kernel.initOnce(&key, known::kGcmKey.data(), row.keyBytes, lengthy.size());
    ok = ok && gcmAnswers(kernel, key, lengthy, row.lengthy.first(32), row.lengthy.subspan(32));
  }
  return ok;
}

SelfTestResult runSelfTests() {
  SelfTestResult result;
  for (const GcmImplementation* kernel : gcmImplementations()) {
    if (!kernel->usable(cpuFeatures())) continue;
    (gcmKnownAnswers(*kernel) ? result.passed : result.failed).push_back(std::string("aes-gcm/") + kernel->name);
  }
  runSymmetricSelfTests(&result);
  runAsymmetricSelfTests(&result);
  return result;
}

}  // namespace quorate
