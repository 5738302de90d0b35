// Hybrid Public Key Encryption (RFC 9180), base mode, one message a key: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001,
// AES-256-GCM 0x0002. Whoever has the public key can seal: who sealed must be known by other means (the caller's channel, info).
// Constant time in private keys and plaintexts; nothing of a key or a derived value is left outside the arena.
#pragma once
#include "core/secret.h"

namespace quorate {

inline constexpr size_t kHpkeKeyBytes = 32;                        // a private or a public key: X25519, raw (RFC 7748)
inline constexpr size_t kHpkeOverheadBytes = kHpkeKeyBytes + 16;  // enc, then ciphertext and tag

// Passes the pairwise test of generateKey. ARENA_FULL, SELF_TEST_FAILED
Code hpkeKeyPair(Secret* privateKey, uint8_t publicKey[kHpkeKeyBytes]);
// KEY_INVALID: not 32 bytes.
Code hpkePublic(Bytes privateKey, uint8_t publicKey[kHpkeKeyBytes]);
// out: in + kHpkeOverheadBytes (INTERNAL otherwise), not overlapping in; info and aad of any length.
// KEY_INVALID: not 32 bytes, or a point of small order, whose shared secret is all zeros (RFC 9180 7.1.4). ARENA_FULL
Code hpkeSeal(Bytes publicKey, Bytes info, Bytes aad, Bytes in, MutBytes out);
// out: sealed - kHpkeOverheadBytes (INTERNAL otherwise); zeros on failure. KEY_INVALID: the private key has not 32 bytes.
// CIPHERTEXT_INVALID whatever does not open, an `enc` of small order among it. ARENA_FULL
Code hpkeOpen(Bytes privateKey, Bytes info, Bytes aad, Bytes sealed, MutBytes out);

// ---- The parts, for published vectors and the self-test. Another AEAD of RFC 9180 7.3 is for A.1 of its appendix alone.

struct HpkeAead {
  uint16_t id;
  size_t keyBytes;
};
inline constexpr HpkeAead kHpkeAes128Gcm{1, 16}, kHpkeAes256Gcm{2, 32};

// Key and base nonce, wiped when they die.
struct HpkeSchedule {
  uint8_t key[32], nonce[12];
  ~HpkeSchedule();
};
// 4.1, DHKEM: ours is the ephemeral private key and theirs the receiver's public one, or the receiver's private key and enc.
Code hpkeSharedSecret(Bytes ours, Bytes theirs, Bytes enc, Bytes receiver, Secret* shared);
// 5.1 in base mode.
void hpkeKeySchedule(const HpkeAead& aead, Bytes shared, Bytes info, HpkeSchedule* out);
// hpkeSeal with an ephemeral key that the caller owes to be fresh.
Code hpkeSealWith(const HpkeAead& aead, Bytes ephemeral, Bytes publicKey, Bytes info, Bytes aad, Bytes in, MutBytes out);
Code hpkeOpenWith(const HpkeAead& aead, Bytes privateKey, Bytes info, Bytes aad, Bytes sealed, MutBytes out);

}  // namespace quorate
