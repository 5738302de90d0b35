#include "pkcs11/sheet.h"

#include <algorithm>
#include <cstring>

namespace quorate::pkcs11 {

namespace {

constexpr size_t kHeadBytes = 8;

constexpr AttributeRow kRows[] = {
#define BOOLEAN AttributeKind::boolean
#define NUMBER AttributeKind::number
#define BYTES AttributeKind::bytes
#define TEXT AttributeKind::text
#define DATE AttributeKind::date
#define MECHANISMS AttributeKind::mechanisms
#define TEMPLATE AttributeKind::tmplate
#define DATA kOfData
#define CERTIFICATE kOfCertificate
#define PUBLIC kOfPublic
#define PRIVATE kOfPrivate
#define SECRET kOfSecret
#define A(name, number, kind, classes, rule) {number, kind, static_cast<uint32_t>(classes)},
#include "core/attributes.def"
#undef BOOLEAN
#undef NUMBER
#undef BYTES
#undef TEXT
#undef DATE
#undef MECHANISMS
#undef TEMPLATE
#undef DATA
#undef CERTIFICATE
#undef PUBLIC
#undef PRIVATE
#undef SECRET
};

}  // namespace

const AttributeRow* attributeRow(CK_ATTRIBUTE_TYPE type) {
  const auto* const at = std::lower_bound(std::begin(kRows), std::end(kRows), type, [](const AttributeRow& row, CK_ATTRIBUTE_TYPE t) { return row.type < t; });
  return at != std::end(kRows) && at->type == type ? at : nullptr;
}
static_assert(std::is_sorted(std::begin(kRows), std::end(kRows), [](const AttributeRow& a, const AttributeRow& b) { return a.type < b.type; }));

uint32_t classBit(CK_OBJECT_CLASS kind) { return kind <= CKO_SECRET_KEY ? 1u << kind : 0; }
static_assert(kOfData == 1 << CKO_DATA && kOfCertificate == 1 << CKO_CERTIFICATE && kOfPublic == 1 << CKO_PUBLIC_KEY && kOfPrivate == 1 << CKO_PRIVATE_KEY && kOfSecret == 1 << CKO_SECRET_KEY);

Sheet::Sheet(std::string encoded) : encoded_(std::move(encoded)) {
  for (size_t at = 0; encoded_.size() - at >= kHeadBytes;) {
    Row row{};
    std::memcpy(&row.type, encoded_.data() + at, 4);
    std::memcpy(&row.length, encoded_.data() + at + 4, 4);
    at += kHeadBytes;
    if (row.length > encoded_.size() - at || (!rows_.empty() && rows_.back().type >= row.type)) break;
    row.at = static_cast<uint32_t>(at);
    rows_.push_back(row);
    at += row.length;
  }
}

std::optional<std::string_view> Sheet::find(CK_ATTRIBUTE_TYPE type) const {
  const auto at = std::lower_bound(rows_.begin(), rows_.end(), type, [](const Row& row, CK_ATTRIBUTE_TYPE t) { return row.type < t; });
  if (at == rows_.end() || at->type != type) return std::nullopt;
  return valueOf(*at);
}

bool Sheet::flag(CK_ATTRIBUTE_TYPE type) const {
  const auto value = find(type);
  return value && value->size() == 1 && (*value)[0] == CK_TRUE;
}

CK_ULONG Sheet::number(CK_ATTRIBUTE_TYPE type, CK_ULONG otherwise) const {
  const auto value = find(type);
  CK_ULONG out = otherwise;
  if (value && value->size() == sizeof(out)) std::memcpy(&out, value->data(), sizeof(out));
  return out;
}

bool SheetWriter::add(CK_ATTRIBUTE_TYPE type, std::string value) {
  const auto at = std::lower_bound(rows_.begin(), rows_.end(), type, [](const auto& row, CK_ATTRIBUTE_TYPE t) { return row.first < t; });
  if (at != rows_.end() && at->first == type) return false;
  rows_.emplace(at, static_cast<uint32_t>(type), std::move(value));
  return true;
}

void SheetWriter::set(CK_ATTRIBUTE_TYPE type, std::string value) {
  for (auto& [has, old] : rows_) {
    if (has != type) continue;
    old = std::move(value);
    return;
  }
  add(type, std::move(value));
}

const std::string* SheetWriter::find(CK_ATTRIBUTE_TYPE type) const {
  for (const auto& [has, value] : rows_)
    if (has == type) return &value;
  return nullptr;
}

bool SheetWriter::flag(CK_ATTRIBUTE_TYPE type) const {
  const std::string* const value = find(type);
  return value != nullptr && *value == std::string(1, CK_TRUE);
}

std::string SheetWriter::encode() const {
  std::string out;
  for (const auto& [type, value] : rows_) {
    const auto length = static_cast<uint32_t>(value.size());
    out.append(reinterpret_cast<const char*>(&type), 4);
    out.append(reinterpret_cast<const char*>(&length), 4);
    out.append(value);
  }
  return out;
}

}  // namespace quorate::pkcs11
