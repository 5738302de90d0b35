// XAES-256-GCM (C2SP): a key prepared for deriving a message key from each nonce. Internal to core.
#pragma once
#include "core/gcm.h"

namespace quorate {

// Secret: place it in the arena, or on the stack and wipe it.
struct alignas(16) XaesKey {
  uint8_t roundKeys[240];  // AES-256's schedule for AES-NI; otherwise the raw key in the first 32 bytes
  uint8_t subkey[16];      // K1 of CMAC (SP 800-38B, 6.1)
  bool aesni;
};

// keyMaterial: 32 bytes. Constant time in it.
void xaesPrepare(const uint8_t keyMaterial[32], XaesKey* out);
// The message key: two blocks of CMAC-based counter-mode KDF (SP 800-108) over the first 12 bytes of the nonce, label "X".
void xaesDerive(const XaesKey& key, const uint8_t nonce[24], uint8_t out[32]);

// XAES-256-GCM with a prepared key. ciphertext: len bytes, not overlapping; tag: 16 bytes.
void xaesSealPrepared(const XaesKey& key, const uint8_t nonce[24], Bytes aad, Bytes in, uint8_t* ciphertext, uint8_t* tag);
// False, and zeros in `out`, when the tag does not fit. out: ciphertext.size() bytes.
bool xaesOpenPrepared(const XaesKey& key, const uint8_t nonce[24], Bytes aad, Bytes ciphertext, const uint8_t* tag, uint8_t* out);

}  // namespace quorate
