#include "pkcs11/der.h"

namespace quorate::pkcs11::der {

namespace {

// How many bytes tag and length have, and the content.
bool readHead(std::string_view in, size_t* head, size_t* length) {
  if (in.size() < 2) return false;
  *length = static_cast<uint8_t>(in[1]);
  *head = 2;
  if (*length >= 0x80) {
    const size_t count = *length - 0x80;
    if (count == 0 || count > 4 || in.size() < 2 + count) return false;
    for (*length = 0; *head < 2 + count; ++*head) *length = *length << 8 | static_cast<uint8_t>(in[*head]);
  }
  return in.size() - *head >= *length;
}

void putHead(Buffer* out, char tag, size_t length) {
  out->push(tag);
  if (length < 0x80) return out->push(static_cast<char>(length));
  const int count = length > 0xffff ? 3 : length > 0xff ? 2 : 1;
  out->push(static_cast<char>(0x80 + count));
  for (int i = count - 1; i >= 0; i--) out->push(static_cast<char>(length >> (8 * i)));
}

}  // namespace

bool take(std::string_view* in, char tag, std::string_view* content) {
  size_t head = 0, length = 0;
  if (in->empty() || (*in)[0] != tag || !readHead(*in, &head, &length)) return false;
  *content = in->substr(head, length);
  in->remove_prefix(head + length);
  return true;
}

bool takeWhole(std::string_view* in, char tag, std::string_view* whole) {
  const std::string_view from = *in;
  std::string_view content;
  if (!take(in, tag, &content)) return false;
  *whole = from.substr(0, from.size() - in->size());
  return true;
}

bool skip(std::string_view* in) {
  std::string_view content;
  return !in->empty() && take(in, (*in)[0], &content);
}

bool takeNumber(std::string_view* in, std::string_view* magnitude) {
  std::string_view content;
  if (!take(in, kInteger, &content) || content.empty()) return false;
  while (!content.empty() && content[0] == 0) content.remove_prefix(1);
  *magnitude = content;
  return true;
}

void put(Buffer* out, char tag, std::string_view content) {
  putHead(out, tag, content.size());
  out->append(content);
}

void putNumber(Buffer* out, std::string_view magnitude) {
  while (!magnitude.empty() && magnitude[0] == 0) magnitude.remove_prefix(1);
  const bool isPadded = magnitude.empty() || (magnitude[0] & 0x80) != 0;
  putHead(out, kInteger, magnitude.size() + (isPadded ? 1 : 0));
  if (isPadded) out->push(0);
  out->append(magnitude);
}

std::string octetString(std::string_view content) {
  Buffer out;
  put(&out, kOctetString, content);
  return std::string(out.view());
}

}  // namespace quorate::pkcs11::der
