// Templates of the application: arrays of attributes, with pointers that may be anything the application got wrong.
#pragma once
#include "pkcs11/material.h"
#include "pkcs11/sheet.h"

namespace quorate::pkcs11 {

using Template = std::span<const CK_ATTRIBUTE>;

// CKR_ARGUMENTS_BAD: no array, a count that was never set, or a value without a place.
CK_RV readTemplate(const CK_ATTRIBUTE* attributes, CK_ULONG count, Template* out);
const CK_ATTRIBUTE* attributeOf(Template from, CK_ATTRIBUTE_TYPE type);
std::string_view valueOf(const CK_ATTRIBUTE& attribute);
// `otherwise` when it is absent or of another length.
CK_ULONG numberIn(Template from, CK_ATTRIBUTE_TYPE type, CK_ULONG otherwise);
bool flagIn(Template from, CK_ATTRIBUTE_TYPE type);

// Checks each attribute's form and adds it to the sheet. Attributes that are parts of a key's value go into *numbers; without it they are
// refused as `foreign`. CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID (also what is too long, and templates in templates),
// CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT (repeated).
CK_RV encodeTemplate(Template from, KeyNumbers* numbers, CK_RV foreign, SheetWriter* out);

}  // namespace quorate::pkcs11
