// One row for each key type, and what a family of asymmetric types does behind it. Everything that keypair.h promises is
// dispatched through this table; nothing else switches over KeyType.
#pragma once
#include "core/der.h"
#include "core/keypair.h"

namespace quorate {

struct AsymmetricVerbs;

// What a family keeps beside a private key for many signatures. Any thread may use it.
struct PreparedPart {
  virtual ~PreparedPart() = default;
};

struct KeyRow {
  KeyType type;
  size_t symmetricBytes;         // AES: bytes of raw material; 0 otherwise
  size_t bytes;                  // asymmetric: of the scalar, the seed or the modulus
  int curveNid;                  // EC
  const char* jwkCurve;          // RFC 7518 6.2.1.1, RFC 8037; nullptr for RSA
  Bytes algorithm;               // AlgorithmIdentifier, DER
  Hash defaultHash;              // of signatures
  const AsymmetricVerbs* verbs;  // nullptr: symmetric
};
const KeyRow* keyRow(KeyType type);  // nullptr when unknown
// The octets of the public key in an SPKI of this type's algorithm; empty when it is another or not strict DER.
Bytes publicOctets(const KeyRow& row, Bytes spki);

// "public" here is the content of SubjectPublicKeyInfo's BIT STRING: a point, 32 bytes, or an RSAPublicKey.
struct AsymmetricVerbs {
  KeyScheme signatures[2];  // the schemes that sign
  bool signsMessage;        // sign and verify take the message (EdDSA), not a digest

  Code (*generate)(const KeyRow& row, Secret* stored);
  // Views into the content of PKCS#8's OCTET STRING: what is stored, and a public half inside, when there is one.
  Code (*readInner)(const KeyRow& row, Bytes inner, Bytes* stored, Bytes* publicInside, std::string* detail);
  void (*writeInner)(const KeyRow& row, Bytes stored, Bytes publicKey, DerWriter* writer);
  // Every check of the private half on its own; then its public half. KEY_INVALID.
  Code (*checkPrivate)(const KeyRow& row, Bytes stored, std::string* detail);
  Code (*publicOf)(const KeyRow& row, Bytes stored, Buffer* publicKey);
  Code (*checkPublic)(const KeyRow& row, Bytes publicKey, std::string* detail);
  // The two halves belong together: a signature made and verified, or one secret agreed from either side. SELF_TEST_FAILED.
  Code (*pairwise)(const KeyRow& row, Bytes stored, Bytes publicKey);

  // From this very private half. nullptr: nothing is worth keeping.
  Code (*prepare)(const KeyRow& row, Bytes stored, std::unique_ptr<PreparedPart>* out);
  // options.hash is resolved. prepared is nullptr, or what `prepare` made of the same private half. nullptr: the family does not.
  Code (*sign)(const KeyRow& row, const SignOptions& options, Bytes stored, PreparedPart* prepared, Bytes input, Buffer* signature);
  Code (*verify)(const KeyRow& row, const SignOptions& options, Bytes publicKey, Bytes input, Bytes signature, bool* valid);
  Code (*agree)(const KeyRow& row, Bytes stored, Bytes peer, Secret* z);
};

extern const AsymmetricVerbs kEcVerbs, kEd25519Verbs, kX25519Verbs, kRsaVerbs;

inline Code keyInvalid(std::string* detail, const char* what) {
  if (detail != nullptr) *detail = what;
  return Code::KEY_INVALID;
}

}  // namespace quorate
