#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr size_t kHashMax = 64;
constexpr uint64_t kScryptBytesMax = 256ull << 20;

}  // namespace

// An empty salt equals one of hashBytes zeros (RFC 5869, 2.2), as HMAC pads it so.
Code hkdf(Hash hash, Bytes keyMaterial, Bytes salt, Bytes info, MutBytes out) {
  const size_t bytes = hashBytes(hash);
  if (bytes == 0) return Code::BAD_REQUEST;
  if (out.size() > 255 * bytes) return Code::INPUT_TOO_LONG;
  uint8_t prk[kHashMax], t[kHashMax];
  hmac(hash, salt, keyMaterial, prk);
  size_t done = 0;
  for (unsigned i = 1; done < out.size(); i++) {
    const uint8_t counter = uint8_t(i);
    const Bytes parts[] = {{t, i == 1 ? 0 : bytes}, info, {&counter, 1}};
    hmacParts(hash, {prk, bytes}, parts, t);
    const size_t n = std::min(out.size() - done, bytes);
    std::memcpy(out.data() + done, t, n);
    done += n;
  }
  wipe(prk, sizeof prk);
  wipe(t, sizeof t);
  return Code::OK;
}

Code x963Kdf(Hash hash, Bytes z, Bytes shared, MutBytes out) {
  const size_t bytes = hashBytes(hash);
  if (bytes == 0) return Code::BAD_REQUEST;
  if (out.size() > bytes << 16) return Code::INPUT_TOO_LONG;
  HashState state;
  uint8_t block[kHashMax];
  uint32_t counter = 1;
  for (size_t done = 0; done < out.size(); counter++) {
    const uint8_t octets[4] = {uint8_t(counter >> 24), uint8_t(counter >> 16), uint8_t(counter >> 8), uint8_t(counter)};
    hashBegin(hash, &state);
    hashUpdate(&state, z);
    hashUpdate(&state, octets);
    hashUpdate(&state, shared);
    hashFinish(&state, block);
    const size_t n = std::min(out.size() - done, bytes);
    std::memcpy(out.data() + done, block, n);
    done += n;
  }
  wipe(block, sizeof block);
  return Code::OK;
}

// The big table (128 * r * 2^log2n bytes) is libcrypto's, in memory that is cleared but not locked: too big for the arena.
Code scrypt(Bytes passphrase, Bytes salt, unsigned log2n, unsigned r, unsigned p, MutBytes out) {
  if (log2n < 1 || log2n > 24 || r < 1 || p < 1 || r > (1u << 20) || p > (1u << 20)) return Code::BAD_REQUEST;
  if (out.empty()) return Code::BAD_REQUEST;
  const uint64_t n = 1ull << log2n, need = 128 * uint64_t(r) * (n + p);
  if (need > kScryptBytesMax) return Code::BAD_REQUEST;
  static const char kEmpty[1] = {};  // libcrypto takes a null pointer for "no passphrase at all"
  const char* text = passphrase.empty() ? kEmpty : reinterpret_cast<const char*>(passphrase.data());
  const int ok = EVP_PBE_scrypt(text, passphrase.size(), salt.data(), salt.size(), n, r, p, kScryptBytesMax + (1u << 20), out.data(), out.size());
  if (ok == 1) return Code::OK;
  wipe(out);
  return Code::BAD_REQUEST;
}

}  // namespace quorate
