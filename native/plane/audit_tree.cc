#include "plane/audit_tree.h"

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <bit>

namespace quorate {

TreeHash auditLeafHash(Bytes leaf) {
  static constexpr uint8_t kPrefix = 0;
  TreeHash out;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, &kPrefix, 1);
  SHA256_Update(&context, leaf.data(), leaf.size());
  SHA256_Final(out.data(), &context);
  return out;
}

TreeHash auditNodeHash(const TreeHash& left, const TreeHash& right) {
  static constexpr uint8_t kPrefix = 1;
  TreeHash out;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, &kPrefix, 1);
  SHA256_Update(&context, left.data(), left.size());
  SHA256_Update(&context, right.data(), right.size());
  SHA256_Final(out.data(), &context);
  return out;
}

std::optional<AuditTree> AuditTree::restore(uint64_t size, std::span<const TreeHash> hashes) {
  if (hashes.size() != static_cast<size_t>(std::popcount(size))) return std::nullopt;
  AuditTree tree;
  tree.size_ = size;
  size_t next = hashes.size();
  for (size_t level = 0; level < tree.levels_.size(); level++)
    if (size >> level & 1) tree.levels_[level] = hashes[--next];
  return tree;
}

void AuditTree::add(const TreeHash& leafHash) {
  TreeHash joined = leafHash;
  size_t level = 0;
  for (; size_ >> level & 1; level++) joined = auditNodeHash(levels_[level], joined);
  levels_[level] = joined;
  size_++;
}

TreeHash AuditTree::root() const {
  if (size_ == 0) {
    TreeHash out;
    SHA256(nullptr, 0, out.data());
    return out;
  }
  auto level = static_cast<size_t>(std::countr_zero(size_));
  TreeHash joined = levels_[level];
  for (level++; level < levels_.size(); level++)
    if (size_ >> level & 1) joined = auditNodeHash(levels_[level], joined);
  return joined;
}

std::vector<TreeHash> AuditTree::hashes() const {
  std::vector<TreeHash> out;
  for (size_t level = levels_.size(); level-- > 0;)
    if (size_ >> level & 1) out.push_back(levels_[level]);
  return out;
}

}  // namespace quorate
