// AES-CMAC in parts (RFC 4493; SP 800-38B).
#pragma once
#include "core/evp_cipher.h"

namespace quorate {

// What has been absorbed: secret. Zeroed to begin. Between two calls no cipher need live: the next one starts from `chain`.
struct CmacState {
  uint8_t chain[16], held[16];  // the last block is held back: it is masked
  size_t heldBytes;
};
// `cbc` has begun encryption with the key and state->chain as IV. False when libcrypto fails.
bool cmacUpdate(EvpCipher* cbc, CmacState* state, Bytes in);
bool cmacFinish(EvpCipher* cbc, CmacState* state, uint8_t out[16]);  // wipes the state

}  // namespace quorate
