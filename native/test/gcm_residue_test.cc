// AES-GCM leaves nothing on the stack and in registers that depends on the key: not the round keys, powers of H and key stream alone,
// but no sum, mask or expected tag either. Shown by doing the same with two keys, from the same stack and registers and at the same
// addresses: what differs afterwards depends on the key. Nothing here depends on where the process lies in memory.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "core/gcm.h"
#include "core/xaes.h"
#include "own_stack.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const auto kSkipped = doctest::skip(!ownStackShowsAll());

constexpr size_t kLenMax = 4096, kAadMax = 300;
// The kernels' frames are small. What libcrypto needs, and what is overwritten after it, is not.
constexpr size_t kKernelStackBytes = 16 * 1024, kPortableStackBytes = 64 * 1024;

enum class Operation { init, initOnce, seal, open, refuse };

struct Case {
  const GcmImplementation& kernel;
  Operation operation;
  size_t keyBytes = 32, len = 0, aadBytes = 0, offset = 0;
  bool inPlace = false, preparedOnce = false;
};

// Static: the same addresses each time.
struct Buffers {
  GcmKey key;
  uint8_t keyMaterial[32], iv[12], aad[kAadMax], text[kLenMax], in[kLenMax], out[kLenMax], tag[16];
};
alignas(64) Buffers b;

uint64_t word(const void* p) { return reinterpret_cast<uint64_t>(p); }

// Different in every byte for different `seed`s, mostly.
void fill(uint8_t* out, size_t n, uint64_t seed) {
  for (size_t i = 0; i < n; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    out[i] = static_cast<uint8_t>(seed >> 56);
  }
}

void prepare(const Case& c, uint64_t seed) {
  fill(b.keyMaterial, sizeof b.keyMaterial, seed);
  std::memset(&b.key, 0, sizeof b.key);
  std::memset(b.out, 0, sizeof b.out);
  if (c.operation == Operation::init || c.operation == Operation::initOnce) return;
  if (c.preparedOnce) c.kernel.initOnce(&b.key, b.keyMaterial, c.keyBytes, c.len);
  else c.kernel.init(&b.key, b.keyMaterial, c.keyBytes);
  uint8_t* const in = c.inPlace ? b.out : b.in;
  if (c.operation == Operation::seal) {
    std::memcpy(in, b.text, c.len);
    return;
  }
  c.kernel.seal(&b.key, b.iv, b.aad, c.aadBytes, b.text, c.len, in, b.tag);
  if (c.operation == Operation::refuse) b.tag[c.len % 12] ^= 4;
}

// Returns what the call returned.
uint64_t run(OwnStack& stack, const Case& c, uint64_t seed) {
  prepare(c, seed);
  const uint64_t key = word(&b.key), in = word(c.inPlace ? b.out : b.in), iv = word(b.iv), aad = word(b.aad);
  switch (c.operation) {
    case Operation::init: return stack.call(c.offset, reinterpret_cast<void*>(c.kernel.init), {key, word(b.keyMaterial), c.keyBytes});
    case Operation::initOnce:
      return stack.call(c.offset, reinterpret_cast<void*>(c.kernel.initOnce), {key, word(b.keyMaterial), c.keyBytes, c.len});
    case Operation::seal:
      return stack.call(c.offset, reinterpret_cast<void*>(c.kernel.seal), {key, iv, aad, c.aadBytes, in, c.len, word(b.out), word(b.tag)});
    default:
      return stack.call(c.offset, reinterpret_cast<void*>(c.kernel.open),
                        {key, iv, aad, c.aadBytes, in, c.len, word(b.out), word(b.tag), c.len % 2 ? 16u : 12u + c.len % 5});
  }
}

// Where something is left that depends on the key: "" for nowhere.
std::string difference(const OwnStack& stack, const std::vector<uint8_t>& one, const std::vector<uint8_t>& other) {
  if (one == other) return "";
  size_t count = 0, first = one.size();
  for (size_t i = 0; i < one.size(); i++) {
    if (one[i] == other[i]) continue;
    count++;
    first = std::min(first, i);
  }
  return std::to_string(count) + " bytes, the first: " + stack.place(first);
}

uint64_t runs = 0;

std::string residue(OwnStack& stack, const Case& c) {
  const uint64_t result = c.operation == Operation::refuse ? 0 : 1;
  std::vector<uint8_t> left[2];
  for (std::vector<uint8_t>& each : left) {
    // A new key each time, so that a single bit of it is not the same in all runs.
    const uint64_t returned = run(stack, c, ++runs);
    each = stack.left();
    if (c.operation >= Operation::open && (returned & 0xff) != result) return "it did not do what it should";
  }
  return difference(stack, left[0], left[1]);
}

std::string describe(const Case& c) {
  static const char* const kOperations[] = {"init", "initOnce", "seal", "open", "refuse"};
  const std::string operation = kOperations[static_cast<size_t>(c.operation)];
  return std::string(c.kernel.name) + ' ' + operation + ": key " + std::to_string(c.keyBytes) + ", len " + std::to_string(c.len) +
         ", aad " + std::to_string(c.aadBytes) + ", offset " + std::to_string(c.offset) + (c.inPlace ? ", in place" : "") +
         (c.preparedOnce ? ", prepared for once" : "");
}

// The first few are told; one is enough to know.
constexpr size_t kToldMax = 20;
size_t told = 0;

void check(OwnStack& stack, const Case& c) {
  if (told == kToldMax) return;
  const std::string found = residue(stack, c);
  if (found.empty()) return;
  told++;
  const std::string what = describe(c) + ": " + found;
  FAIL_CHECK(what);
}

constexpr size_t kKeyBytes[] = {16, 24, 32}, kAadBytes[] = {0, 20, 300};
constexpr Operation kMessages[] = {Operation::seal, Operation::open, Operation::refuse};

// The i-th combination of everything but the operation and the length.
Case combination(const GcmImplementation& kernel, Operation operation, size_t len, size_t i) {
  Case c{kernel, operation};
  c.len = len;
  c.keyBytes = kKeyBytes[i % 3];
  c.aadBytes = kAadBytes[i / 3 % 3];
  c.inPlace = i / 9 % 2;
  c.preparedOnce = i / 18 % 2;
  c.offset = i / 36 % 9 * OwnStack::kOffsetStep;
  return c;
}
constexpr size_t kCombinations = 36 * 9;
static_assert(8 * OwnStack::kOffsetStep == OwnStack::kOffsetMax);

bool isPortable(const GcmImplementation& kernel) { return std::string(kernel.name) == "portable"; }

template <class F>
void forEachKernel(bool portable, F f) {
  for (const GcmImplementation* kernel : gcmImplementations()) {
    if (!kernel->usable(cpuFeatures()) || isPortable(*kernel) != portable) continue;
    fill(b.iv, sizeof b.iv, 1);
    fill(b.aad, sizeof b.aad, 2);
    fill(b.text, sizeof b.text, 3);
    f(*kernel);
  }
}

// What is to be found, if it were left.
void leavesInFrame(const GcmKey* key) {
  volatile uint8_t copy[8];
  for (size_t i = 0; i < sizeof copy; i++) copy[i] = key->opaque[i];
}
void leavesInArgument(const GcmKey* key, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t on) {
  asm volatile("" : : "g"(&on) : "memory");
  std::memcpy(&on, key->opaque, sizeof on);
  asm volatile("" : : "g"(&on) : "memory");
}
#if defined(__x86_64__)
void leavesInXmm(const GcmKey* key) { asm volatile("movups %0, %%xmm13" : : "m"(key->opaque) : "xmm13"); }
[[gnu::target("avx512f")]] void leavesInZmm(const GcmKey* key) { asm volatile("vmovdqu64 %0, %%zmm31" : : "m"(key->opaque) : "xmm31"); }
[[gnu::naked]] void leavesInGeneral(const GcmKey*) { asm("mov (%rdi), %r11\nret"); }
#endif

// Arguments as OwnStack passes them.
void sealXaes(const XaesKey* xaes, const uint8_t* nonce, size_t len) {
  xaesSealPrepared(*xaes, nonce, {b.aad, 20}, {b.in, len}, b.out, b.tag);
}
bool openXaes(const XaesKey* xaes, const uint8_t* nonce, size_t len) {
  return xaesOpenPrepared(*xaes, nonce, {b.aad, 20}, {b.in, len}, b.tag, b.out);
}

std::string planted(const void* function, size_t offset) {
  static OwnStack stack(kKernelStackBytes);
  std::vector<uint8_t> left[2];
  for (std::vector<uint8_t>& each : left) {
    fill(b.key.opaque, sizeof b.key.opaque, ++runs);
    stack.call(offset, function, {word(&b.key)});
    each = stack.left();
  }
  return difference(stack, left[0], left[1]);
}

}  // namespace

TEST_CASE("gcm residue: what a function leaves is found wherever it is" * kSkipped) {
  for (size_t offset = 0; offset <= OwnStack::kOffsetMax; offset += OwnStack::kOffsetStep) {
    CHECK(planted(reinterpret_cast<void*>(leavesInFrame), offset).find("bytes, the first: stack, ") != std::string::npos);
    CHECK(planted(reinterpret_cast<void*>(leavesInArgument), offset).find("bytes, the first: stack, ") != std::string::npos);
#if defined(__x86_64__)
    CHECK(planted(reinterpret_cast<void*>(leavesInXmm), offset) == "16 bytes, the first: vector register 13, byte 0");
    CHECK(planted(reinterpret_cast<void*>(leavesInGeneral), offset) == "8 bytes, the first: r11");
    if (!__builtin_cpu_supports("avx512f")) continue;
    CHECK(planted(reinterpret_cast<void*>(leavesInZmm), offset) == "64 bytes, the first: vector register 31, byte 0");
#endif
  }
}

TEST_CASE("gcm residue: the kernels prepare a key and leave nothing" * kSkipped) {
  OwnStack stack(kKernelStackBytes);
  forEachKernel(false, [&](const GcmImplementation& kernel) {
    for (size_t keyBytes : kKeyBytes) {
      for (size_t offset = 0; offset <= OwnStack::kOffsetMax; offset += OwnStack::kOffsetStep) {
        check(stack, {kernel, Operation::init, keyBytes, 0, 0, offset});
        for (size_t len = 0; len <= 1400; len += 15) check(stack, {kernel, Operation::initOnce, keyBytes, len, 0, offset});
      }
    }
  });
}

TEST_CASE("gcm residue: the kernels leave nothing after a message of any length" * kSkipped) {
  OwnStack stack(kKernelStackBytes);
  forEachKernel(false, [&](const GcmImplementation& kernel) {
    for (size_t len = 0; len <= kLenMax; len++) {
      for (Operation operation : kMessages) check(stack, combination(kernel, operation, len, len * 5));
    }
  });
}

TEST_CASE("gcm residue: the kernels leave nothing whatever the key, the AAD and the stack's alignment" * kSkipped) {
  OwnStack stack(kKernelStackBytes);
  forEachKernel(false, [&](const GcmImplementation& kernel) {
    for (size_t len : {0u, 1u, 15u, 16u, 33u, 64u, 127u, 200u, 511u, 513u, 1000u, 2500u, 4096u}) {
      for (Operation operation : kMessages) {
        for (size_t i = 0; i < kCombinations; i++) check(stack, combination(kernel, operation, len, i));
      }
    }
  });
}

TEST_CASE("gcm residue: nor does libcrypto, whose frames are overwritten" * kSkipped) {
  OwnStack stack(kPortableStackBytes);
  forEachKernel(true, [&](const GcmImplementation& kernel) {
    for (size_t keyBytes : kKeyBytes) check(stack, {kernel, Operation::init, keyBytes});
    for (size_t len : {0u, 1u, 16u, 64u, 200u, 513u, 1000u, 2500u, 4096u}) {
      for (Operation operation : kMessages) {
        run(stack, combination(kernel, operation, len, 0), 0);  // what libcrypto makes once, it makes now
        for (size_t i = 0; i < 36; i++) check(stack, combination(kernel, operation, len, 10 * i));
      }
    }
  });
}

TEST_CASE("gcm residue: XAES leaves neither its key nor the message's" * kSkipped) {
  OwnStack stack(kPortableStackBytes);
  static XaesKey xaes;
  static uint8_t nonce[24] = {9, 8, 7};
  const auto residueOf = [&](const void* function, size_t len, size_t offset, bool opening) {
    std::vector<uint8_t> left[2];
    for (std::vector<uint8_t>& each : left) {
      fill(b.keyMaterial, sizeof b.keyMaterial, ++runs);
      xaesPrepare(b.keyMaterial, &xaes);
      if (opening) xaesSealPrepared(xaes, nonce, {b.aad, 20}, {b.text, len}, b.in, b.tag);
      else std::memcpy(b.in, b.text, len);
      stack.call(offset, function, {word(&xaes), word(nonce), len});
      each = stack.left();
    }
    return difference(stack, left[0], left[1]);
  };
  for (size_t offset = 0; offset <= OwnStack::kOffsetMax; offset += OwnStack::kOffsetStep) {
    for (size_t len : {0u, 64u, 700u, 4096u}) {
      CHECK(residueOf(reinterpret_cast<void*>(sealXaes), len, offset, false) == "");
      CHECK(residueOf(reinterpret_cast<void*>(openXaes), len, offset, true) == "");
    }
  }
}
