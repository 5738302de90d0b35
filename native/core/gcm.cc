#include "core/gcm.h"

#include <cstdlib>

#include "core/gcm_kernels.h"

namespace quorate {
namespace {

// Lowest first: picking walks down from the top.
const GcmImplementation* const kTable[] = {
    &kGcmPortable,
#if defined(__x86_64__)
    &kGcmAesni,
    &kGcmVaes256,
    &kGcmVaes512,
#endif
};

}  // namespace

std::span<const GcmImplementation* const> gcmImplementations() { return kTable; }

const GcmImplementation& gcmPick(const CpuFeatures& cpu, const std::string& forced) {
  size_t top = std::size(kTable) - 1;
  for (size_t i = 0; i < std::size(kTable); i++) {
    if (forced == kTable[i]->name) top = i;
  }
  while (top > 0 && !kTable[top]->usable(cpu)) top--;
  return *kTable[top];
}

std::string gcmForced() {
  static const std::string forced = [] {
    const char* word = std::getenv("QUORATE_CPU");
    return std::string(word ? word : "");
  }();
  return forced;
}

const GcmImplementation& gcm() {
  static const GcmImplementation& chosen = gcmPick(cpuFeatures(), gcmForced());
  return chosen;
}

const GcmImplementation* gcmByName(const std::string& name) {
  for (const GcmImplementation* implementation : kTable) {
    if (name == implementation->name && implementation->usable(cpuFeatures())) return implementation;
  }
  return nullptr;
}

}  // namespace quorate
