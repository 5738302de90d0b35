// Shamir's secret sharing over GF(2^8) (polynomial 0x11b), constant time; and the text form of a share.
#pragma once
#include "core/secret.h"

namespace quorate {

// count and threshold 1..255, threshold <= count. A share is x (1 byte), threshold (1 byte), set id (4 random bytes, the same
// for all shares of one split), then y (secret.size() bytes).
Code shamirSplit(Bytes secret, unsigned count, unsigned threshold, std::vector<Secret>* shares);
// UNSEAL_FAILED: too few, doubled, of different sets or lengths. The result is unchecked: the caller opens something with it.
Code shamirCombine(std::span<const SecretPtr> shares, Secret* out);
// ASCII: "quorate-share-<set id hex>-<x>-of... " is docs/FORMAT.md's; ends with a checksum, so a typing error is found at once.
Code shareEncode(Bytes share, Secret* text);
// UNSEAL_FAILED when the checksum or the form is wrong; white space around is ignored.
Code shareDecode(Bytes text, Secret* share);

}  // namespace quorate
