#include "core/selftest.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>

#include "core/p256_lanes.h"

using namespace quorate;

namespace {

const GcmImplementation& best() { return gcm(); }

// Kernels with one fault each.
const GcmImplementation kWrongTag = {"wrong tag", nullptr, best().init, best().initOnce,
                                     [](const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out, uint8_t* tag) {
                                       best().seal(key, iv, aad, aadBytes, in, len, out, tag);
                                       tag[7] ^= 4;
                                     },
                                     best().open};
const GcmImplementation kWrongText = {"wrong ciphertext in long messages", nullptr, best().init, best().initOnce,
                                      [](const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out, uint8_t* tag) {
                                        best().seal(key, iv, aad, aadBytes, in, len, out, tag);
                                        if (len > 1024) out[1030] ^= 1;
                                      },
                                      best().open};
const GcmImplementation kOpensAll = {"opens everything", nullptr, best().init, best().initOnce, best().seal,
                                     [](const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out, const uint8_t* tag, size_t tagBytes) {
                                       best().open(key, iv, aad, aadBytes, in, len, out, tag, tagBytes);
                                       return true;
                                     }};
const GcmImplementation kLeaks = {"leaves plaintext of what does not open", nullptr, best().init, best().initOnce, best().seal,
                                  [](const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out, const uint8_t* tag, size_t tagBytes) {
                                    const bool ok = best().open(key, iv, aad, aadBytes, in, len, out, tag, tagBytes);
                                    if (!ok) out[0] = 1;
                                    return ok;
                                  }};
const GcmImplementation kBadOnce = {"wrong powers for one message", nullptr, best().init,
                                    [](GcmKey* out, const uint8_t* key, size_t keyBytes, size_t) {
                                      uint8_t other[32] = {};
                                      std::copy(key, key + keyBytes, other);
                                      other[0] ^= 1;
                                      best().init(out, other, keyBytes);
                                    },
                                    best().seal, best().open};

}  // namespace

TEST_CASE("self-tests: all pass, every kernel that runs among them, in time") {
  const auto start = std::chrono::steady_clock::now();
  const SelfTestResult result = runSelfTests();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  for (const std::string& name : result.failed) MESSAGE("failed: " << name);
  CHECK(result.failed.empty());
  const auto passed = [&](const std::string& name) { return std::count(result.passed.begin(), result.passed.end(), name) == 1; };
  for (const GcmImplementation* kernel : gcmImplementations()) CHECK(passed(std::string("aes-gcm/") + kernel->name) == kernel->usable(cpuFeatures()));
  for (const char* name : {"hashes", "hmac", "hkdf", "scrypt", "aes-cmac", "aes-kw", "aes-kwp", "aes-cbc", "aes-ctr", "xaes-gcm", "managed", "stream", "record", "shamir", "random", "hpke"}) {
    CHECK(passed(name));
  }
  CHECK(passed("ecdsa-p256/lanes") == p256LanesPick(cpuFeatures(), gcmForced()));
  MESSAGE("self-tests took " << took << " ms");
  CHECK(took < 2000);  // 100 ms is the aim; this machine may be busy, or the build a sanitizer's
}

TEST_CASE("self-tests: a faulty kernel is found") {
  CHECK(gcmKnownAnswers(best()));
  for (const GcmImplementation* faulty : {&kWrongTag, &kWrongText, &kOpensAll, &kLeaks, &kBadOnce}) {
    CAPTURE(faulty->name);
    CHECK(!gcmKnownAnswers(*faulty));
  }
}
