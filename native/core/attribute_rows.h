// attributes.def as a table: what forms values have, which classes of objects have an attribute, and who may write it when.
#pragma once
#include "core/object_rules.h"

namespace quorate {

enum class AttributeForm : uint8_t { boolean, number, bytes, text, date, mechanisms, sheet };
enum class AttributeRule : uint8_t { made, once, free, tighten };

struct AttributeRow {
  uint32_t type;
  AttributeForm form;
  uint32_t classes;  // bits by ObjectClass
  AttributeRule rule;
  const char* name;
};
std::span<const AttributeRow> attributeRows();       // ascending
const AttributeRow* attributeRow(uint32_t type);     // nullptr: no object here has it
inline bool classHas(ObjectClass objectClass, const AttributeRow& row) { return (row.classes >> uint64_t(objectClass) & 1) != 0; }

// CKK_ numbers that objects here have.
enum CryptokiKeyType : uint64_t {
  kCkkRsa = 0x0, kCkkEc = 0x3, kCkkGenericSecret = 0x10, kCkkAes = 0x1f, kCkkEdwards = 0x40, kCkkMontgomery = 0x41,
};
KeyFamily familyOfCryptoki(uint64_t keyType);  // none when unknown
uint64_t cryptokiOf(KeyFamily family);

// CKA_EC_PARAMS: a named curve as an OBJECT IDENTIFIER, or for Edwards and Montgomery curves its PrintableString. KEY_TYPE_UNSPECIFIED when unknown.
KeyType curveOf(Bytes ecParams);
Bytes ecParamsOf(KeyType type);  // the OBJECT IDENTIFIER; empty when the type has none

}  // namespace quorate
