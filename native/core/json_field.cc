// Two passes: the whole text is checked, then members are looked for in what is known to be JSON. Nothing recurses, however deep the text is, and
// nothing is copied but the result.
#include "core/json_field.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "core/require.h"
#include "core/utf8.h"

namespace quorate {

namespace {

constexpr size_t kDepthMax = limits::secret_value_bytes_max;

bool isDigit(uint8_t c) { return c >= '0' && c <= '9'; }

// Moves over a text; false as soon as it is no JSON.
class JsonReader {
 public:
  explicit JsonReader(Bytes text) : at_(text.data()), end_(text.data() + text.size()) {}

  const uint8_t* at() const { return at_; }
  bool atEnd() const { return at_ == end_; }
  void space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) at_++;
  }
  bool take(uint8_t c) {
    if (at_ == end_ || *at_ != c) return false;
    at_++;
    return true;
  }
  bool string() {
    if (!take('"')) return false;
    while (at_ < end_) {
      const uint8_t c = *at_++;
      if (c == '"') return true;
      if (c < 0x20 || (c == '\\' && !escape())) return false;
    }
    return false;
  }
  // A member's name with its colon.
  bool name() {
    space();
    if (!string()) return false;
    space();
    return take(':');
  }
  bool value();

 private:
  bool escape() {
    if (at_ == end_) return false;
    const uint8_t c = *at_++;
    if (c != 'u') return c != 0 && std::strchr("\"\\/bfnrt", c) != nullptr;
    for (int i = 0; i < 4; i++)
      if (at_ == end_ || std::strchr("0123456789abcdefABCDEF", *at_) == nullptr || *at_++ == 0) return false;
    return true;
  }
  bool digits() {
    const uint8_t* from = at_;
    while (at_ < end_ && isDigit(*at_)) at_++;
    return at_ > from;
  }
  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }
  bool word(std::string_view text) {
    if (static_cast<size_t>(end_ - at_) < text.size() || std::memcmp(at_, text.data(), text.size()) != 0) return false;
    at_ += text.size();
    return true;
  }
  bool scalar() {
    switch (*at_) {
      case '"': return string();
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      default: return number();
    }
  }

  const uint8_t* at_;
  const uint8_t* end_;
};

// Which of the open brackets are braces, a bit each.
class Brackets {
 public:
  bool empty() const { return depth_ == 0; }
  bool open(bool isObject) {
    if (depth_ == kDepthMax) return false;
    const auto bit = static_cast<uint8_t>(1u << (depth_ % 8));
    uint8_t& byte = bits_[depth_++ / 8];
    byte = isObject ? byte | bit : byte & static_cast<uint8_t>(~bit);
    return true;
  }
  void close() { depth_--; }
  bool isObject() const { return (bits_[(depth_ - 1) / 8] >> ((depth_ - 1) % 8) & 1) != 0; }

 private:
  size_t depth_ = 0;
  uint8_t bits_[kDepthMax / 8 + 1];
};

bool JsonReader::value() {
  Brackets open;
  for (;;) {
    space();
    if (atEnd()) return false;
    if (*at_ == '{' || *at_ == '[') {
      const bool isObject = *at_++ == '{';
      if (!open.open(isObject)) return false;
      space();
      if (!take(isObject ? '}' : ']')) {
        if (isObject && !name()) return false;
        continue;
      }
      open.close();
    } else if (!scalar()) {
      return false;
    }
    for (;;) {  // a value has ended
      if (open.empty()) return true;
      space();
      if (take(',')) {
        if (open.isObject() && !name()) return false;
        break;
      }
      if (!take(open.isObject() ? '}' : ']')) return false;
      open.close();
    }
  }
}

// The characters of a JSON string, one after the other, in UTF-8.
class Characters {
 public:
  // quoted: with its quotes, and known to be well formed.
  explicit Characters(Bytes quoted) : at_(quoted.data() + 1), end_(quoted.data() + quoted.size() - 1) {}
  ~Characters() { wipe(bytes_, sizeof(bytes_)); }

  // The next one, empty at the end. Bytes that are not escaped come one by one.
  Bytes next() {
    if (at_ == end_) return {};
    if (*at_ != '\\') return {at_++, 1};
    const uint8_t c = at_[1];
    at_ += 2;
    if (c == 'u') return put(codePoint());
    constexpr std::string_view from = "bfnrt", to = "\b\f\n\r\t";
    const size_t special = from.find(static_cast<char>(c));
    return put(special == std::string_view::npos ? c : static_cast<uint8_t>(to[special]));
  }
  // A surrogate had no partner: the string is not Unicode text, and equals no name.
  bool wasLone() const { return lone_; }

 private:
  uint32_t unit() {
    uint32_t out = 0;
    for (int i = 0; i < 4; i++) {
      const uint8_t c = *at_++;
      out = out << 4 | static_cast<uint32_t>(isDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return out;
  }
  uint32_t codePoint() {
    const uint32_t first = unit();
    if (first < 0xd800 || first > 0xdfff) return first;
    if (first < 0xdc00 && end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u') {
      const uint8_t* back = at_;
      at_ += 2;
      const uint32_t second = unit();
      if (second >= 0xdc00 && second <= 0xdfff) return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
      at_ = back;
    }
    lone_ = true;
    return 0xfffd;
  }
  Bytes put(uint32_t c) {
    const auto rest = [c](unsigned shift) { return static_cast<uint8_t>(0x80 | (c >> shift & 0x3f)); };
    size_t n = 0;
    if (c < 0x80) bytes_[n++] = static_cast<uint8_t>(c);
    else if (c < 0x800) bytes_[n++] = static_cast<uint8_t>(0xc0 | c >> 6), bytes_[n++] = rest(0);
    else if (c < 0x10000) bytes_[n++] = static_cast<uint8_t>(0xe0 | c >> 12), bytes_[n++] = rest(6), bytes_[n++] = rest(0);
    else bytes_[n++] = static_cast<uint8_t>(0xf0 | c >> 18), bytes_[n++] = rest(12), bytes_[n++] = rest(6), bytes_[n++] = rest(0);
    return {bytes_, n};
  }

  const uint8_t* at_;
  const uint8_t* end_;
  uint8_t bytes_[4] = {};
  bool lone_ = false;
};

bool isName(Bytes quoted, std::string_view name) {
  Characters characters(quoted);
  size_t at = 0;
  for (Bytes c = characters.next(); !c.empty(); c = characters.next()) {
    if (name.size() - at < c.size() || std::memcmp(name.data() + at, c.data(), c.size()) != 0) return false;
    at += c.size();
  }
  return at == name.size() && !characters.wasLone();
}

// Where a value lies, or the length of an array, which is nowhere.
struct Place {
  Bytes text;
  size_t length = 0;
  bool isLength = false;
};

// The last member of that name, of what is known to be JSON.
bool memberOf(const Place& value, std::string_view name, Place* out) {
  if (value.isLength || (value.text[0] != '{' && value.text[0] != '[')) return false;
  const bool isObject = value.text[0] == '{';
  size_t index = 0;
  bool found = false;
  JsonReader reader(value.text.subspan(1));
  reader.space();
  while (*reader.at() != '}' && *reader.at() != ']') {
    bool wanted;
    if (isObject) {
      reader.space();
      const uint8_t* from = reader.at();
      reader.string();
      wanted = isName({from, reader.at()}, name);
      reader.space();
      reader.take(':');
    } else {
      wanted = std::to_string(index) == name;
    }
    reader.space();
    const uint8_t* from = reader.at();
    reader.value();
    if (wanted) {
      *out = {{from, reader.at()}};
      found = true;
    }
    index++;
    reader.space();
    reader.take(',');
    reader.space();
  }
  if (!isObject && name == "length") {
    *out = {{}, index, true};
    found = true;
  }
  return found;
}

bool findIn(Place value, std::string_view field, Place* out) {
  for (;;) {
    if (memberOf(value, field, out)) return true;
    const size_t dot = field.find('.');
    Place inner;
    if (dot == std::string_view::npos || !memberOf(value, field.substr(0, dot), &inner)) return false;
    value = inner;
    field.remove_prefix(dot + 1);
  }
}

size_t putText(std::string_view text, MutBytes out) {
  std::memcpy(out.data(), text.data(), text.size());
  return text.size();
}

// Beyond what a double holds: whether it is too large (else too small). text: a JSON number.
bool isHuge(std::string_view text) {
  int64_t exponent = 0;
  const size_t e = text.find_first_of("eE");
  if (e != std::string_view::npos) {
    for (const char c : text.substr(e + 1))
      if (isDigit(static_cast<uint8_t>(c)) && exponent < 100'000'000) exponent = exponent * 10 + (c - '0');
    if (text[e + 1] == '-') exponent = -exponent;
  }
  const std::string_view mantissa = text.substr(0, e);
  const size_t first = mantissa.find_first_of("123456789"), point = std::min(mantissa.find('.'), mantissa.size());
  return first != std::string_view::npos && static_cast<int64_t>(point) - static_cast<int64_t>(first) + exponent > 0;
}

// ECMA-262, Number::toString(x, 10); JSON.stringify() has null for what is not finite.
size_t putNumber(std::string_view text, MutBytes out) {
  double number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc::result_out_of_range) {
    if (isHuge(text)) return putText("null", out);
    number = 0;
  }
  if (!std::isfinite(number)) return putText("null", out);
  if (number == 0) return putText("0", out);
  char shortest[40];
  const char* end = std::to_chars(shortest, shortest + sizeof(shortest), std::fabs(number), std::chars_format::scientific).ptr;
  const std::string_view all(shortest, static_cast<size_t>(end - shortest));
  const size_t e = all.find('e');
  int exponent = 0;
  std::from_chars(end - (all.size() - e - 1) + (all[e + 1] == '+' ? 1 : 0), end, exponent);
  char digits[24];
  int k = 0;
  for (const char c : all.substr(0, e))
    if (c != '.') digits[k++] = c;
  const int n = exponent + 1;
  uint8_t* to = out.data();
  const auto put = [&](char c) { *to++ = static_cast<uint8_t>(c); };
  const auto putDigits = [&](int from, int until) {
    for (int i = from; i < until; i++) put(i < k ? digits[i] : '0');
  };
  if (number < 0) put('-');
  if (n > 0 && n <= 21) {
    putDigits(0, n);
    if (k > n) put('.'), putDigits(n, k);
  } else if (n > -6 && n <= 0) {
    put('0'), put('.');
    for (int i = n; i < 0; i++) put('0');
    putDigits(0, k);
  } else {
    put(digits[0]);
    if (k > 1) put('.'), putDigits(1, k);
    put('e'), put(n > 0 ? '+' : '-');
    to = reinterpret_cast<uint8_t*>(std::to_chars(reinterpret_cast<char*>(to), reinterpret_cast<char*>(to) + 8, std::abs(n - 1)).ptr);
  }
  wipe(shortest, sizeof(shortest));
  wipe(digits, sizeof(digits));
  return static_cast<size_t>(to - out.data());
}

size_t putString(Bytes quoted, MutBytes out) {
  Characters characters(quoted);
  size_t n = 0;
  for (Bytes c = characters.next(); !c.empty(); c = characters.next()) {
    std::memcpy(out.data() + n, c.data(), c.size());
    n += c.size();
  }
  return n;
}

}  // namespace

JsonField jsonField(Bytes json, std::string_view field, MutBytes out, size_t* written) {
  QUORATE_REQUIRE(json.size() <= limits::secret_value_bytes_max && out.size() >= json.size() + kJsonFieldRoom);
  *written = 0;
  constexpr uint8_t mark[] = {0xef, 0xbb, 0xbf};  // a byte order mark, which TextDecoder takes off
  if (!validUtf8({reinterpret_cast<const char*>(json.data()), json.size()})) return JsonField::notJson;
  if (json.size() >= sizeof(mark) && std::memcmp(json.data(), mark, sizeof(mark)) == 0) json = json.subspan(sizeof(mark));
  JsonReader reader(json);
  reader.space();
  const uint8_t* from = reader.at();
  if (!reader.value()) return JsonField::notJson;
  const Bytes whole{from, reader.at()};
  reader.space();
  if (!reader.atEnd()) return JsonField::notJson;
  Place found;
  if (!findIn({whole}, field, &found)) return JsonField::absent;
  if (found.isLength) {
    *written = putText(std::to_string(found.length), out);
    return JsonField::found;
  }
  switch (found.text[0]) {
    case '{':
    case '[': return JsonField::compound;
    case '"': *written = putString(found.text, out); break;
    case 't':
    case 'f':
    case 'n': *written = putText({reinterpret_cast<const char*>(found.text.data()), found.text.size()}, out); break;
    default: *written = putNumber({reinterpret_cast<const char*>(found.text.data()), found.text.size()}, out);
  }
  return JsonField::found;
}

}  // namespace quorate
