// What the rules of attributes found wrong, in words that name the attribute.
#pragma once
#include "core/object_rules.h"

namespace quorate {

// "CKA_VALUE_LEN", or "attribute 0x1234" for one that objects here do not have.
std::string attributeName(uint32_t attribute);
// "CKA_SENSITIVE: it was never ..."; empty when nothing is known beyond the code.
std::string describeFault(const RuleFault& fault);

}  // namespace quorate
