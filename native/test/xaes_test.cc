// C2SP's vectors for XAES-256-GCM, and its accumulated randomized test.
#include <doctest/doctest.h>
#include <openssl/evp.h>

#include "core/managed.h"
#include "hex.h"

using namespace quorate;
using namespace quorate::test;

namespace {

struct Shake128 {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Shake128() { EVP_DigestInit_ex(context, EVP_shake128(), nullptr); }
  ~Shake128() { EVP_MD_CTX_free(context); }
  void absorb(Bytes in) { EVP_DigestUpdate(context, in.data(), in.size()); }
  Buffer squeeze(size_t n) {
    Buffer out(n);
    EVP_DigestFinalXOF(context, out.data(), n);
    return out;
  }
};

Buffer seal(const Buffer& keyMaterial, const Buffer& nonce, Bytes aad, Bytes in) {
  Buffer out(in.size() + 16);
  REQUIRE(nonce.size() == 24);
  REQUIRE(xaesSeal(keyMaterial, nonce.data(), aad, in, out) == Code::OK);
  return out;
}

}  // namespace

TEST_CASE("xaes: the two vectors of the specification") {
  const Buffer nonce = text("ABCDEFGHIJKLMNOPQRSTUVWX"), in = text("XAES-256-GCM"), aad = text("c2sp.org/XAES-256-GCM");
  CHECK(toHex(seal(Buffer(32, 1), nonce, {}, in)) == "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
  CHECK(toHex(seal(Buffer(32, 3), nonce, aad, in)) == "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

TEST_CASE("xaes: accumulated, 10,000 iterations") {
  constexpr size_t kIterations = 10'000, kMost = 32 + 24 + 1 + 255 + 1 + 255;
  const Buffer stream = Shake128().squeeze(kIterations * kMost);
  size_t at = 0;
  const auto take = [&](size_t n) {
    Buffer out(stream.begin() + ptrdiff_t(at), stream.begin() + ptrdiff_t(at + n));
    at += n;
    return out;
  };
  Shake128 accumulated;
  for (size_t i = 0; i < kIterations; i++) {
    const Buffer keyMaterial = take(32), nonce = take(24), in = take(take(1)[0]), aad = take(take(1)[0]);
    const Buffer sealed = seal(keyMaterial, nonce, aad, in);
    accumulated.absorb(sealed);
    Buffer opened(in.size());
    REQUIRE(xaesOpen(keyMaterial, nonce.data(), aad, sealed, opened) == Code::OK);
    REQUIRE(opened == in);
  }
  CHECK(toHex(accumulated.squeeze(32)) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

TEST_CASE("xaes: refuses wrong lengths and changed bytes") {
  const Buffer keyMaterial(32, 1), nonce(24, 2), in = text("plaintext"), aad = text("aad");
  Buffer sealed = seal(keyMaterial, nonce, aad, in), out(in.size(), 0xff);
  CHECK(xaesSeal(Buffer(16, 1), nonce.data(), aad, in, sealed) == Code::KEY_INVALID);
  CHECK(xaesOpen(Buffer(31, 1), nonce.data(), aad, sealed, out) == Code::KEY_INVALID);
  CHECK(xaesOpen(keyMaterial, nonce.data(), aad, Bytes(sealed).first(15), out) == Code::CIPHERTEXT_INVALID);
  for (size_t i = 0; i < sealed.size(); i++) {
    Buffer changed = sealed;
    changed[i] ^= 0x10;
    std::fill(out.begin(), out.end(), 0xff);
    CHECK(xaesOpen(keyMaterial, nonce.data(), aad, changed, out) == Code::CIPHERTEXT_INVALID);
    CHECK(out == Buffer(in.size(), 0));
  }
  for (size_t i = 0; i < 24; i++) {
    Buffer other = nonce;
    other[i] ^= 1;
    CHECK(xaesOpen(keyMaterial, other.data(), aad, sealed, out) == Code::CIPHERTEXT_INVALID);
  }
  CHECK(xaesOpen(keyMaterial, nonce.data(), {}, sealed, out) == Code::CIPHERTEXT_INVALID);
}
