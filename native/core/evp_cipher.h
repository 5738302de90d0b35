// libcrypto's AES modes for the routines that are not our own kernels. A context lives for one operation, and libcrypto
// cleanses its key schedule when it is freed. Ciphers are fetched once.
#pragma once
#include <openssl/evp.h>

#include "core/base.h"

namespace quorate {

enum class AesMode { cbc, ctr, ecb };

// nullptr when keyBytes is not 16, 24 or 32.
const EVP_CIPHER* aesCipher(AesMode mode, size_t keyBytes);

class EvpCipher {
 public:
  EvpCipher() : context_(EVP_CIPHER_CTX_new()) {}
  ~EvpCipher() { EVP_CIPHER_CTX_free(context_); }
  EvpCipher(const EvpCipher&) = delete;
  EvpCipher& operator=(const EvpCipher&) = delete;

  // Without padding. False when the mode does not take the key's length.
  bool begin(AesMode mode, Bytes keyMaterial, const uint8_t* iv, bool encrypt);
  // A new IV under the same key.
  bool restart(const uint8_t* iv);
  // Any whole number of blocks (CTR: any length); out has in.size() bytes and may equal in.
  bool update(Bytes in, uint8_t* out);

 private:
  EVP_CIPHER_CTX* context_;
};

}  // namespace quorate
