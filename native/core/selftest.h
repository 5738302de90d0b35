// Known-answer tests at start: every kernel this CPU runs, every primitive. A failure keeps the daemon sealed.
#pragma once
#include "core/base.h"
#include "core/gcm.h"

namespace quorate {

struct SelfTestResult {
  std::vector<std::string> passed, failed;
};
// Runs all (well under 100 ms). The arena must be open.
SelfTestResult runSelfTests();

// Its parts, each of which adds to `result`: signatures, agreements, RSA (selftest_asym.cc); the rest (selftest_sym.cc).
void runAsymmetricSelfTests(SelfTestResult* result);
void runSymmetricSelfTests(SelfTestResult* result);
// Every key size, a short and a long message, and that a changed one does not open.
bool gcmKnownAnswers(const GcmImplementation& kernel);
// ECDSA over P-256 in lanes: both known signatures of RFC 6979, each in every other lane, made and verified with combs and without.
// False too where a table could not be made. Only where p256LanesPick().
bool p256LanesKnownAnswers();

}  // namespace quorate
