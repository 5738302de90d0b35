// AES-CMAC (RFC 4493; SP 800-38B): CBC-MAC with the last block masked by a subkey.
#include "core/cmac.h"

#include <algorithm>
#include <cstring>

#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr uint8_t kZeros[16] = {};

// Doubling in GF(2^128), without a branch on the secret bit (SP 800-38B, 6.1).
void doubled(const uint8_t in[16], uint8_t out[16]) {
  const uint8_t carry = uint8_t(-(in[0] >> 7)) & 0x87;
  for (int i = 0; i < 15; i++) out[i] = uint8_t(in[i] << 1 | in[i + 1] >> 7);
  out[15] = uint8_t(in[15] << 1) ^ carry;
}

struct Scratch {
  uint8_t subkey[16], other[16];
  ~Scratch() { wipe(this, sizeof *this); }
};

struct Sink {
  uint8_t bytes[1024];
  ~Sink() { wipe(bytes, sizeof bytes); }
};

}  // namespace

bool cmacUpdate(EvpCipher* cbc, CmacState* state, Bytes in) {
  if (state->heldBytes + in.size() <= 16) {
    if (!in.empty()) std::memcpy(state->held + state->heldBytes, in.data(), in.size());
    state->heldBytes += in.size();
    return true;
  }
  const size_t filled = 16 - state->heldBytes;
  std::memcpy(state->held + state->heldBytes, in.data(), filled);
  in = in.subspan(filled);
  if (!cbc->update({state->held, 16}, state->chain)) return false;
  Sink sink;
  while (in.size() > 16) {
    const size_t n = std::min((in.size() - 1) / 16 * 16, sizeof sink.bytes);
    if (!cbc->update(in.first(n), sink.bytes)) return false;
    std::memcpy(state->chain, sink.bytes + n - 16, 16);
    in = in.subspan(n);
  }
  std::memcpy(state->held, in.data(), in.size());
  state->heldBytes = in.size();
  return true;
}

bool cmacFinish(EvpCipher* cbc, CmacState* state, uint8_t out[16]) {
  Scratch s;
  if (!cbc->restart(kZeros) || !cbc->update(kZeros, s.other) || !cbc->restart(state->chain)) return false;
  doubled(s.other, s.subkey);
  if (state->heldBytes < 16) {
    std::memset(state->held + state->heldBytes, 0, 16 - state->heldBytes);
    state->held[state->heldBytes] = 0x80;
    doubled(s.subkey, s.other);
    std::memcpy(s.subkey, s.other, 16);
  }
  for (int i = 0; i < 16; i++) state->held[i] ^= s.subkey[i];
  const bool ok = cbc->update({state->held, 16}, out);
  wipe(state, sizeof *state);
  return ok;
}

Code aesCmac(Bytes keyMaterial, Bytes in, uint8_t out[16]) {
  EvpCipher cbc;
  CmacState state{};
  if (!cbc.begin(AesMode::cbc, keyMaterial, kZeros, true)) return Code::KEY_INVALID;
  const bool ok = cmacUpdate(&cbc, &state, in) && cmacFinish(&cbc, &state, out);
  wipe(&state, sizeof state);
  return ok ? Code::OK : Code::INTERNAL;
}

}  // namespace quorate
