// Known-answer tests at start: every kernel this CPU runs, every primitive. A failure keeps the daemon sealed.
#pragma once
#include "core/base.h"

namespace quorate {

struct SelfTestResult {
  std::vector<std::string> passed, failed;
};
// The part of it in selftest_asym.cc: signatures, agreements, RSA. Adds to `result`.
void runAsymmetricSelfTests(SelfTestResult* result);
// Runs all (well under 100 ms).
SelfTestResult runSelfTests();

}  // namespace quorate
