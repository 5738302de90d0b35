// Shamir's secret sharing over GF(2^8) (polynomial 0x11b), constant time; and the text form of a share.
#pragma once
#include "core/secret.h"

namespace quorate {

inline constexpr size_t kSharedSecretBytesMax = 1024;
inline constexpr size_t kShareOverheadBytes = 6;

// count and threshold 1..255 (limits::shares_max), threshold <= count: BAD_REQUEST otherwise, and for an empty secret;
// INPUT_TOO_LONG over kSharedSecretBytesMax; ARENA_FULL. A share is x (1 byte), threshold (1 byte), set id (4 random bytes,
// the same for all shares of one split), then y (secret.size() bytes).
Code shamirSplit(Bytes secret, unsigned count, unsigned threshold, std::vector<Secret>* shares);
// UNSEAL_FAILED: too few, doubled, of different sets or lengths, or more than the threshold that do not fit one polynomial.
// With exactly `threshold` shares the result is unchecked: the caller opens something with it. ARENA_FULL.
Code shamirCombine(std::span<const SecretPtr> shares, Secret* out);
// ASCII: "quorate-share-<set id, hex>-<x>-<threshold>-", then y and a checksum in Crockford's base32, in groups of five
// (docs/FORMAT.md). A typing error is found at once. BAD_REQUEST for what is no share.
Code shareEncode(Bytes share, Secret* text);
// Takes either case, O for 0, I and L for 1, and white space anywhere. UNSEAL_FAILED when the checksum or the form is wrong.
Code shareDecode(Bytes text, Secret* share);

}  // namespace quorate
