// The attributes of an object: what its sheet says, and what derives from its public key, its id or its certificate.
#pragma once
#include "pkcs11/entries.h"

namespace quorate::pkcs11 {

enum class Presence {
  value,
  secret,     // part of a key's value that may be told: the daemon has it
  sensitive,  // part of a key's value that is never told
  absent,     // objects of this kind have none
};
// `value` may be empty, or a view that `object` or *room holds.
Presence attributeValue(const ObjectRef& object, CK_ATTRIBUTE_TYPE type, std::string* room, std::string_view* value);
bool hasAttribute(const ObjectRef& object, const CK_ATTRIBUTE& wanted);

}  // namespace quorate::pkcs11
