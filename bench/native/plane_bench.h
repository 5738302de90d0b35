// What the parts of plane_bench share: options, results and what is made of them.
#pragma once
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace quorate::bench {

inline double nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

[[noreturn]] inline void die(const char* what) {
  fprintf(stderr, "plane_bench: %s: %s\n", what, strerror(errno));
  exit(1);
}

struct Result {
  double opsPerSecond = 0, p50Us = 0, p99Us = 0;
};

inline double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all.empty() ? 0 : all[all.size() / 2];
}

inline double least(const std::vector<double>& all) { return *std::min_element(all.begin(), all.end()); }
inline double most(const std::vector<double>& all) { return *std::max_element(all.begin(), all.end()); }

struct Options {
  int rounds = 50;
  double ms = 30;
  size_t size = 64;
  bool json = false, audit = false;
};

using Results = std::map<std::pair<std::string, size_t>, std::vector<Result>>;

}  // namespace quorate::bench
