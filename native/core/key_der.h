// The containers of keys: PKCS#8 (RFC 5958), SubjectPublicKeyInfo (RFC 5280), RSAPrivateKey and RSAPublicKey (RFC 8017 A.1),
// ECPrivateKey (RFC 5915). Readers give views into their input, writers write backwards (der.h).
#pragma once
#include "core/der.h"

namespace quorate {

struct PrivateKeyInfo {
  Bytes algorithm;   // the whole AlgorithmIdentifier, with its header
  Bytes privateKey;  // content of the OCTET STRING
  Bytes publicKey;   // content of [1], empty when absent
};
// Version 0 without, version 1 with a public key, as RFC 5958 section 2 says; attributes are skipped.
bool readPrivateKeyInfo(Bytes der, PrivateKeyInfo* out);
// Closes a PrivateKeyInfo of version 0 around the privateKey content that `writer` holds.
void closePrivateKeyInfo(Bytes algorithm, DerWriter* writer);

struct PublicKeyInfo {
  Bytes algorithm;  // the whole AlgorithmIdentifier, with its header
  Bytes publicKey;  // octets of the BIT STRING
};
bool readPublicKeyInfo(Bytes der, PublicKeyInfo* out);
void writePublicKeyInfo(Bytes algorithm, Bytes publicKey, Buffer* der);

struct RsaPublicParts {
  Bytes n, e;  // big-endian magnitudes
};
struct RsaPrivateParts {
  Bytes n, e, d, p, q, dp, dq, qi;
};
bool readRsaPublicKey(Bytes der, RsaPublicParts* out);
void writeRsaPublicKey(const RsaPublicParts& parts, Buffer* der);
bool readRsaPrivateKey(Bytes der, RsaPrivateParts* out);  // version 0: two primes
void writeRsaPrivateKey(const RsaPrivateParts& parts, DerWriter* writer);

struct EcPrivateParts {
  Bytes scalar;     // content of the OCTET STRING
  Bytes curve;      // content of [0], a whole OBJECT IDENTIFIER, empty when absent
  Bytes publicKey;  // octets of [1], empty when absent
};
bool readEcPrivateKey(Bytes der, EcPrivateParts* out);
// With the public key, without the curve, which the AlgorithmIdentifier names.
void writeEcPrivateKey(Bytes scalar, Bytes publicKey, DerWriter* writer);

}  // namespace quorate
