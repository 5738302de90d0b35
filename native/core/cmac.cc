// AES-CMAC (RFC 4493; SP 800-38B): CBC-MAC with the last block masked by a subkey.
#include <algorithm>
#include <cstring>

#include "core/evp_cipher.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

// Doubling in GF(2^128), without a branch on the secret bit (SP 800-38B, 6.1).
void doubled(const uint8_t in[16], uint8_t out[16]) {
  const uint8_t carry = uint8_t(-(in[0] >> 7)) & 0x87;
  for (int i = 0; i < 15; i++) out[i] = uint8_t(in[i] << 1 | in[i + 1] >> 7);
  out[15] = uint8_t(in[15] << 1) ^ carry;
}

struct Scratch {
  uint8_t subkey[16], last[16], sink[1024];
  ~Scratch() { wipe(this, sizeof *this); }
};

}  // namespace

Code aesCmac(Bytes keyMaterial, Bytes in, uint8_t out[16]) {
  static const uint8_t kZeros[16] = {};
  EvpCipher cbc;
  Scratch s;
  if (!cbc.begin(AesMode::cbc, keyMaterial, kZeros, true)) return Code::KEY_INVALID;
  if (!cbc.update({kZeros, 16}, s.subkey) || !cbc.restart(kZeros)) return Code::INTERNAL;
  doubled(s.subkey, s.last);
  std::memcpy(s.subkey, s.last, 16);

  const size_t whole = in.empty() ? 0 : (in.size() - 1) / 16 * 16;  // all but the last block
  for (size_t at = 0; at < whole;) {
    const size_t n = std::min(whole - at, sizeof s.sink);
    if (!cbc.update(in.subspan(at, n), s.sink)) return Code::INTERNAL;
    at += n;
  }
  const size_t rest = in.size() - whole;
  std::memset(s.last, 0, 16);
  if (rest > 0) std::memcpy(s.last, in.data() + whole, rest);
  if (rest < 16) {
    s.last[rest] = 0x80;
    doubled(s.subkey, s.sink);
    std::memcpy(s.subkey, s.sink, 16);
  }
  for (int i = 0; i < 16; i++) s.last[i] ^= s.subkey[i];
  if (!cbc.update({s.last, 16}, s.sink)) return Code::INTERNAL;
  std::memcpy(out, s.sink, 16);
  return Code::OK;
}

}  // namespace quorate
