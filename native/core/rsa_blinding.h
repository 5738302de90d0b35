// Blinding that outlives an RSA object. libcrypto makes new blinding factors for each object, and ours live for one call: for
// 2048 bits, the modular inverse in them takes nearly as long as the signature.
#pragma once
#include <mutex>

#include "core/key_row.h"
#include "core/libcrypto.h"

namespace quorate {

// Factors A = r^e and B = r^-1 modulo n, as BN_BLINDING has them: squared after each use, drawn anew after kUsesMax, so that no
// two operations see the same. They are no secret of the key, but blind nothing once known: they live in the arena.
class RsaBlinding final : public PreparedPart {
 public:
  Code open(size_t modulusBytes);  // ARENA_FULL
  // The private operation on in (below the modulus, modulusBytes long) to out (as long), blinded. Sets RSA_FLAG_NO_BLINDING in
  // the key, which has n, e and the private parts.
  Code privateOperation(RSA* key, Bytes in, MutBytes out);

 private:
  static constexpr int kUsesMax = 32;
  // Factors for one operation.
  bool take(const RSA* key, BN_CTX* context, BIGNUM* a, BIGNUM* b);
  bool draw(const RSA* key, BN_CTX* context, BIGNUM* a, BIGNUM* b);

  std::mutex mutex_;  // guards the rest
  Secret factors_;    // A, then B, big-endian
  int usesLeft_ = 0;
};

}  // namespace quorate
