#include "core/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace quorate {
namespace {

#if defined(__x86_64__)

// Which register files the OS saves on a context switch (XCR0); only to be called when CPUID reports OSXSAVE.
unsigned stateEnabledByOs() {
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

CpuFeatures detect() {
  CpuFeatures cpu;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return cpu;
  const bool ssse3 = c & bit_SSSE3, sse41 = c & bit_SSE4_1;
  cpu.aesni = (c & bit_AES) && (c & bit_PCLMUL) && ssse3 && sse41;
  const bool osxsave = c & bit_OSXSAVE, avx = c & bit_AVX;
  unsigned b7 = 0, c7 = 0, d7 = 0;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return cpu;
  cpu.shani = ssse3 && sse41 && (b7 & bit_SHA);
  if (!osxsave || !avx) return cpu;
  const unsigned state = stateEnabledByOs();
  constexpr unsigned kYmmState = 0x06, kZmmState = 0xe6;  // SSE + AVX; the same + opmask, ZMM_Hi256, Hi16_ZMM
  const bool vector = (c7 & bit_VAES) && (c7 & bit_VPCLMULQDQ) && (b7 & bit_AVX2) && (b7 & bit_BMI2);
  cpu.vaes256 = cpu.aesni && vector && (state & kYmmState) == kYmmState;
  const bool avx512 = (b7 & bit_AVX512F) && (b7 & bit_AVX512BW) && (b7 & bit_AVX512DQ) && (b7 & bit_AVX512VL) &&
                      (state & kZmmState) == kZmmState;
  cpu.vaes512 = cpu.vaes256 && avx512;
  cpu.ifma = avx512 && (b7 & bit_AVX512IFMA);
  return cpu;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpuFeatures() {
  static const CpuFeatures features = detect();
  return features;
}

}  // namespace quorate
