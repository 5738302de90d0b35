// AES-GCM leaves nothing of the key, of the powers of H or of the key stream on the stack.
#include "core/gcm.h"

#include <cstring>
#include <doctest/doctest.h>
#include <string>
#include <unordered_set>

using namespace quorate;

namespace {

constexpr size_t kStackBytes = 8192;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kStackIsReal = false;  // AddressSanitizer moves locals elsewhere
#else
constexpr bool kStackIsReal = true;
#endif

struct Case {
  const GcmImplementation& kernel;
  size_t keyBytes, len;
  bool opening, once;
};

struct Buffers {
  uint8_t keyMaterial[32], iv[12] = {}, aad[20], text[4096], out[4096], opened[4096], tag[16];
  GcmKey key;
};

[[gnu::noinline]] void paint() {
  volatile uint8_t area[kStackBytes];
  for (size_t i = 0; i < kStackBytes; i++) area[i] = 0xa5;
  asm volatile("" : : "r"(area) : "memory");
}

// Copies what the frames below the caller's left behind.
[[gnu::noinline]] void collect(uint8_t* to) {
  volatile uint8_t area[kStackBytes];
  asm volatile("" : : "r"(area) : "memory");
  for (size_t i = 0; i < kStackBytes; i++) to[i] = area[i];
}

[[gnu::noinline]] void run(const Case& c, Buffers& b, uint8_t* stack) {
  if (c.once) paint();
  if (c.once) c.kernel.initOnce(&b.key, b.keyMaterial, c.keyBytes, c.len);
  if (!c.once) c.kernel.init(&b.key, b.keyMaterial, c.keyBytes);
  if (c.opening) c.kernel.seal(&b.key, b.iv, b.aad, sizeof b.aad, b.text, c.len, b.out, b.tag);
  if (!c.once) paint();
  if (c.opening) {
    c.kernel.open(&b.key, b.iv, b.aad, sizeof b.aad, b.out, c.len, b.opened, b.tag, 16);
  } else {
    c.kernel.seal(&b.key, b.iv, b.aad, sizeof b.aad, b.text, c.len, b.out, b.tag);
  }
  collect(stack);
}

uint64_t wordAt(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// How many eight-byte words of the key's memory and of the key stream are found at any offset in the stack below run().
// The IV is zero, so counter blocks after the first AddRoundKey would show the first round key.
size_t wordsLeft(const Case& c) {
  static Buffers b;
  static uint8_t stack[kStackBytes];
  for (size_t i = 0; i < sizeof b.text; i++) b.text[i] = static_cast<uint8_t>(i * 151 + i / 256 * 7);
  for (size_t i = 0; i < 32; i++) b.keyMaterial[i] = static_cast<uint8_t>(i * 37 + 11);
  run(c, b, stack);
  std::unordered_set<uint64_t> secret;
  for (size_t i = 0; i + 8 <= sizeof b.key.opaque; i += 8) secret.insert(wordAt(b.key.opaque + i));
  for (size_t i = 0; i + 8 <= c.len; i += 8) secret.insert(wordAt(b.text + i) ^ wordAt(b.out + i));
  // Short words are counters and lengths.
  std::erase_if(secret, [](uint64_t word) { return word < (1ull << 40); });
  size_t found = 0;
  for (size_t i = 0; i + 8 <= kStackBytes; i++) found += secret.count(wordAt(stack + i));
  return found;
}

}  // namespace

TEST_CASE("gcm: kernels leave no secrets on the stack") {
  if (!kStackIsReal) {
    MESSAGE("skipped: locals are not on the stack under AddressSanitizer");
    return;
  }
  for (const GcmImplementation* kernel : gcmImplementations()) {
    // Libcrypto's own frames are its own affair.
    if (std::string(kernel->name) == "portable" || !kernel->usable(cpuFeatures())) continue;
    CAPTURE(std::string(kernel->name));
    for (size_t keyBytes : {16u, 24u, 32u}) {
      for (size_t len : {0u, 16u, 64u, 200u, 500u, 1000u, 4096u}) {
        for (bool opening : {false, true}) {
          for (bool once : {false, true}) {
            CAPTURE(keyBytes);
            CAPTURE(len);
            CAPTURE(opening);
            CAPTURE(once);
            CHECK(wordsLeft({*kernel, keyBytes, len, opening, once}) == 0);
          }
        }
      }
    }
  }
}
