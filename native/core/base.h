// What every core file stands on: spans, wiping, constant-time comparison. Core includes neither Node nor sockets.
// Core functions return a Code (Code::OK on success), never throw, and leave outputs untouched on failure
// unless their contract says that they are wiped.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/errors.gen.h"
#include "core/limits.gen.h"
#include "core/types.gen.h"

namespace quorate {

using Bytes = std::span<const uint8_t>;
using MutBytes = std::span<uint8_t>;
using Buffer = std::vector<uint8_t>;  // public data only: its memory is not locked and not wiped

// Overwrites n bytes in a way that the compiler keeps.
void wipe(void* p, size_t n);
inline void wipe(MutBytes bytes) { wipe(bytes.data(), bytes.size()); }

// Equality in time that depends on the lengths only. False when the lengths differ.
bool equalConstantTime(Bytes a, Bytes b);

inline Bytes bytesOf(const std::string& s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }

}  // namespace quorate
