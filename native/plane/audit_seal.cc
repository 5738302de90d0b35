#include "plane/audit_seal.h"

#include <cstring>

#include "core/stack_scrub.h"
#include "core/symmetric.h"

namespace quorate {

namespace {

constexpr char kMagic[4] = {'Q', 'A', 'L', 'G'};
constexpr uint16_t kVersion = 1;
constexpr size_t kVersionAt = 4, kStoreAt = 6, kSaltAt = 22, kIndexAt = 38;

struct Iv {
  uint8_t bytes[12] = {};
  explicit Iv(uint64_t index) { std::memcpy(bytes + 4, &index, sizeof(index)); }
};

}  // namespace

SegmentHeaderBytes encodeSegmentHeader(const SegmentHeader& header) {
  SegmentHeaderBytes out;
  std::memcpy(out.data(), kMagic, sizeof(kMagic));
  std::memcpy(out.data() + kVersionAt, &kVersion, sizeof(kVersion));
  std::memcpy(out.data() + kStoreAt, header.storeId.data(), header.storeId.size());
  std::memcpy(out.data() + kSaltAt, header.salt.data(), header.salt.size());
  std::memcpy(out.data() + kIndexAt, &header.firstIndex, sizeof(header.firstIndex));
  return out;
}

bool decodeSegmentHeader(Bytes in, SegmentHeader* out) {
  if (in.size() != kSegmentHeaderBytes || std::memcmp(in.data(), kMagic, sizeof(kMagic)) != 0) return false;
  if (std::memcmp(in.data() + kVersionAt, &kVersion, sizeof(kVersion)) != 0) return false;
  std::memcpy(out->storeId.data(), in.data() + kStoreAt, out->storeId.size());
  std::memcpy(out->salt.data(), in.data() + kSaltAt, out->salt.size());
  std::memcpy(&out->firstIndex, in.data() + kIndexAt, sizeof(out->firstIndex));
  return true;
}

Code SegmentKey::make(Bytes auditKey, const SegmentHeaderBytes& header, SegmentKey* out) {
  static const std::string kInfo = "quorate/audit/segment";
  if (auditKey.size() != 32) return Code::KEY_INVALID;
  SegmentKey made;
  if (const Code code = ArenaBox<GcmKey>::make(&made.key_); code != Code::OK) return code;
  made.header_ = header;
  withScrubbedStack([&] {
    uint8_t keyMaterial[32];
    hkdf(Hash::SHA_256, auditKey, {header.data() + kSaltAt, 16}, bytesOf(kInfo), keyMaterial);
    gcm().init(made.key_.get(), keyMaterial, sizeof(keyMaterial));
    wipe(keyMaterial, sizeof(keyMaterial));
    return 0;
  });
  *out = std::move(made);
  return Code::OK;
}

void SegmentKey::seal(uint64_t index, Bytes leaf, uint8_t* out) const {
  const auto length = static_cast<uint32_t>(leaf.size() + kEntryTagBytes);
  std::memcpy(out, &length, sizeof(length));
  out += kEntryLengthBytes;
  gcm().seal(key_.get(), Iv(index).bytes, header_.data(), header_.size(), leaf.data(), leaf.size(), out, out + leaf.size());
}

bool SegmentKey::open(uint64_t index, Bytes sealed, uint8_t* out) const {
  if (sealed.size() < kEntryTagBytes) return false;
  const size_t n = sealed.size() - kEntryTagBytes;
  return gcm().open(key_.get(), Iv(index).bytes, header_.data(), header_.size(), sealed.data(), n, out, sealed.data() + n, kEntryTagBytes);
}

EntryState nextEntry(Bytes in, Bytes* sealed, size_t* takes) {
  if (in.empty()) return EntryState::none;
  if (in.size() < kEntryLengthBytes) return EntryState::cut;
  uint32_t length;
  std::memcpy(&length, in.data(), sizeof(length));
  if (length < kEntryTagBytes || length > limits::audit_entry_bytes_max + kEntryTagBytes) return EntryState::bad;
  if (in.size() - kEntryLengthBytes < length) return EntryState::cut;
  *sealed = in.subspan(kEntryLengthBytes, length);
  *takes = kEntryLengthBytes + length;
  return EntryState::whole;
}

Code openEntries(Bytes auditKey, Bytes header, uint64_t index, Bytes entries, std::vector<Buffer>* leaves) {
  SegmentHeader parsed;
  if (!decodeSegmentHeader(header, &parsed)) return Code::AUDIT_CORRUPT;
  SegmentHeaderBytes bytes;
  std::memcpy(bytes.data(), header.data(), bytes.size());
  SegmentKey key;
  if (const Code code = SegmentKey::make(auditKey, bytes, &key); code != Code::OK) return code;
  leaves->clear();
  Bytes sealed;
  for (size_t takes; nextEntry(entries, &sealed, &takes) == EntryState::whole; entries = entries.subspan(takes)) {
    Buffer leaf(sealed.size() - kEntryTagBytes);
    if (!key.open(index++, sealed, leaf.data())) break;
    leaves->push_back(std::move(leaf));
  }
  scrubStack();
  return Code::OK;
}

}  // namespace quorate
