// Every byte of the secret is the constant term of its own random polynomial; a share holds all polynomials at one x. The
// field's products are computed bit by bit: tables would tell the cache which bytes were multiplied.
#include "core/shamir.h"

#include <cstring>

#include "core/random.h"

namespace quorate {
namespace {

constexpr size_t kXAt = 0, kThresholdAt = 1, kSetAt = 2, kYAt = kShareOverheadBytes;

uint8_t multiply(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (int i = 0; i < 8; i++) {
    product ^= a & uint8_t(-(b & 1));
    a = uint8_t(a << 1) ^ (0x1b & uint8_t(-(a >> 7)));
    b >>= 1;
  }
  return product;
}

// a^254; 0 for 0.
uint8_t inverse(uint8_t a) {
  uint8_t result = 1;
  for (int bit = 7; bit >= 0; bit--) {
    result = multiply(result, result);
    if (254 >> bit & 1) result = multiply(result, a);
  }
  return result;
}

// The factor by which the first k shares' y enter the polynomial's value at x (Lagrange).
uint8_t weight(std::span<const SecretPtr> shares, size_t k, size_t i, uint8_t x) {
  const uint8_t xi = shares[i]->data()[kXAt];
  uint8_t numerator = 1, denominator = 1;
  for (size_t j = 0; j < k; j++) {
    const uint8_t xj = shares[j]->data()[kXAt];
    if (j == i) continue;
    numerator = multiply(numerator, x ^ xj);
    denominator = multiply(denominator, xi ^ xj);
  }
  return multiply(numerator, inverse(denominator));
}

// The polynomials through the first k shares, at x. `out` begins zeroed.
void interpolate(std::span<const SecretPtr> shares, size_t k, uint8_t x, MutBytes out) {
  for (size_t i = 0; i < k; i++) {
    const uint8_t factor = weight(shares, k, i, x);
    const uint8_t* y = shares[i]->data() + kYAt;
    for (size_t at = 0; at < out.size(); at++) out[at] ^= multiply(y[at], factor);
  }
}

bool belongTogether(std::span<const SecretPtr> shares) {
  if (shares.empty() || shares.size() > limits::shares_max) return false;
  for (const SecretPtr& share : shares) {
    if (share == nullptr || share->size() <= kShareOverheadBytes || share->size() != shares[0]->size()) return false;
    if (share->data()[kXAt] == 0 || std::memcmp(share->data() + kThresholdAt, shares[0]->data() + kThresholdAt, 5) != 0) return false;
    for (const SecretPtr& other : shares) {
      if (&other == &share) break;
      if (other->data()[kXAt] == share->data()[kXAt]) return false;
    }
  }
  const size_t threshold = shares[0]->data()[kThresholdAt];
  return threshold > 0 && shares.size() >= threshold;
}

}  // namespace

Code shamirSplit(Bytes secret, unsigned count, unsigned threshold, std::vector<Secret>* shares) {
  if (count < 1 || count > limits::shares_max || threshold < 1 || threshold > count || secret.empty()) return Code::BAD_REQUEST;
  if (secret.size() > kSharedSecretBytesMax) return Code::INPUT_TOO_LONG;
  std::vector<Secret> made(count);
  Secret coefficients;
  if (Code code = Secret::make(threshold, &coefficients); code != Code::OK) return code;
  uint8_t set[4];
  randomNonce(set);
  for (unsigned i = 0; i < count; i++) {
    if (Code code = Secret::make(kShareOverheadBytes + secret.size(), &made[i]); code != Code::OK) return code;
    made[i].data()[kXAt] = uint8_t(i + 1);
    made[i].data()[kThresholdAt] = uint8_t(threshold);
    std::memcpy(made[i].data() + kSetAt, set, sizeof set);
  }
  for (size_t at = 0; at < secret.size(); at++) {
    coefficients.data()[0] = secret[at];
    randomBytes(coefficients.span().subspan(1));
    for (unsigned i = 0; i < count; i++) {
      uint8_t y = 0;
      for (unsigned degree = threshold; degree-- > 0;) y = multiply(y, uint8_t(i + 1)) ^ coefficients.data()[degree];
      made[i].data()[kYAt + at] = y;
    }
  }
  *shares = std::move(made);
  return Code::OK;
}

Code shamirCombine(std::span<const SecretPtr> shares, Secret* out) {
  if (!belongTogether(shares)) return Code::UNSEAL_FAILED;
  const size_t threshold = shares[0]->data()[kThresholdAt], bytes = shares[0]->size() - kShareOverheadBytes;
  for (size_t i = threshold; i < shares.size(); i++) {
    Secret expected;
    if (Code code = Secret::make(bytes, &expected); code != Code::OK) return code;
    interpolate(shares, threshold, shares[i]->data()[kXAt], expected.span());
    if (!equalConstantTime(expected, Bytes(*shares[i]).subspan(kYAt))) return Code::UNSEAL_FAILED;
  }
  Secret combined;
  if (Code code = Secret::make(bytes, &combined); code != Code::OK) return code;
  interpolate(shares, threshold, 0, combined.span());
  *out = std::move(combined);
  return Code::OK;
}

}  // namespace quorate
