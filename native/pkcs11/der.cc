#include "pkcs11/der.h"

#include <cstdint>

namespace quorate::pkcs11 {

namespace {

constexpr char kSequence = 0x30, kBitString = 0x03, kInteger = 0x02, kOctetString = 0x04;

// Takes one element off the front of *in. Definite lengths of up to four bytes.
bool take(std::string_view* in, char tag, std::string_view* content) {
  if (in->size() < 2 || (*in)[0] != tag) return false;
  size_t length = static_cast<uint8_t>((*in)[1]), at = 2;
  if (length >= 0x80) {
    const size_t count = length - 0x80;
    if (count == 0 || count > 4 || in->size() < 2 + count) return false;
    for (length = 0; at < 2 + count; at++) length = length << 8 | static_cast<uint8_t>((*in)[at]);
  }
  if (in->size() - at < length) return false;
  *content = in->substr(at, length);
  in->remove_prefix(at + length);
  return true;
}

bool takeNumber(std::string_view* in, std::string* out) {
  std::string_view content;
  if (!take(in, kInteger, &content)) return false;
  while (!content.empty() && content[0] == 0) content.remove_prefix(1);
  *out = content;
  return !out->empty();
}

}  // namespace

bool readPublicKey(std::string_view spki, bool isRsa, PublicParts* out) {
  std::string_view whole, algorithm, bits;
  if (!take(&spki, kSequence, &whole) || !spki.empty() || !take(&whole, kSequence, &algorithm) || !take(&whole, kBitString, &bits)) return false;
  if (!whole.empty() || bits.size() < 2 || bits[0] != 0) return false;
  bits.remove_prefix(1);
  if (!isRsa) {
    out->point = bits;
    return true;
  }
  std::string_view numbers;
  return take(&bits, kSequence, &numbers) && bits.empty() && takeNumber(&numbers, &out->modulus) && takeNumber(&numbers, &out->exponent) && numbers.empty();
}

std::string octetString(std::string_view content) {
  std::string out(1, kOctetString);
  if (content.size() >= 0x80) out.push_back(static_cast<char>(content.size() > 0xff ? 0x82 : 0x81));
  if (content.size() > 0xff) out.push_back(static_cast<char>(content.size() >> 8));
  out.push_back(static_cast<char>(content.size()));
  return out.append(content);
}

bool readDigestInfo(std::string_view info, std::string_view* digest) {
  std::string_view whole, algorithm;
  if (!take(&info, kSequence, &whole) || !info.empty() || !take(&whole, kSequence, &algorithm)) return false;
  if (!take(&whole, kOctetString, digest) || !whole.empty()) return false;
  // 2.16.840.1.101.3.4.2.N with a NULL: N is 4 for SHA-224, 1 for SHA-256, 2 and 3 for SHA-384 and SHA-512.
  constexpr std::string_view kHead("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02", 10), kTail("\x05\x00", 2);
  if (algorithm.size() != 13 || !algorithm.starts_with(kHead) || !algorithm.ends_with(kTail)) return false;
  const size_t bytes[] = {0, 32, 48, 64, 28};
  const auto arc = static_cast<uint8_t>(algorithm[10]);
  return arc >= 1 && arc <= 4 && digest->size() == bytes[arc];
}

}  // namespace quorate::pkcs11
