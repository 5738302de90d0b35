// Key material on its way out of and into this store, wrapped to a public key. What is wrapped: RAW of symmetric keys, PKCS#8 of private ones.
// Same rules as everywhere in core: Code, no exceptions, material in the arena alone.
#pragma once
#include "core/keypair.h"
#include "core/secret.h"

namespace quorate {

// The `info` of WRAP_HPKE; the caller's aad says what is inside.
inline constexpr char kTransportInfo[] = "quorate/export/v1";

struct TransportRecipient {
  WrapMechanism mechanism{};  // WRAP_RSA_AES_KEY_WRAP or WRAP_HPKE
  KeyType type{};
  Buffer spki{};
};
// A SubjectPublicKeyInfo (DER, strict) that material may be wrapped to: RSA of 2048, 3072 or 4096 bits with an odd e of 17 to 64 bits, no small factor and none of
// ROCA's form, or X25519 that is no point of small order. KEY_INVALID with *detail, whatever else it is.
Code readRecipient(Bytes spki, TransportRecipient* out, std::string* detail);

// WRAP_RSA_AES_KEY_WRAP (PKCS #11 3.0, 2.1.22): RSA-OAEP with SHA-256 and MGF1-SHA-256 of a fresh AES-256 key, then AES-KWP (RFC 5649) of the material under it;
// aad is not part of it. WRAP_HPKE: enc, ciphertext, tag (core/hpke.h). KEY_INVALID, ARENA_FULL
Code wrapTransport(const TransportRecipient& to, Bytes aad, KeyType type, Bytes stored, Bytes spki, Buffer* wrapped);

// A secret's value, of 0 to secret_value_bytes_max bytes. RSA: RSA-OAEP (SHA-256, MGF1-SHA-256, no label) of a fresh AES-256 key, as long as the modulus, a random nonce
// (kValueNonceBytes), the value by AES-256-GCM under both without aad, its tag (kValueTagBytes): the parts of a CMS AuthEnvelopedData (RFC 5083, 5084).
// X25519: enc, ciphertext, tag (core/hpke.h), bound to aad. KEY_INVALID, ARENA_FULL
inline constexpr size_t kValueNonceBytes = 12, kValueTagBytes = 16;
Code wrapValue(const TransportRecipient& to, Bytes aad, Bytes value, Buffer* wrapped);

struct TransportOpener {
  KeyType type{};   // RSA, or X25519
  Bytes stored{};   // its private half
  WrapMechanism mechanism{};  // WRAP_RSA_OAEP, WRAP_RSA_AES_KEY_WRAP, WRAP_HPKE
  Hash hash = Hash::SHA_256;  // RSA: of OAEP and of MGF1
  Bytes context{};  // WRAP_RSA_OAEP: the label; WRAP_HPKE: the aad
};
// BAD_REQUEST: key and mechanism do not go together. CIPHERTEXT_INVALID whatever does not open, and for what opens to nothing. The AES key of
// WRAP_RSA_AES_KEY_WRAP may have 128, 192 or 256 bits.
Code unwrapTransport(const TransportOpener& with, Bytes wrapped, Secret* out);
// What wrapValue has made, or somebody else in its form; `mechanism` and `hash` do not count. *out is empty for an empty value.
// BAD_REQUEST: a key that is neither RSA nor X25519. CIPHERTEXT_INVALID whatever does not open, and what is longer than a value. ARENA_FULL
Code unwrapValue(const TransportOpener& with, Bytes wrapped, Secret* out);

}  // namespace quorate
