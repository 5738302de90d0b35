// CPU features, read once with CPUID and XGETBV, and the forced lower kernel (environment QUORATE_CPU).
#pragma once
#include <string>
#include <vector>

namespace quorate {

struct CpuFeatures {
  bool aesni = false;    // AES-NI, PCLMULQDQ, SSSE3, SSE4.1
  bool vaes256 = false;  // VAES and VPCLMULQDQ with AVX2 (YMM state enabled by the OS)
  bool vaes512 = false;  // the same with AVX-512 F, BW, DQ, VL (ZMM state enabled by the OS), and BMI2
  bool shani = false;    // SHA extensions
  bool ifma = false;     // AVX-512 F, BW, DQ, VL and IFMA (ZMM state enabled by the OS)
};

const CpuFeatures& cpuFeatures();

}  // namespace quorate
