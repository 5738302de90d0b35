// The tree that only keeps its frontier against RFC 6962's recursion over all leaves.
#include <doctest/doctest.h>

#include "core/random.h"
#include "core/symmetric.h"
#include "hex.h"
#include "plane/audit_tree.h"

using namespace quorate;

namespace {

TreeHash sha256(const std::string& in) {
  TreeHash out;
  REQUIRE(digest(Hash::SHA_256, bytesOf(in), out.data()) == Code::OK);
  return out;
}
std::string text(const TreeHash& hash) { return {reinterpret_cast<const char*>(hash.data()), hash.size()}; }

// MTH of RFC 6962, section 2.1, word for word.
TreeHash slowRoot(std::span<const std::string> leaves) {
  if (leaves.empty()) return sha256("");
  if (leaves.size() == 1) return sha256(std::string(1, '\0') + leaves[0]);
  size_t k = 1;
  while (2 * k < leaves.size()) k *= 2;
  return sha256("\x01" + text(slowRoot(leaves.first(k))) + text(slowRoot(leaves.subspan(k))));
}

}  // namespace

TEST_CASE("audit tree: the root of every size is the recursion's, and a restored tree goes on the same") {
  std::vector<std::string> leaves;
  AuditTree tree;
  for (size_t n = 0; n < 300; n++) {
    CHECK(tree.size() == n);
    CHECK(tree.root() == slowRoot(leaves));
    const auto hashes = tree.hashes();
    auto restored = AuditTree::restore(n, hashes);
    REQUIRE(restored.has_value());
    CHECK(*restored == tree);
    CHECK(restored->root() == tree.root());
    std::string leaf(n * 7 % 200, '\0');
    randomBytes({reinterpret_cast<uint8_t*>(leaf.data()), leaf.size()});
    leaves.push_back(leaf);
    tree.add(auditLeafHash(bytesOf(leaf)));
    restored->add(auditLeafHash(bytesOf(leaf)));
    CHECK(*restored == tree);
  }
  CHECK_FALSE(AuditTree::restore(3, tree.hashes()).has_value());
}

TEST_CASE("audit tree: sizes near 2^63 carry over") {
  AuditTree small;
  small.add(auditLeafHash({}));
  std::vector<TreeHash> hashes(63, small.root());
  auto tree = AuditTree::restore((1ull << 63) - 1, hashes);
  REQUIRE(tree.has_value());
  TreeHash expected = auditLeafHash({});
  for (int i = 0; i < 63; i++) expected = auditNodeHash(small.root(), expected);
  tree->add(auditLeafHash({}));
  CHECK(tree->size() == 1ull << 63);
  CHECK(tree->root() == expected);
}

// The test vectors of Certificate Transparency's own implementation (certificate-transparency-go, merkletree).
TEST_CASE("audit tree: known roots") {
  AuditTree tree;
  CHECK(test::toHex(tree.root()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const char* leaves[] = {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
  for (const char* leaf : leaves) tree.add(auditLeafHash(test::hex(leaf)));
  CHECK(test::toHex(tree.root()) == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}
