// The audit log's part of plane_bench: planes that log, and what that costs.
#pragma once
#include <unistd.h>

#include "plane/audit_gate.h"
#include "plane/plane.h"
#include "plane_bench.h"

namespace quorate::bench {

inline void addAudit(Plane& plane, const std::string& folder, AuditMode mode) {
  AuditOptions options;
  options.storeId.fill(1);
  const std::string name = std::to_string(static_cast<int>(mode));
  options.ring = "/dev/shm/plane-bench-" + std::to_string(getpid());
  options.folder = folder + "/audit" + name;
  std::shared_ptr<AuditLog> log;
  std::string detail;
  if (AuditLog::open(options, &log, &detail) != Code::OK) die(detail.c_str());
  unlink(options.ring.c_str());  // it lives as long as it is mapped
  AuditKeys keys;
  Secret seal, sign;
  if (Secret::random(32, &seal) != Code::OK || Secret::random(32, &sign) != Code::OK) die("arena");
  if (AuditSigner::make(sign, "quorate/bench", &keys.signer) != Code::OK) die("signing key");
  keys.seal = std::make_shared<const Secret>(std::move(seal));
  std::mutex mutex;
  mutex.lock();
  log->unlock(options.storeId, keys, true, [&](const AuditFault& fault, const std::string&) {
    if (fault) die(fault.detail.c_str());
    mutex.unlock();
  });
  mutex.lock();
  plane.setAudit(log, mode);
}

// Rate and p50 of each mode against `off` of the same round: the median of these ratios, and best against best.
inline void printAudit(const Options& options, const std::vector<size_t>& depths, const std::vector<std::string>& keys, const Results& results) {
  bool first = true;
  if (options.json) printf("{\"size\":%zu,\"rounds\":%d,\"ms\":%.0f,\"rows\":[", options.size, options.rounds, options.ms);
  else printf("%-8s %-7s %5s | %10s %8s | against off: rate by round, best; p50 by round, best\n", "key", "audit", "depth", "best ops/s", "p50 us");
  for (const size_t depth : depths)
    for (const std::string& key : keys) {
      const std::vector<Result>& off = results.at({"off " + key, depth});
      for (const std::string mode : {"none", "off", "counts", "each"}) {
        const std::vector<Result>& mine = results.at({mode + " " + key, depth});
        std::vector<double> rate, p50, rates, p50s, offRates, offP50s;
        for (size_t i = 0; i < mine.size(); i++) {
          rate.push_back(mine[i].opsPerSecond / off[i].opsPerSecond);
          p50.push_back(mine[i].p50Us / off[i].p50Us);
          rates.push_back(mine[i].opsPerSecond);
          p50s.push_back(mine[i].p50Us);
          offRates.push_back(off[i].opsPerSecond);
          offP50s.push_back(off[i].p50Us);
        }
        const double bestRate = most(rates) / most(offRates), bestP50 = least(p50s) / least(offP50s);
        if (options.json)
          printf("%s{\"key\":\"%s\",\"audit\":\"%s\",\"depth\":%zu,\"ops_best\":%.0f,\"p50_us_best\":%.2f,\"rate_ratio\":%.3f,\"rate_ratio_best\":%.3f,\"p50_ratio\":%.3f,\"p50_ratio_best\":%.3f}",
                 first ? "" : ",", key.c_str(), mode.c_str(), depth, most(rates), least(p50s), median(rate), bestRate, median(p50), bestP50);
        else
          printf("%-8s %-7s %5zu | %10.0f %8.2f | %.3f %.3f  %.3f %.3f\n", key.c_str(), mode.c_str(), depth, most(rates), least(p50s), median(rate), bestRate, median(p50), bestP50);
        first = false;
      }
    }
  if (options.json) printf("]}\n");
}

}  // namespace quorate::bench
