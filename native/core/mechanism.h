// Cryptography by mechanism, as PKCS #11 3.0 names and defines them: raw, without formats of ours. Which key may do what is decided elsewhere
// (object_rules.h); here only that mechanism, key type and parameters fit. Same rules as everywhere in core: Code, no exceptions, constant time
// in secrets, outputs wiped on failure.
#pragma once
#include "core/gcm.h"
#include "core/keypair.h"
#include "core/secret.h"

namespace quorate {

enum Use : uint32_t {
  kEncrypt = 1, kDecrypt = 2, kSign = 4, kVerify = 8, kDigest = 16, kWrap = 32, kUnwrap = 64, kDerive = 128, kGenerate = 256, kGeneratePair = 512,
};
enum class MechanismKind : uint8_t {
  generate, generatePair, digest, aesEcb, aesCbc, aesCbcPad, aesCtr, aesGcm, aesCmac, aesCmacGeneral, aesKeyWrap, aesKeyWrapPad,
  hmac, hmacGeneral, rsaPkcs, rsaRaw, rsaOaep, rsaPss, rsaAesKeyWrap, ecdsa, eddsa, ecdh,
};
enum class KeyFamily : uint8_t { none, aes, secret, rsa, ec, edwards, montgomery };
KeyFamily familyOf(KeyType type);

struct MechanismRow {
  uint32_t number;
  MechanismKind kind;
  Hash hash;
  KeyFamily key;  // ec: ECDH1_DERIVE takes a montgomery key too
  uint32_t least, most;
  uint32_t uses;
};
// nullptr: there is none. One load on the hot path.
const MechanismRow* mechanismRow(uint32_t number);

// Views of the caller's; all optional but what the kind needs.
struct MechanismParams {
  Bytes iv{}, aad{}, label{}, peerPublic{}, shared{};
  uint32_t tagBits = 0, counterBits = 0, saltBytes = 0, macBytes = 0, bits = 0;
  Hash hash = Hash::HASH_UNSPECIFIED, mgf = Hash::HASH_UNSPECIFIED, kdf = Hash::HASH_UNSPECIFIED;
};
struct Mechanism {
  const MechanismRow* row = nullptr;
  MechanismParams params{};
};
// A key as one operation needs it.
struct MechanismKey {
  KeyType type{};
  Bytes stored{};                // private or secret material; empty for a public half
  Bytes spki{};                  // asymmetric
  const GcmKey* gcm = nullptr;   // AES: prepared; null: prepared for this operation alone
  PreparedPart* prepared = nullptr;  // RSA, Ed25519: PreparedSigner::part() of the same private key, for half the time; null: without
};

// Whether `use` by this mechanism fits the key's type and the parameters fit the mechanism: MECHANISM_INVALID, KEY_USAGE_DENIED (the key is of another
// family), MECHANISM_PARAM_INVALID with *fact. Everything below asks it first.
Code checkMechanism(const Mechanism& mechanism, Use use, KeyType type, const char** fact);

// Exactly how many bytes the result has, or the most where that depends on the content (CBC_PAD decryption, OAEP, raw RSA is exact).
size_t resultBytes(const Mechanism& mechanism, Use use, KeyType type, size_t inputBytes);

// out has resultBytes(). DATA_LENGTH_INVALID, INPUT_TOO_LONG; AES_GCM: ciphertext, then tag.
Code mechanismEncrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out, size_t* written);
// CIPHERTEXT_LENGTH_INVALID, CIPHERTEXT_INVALID (out wiped; constant time where it must not tell why).
Code mechanismDecrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out, size_t* written);
// Signatures and MACs. ECDSA: P1363. RSA_PKCS without a hash takes any bytes up to k - 11; ECDSA without one any digest (truncated as FIPS 186-5 says); RSA_X_509 up to k
// bytes, below the modulus. DATA_LENGTH_INVALID, DIGEST_INVALID.
Code mechanismSign(const Mechanism& mechanism, const MechanismKey& key, Bytes in, Buffer* signature);
// The digest that an ECDSA mechanism signs, as it is signed: at most 64 bytes. The same codes.
Code mechanismSignedDigest(const Mechanism& mechanism, const MechanismKey& key, Bytes in, uint8_t out[64], size_t* bytes);
// *valid false for every malformed or wrong signature of any length.
Code mechanismVerify(const Mechanism& mechanism, const MechanismKey& key, Bytes in, Bytes signature, bool* valid);
// plain: RAW for symmetric keys, PKCS#8 for private ones. *wrapped is public. KEY_SIZE_INVALID: KEY_WRAP takes multiples of 8 from 16 bytes, OAEP what fits the modulus.
Code mechanismWrap(const Mechanism& mechanism, const MechanismKey& wrapping, Bytes plain, Buffer* wrapped);
// WRAPPED_KEY_INVALID whatever was wrong.
Code mechanismUnwrap(const Mechanism& mechanism, const MechanismKey& unwrapping, Bytes wrapped, Secret* plain);
// `bytes` of the derived secret (CKD_NULL: the trailing bytes of the shared secret, as PKCS #11 truncates from the leading end; 0: all of it). KEY_INVALID for a bad peer,
// KEY_SIZE_INVALID for more than there is, or a KDF without a length.
Code mechanismDerive(const Mechanism& mechanism, const MechanismKey& key, size_t bytes, Secret* out);

// Many parts. State that depends on secrets lives in the arena; the material behind `key` must outlive the operation (owner keeps it).
// Kinds: digest, hmac(General), aesCmac(General), aesEcb, aesCbc, aesCbcPad, aesCtr, and signatures with a hash of their own. MECHANISM_INVALID for others (GCM and
// raw signatures come in one piece).
class MechanismOperation {
 public:
  virtual ~MechanismOperation() = default;
  static Code begin(const Mechanism& mechanism, Use use, const MechanismKey& key, std::unique_ptr<MechanismOperation>* out);
  // Most bytes that update(n) or finish() may write.
  virtual size_t room(size_t inputBytes) const = 0;
  virtual Code update(Bytes in, MutBytes out, size_t* written) = 0;
  // Encryption and decryption: what is left. Digest, sign: the result. Verify: signature is compared, *valid. One call, then it is over.
  virtual Code finish(Bytes signature, MutBytes out, size_t* written, bool* valid) = 0;
};

}  // namespace quorate
