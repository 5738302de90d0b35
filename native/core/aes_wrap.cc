// Key wrap on single AES blocks. libcrypto's own unwrap is not used: on a mismatch it clears as many bytes of the output as
// the input has, 8 more than are there.
#include <cstring>

#include "core/evp_cipher.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr uint8_t kIv[8] = {0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6};  // RFC 3394, 2.2.3.1
constexpr uint8_t kPaddedIv[4] = {0xa6, 0x59, 0x59, 0xa6};                    // RFC 5649, 3
constexpr size_t kWrapBytesMax = 1u << 30;

// The 64-bit A and one 64-bit R: the block that each step encrypts.
struct Step {
  uint8_t block[16];
  ~Step() { wipe(block, sizeof block); }
  void addCounter(uint64_t t) {
    for (int i = 0; i < 8; i++) block[7 - i] ^= uint8_t(t >> (8 * i));
  }
};

// W of RFC 3394, 2.2.1, over n 64-bit blocks in place; step.block begins with A.
bool wrapBlocks(EvpCipher& ecb, Step& step, uint8_t* r, size_t n) {
  for (uint64_t t = 1; t <= 6 * n; t++) {
    uint8_t* ri = r + (t - 1) % n * 8;
    std::memcpy(step.block + 8, ri, 8);
    if (!ecb.update({step.block, 16}, step.block)) return false;
    step.addCounter(t);
    std::memcpy(ri, step.block + 8, 8);
  }
  return true;
}

bool unwrapBlocks(EvpCipher& ecb, Step& step, uint8_t* r, size_t n) {
  for (uint64_t t = 6 * n; t > 0; t--) {
    uint8_t* ri = r + (t - 1) % n * 8;
    step.addCounter(t);
    std::memcpy(step.block + 8, ri, 8);
    if (!ecb.update({step.block, 16}, step.block)) return false;
    std::memcpy(ri, step.block + 8, 8);
  }
  return true;
}

// The length that a padded plaintext of n blocks claims, 0 when its integrity block or padding is wrong. No branch depends
// on where it is wrong: a caller that can tell forges by trial.
size_t paddedLength(const uint8_t a[8], const uint8_t* r, size_t n) {
  uint32_t length = 0;
  for (int i = 4; i < 8; i++) length = length << 8 | a[i];
  uint32_t wrong = 0;
  for (int i = 0; i < 4; i++) wrong |= uint32_t(a[i] ^ kPaddedIv[i]);
  const uint64_t most = 8 * n;
  wrong |= uint32_t((most - length) >> 63);      // longer than the blocks
  wrong |= uint32_t((length - most + 7) >> 63);  // a whole block of padding, or nothing but padding
  for (unsigned i = 0; i < 8; i++) {
    const auto isPadding = uint8_t((int64_t(length) - int64_t(most - 8 + i) - 1) >> 63);  // ff when position >= length
    wrong |= uint32_t(r[8 * n - 8 + i] & isPadding);
  }
  return wrong == 0 ? length : 0;
}

}  // namespace

Code aesWrap(Bytes kek, bool padded, Bytes in, MutBytes out, size_t* written) {
  EvpCipher ecb;
  if (!ecb.begin(AesMode::ecb, kek, nullptr, true)) return Code::KEY_INVALID;
  if (padded ? in.empty() : in.size() < 16 || in.size() % 8 != 0) return Code::BAD_REQUEST;
  if (in.size() > kWrapBytesMax) return Code::INPUT_TOO_LONG;
  const size_t n = (in.size() + 7) / 8;
  if (out.size() < 8 * n + 8) return Code::INTERNAL;
  uint8_t* r = out.data() + 8;
  std::memmove(r, in.data(), in.size());
  std::memset(r + in.size(), 0, 8 * n - in.size());
  Step step;
  if (padded) {
    std::memcpy(step.block, kPaddedIv, 4);
    for (int i = 0; i < 4; i++) step.block[7 - i] = uint8_t(in.size() >> (8 * i));
  } else {
    std::memcpy(step.block, kIv, 8);
  }
  bool ok;
  if (n == 1) {  // RFC 5649, 4.1: one block is encrypted as it is
    std::memcpy(step.block + 8, r, 8);
    ok = ecb.update({step.block, 16}, step.block);
    std::memcpy(r, step.block + 8, 8);
  } else {
    ok = wrapBlocks(ecb, step, r, n);
  }
  if (!ok) {
    wipe(out.first(8 * n + 8));
    return Code::INTERNAL;
  }
  std::memcpy(out.data(), step.block, 8);
  *written = 8 * n + 8;
  return Code::OK;
}

Code aesUnwrap(Bytes kek, bool padded, Bytes in, MutBytes out, size_t* written) {
  EvpCipher ecb;
  if (!ecb.begin(AesMode::ecb, kek, nullptr, false)) return Code::KEY_INVALID;
  if (in.size() > kWrapBytesMax) return Code::INPUT_TOO_LONG;
  if (in.size() % 8 != 0 || in.size() < (padded ? 16 : 24)) return Code::CIPHERTEXT_INVALID;
  const size_t n = in.size() / 8 - 1;
  if (out.size() < 8 * n) return Code::INTERNAL;
  Step step;
  std::memcpy(step.block, in.data(), 8);
  uint8_t* r = out.data();
  std::memmove(r, in.data() + 8, 8 * n);
  bool ok;
  if (n == 1) {
    std::memcpy(step.block + 8, r, 8);
    ok = ecb.update({step.block, 16}, step.block);
    std::memcpy(r, step.block + 8, 8);
  } else {
    ok = unwrapBlocks(ecb, step, r, n);
  }
  const size_t plain = padded ? paddedLength(step.block, r, n) : equalConstantTime({step.block, 8}, {kIv, 8}) ? 8 * n : 0;
  if (!ok || plain == 0) {
    wipe(out.first(8 * n));
    return ok ? Code::CIPHERTEXT_INVALID : Code::INTERNAL;
  }
  *written = plain;
  return Code::OK;
}

}  // namespace quorate
