// libcrypto's objects as owned values: whatever may hold a secret is freed by the function that overwrites it.
// Include this before any OpenSSL header: the low-level EC and RSA calls are used on purpose. With EVP a private key is carried
// into a provider's object as another copy, by way of parameter buffers, for several allocations and fetches a call.
#pragma once
#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED
#endif
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <memory>

#include "core/base.h"

namespace quorate {

template <auto release>
struct Released {
  template <class T>
  void operator()(T* object) const {
    release(object);
  }
};
using Bn = std::unique_ptr<BIGNUM, Released<BN_clear_free>>;
using BnContext = std::unique_ptr<BN_CTX, Released<BN_CTX_free>>;               // clears its numbers
using BnMontgomery = std::unique_ptr<BN_MONT_CTX, Released<BN_MONT_CTX_free>>;  // likewise
using EcPoint = std::unique_ptr<EC_POINT, Released<EC_POINT_clear_free>>;
using EcKey = std::unique_ptr<EC_KEY, Released<EC_KEY_free>>;  // clears the private number
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Released<ECDSA_SIG_free>>;
using RsaKey = std::unique_ptr<RSA, Released<RSA_free>>;  // clears the private numbers and its Montgomery contexts
using Pkey = std::unique_ptr<EVP_PKEY, Released<EVP_PKEY_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, Released<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Released<EVP_MD_CTX_free>>;

// A number in memory that is overwritten even when it grows (BN_FLG_SECURE), and that libcrypto handles in constant time.
inline Bn secretNumber() {
  Bn number(BN_secure_new());
  if (number) BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  return number;
}
inline Bn secretNumber(Bytes bigEndian) {
  Bn number = secretNumber();
  if (number && !BN_bin2bn(bigEndian.data(), static_cast<int>(bigEndian.size()), number.get())) number.reset();
  return number;
}
inline Bn publicNumber(Bytes bigEndian) { return Bn(BN_bin2bn(bigEndian.data(), static_cast<int>(bigEndian.size()), nullptr)); }

// Takes back what our calls leave in the thread's error queue: in node, that queue is also node:crypto's.
class ErrorQueueMark {
 public:
  ErrorQueueMark() { ERR_set_mark(); }
  ~ErrorQueueMark() { ERR_pop_to_mark(); }
  ErrorQueueMark(const ErrorQueueMark&) = delete;
  ErrorQueueMark& operator=(const ErrorQueueMark&) = delete;
};

}  // namespace quorate
