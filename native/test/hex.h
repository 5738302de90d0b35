// Hex in tests: what vectors are written in.
#pragma once
#include <string>

#include "core/base.h"
#include "core/require.h"

namespace quorate::test {

inline Buffer hex(const std::string& text) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  QUORATE_REQUIRE(text.size() % 2 == 0);
  Buffer out(text.size() / 2);
  for (size_t i = 0; i < out.size(); i++) {
    const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    QUORATE_REQUIRE(high >= 0 && low >= 0);
    out[i] = uint8_t(high << 4 | low);
  }
  return out;
}

inline std::string toHex(Bytes bytes) {
  static const char kDigits[] = "0123456789abcdef";
  std::string out;
  for (uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

inline Buffer text(const std::string& s) { return Buffer(s.begin(), s.end()); }

// Bytes that differ from one position to the next, for long inputs.
inline Buffer pattern(size_t n, uint32_t seed = 1) {
  Buffer out(n);
  for (uint8_t& b : out) {
    seed = seed * 1664525 + 1013904223;
    b = uint8_t(seed >> 24);
  }
  return out;
}

}  // namespace quorate::test
