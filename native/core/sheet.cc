// Sheets: attributes as they travel and are kept (object_rules.h).
#include <algorithm>
#include <cstring>

#include "core/attribute_rows.h"

namespace quorate {
namespace {

constexpr size_t kHeaderBytes = 8;  // u32 type, u32 length

uint32_t load32(const uint8_t* at) { return uint32_t(at[0]) | uint32_t(at[1]) << 8 | uint32_t(at[2]) << 16 | uint32_t(at[3]) << 24; }

uint64_t load64(const uint8_t* at) { return load32(at) | uint64_t(load32(at + 4)) << 32; }

void append32(Buffer* out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(uint8_t(value >> shift));
}

unsigned decimal(Bytes digits) {
  unsigned value = 0;
  for (const uint8_t digit : digits) value = value * 10 + (digit - '0');
  return value;
}

// YYYYMMDD, or empty for none (PKCS #11 3.0, 4.7).
bool isDate(Bytes value) {
  if (value.empty()) return true;
  if (value.size() != 8 || !std::ranges::all_of(value, [](uint8_t c) { return c >= '0' && c <= '9'; })) return false;
  const unsigned month = decimal(value.subspan(4, 2)), day = decimal(value.subspan(6, 2));
  return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

bool isNumber(uint32_t type, uint64_t value) {
  if (type == attribute::Class) return value <= uint64_t(ObjectClass::secretKey);
  if (type == attribute::KeyType) return familyOfCryptoki(value) != KeyFamily::none;
  return true;
}

bool hasForm(const AttributeRow& row, Bytes value) {
  switch (row.form) {
    case AttributeForm::boolean: return value.size() == 1 && value[0] <= 1;
    case AttributeForm::number: return value.size() == 8 && isNumber(row.type, load64(value.data()));
    case AttributeForm::text: return value.size() <= limits::object_label_bytes_max;
    case AttributeForm::date: return isDate(value);
    case AttributeForm::mechanisms: return value.size() % 8 == 0;
    case AttributeForm::bytes:
    case AttributeForm::sheet: return true;
  }
  return false;
}

using Rows = std::vector<std::pair<uint32_t, Buffer>>;

// Whether the encoding holds to the form; with its rows for out, unless that is nullptr. A template inside is read by the same walk, which refuses another one
// in there (out is nullptr): no input nests deeper than two calls.
Code walk(Bytes encoded, Rows* out, uint32_t* attribute) {
  uint64_t before = 0;  // the type of the row before, plus one
  while (!encoded.empty()) {
    if (encoded.size() < kHeaderBytes) return Code::ATTRIBUTE_VALUE_INVALID;
    const uint32_t type = load32(encoded.data()), length = load32(encoded.data() + 4);
    *attribute = type;
    if (type < before || length > encoded.size() - kHeaderBytes) return Code::ATTRIBUTE_VALUE_INVALID;
    const Bytes value = encoded.subspan(kHeaderBytes, length);
    const AttributeRow* row = attributeRow(type);
    if (row == nullptr) return Code::ATTRIBUTE_TYPE_INVALID;
    if (!hasForm(*row, value)) return Code::ATTRIBUTE_VALUE_INVALID;
    if (row->form == AttributeForm::sheet) {
      uint32_t within = 0;
      if (out == nullptr || walk(value, nullptr, &within) != Code::OK) return Code::ATTRIBUTE_VALUE_INVALID;
    }
    if (out != nullptr) out->emplace_back(type, Buffer(value.begin(), value.end()));
    before = uint64_t(type) + 1;
    encoded = encoded.subspan(kHeaderBytes + length);
  }
  *attribute = 0;
  return Code::OK;
}

}  // namespace

Code Sheet::parse(Bytes encoded, Sheet* out, uint32_t* attribute) {
  uint32_t fault = 0;
  Sheet parsed;
  const Code code = encoded.size() > limits::object_sheet_bytes_max ? Code::OBJECT_TOO_LARGE : walk(encoded, &parsed.rows_, &fault);
  if (attribute != nullptr) *attribute = fault;
  if (code == Code::OK) *out = std::move(parsed);
  return code;
}

Buffer Sheet::encode() const {
  Buffer out;
  for (const auto& [type, value] : rows_) {
    append32(&out, type);
    append32(&out, uint32_t(value.size()));
    out.insert(out.end(), value.begin(), value.end());
  }
  return out;
}

const Buffer* Sheet::find(uint32_t type) const {
  const auto at = std::lower_bound(rows_.begin(), rows_.end(), type, [](const auto& row, uint32_t wanted) { return row.first < wanted; });
  return at != rows_.end() && at->first == type ? &at->second : nullptr;
}

bool Sheet::has(uint32_t type) const { return find(type) != nullptr; }

bool Sheet::flag(uint32_t type) const {
  const Buffer* value = find(type);
  return value != nullptr && value->size() == 1 && (*value)[0] == 1;
}

uint64_t Sheet::number(uint32_t type, uint64_t otherwise) const {
  const Buffer* value = find(type);
  return value != nullptr && value->size() == 8 ? load64(value->data()) : otherwise;
}

Bytes Sheet::value(uint32_t type) const {
  const Buffer* value = find(type);
  return value == nullptr ? Bytes{} : Bytes(*value);
}

void Sheet::set(uint32_t type, Bytes value) {
  const auto at = std::lower_bound(rows_.begin(), rows_.end(), type, [](const auto& row, uint32_t wanted) { return row.first < wanted; });
  Buffer copy(value.begin(), value.end());
  if (at != rows_.end() && at->first == type) at->second = std::move(copy);
  else rows_.emplace(at, type, std::move(copy));
}

void Sheet::setFlag(uint32_t type, bool value) {
  const uint8_t byte = value ? 1 : 0;
  set(type, {&byte, 1});
}

void Sheet::setNumber(uint32_t type, uint64_t value) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++) bytes[i] = uint8_t(value >> (8 * i));
  set(type, bytes);
}

void Sheet::erase(uint32_t type) {
  std::erase_if(rows_, [&](const auto& row) { return row.first == type; });
}

}  // namespace quorate
