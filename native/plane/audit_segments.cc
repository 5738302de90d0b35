#include "plane/audit_segments.h"

#include <bit>
#include <cstring>

#include "core/symmetric.h"

namespace quorate {

namespace {

constexpr size_t kMacBytes = 32;
constexpr uint16_t kVersion = 1;

class Writer {
 public:
  Writer(const char (&magic)[5], const StoreId& storeId) {
    out_.insert(out_.end(), magic, magic + 4);
    number(kVersion);
    out_.insert(out_.end(), storeId.begin(), storeId.end());
  }
  template <class T>
  void number(T value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    out_.insert(out_.end(), bytes, bytes + sizeof(value));
  }
  void tree(const AuditTree& tree) {
    number(tree.size());
    for (const TreeHash& hash : tree.hashes()) out_.insert(out_.end(), hash.begin(), hash.end());
  }
  Buffer& out() { return out_; }

 private:
  Buffer out_;
};

class Reader {
 public:
  explicit Reader(Bytes in) : in_(in) {}
  bool begins(const char (&magic)[5], const StoreId& storeId) {
    uint8_t found[4];
    StoreId store;
    uint16_t version = 0;
    return bytes(found, 4) && std::memcmp(found, magic, 4) == 0 && number(&version) && version == kVersion && bytes(store.data(), store.size()) && store == storeId;
  }
  template <class T>
  bool number(T* out) {
    return bytes(reinterpret_cast<uint8_t*>(out), sizeof(T));
  }
  // The rest of `in`.
  std::optional<AuditTree> tree() {
    uint64_t size = 0;
    if (!number(&size) || in_.size() != static_cast<size_t>(std::popcount(size)) * sizeof(TreeHash)) return std::nullopt;
    std::vector<TreeHash> hashes(in_.size() / sizeof(TreeHash));
    for (TreeHash& hash : hashes) bytes(hash.data(), hash.size());
    return AuditTree::restore(size, hashes);
  }
  size_t left() const { return in_.size(); }

 private:
  bool bytes(uint8_t* out, size_t n) {
    if (in_.size() < n) return false;
    std::memcpy(out, in_.data(), n);
    in_ = in_.subspan(n);
    return true;
  }
  Bytes in_;
};

void macOf(Bytes in, const StoreId& storeId, Bytes auditKey, uint8_t out[kMacBytes]) {
  static const std::string kInfo = "quorate/audit/segments";
  uint8_t keyMaterial[32];
  hkdf(Hash::SHA_256, auditKey, storeId, bytesOf(kInfo), keyMaterial);
  hmac(Hash::SHA_256, keyMaterial, in, out);
  wipe(keyMaterial, sizeof(keyMaterial));
}

}  // namespace

Buffer encodeSegmentList(const SegmentList& list, const StoreId& storeId, Bytes auditKey) {
  Writer writer("QALS", storeId);
  writer.number(static_cast<uint32_t>(list.finished.size()));
  for (const FinishedSegment& one : list.finished) {
    writer.number(one.firstIndex);
    writer.number(one.bytes);
  }
  writer.tree(list.start);
  uint8_t mac[kMacBytes];
  macOf(writer.out(), storeId, auditKey, mac);
  writer.out().insert(writer.out().end(), mac, mac + kMacBytes);
  return std::move(writer.out());
}

std::optional<SegmentList> decodeSegmentList(Bytes in, const StoreId& storeId, Bytes auditKey) {
  if (in.size() < kMacBytes) return std::nullopt;
  uint8_t mac[kMacBytes];
  macOf(in.first(in.size() - kMacBytes), storeId, auditKey, mac);
  if (!equalConstantTime(mac, in.last(kMacBytes))) return std::nullopt;
  Reader reader(in.first(in.size() - kMacBytes));
  uint32_t count = 0;
  if (!reader.begins("QALS", storeId) || !reader.number(&count) || reader.left() / 16 < count) return std::nullopt;
  SegmentList list;
  list.finished.resize(count);
  for (FinishedSegment& one : list.finished)
    if (!reader.number(&one.firstIndex) || !reader.number(&one.bytes)) return std::nullopt;
  const auto tree = reader.tree();
  if (!tree) return std::nullopt;
  list.start = *tree;
  return list;
}

Buffer encodeFrontier(const AuditTree& tree, const StoreId& storeId) {
  Writer writer("QALF", storeId);
  writer.tree(tree);
  return std::move(writer.out());
}

std::optional<AuditTree> decodeFrontier(Bytes in, const StoreId& storeId) {
  Reader reader(in);
  return reader.begins("QALF", storeId) ? reader.tree() : std::nullopt;
}

}  // namespace quorate
