#include "pkcs11/template.h"

#include <cstring>

#include "core/limits.gen.h"

namespace quorate::pkcs11 {

namespace {

// More attributes than any object has: a count that was never set.
constexpr CK_ULONG kAttributesMax = 1024;
constexpr size_t kDateBytes = 8;

CK_RV encodeInto(Template from, KeyNumbers* numbers, CK_RV foreign, bool isNested, size_t* left, SheetWriter* out);

CK_RV encodeNested(std::string_view value, size_t* left, std::string* out) {
  if (value.size() % sizeof(CK_ATTRIBUTE) != 0 || value.size() / sizeof(CK_ATTRIBUTE) > kAttributesMax) return CKR_ATTRIBUTE_VALUE_INVALID;
  std::vector<CK_ATTRIBUTE> attributes(value.size() / sizeof(CK_ATTRIBUTE));
  if (!value.empty()) std::memcpy(attributes.data(), value.data(), value.size());
  SheetWriter inside;
  if (const CK_RV rv = encodeInto(attributes, nullptr, CKR_ATTRIBUTE_VALUE_INVALID, true, left, &inside); rv != CKR_OK) return rv;
  *out = inside.encode();
  return CKR_OK;
}

CK_RV encodeValue(AttributeKind kind, std::string_view value, bool isNested, size_t* left, std::string* out) {
  switch (kind) {
    case AttributeKind::boolean:
      if (value.size() != 1 || (value[0] & ~1) != 0) return CKR_ATTRIBUTE_VALUE_INVALID;
      break;
    case AttributeKind::number:
      if (value.size() != sizeof(CK_ULONG)) return CKR_ATTRIBUTE_VALUE_INVALID;
      break;
    case AttributeKind::text:
      if (value.size() > limits::object_label_bytes_max) return CKR_ATTRIBUTE_VALUE_INVALID;
      break;
    case AttributeKind::date:
      if (value == std::string_view("\0\0\0\0\0\0\0\0", kDateBytes)) value = {};  // a CK_DATE that was never set
      if (!value.empty() && value.size() != kDateBytes) return CKR_ATTRIBUTE_VALUE_INVALID;
      break;
    case AttributeKind::mechanisms:
      if (value.size() % sizeof(CK_MECHANISM_TYPE) != 0) return CKR_ATTRIBUTE_VALUE_INVALID;
      break;
    case AttributeKind::tmplate: return isNested ? CKR_ATTRIBUTE_VALUE_INVALID : encodeNested(value, left, out);
    case AttributeKind::bytes: break;
  }
  out->assign(value);
  return CKR_OK;
}

CK_RV encodeInto(Template from, KeyNumbers* numbers, CK_RV foreign, bool isNested, size_t* left, SheetWriter* out) {
  for (const CK_ATTRIBUTE& each : from) {
    if (each.pValue == nullptr && each.ulValueLen != 0) return CKR_ATTRIBUTE_VALUE_INVALID;
    const std::string_view value = valueOf(each);
    KeyNumbers none;
    if (numbers != nullptr) {
      if (std::string_view* const number = numberOf(numbers, each.type); number != nullptr) {
        if (number->data() != nullptr) return CKR_TEMPLATE_INCONSISTENT;
        if (value.size() > limits::secret_bytes_max) return CKR_ATTRIBUTE_VALUE_INVALID;
        *number = value.empty() ? std::string_view("") : value;
        continue;
      }
    }
    const AttributeRow* const row = attributeRow(each.type);
    if (each.type == CKA_UNIQUE_ID) return CKR_ATTRIBUTE_READ_ONLY;
    if (row == nullptr) return numberOf(&none, each.type) != nullptr || each.type == CKA_PUBLIC_KEY_INFO ? foreign : CKR_ATTRIBUTE_TYPE_INVALID;
    // The sheet has a most; each value is looked at only up to it.
    if (value.size() > limits::object_sheet_bytes_max || value.size() + 8 > *left) return CKR_ATTRIBUTE_VALUE_INVALID;
    std::string encoded;
    if (const CK_RV rv = encodeValue(row->kind, value, isNested, left, &encoded); rv != CKR_OK) return rv;
    if (encoded.size() + 8 > *left) return CKR_ATTRIBUTE_VALUE_INVALID;
    *left -= encoded.size() + 8;
    if (!out->add(each.type, std::move(encoded))) return CKR_TEMPLATE_INCONSISTENT;
  }
  return CKR_OK;
}

}  // namespace

CK_RV readTemplate(const CK_ATTRIBUTE* attributes, CK_ULONG count, Template* out) {
  if ((attributes == nullptr && count != 0) || count > kAttributesMax) return CKR_ARGUMENTS_BAD;
  *out = Template(attributes, count);
  for (const CK_ATTRIBUTE& each : *out)
    if (each.pValue == nullptr && each.ulValueLen != 0) return CKR_ARGUMENTS_BAD;
  return CKR_OK;
}

const CK_ATTRIBUTE* attributeOf(Template from, CK_ATTRIBUTE_TYPE type) {
  for (const CK_ATTRIBUTE& each : from)
    if (each.type == type) return &each;
  return nullptr;
}

std::string_view valueOf(const CK_ATTRIBUTE& attribute) {
  return attribute.pValue == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(attribute.pValue), attribute.ulValueLen);
}

CK_ULONG numberIn(Template from, CK_ATTRIBUTE_TYPE type, CK_ULONG otherwise) {
  const CK_ATTRIBUTE* const attribute = attributeOf(from, type);
  CK_ULONG out = otherwise;
  if (attribute != nullptr && attribute->pValue != nullptr && attribute->ulValueLen == sizeof(out)) std::memcpy(&out, attribute->pValue, sizeof(out));
  return out;
}

bool flagIn(Template from, CK_ATTRIBUTE_TYPE type) {
  const CK_ATTRIBUTE* const attribute = attributeOf(from, type);
  return attribute != nullptr && attribute->pValue != nullptr && attribute->ulValueLen == 1 && *static_cast<const CK_BYTE*>(attribute->pValue) == CK_TRUE;
}

CK_RV encodeTemplate(Template from, KeyNumbers* numbers, CK_RV foreign, SheetWriter* out) {
  size_t left = limits::object_sheet_bytes_max;
  return encodeInto(from, numbers, foreign, false, &left, out);
}

}  // namespace quorate::pkcs11
