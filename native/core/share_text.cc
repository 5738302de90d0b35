// A share as a person writes it down and types it in. Letters become digits and back by arithmetic, not by a table that the
// share's bits would index.
#include <cstdio>
#include <cstring>

#include "core/shamir.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr char kPrefix[] = "quorate-share-";
constexpr size_t kPrefixBytes = sizeof kPrefix - 1, kSetBytes = 4, kChecksumBytes = 4, kGroup = 5;
constexpr size_t kHeadBytesMax = kPrefixBytes + 2 * kSetBytes + 1 + 4 + 4;
constexpr size_t kTextBytesMax = 4096;  // of what is typed, white space included

// Crockford's alphabet: the digits, then the letters without I, L, O and U.
char letterOf(unsigned five) {
  return char('0' + five + (five >= 10) * 7 + (five >= 18) + (five >= 20) + (five >= 22) + (five >= 27));
}

// The five bits of a letter, 32 and more when it is none. Small letters count, O as 0, I and L as 1.
unsigned bitsOf(char letter) {
  unsigned c = uint8_t(letter);
  c -= 32 * unsigned(c >= 'a' && c <= 'z');
  c = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
  unsigned bits = 32;
  for (unsigned five = 0; five < 32; five++) bits -= (32 - five) * unsigned(c == uint8_t(letterOf(five)));
  return bits;
}

bool checksum(Bytes share, uint8_t out[kChecksumBytes]) {
  static const std::string kDomain = "quorate/v1/share";
  Secret input;
  if (Secret::make(kDomain.size() + share.size(), &input) != Code::OK) return false;
  std::memcpy(input.data(), kDomain.data(), kDomain.size());
  std::memcpy(input.data() + kDomain.size(), share.data(), share.size());
  uint8_t hash[32];
  digest(Hash::SHA_256, input, hash);
  std::memcpy(out, hash, kChecksumBytes);
  wipe(hash, sizeof hash);
  return true;
}

bool isShare(Bytes share) {
  return share.size() > kShareOverheadBytes && share.size() <= kShareOverheadBytes + kSharedSecretBytesMax && share[0] != 0 && share[1] != 0;
}

// A cursor over text without white space.
struct Reader {
  Bytes rest;

  bool literal(const char* expected) {
    for (; *expected != 0; expected++) {
      if (rest.empty() || (rest[0] | 0x20) != (uint8_t(*expected) | 0x20)) return false;
      rest = rest.subspan(1);
    }
    return true;
  }
  // Digits of `base` up to `most` of them; false when there is none. O, I and L stand for digits, as in the body.
  bool number(unsigned base, size_t most, uint32_t* out) {
    size_t n = 0;
    *out = 0;
    for (; n < most && !rest.empty(); n++) {
      const unsigned digit = bitsOf(char(rest[0]));
      if (digit >= base) break;
      *out = *out * base + digit;
      rest = rest.subspan(1);
    }
    return n > 0;
  }
};

// Five bits a letter, hyphens skipped, into whole bytes; false for a foreign letter or bits left over that are not zero.
bool decodeBody(Bytes body, Secret* out, size_t* written) {
  uint32_t held = 0;
  unsigned bits = 0;
  for (uint8_t c : body) {
    if (c == '-') continue;
    const unsigned five = bitsOf(char(c));
    if (five >= 32) return false;
    held = (held << 5 | five) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    if (*written == out->size()) return false;
    out->data()[(*written)++] = uint8_t(held >> bits);
  }
  return bits < 5 && (held & ((1u << bits) - 1)) == 0;
}

Code withoutSpace(Bytes text, Secret* out) {
  if (text.empty() || text.size() > kTextBytesMax) return Code::UNSEAL_FAILED;
  if (Code code = Secret::make(text.size(), out); code != Code::OK) return code;
  size_t n = 0;
  for (uint8_t c : text) {
    if (c != ' ' && (c < '\t' || c > '\r')) out->data()[n++] = c;
  }
  out->truncate(n);
  return Code::OK;
}

}  // namespace

Code shareEncode(Bytes share, Secret* text) {
  if (!isShare(share)) return Code::BAD_REQUEST;
  const Bytes y = share.subspan(kShareOverheadBytes);
  Secret body, made;
  const size_t letters = ((y.size() + kChecksumBytes) * 8 + 4) / 5;
  if (Code code = Secret::make(y.size() + kChecksumBytes + 1, &body); code != Code::OK) return code;
  if (Code code = Secret::make(kHeadBytesMax + letters + letters / kGroup + 1, &made); code != Code::OK) return code;
  std::memcpy(body.data(), y.data(), y.size());
  if (!checksum(share, body.data() + y.size())) return Code::ARENA_FULL;

  char* out = reinterpret_cast<char*>(made.data());
  size_t n = size_t(std::snprintf(out, kHeadBytesMax + 1, "%s%02x%02x%02x%02x-%u-%u", kPrefix, share[2], share[3], share[4], share[5], share[0], share[1]));
  for (size_t i = 0; i < letters; i++) {
    if (i % kGroup == 0) out[n++] = '-';
    const size_t bit = i * 5;  // body ends with a zero byte, for the last letter's filling
    const unsigned two = unsigned(body.data()[bit / 8]) << 8 | (bit / 8 + 1 < body.size() ? body.data()[bit / 8 + 1] : 0);
    out[n++] = letterOf(two >> (11 - bit % 8) & 31);
  }
  made.truncate(n);
  *text = std::move(made);
  return Code::OK;
}

Code shareDecode(Bytes text, Secret* share) {
  Secret typed;
  if (Code code = withoutSpace(text, &typed); code != Code::OK) return code;
  Reader reader{typed};
  uint32_t set = 0, x = 0, threshold = 0;
  const size_t before = reader.rest.size();
  if (!reader.literal(kPrefix) || !reader.number(16, 2 * kSetBytes, &set)) return Code::UNSEAL_FAILED;
  if (before - reader.rest.size() != kPrefixBytes + 2 * kSetBytes) return Code::UNSEAL_FAILED;
  if (!reader.literal("-") || !reader.number(10, 3, &x) || !reader.literal("-") || !reader.number(10, 3, &threshold)) return Code::UNSEAL_FAILED;
  if (!reader.literal("-") || x < 1 || x > 255 || threshold < 1 || threshold > 255) return Code::UNSEAL_FAILED;

  Secret made;
  if (Code code = Secret::make(kShareOverheadBytes + kSharedSecretBytesMax + kChecksumBytes, &made); code != Code::OK) return code;
  made.data()[0] = uint8_t(x);
  made.data()[1] = uint8_t(threshold);
  for (int i = 0; i < 4; i++) made.data()[2 + i] = uint8_t(set >> (24 - 8 * i));
  size_t n = kShareOverheadBytes;
  if (!decodeBody(reader.rest, &made, &n) || n <= kShareOverheadBytes + kChecksumBytes) return Code::UNSEAL_FAILED;
  n -= kChecksumBytes;
  uint8_t expected[kChecksumBytes];
  if (!checksum(Bytes(made).first(n), expected)) return Code::ARENA_FULL;
  if (!equalConstantTime({expected, kChecksumBytes}, Bytes(made).subspan(n, kChecksumBytes))) return Code::UNSEAL_FAILED;
  return Secret::copy(Bytes(made).first(n), share);
}

}  // namespace quorate
