// Symmetric primitives below the formats, each with its standard. All take raw key bytes; constant time in them.
// KEY_INVALID for an AES key that has not 16, 24 or 32 bytes; BAD_REQUEST for HASH_UNSPECIFIED; INTERNAL when `out` is too short.
#pragma once
#include "core/secret.h"

namespace quorate {

size_t hashBytes(Hash hash);  // 20, 28, 32, 48, 64; 0 for unspecified
Code digest(Hash hash, Bytes in, uint8_t* out);

// HMAC (FIPS 198-1) over SHA-1/224/256/384/512; out has hashBytes(hash) bytes.
Code hmac(Hash hash, Bytes keyMaterial, Bytes in, uint8_t* out);
Code hmacParts(Hash hash, Bytes keyMaterial, std::span<const Bytes> parts, uint8_t* out);  // over the parts, concatenated
// HMAC-SHA-256 with the two padded blocks absorbed beforehand: for a prepared key (sizeof small, arena).
struct HmacSha256State {
  alignas(16) uint32_t inner[8], outer[8];
};
void hmacSha256Prepare(Bytes keyMaterial, HmacSha256State* out);
void hmacSha256(const HmacSha256State& state, Bytes a, Bytes b, uint8_t out[32]);  // over a || b

// The same in parts. A state holds what it has absorbed of a key or message: place it in the arena, or wipe it. Begin returns false for HASH_UNSPECIFIED.
struct HashState {
  alignas(16) uint8_t opaque[224];
  Hash hash;
};
bool hashBegin(Hash hash, HashState* out);
void hashUpdate(HashState* state, Bytes in);
void hashFinish(HashState* state, uint8_t* out);  // wipes the state
struct HmacState {
  HashState inner, outer;
};
bool hmacBegin(Hash hash, Bytes keyMaterial, HmacState* out);
inline void hmacUpdate(HmacState* state, Bytes in) { hashUpdate(&state->inner, in); }
void hmacFinish(HmacState* state, uint8_t* out);  // wipes the state

// HKDF (RFC 5869); out up to 255 * hash bytes. INPUT_TOO_LONG beyond.
Code hkdf(Hash hash, Bytes keyMaterial, Bytes salt, Bytes info, MutBytes out);
// ANSI X9.63 KDF (SEC 1, 3.6.1). INPUT_TOO_LONG beyond 2^16 hashes.
Code x963Kdf(Hash hash, Bytes z, Bytes shared, MutBytes out);
// scrypt (RFC 7914). BAD_REQUEST for parameters that need over 256 MiB.
Code scrypt(Bytes passphrase, Bytes salt, unsigned log2n, unsigned r, unsigned p, MutBytes out);

// AES-CMAC (RFC 4493, SP 800-38B), keys of 16, 24, 32 bytes.
Code aesCmac(Bytes keyMaterial, Bytes in, uint8_t out[16]);
// AES Key Wrap (RFC 3394) and with padding (RFC 5649). `padded` picks KWP. out: in + 8 (KW), (in rounded up to 8) + 8 (KWP).
// KW takes multiples of 8 from 16 bytes, KWP 1 byte and up; unwrap: CIPHERTEXT_INVALID on any mismatch, out wiped.
Code aesWrap(Bytes kek, bool padded, Bytes in, MutBytes out, size_t* written);
Code aesUnwrap(Bytes kek, bool padded, Bytes in, MutBytes out, size_t* written);
// AES-CBC with PKCS#7 padding (SP 800-38A); out: in rounded up past 16, and in.size() to decrypt. out may equal in.
// Decrypt: CIPHERTEXT_INVALID on any bad padding (found in constant time) or length, out wiped.
// Unauthenticated: the raw scheme says so in docs/THREATS.md (padding oracle is the caller's).
Code aesCbcEncrypt(Bytes keyMaterial, const uint8_t iv[16], Bytes in, MutBytes out, size_t* written);
Code aesCbcDecrypt(Bytes keyMaterial, const uint8_t iv[16], Bytes in, MutBytes out, size_t* written);
// The length of PKCS#7 padding that ends in this block, 0 when it is none; in time that tells nothing of the block.
unsigned paddingBytes(const uint8_t last[16]);
// AES-ECB and AES-CBC (SP 800-38A) over whole blocks, without padding; out has in.size() bytes and may equal in. BAD_REQUEST for a part of a block.
Code aesEcb(Bytes keyMaterial, bool encrypt, Bytes in, MutBytes out);
Code aesCbc(Bytes keyMaterial, const uint8_t iv[16], bool encrypt, Bytes in, MutBytes out);
// AES-CTR (SP 800-38A), 128-bit big-endian counter block.
Code aesCtr(Bytes keyMaterial, const uint8_t counter[16], Bytes in, MutBytes out);

}  // namespace quorate
