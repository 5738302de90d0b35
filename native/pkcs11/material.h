// Key material between its two forms: the numbers of Cryptoki's attributes, and what the daemon takes and gives (RAW, PKCS#8, SPKI).
#pragma once
#include "core/types.gen.h"
#include "pkcs11/cryptoki.h"
#include "pkcs11/der.h"

namespace quorate::pkcs11 {

// Views; empty: not given.
struct KeyNumbers {
  std::string_view value, point, modulus, publicExponent, privateExponent, prime1, prime2, exponent1, exponent2, coefficient;
};
// Which of them an attribute is; nullptr: none.
std::string_view* numberOf(KeyNumbers* numbers, CK_ATTRIBUTE_TYPE type);

// What C_CreateObject sends for a key of that class and type. `params`: CKA_EC_PARAMS. CKR_TEMPLATE_INCOMPLETE, CKR_ATTRIBUTE_VALUE_INVALID,
// CKR_CURVE_NOT_SUPPORTED.
CK_RV writeMaterial(CK_OBJECT_CLASS kind, CK_KEY_TYPE type, std::string_view params, const KeyNumbers& numbers, Buffer* out);
// The numbers in a PKCS#8 of a private key, as views into it.
bool readPrivateKey(std::string_view pkcs8, KeyType type, KeyNumbers* out);

// What CKA_EC_PARAMS and CKA_EC_POINT, or CKA_MODULUS and CKA_PUBLIC_EXPONENT, are made of.
struct PublicParts {
  std::string point;              // EC: 04 || x || y. Edwards, Montgomery: 32 bytes
  std::string modulus, exponent;  // big endian, without leading zeroes
};
// False when it is no SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) with a key of that kind. Reads nothing outside `spki`.
bool readPublicKey(std::string_view spki, bool isRsa, PublicParts* out);
// The OBJECT IDENTIFIER that CKA_EC_PARAMS is; empty for what has no curve.
std::string_view curveOf(KeyType type);
size_t keyBits(KeyType type);
bool isRsa(KeyType type);

struct CertificateParts {
  std::string_view subject, issuer, serialNumber;  // each a whole DER element
};
// Of an X.509 certificate (RFC 5280, 4.1).
bool readCertificate(std::string_view der, CertificateParts* out);

}  // namespace quorate::pkcs11
