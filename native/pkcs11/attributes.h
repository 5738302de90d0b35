// The attributes of an object, made from what is known of its key.
#pragma once
#include <string>

#include "pkcs11/keys.h"

namespace quorate::pkcs11 {

enum class Presence { value, sensitive, absent };  // sensitive: it exists and is never told; absent: objects of this kind have none

// Whether attributeValue() needs KeyCache::loadPublic() first.
bool needsPublic(CK_ATTRIBUTE_TYPE type);
Presence attributeValue(const ObjectRef& object, CK_ATTRIBUTE_TYPE type, std::string* value);

}  // namespace quorate::pkcs11
