// Between rsa.cc (what RSA keys do) and rsa_key.cc (what they are).
#pragma once
#include "core/key_der.h"
#include "core/key_row.h"
#include "core/libcrypto.h"

namespace quorate {

// For one operation. nullptr when libcrypto is out of memory.
RsaKey rsaPrivate(const RsaPrivateParts& parts);
RsaKey rsaPublic(const RsaPublicParts& parts);

Code rsaGenerate(const KeyRow& row, Secret* stored);
// Whether a modulus is of the form that a library of smartcards made (ROCA, CVE-2017-15361): its primes are found from it. Random ones look so once in 10^8.
// 2 us of the public half.
bool rsaIsRoca(Bytes n);
// Sizes, exponents, factors, CRT values, primality: 40 ms (2048 bits) to 250 ms (4096 bits).
Code rsaCheckPrivate(const KeyRow& row, Bytes stored, std::string* detail);
Code rsaCheckPublic(const KeyRow& row, Bytes publicKey, std::string* detail);

// in and out have the modulus' length. INPUT_TOO_LONG for a number that is not below the modulus. prepared: nullptr, or what kRsaVerbs.prepare made of the same
// key; the private operation is blinded either way, and its result checked against e.
Code rsaPublicOperation(const KeyRow& row, Bytes publicKey, Bytes in, MutBytes out);
Code rsaPrivateOperation(const KeyRow& row, Bytes stored, PreparedPart* prepared, Bytes in, MutBytes out);

struct RsaPadding {
  enum Kind : uint8_t { pkcs1, pss } kind = pkcs1;
  Hash hash = Hash::HASH_UNSPECIFIED;  // unspecified: pkcs1 over the input as it is
  Hash mgf = Hash::HASH_UNSPECIFIED;   // pss
  size_t saltBytes = 0;                // pss: exactly so many
};
bool rsaPssFits(const KeyRow& row, Hash hash, size_t saltBytes);
// input: a digest of padding.hash, or for pkcs1 without one anything of up to k - 11 bytes (INPUT_TOO_LONG).
Code rsaSign(const KeyRow& row, const RsaPadding& padding, Bytes stored, PreparedPart* prepared, Bytes input, Buffer* signature);
Code rsaVerify(const KeyRow& row, const RsaPadding& padding, Bytes publicKey, Bytes input, Bytes signature, bool* valid);

struct OaepOptions {
  Hash hash, mgf;
  Bytes label;
};
// out has the modulus' length. INPUT_TOO_LONG, KEY_INVALID.
Code rsaOaepEncrypt(const KeyRow& row, Bytes publicKey, const OaepOptions& options, Bytes in, MutBytes out);
Code rsaOaepDecrypt(const KeyRow& row, Bytes stored, PreparedPart* prepared, const OaepOptions& options, Bytes in, Secret* out);

}  // namespace quorate
