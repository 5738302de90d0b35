// Between ed25519.cc and x25519.cc: raw keys in EVP, the only door that libcrypto has to them.
#pragma once
#include "core/key_row.h"
#include "core/libcrypto.h"

namespace quorate {

inline constexpr size_t kCurve25519Bytes = 32;

// A key pair object of `name` ("ED25519", "X25519"). With a public half libcrypto does not compute it: the caller owes that it
// belongs to the private one, or is not used. The private bytes are held in one block that libcrypto overwrites when it frees it.
Pkey curve25519Pair(const char* name, Bytes privateKey, Bytes publicKey);
// CurvePrivateKey (RFC 8410 7): an OCTET STRING in PKCS#8's OCTET STRING.
Code curve25519ReadInner(const KeyRow& row, Bytes inner, Bytes* stored, Bytes* publicInside, std::string* detail);
void curve25519WriteInner(const KeyRow& row, Bytes stored, Bytes publicKey, DerWriter* writer);
Code curve25519Generate(const KeyRow& row, Secret* stored);
Code curve25519CheckPrivate(const KeyRow& row, Bytes stored, std::string* detail);

}  // namespace quorate
