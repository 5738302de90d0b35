// Keys by type: generation, import with every check, public halves; and what asymmetric keys do.
//
// Stored form of private material (what is sealed in the store):
//   AES, HMAC: the raw bytes.  EC: the scalar, big-endian, 32/48/66 bytes.  Ed25519: the 32-byte seed (RFC 8032).
//   X25519: the 32-byte scalar as given (RFC 7748).  RSA: PKCS#1 RSAPrivateKey, DER.
// Public halves are SubjectPublicKeyInfo, DER (RFC 5280; uncompressed points; Ed25519/X25519: RFC 8410; RSA: rsaEncryption).
// libcrypto objects live for one operation and are cleansed; nothing of a key stays in libcrypto's heap.
#pragma once
#include "core/secret.h"
#include "core/symmetric.h"

namespace quorate {

bool isAsymmetric(KeyType type);
size_t symmetricBytes(KeyType type);  // 16, 24, 32; 0 otherwise

// Symmetric: `length` only for HMAC (0: 32). Asymmetric: passes a pairwise test before it returns; SELF_TEST_FAILED otherwise.
// RSA takes 50 ms to seconds: call it on a worker.
Code generateKey(KeyType type, size_t length, Secret* stored, Buffer* spki);

// Checks everything: lengths, DER strictness (own reader: no copies outside the arena), curve, point on the curve and not at
// infinity, scalar in range, public half fits the private (pairwise test), RSA: size, e odd and > 2^16, primes prime, CRT consistent.
// RAW takes symmetric material, EC scalars, Ed25519 seeds, X25519 scalars. SPKI_PUBLIC leaves `stored` empty. KEY_INVALID with `detail`.
// Also asked: uncompressed points, ECPrivateKey's scalar in its full length, PKCS#8 of version 0 without or 1 with a public half
// outside, RSA's e within 64 bits and each prime with half the modulus' bits. BAD_REQUEST: the type has no such form.
// RSA's primality tests take 40 ms (2048 bits) to 250 ms (4096 bits): import RSA on a worker.
Code importKey(KeyType type, MaterialFormat format, Bytes material, Secret* stored, Buffer* spki, std::string* detail);
// What a PKCS8 or SPKI_PUBLIC claims to hold, by its algorithm and for RSA the modulus' length: for who has yet to name a type to importKey, which checks the rest.
// KEY_TYPE_UNSPECIFIED when it is none of ours.
KeyType keyTypeOf(MaterialFormat format, Bytes material);
// PKCS#8 PrivateKeyInfo (RFC 5958) of stored private material; for symmetric types RAW material itself.
Code exportMaterial(KeyType type, MaterialFormat format, Bytes stored, Bytes spki, Secret* out);

std::string publicPem(Bytes spki);                            // RFC 7468
Code publicJwk(KeyType type, Bytes spki, std::string* json);  // RFC 7517, 7518, 8037

struct SignOptions {
  KeyType type;
  KeyScheme scheme;                    // ECDSA, EDDSA, RSA_PSS, RSA_PKCS1
  Hash hash = Hash::HASH_UNSPECIFIED;  // unspecified: the type's default (P-384 SHA-384, P-521 SHA-512, else SHA-256)
  bool prehashed = false;              // input is a digest of that hash; DIGEST_INVALID otherwise; not for Ed25519
  SignatureFormat format = SignatureFormat::SIGNATURE_FORMAT_UNSPECIFIED;  // ECDSA: DER or P1363
  uint32_t saltBytes = 0;                                                  // PSS: 0 means the hash's length
};
// KEY_SCHEME_INVALID: the type does not sign so. DIGEST_INVALID: a prehashed input of another length, SHA-1, or a hash for Ed25519
// other than its own SHA-512. BAD_REQUEST: a PSS salt that does not fit the modulus. The signature's format is DER unless P1363.
// ECDSA nonces are hedged: private key, digest and fresh randomness together (libcrypto's own generator of them; FIPS 186-5 A.3.3,
// RFC 6979 3.6). P-384 takes 0.7 ms, P-521 0.2 to 1.4 ms, RSA-4096 4 ms; everything else less than 0.5 ms.
Code sign(const SignOptions& options, Bytes stored, Bytes input, Buffer* signature);
// What an ECDSA or RSA signature is made of: the input, when it is a digest, else its digest. The same codes.
Code signedDigest(const SignOptions& options, Bytes input, uint8_t out[64], size_t* bytes);
// *valid is false for every malformed signature; DER is strict. Errors only for options that do not fit.
Code verify(const SignOptions& options, Bytes spki, Bytes input, Bytes signature, bool* valid);

// A private key kept ready in the arena for many signatures; same codes as sign. Ed25519 and RSA-2048 sign in half the time: the
// one has its public half (which enters the signature), the other its blinding factors. The public half is computed here and
// never taken from outside, since an Ed25519 signature made with another one gives the private key away. Any thread may sign.
struct PreparedPart;
class PreparedSigner {
 public:
  static Code prepare(KeyType type, Bytes stored, std::shared_ptr<const PreparedSigner>* out);  // ARENA_FULL, KEY_SCHEME_INVALID
  ~PreparedSigner();
  Code sign(const SignOptions& options, Bytes input, Buffer* signature) const;
  PreparedPart* part() const { return part_.get(); }  // nullptr when the type keeps nothing

 private:
  PreparedSigner();
  KeyType type_ = KeyType::KEY_TYPE_UNSPECIFIED;
  Secret stored_;
  std::unique_ptr<PreparedPart> part_;
};

// RSA-OAEP (RFC 8017), MGF1 with the same hash (unspecified: SHA-256; SHA-1 is allowed here). Encrypt: INPUT_TOO_LONG. Decrypt:
// constant-time padding check, CIPHERTEXT_INVALID whatever was wrong. KEY_INVALID when the key is not RSA of a known size.
Code oaepEncrypt(Bytes spki, Hash hash, Bytes label, Bytes in, Buffer* out);
Code oaepDecrypt(Bytes stored, Hash hash, Bytes label, Bytes in, Secret* out);

// ECDH (SP 800-56A, cofactor 1) or X25519 (RFC 7748): z is the x coordinate / the shared u. peer: SPKI DER, or a raw
// uncompressed point / 32 bytes. KEY_INVALID for a point off the curve or an all-zero result. KEY_USAGE_DENIED: the type agrees on nothing.
// P-256 takes 0.3 ms, P-384 0.6 ms, P-521 1.5 ms: libcrypto's faster code leaves the scalar in its heap (ec.cc). X25519: 40 us.
Code agree(KeyType type, Bytes stored, Bytes peer, Secret* z);

}  // namespace quorate
