// A process has one arena, so what Arena::open refuses is shown by the test program started anew under a limit.
#pragma once
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/secret.h"

namespace quorate::test {

inline constexpr const char* kArenaChild = "QUORATE_TEST_ARENA";  // "<bytes of the arena> <RLIMIT_MEMLOCK>"

inline bool isArenaChild() { return std::getenv(kArenaChild) != nullptr; }

// root may lock without limit: give that up.
inline bool dropIpcLock() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  data[0].effective &= ~(1u << CAP_IPC_LOCK);
  return syscall(SYS_capset, &header, data) == 0;
}

// Prints "<code> <locked> <detail>".
inline int runArenaChild() {
  unsigned long long bytes = 0, limit = 0;
  if (std::sscanf(std::getenv(kArenaChild), "%llu %llu", &bytes, &limit) != 2) return 2;
  const rlimit memlock{rlim_t(limit), rlim_t(limit)};
  if (!dropIpcLock() || setrlimit(RLIMIT_MEMLOCK, &memlock) != 0) return 2;
  std::string detail;
  const Code code = Arena::open(size_t(bytes), &detail);
  std::printf("%s %d %s\n", codeName(code), Arena::stats().locked ? 1 : 0, detail.c_str());
  Secret secret;
  return (Secret::make(32, &secret) == Code::OK) == (code == Code::OK) ? 0 : 3;
}

}  // namespace quorate::test
