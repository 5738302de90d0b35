#include "core/rsa_blinding.h"

namespace quorate {

Code RsaBlinding::open(size_t modulusBytes) { return Secret::make(2 * modulusBytes, &factors_); }

bool RsaBlinding::draw(const RSA* key, BN_CTX* context, BIGNUM* a, BIGNUM* b) {
  const BIGNUM* const n = RSA_get0_n(key);
  BN_set_flags(a, BN_FLG_CONSTTIME);  // picks the inversion that does not branch on it
  // A factor without inverse would be a multiple of a prime: that never happens.
  return BN_priv_rand_range(a, n) && BN_mod_inverse(b, a, n, context) != nullptr &&
         BN_mod_exp_mont(a, a, RSA_get0_e(key), n, context, nullptr);
}

bool RsaBlinding::take(const RSA* key, BN_CTX* context, BIGNUM* a, BIGNUM* b) {
  const BIGNUM* const n = RSA_get0_n(key);
  const int bytes = static_cast<int>(factors_.size() / 2);
  const std::lock_guard lock(mutex_);
  if (usesLeft_ == 0) {
    if (!draw(key, context, a, b)) return false;
    usesLeft_ = kUsesMax;
  } else if (!BN_bin2bn(factors_.data(), bytes, a) || !BN_bin2bn(factors_.data() + bytes, bytes, b) || !BN_mod_sqr(a, a, n, context) ||
             !BN_mod_sqr(b, b, n, context)) {
    return false;
  }
  usesLeft_--;
  return BN_bn2binpad(a, factors_.data(), bytes) == bytes && BN_bn2binpad(b, factors_.data() + bytes, bytes) == bytes;
}

Code RsaBlinding::privateOperation(RSA* key, Bytes in, MutBytes out) {
  const BIGNUM* const n = RSA_get0_n(key);
  const int bytes = static_cast<int>(out.size());
  const BnContext context(BN_CTX_secure_new());
  const Bn a = secretNumber(), b = secretNumber(), number = secretNumber(in);
  Secret block;
  const Code code = Secret::make(out.size(), &block);
  if (code != Code::OK) return code;
  RSA_set_flags(key, RSA_FLAG_NO_BLINDING);
  // RSA_private_encrypt checks its result against e, so that a fault in one half of the CRT does not get out.
  if (!context || !a || !b || !number || !take(key, context.get(), a.get(), b.get()) ||
      !BN_mod_mul(number.get(), number.get(), a.get(), n, context.get()) || BN_bn2binpad(number.get(), block.data(), bytes) != bytes ||
      RSA_private_encrypt(bytes, block.data(), block.data(), key, RSA_NO_PADDING) != bytes ||
      !BN_bin2bn(block.data(), bytes, number.get()) || !BN_mod_mul(number.get(), number.get(), b.get(), n, context.get()) ||
      BN_bn2binpad(number.get(), out.data(), bytes) != bytes) {
    return Code::INTERNAL;
  }
  return Code::OK;
}

}  // namespace quorate
