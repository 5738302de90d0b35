// ECDSA (FIPS 186-5 6.4), signatures as DER (strict) or P1363.
//
// The nonce of each signature is hedged: ECDSA_do_sign draws it with ossl_bn_gen_dsa_nonce_fixed_top, which hashes (SHA-512)
// a counter, the private key, the digest and 64 fresh random bytes, and rejects what is not below the order. So a stuck
// generator does not repeat a nonce for two digests, and a fault in a deterministic computation does not either (FIPS 186-5
// A.3.3 with added randomness; RFC 6979 3.6). That is so in OpenSSL 3.0 and 3.5 alike, unless deterministic nonces are asked
// for through EVP's "nonce-type" (3.2 and later), which cannot reach this call. ecdsa_test.cc shows it with a stuck generator.
#include <array>

#include "core/ec.h"

namespace quorate {

Code ecdsaSign(const KeyRow& row, const SignOptions& options, Bytes stored, PreparedPart*, Bytes digest, Buffer* signature) {
  Bn scalar = secretNumber(stored);
  EcKey holder(EC_KEY_new());
  if (!scalar || !holder || !EC_KEY_set_group(holder.get(), ecGroup(row)) || !EC_KEY_set_private_key(holder.get(), scalar.get())) {
    return Code::INTERNAL;
  }
  const EcdsaSignature made(ECDSA_do_sign(digest.data(), static_cast<int>(digest.size()), holder.get()));
  std::array<uint8_t, 2 * 66> fixed;
  const int bytes = static_cast<int>(row.bytes);
  if (!made || BN_bn2binpad(ECDSA_SIG_get0_r(made.get()), fixed.data(), bytes) != bytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(made.get()), fixed.data() + bytes, bytes) != bytes) {
    return Code::INTERNAL;
  }
  const Bytes both(fixed.data(), 2 * row.bytes);
  if (options.format == SignatureFormat::P1363) {
    signature->assign(both.begin(), both.end());
  } else {
    writeEcdsaSignature(both, signature);
  }
  return Code::OK;
}

Code ecdsaVerify(const KeyRow& row, const SignOptions& options, Bytes publicKey, Bytes digest, Bytes signature, bool* valid) {
  *valid = false;
  std::array<uint8_t, 2 * 66> fixed;
  Bytes both(fixed.data(), 2 * row.bytes);
  if (options.format == SignatureFormat::P1363) {
    if (signature.size() != 2 * row.bytes) return Code::OK;
    both = signature;
  } else if (!readEcdsaSignature(signature, row.bytes, MutBytes(fixed.data(), 2 * row.bytes))) {
    return Code::OK;
  }
  const EC_GROUP* group = ecGroup(row);
  const EcPoint point = ecPoint(group, row, publicKey);
  if (!point) return Code::KEY_INVALID;
  const EcKey holder(EC_KEY_new());
  const EcdsaSignature parsed(ECDSA_SIG_new());
  Bn r = publicNumber(both.first(row.bytes)), s = publicNumber(both.last(row.bytes));
  if (!holder || !parsed || !r || !s || !EC_KEY_set_group(holder.get(), group) || !EC_KEY_set_public_key(holder.get(), point.get())) {
    return Code::INTERNAL;
  }
  ECDSA_SIG_set0(parsed.get(), r.release(), s.release());
  // r and s outside [1, order - 1] are refused in there.
  *valid = ECDSA_do_verify(digest.data(), static_cast<int>(digest.size()), parsed.get(), holder.get()) == 1;
  return Code::OK;
}

}  // namespace quorate
