// Just enough DER (X.690) to read the public keys that the daemon sends and to write the attributes made of them.
#pragma once
#include <string>
#include <string_view>

namespace quorate::pkcs11 {

// What CKA_EC_PARAMS and CKA_EC_POINT, or CKA_MODULUS and CKA_PUBLIC_EXPONENT, are made of.
struct PublicParts {
  std::string point;               // EC: 04 || x || y. Ed25519: 32 bytes
  std::string modulus, exponent;   // big endian, without leading zeroes
};

// False when it is no SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) with a key of that kind. Reads nothing outside `spki`.
bool readPublicKey(std::string_view spki, bool isRsa, PublicParts* out);

std::string octetString(std::string_view content);

// The hash inside a DigestInfo of PKCS #1 (RFC 8017, 9.2, note 1): bytes of the hash for SHA-224, -256, -384 and -512, and where it begins.
// False for any other hash (SHA-1 signs nothing) and for what is not exactly such a DigestInfo.
bool readDigestInfo(std::string_view info, std::string_view* digest);

}  // namespace quorate::pkcs11
