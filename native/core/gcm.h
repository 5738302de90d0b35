// AES-GCM (SP 800-38D) behind one function table with one picker. 96-bit IVs only.
#pragma once
#include "core/base.h"
#include "core/cpu.h"

namespace quorate {

// A prepared key: round keys and powers of H, or for `portable` the raw key. It is secret: place it in the arena
// (64-byte aligned; see secret.h) or on the stack and wipe it. Fully overwritten by init.
struct alignas(64) GcmKey {
  uint8_t opaque[2880];
};

// No function of these leaves on the stack, or in a register that calls may change, anything that depends on the key, other than its
// result: not after a refusal either, and however the stack is aligned. What a signal puts on the stack meanwhile stays there.
struct GcmImplementation {
  const char* name;  // "portable", "aesni", "vaes256", "vaes512": the words QUORATE_CPU takes
  bool (*usable)(const CpuFeatures& cpu);
  // keyBytes is 16, 24 or 32 (asserted). Constant time in the key's content.
  void (*init)(GcmKey* out, const uint8_t* key, size_t keyBytes);
  // For a key that will see one message of at most `messageBytes`: prepares only the powers that it needs.
  void (*initOnce)(GcmKey* out, const uint8_t* key, size_t keyBytes, size_t messageBytes);
  // out has len bytes and may equal in (not overlap otherwise); tag has 16 bytes. len up to 2^36-32 bytes, aad likewise.
  // The caller owes a fresh IV for every call with one key. Constant time in key and data.
  void (*seal)(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out, uint8_t tag[16]);
  // True when the tag (tagBytes 12 to 16, asserted; compared in constant time) fits; otherwise false and `out` holds zeros.
  // Ciphertext is loaded once, so a writer that shares the memory cannot swap it between check and use.
  bool (*open)(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out, const uint8_t* tag, size_t tagBytes);
};

// All four, lowest first.
std::span<const GcmImplementation* const> gcmImplementations();
// The best that this CPU runs and QUORATE_CPU allows; chosen at the first call. A kernel that this CPU lacks falls back to
// the next lower one that runs, an unknown word to the best (gcmForced() then says what was asked).
const GcmImplementation& gcm();
std::string gcmForced();
// The same choice for any CPU and any word ("" for none): gcm() is gcmPick(cpuFeatures(), gcmForced()).
const GcmImplementation& gcmPick(const CpuFeatures& cpu, const std::string& forced);
// By name, nullptr when unknown or not runnable here. For tests and bench.
const GcmImplementation* gcmByName(const std::string& name);

}  // namespace quorate
