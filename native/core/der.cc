#include "core/der.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace quorate {

bool DerReader::read(uint8_t tag, Bytes* content) {
  if (rest_.size() < 2 || rest_[0] != tag) return false;
  size_t header = 2, length = rest_[1];
  if (length >= 0x80) {
    const size_t lengthBytes = length & 0x7f;
    if (lengthBytes < 1 || lengthBytes > 2 || rest_.size() < 2 + lengthBytes) return false;
    length = lengthBytes == 1 ? rest_[2] : size_t{rest_[2]} << 8 | rest_[3];
    if (length < (lengthBytes == 1 ? 0x80u : 0x100u)) return false;  // a shorter form exists
    header += lengthBytes;
  }
  if (rest_.size() - header < length) return false;
  *content = rest_.subspan(header, length);
  rest_ = rest_.subspan(header + length);
  return true;
}

bool DerReader::enter(uint8_t tag, DerReader* inner) {
  Bytes content;
  if (!read(tag, &content)) return false;
  *inner = DerReader(content);
  return true;
}

bool DerReader::readUnsigned(Bytes* magnitude) {
  Bytes content;
  if (!read(der::kInteger, &content) || content.empty() || (content[0] & 0x80)) return false;
  if (content[0] == 0 && content.size() > 1) {
    if (!(content[1] & 0x80)) return false;  // the zero was not needed for the sign
    content = content.subspan(1);
  }
  *magnitude = content;
  return true;
}

bool DerReader::readVersion(uint8_t value) {
  Bytes content;
  return readUnsigned(&content) && content.size() == 1 && content[0] == value;
}

bool DerReader::readBits(uint8_t tag, Bytes* octets) {
  Bytes content;
  if (!read(tag, &content) || content.empty() || content[0] != 0) return false;
  *octets = content.subspan(1);
  return true;
}

void DerWriter::raw(Bytes bytes) {
  if (buffer_.size() - size_ < bytes.size()) fits_ = false;
  if (!fits_) return;
  size_ += bytes.size();
  if (!bytes.empty()) std::memcpy(buffer_.data() + buffer_.size() - size_, bytes.data(), bytes.size());
}

void DerWriter::close(uint8_t tag, size_t from) {
  const size_t length = size_ - from;
  if (length > 0xffff) fits_ = false;
  const uint8_t low = static_cast<uint8_t>(length), high = static_cast<uint8_t>(length >> 8);
  if (length < 0x80) {
    raw(std::array{tag, low});
  } else if (length < 0x100) {
    raw(std::array<uint8_t, 3>{tag, 0x81, low});
  } else {
    raw(std::array<uint8_t, 4>{tag, 0x82, high, low});
  }
}

void DerWriter::element(uint8_t tag, Bytes content) {
  const size_t from = size_;
  raw(content);
  close(tag, from);
}

void DerWriter::unsignedInteger(Bytes magnitude) {
  while (magnitude.size() > 1 && magnitude[0] == 0) magnitude = magnitude.subspan(1);
  const size_t from = size_;
  raw(magnitude);
  if (magnitude.empty() || (magnitude[0] & 0x80)) raw(std::array<uint8_t, 1>{0});
  close(der::kInteger, from);
}

void DerWriter::bits(uint8_t tag, Bytes octets) {
  const size_t from = size_;
  raw(octets);
  raw(std::array<uint8_t, 1>{0});
  close(tag, from);
}

bool readEcdsaSignature(Bytes signature, size_t scalarBytes, MutBytes fixed) {
  DerReader outer(signature), pair({});
  Bytes r, s;
  if (!outer.enter(der::kSequence, &pair) || !outer.atEnd()) return false;
  if (!pair.readUnsigned(&r) || !pair.readUnsigned(&s) || !pair.atEnd()) return false;
  if (r.size() > scalarBytes || s.size() > scalarBytes) return false;
  std::fill(fixed.begin(), fixed.end(), 0);
  std::memcpy(fixed.data() + scalarBytes - r.size(), r.data(), r.size());
  std::memcpy(fixed.data() + 2 * scalarBytes - s.size(), s.data(), s.size());
  return true;
}

void writeEcdsaSignature(Bytes fixed, Buffer* signature) {
  std::array<uint8_t, 160> buffer;  // P-521: 2 * (3 + 67) + 3
  DerWriter writer(buffer);
  writer.unsignedInteger(fixed.last(fixed.size() / 2));
  writer.unsignedInteger(fixed.first(fixed.size() / 2));
  writer.close(der::kSequence, 0);
  const Bytes result = writer.result();
  signature->assign(result.begin(), result.end());
}

}  // namespace quorate
