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
// Sizes, exponents, factors, CRT values, primality: 40 ms (2048 bits) to 250 ms (4096 bits).
Code rsaCheckPrivate(const KeyRow& row, Bytes stored, std::string* detail);
Code rsaCheckPublic(const KeyRow& row, Bytes publicKey, std::string* detail);

Code rsaOaepEncrypt(const KeyRow& row, Bytes publicKey, Hash hash, Bytes label, Bytes in, Buffer* out);
Code rsaOaepDecrypt(const KeyRow& row, Bytes stored, Hash hash, Bytes label, Bytes in, Secret* out);

}  // namespace quorate
