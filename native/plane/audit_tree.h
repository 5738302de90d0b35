// The Merkle tree of RFC 6962, section 2.1, with SHA-256, as far as appending to it needs: the roots of its complete subtrees.
#pragma once
#include <array>
#include <optional>

#include "core/base.h"

namespace quorate {

using TreeHash = std::array<uint8_t, 32>;

TreeHash auditLeafHash(Bytes leaf);                                    // SHA-256(0x00 || leaf)
TreeHash auditNodeHash(const TreeHash& left, const TreeHash& right);   // SHA-256(0x01 || left || right)

class AuditTree {
 public:
  // Nothing when `hashes`, the complete subtrees' roots with the largest (leftmost) first, are not as many as `size` has set bits.
  static std::optional<AuditTree> restore(uint64_t size, std::span<const TreeHash> hashes);

  uint64_t size() const { return size_; }
  void add(const TreeHash& leafHash);
  // Of no leaves: SHA-256 of nothing.
  TreeHash root() const;
  // The complete subtrees' roots, the largest first.
  std::vector<TreeHash> hashes() const;
  bool operator==(const AuditTree& other) const { return size_ == other.size_ && hashes() == other.hashes(); }

 private:
  uint64_t size_ = 0;
  // At place n, where size_ has that bit set: the root of a complete subtree of 2^n leaves.
  std::array<TreeHash, 64> levels_{};
};

}  // namespace quorate
