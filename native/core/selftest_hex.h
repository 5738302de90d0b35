// Bytes from hexadecimal, when compiling: known answers read as their sources print them.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace quorate::known {

template <size_t n>
consteval auto fromHex(const char (&text)[n]) {
  static_assert(n % 2 == 1);
  std::array<uint8_t, n / 2> bytes{};
  const auto digit = [](char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
  for (size_t i = 0; i < n / 2; i++) bytes[i] = static_cast<uint8_t>(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
  return bytes;
}

}  // namespace quorate::known
