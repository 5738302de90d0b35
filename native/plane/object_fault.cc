#include "plane/object_fault.h"

#include <cstdio>

namespace quorate {

namespace {

struct Name {
  uint32_t attribute;
  const char* words;  // as in attributes.def: ValueLen
};
constexpr Name kNames[] = {
#define A(name, number, kind, classes, rule) {number, #name},
#include "core/attributes.def"
};

}  // namespace

std::string attributeName(uint32_t attribute) {
  for (const Name& row : kNames) {
    if (row.attribute != attribute) continue;
    std::string out = "CKA_";
    for (const char* p = row.words; *p != '\0'; p++) {
      const bool capital = *p >= 'A' && *p <= 'Z';
      if (capital && p != row.words) out += '_';
      out += capital ? *p : static_cast<char>(*p - 'a' + 'A');
    }
    return out;
  }
  char text[24];
  std::snprintf(text, sizeof(text), "attribute 0x%x", attribute);
  return text;
}

std::string describeFault(const RuleFault& fault) {
  // CKA_CLASS is attribute 0, as is "none in particular": its faults say so in their words.
  if (fault.attribute == 0) return fault.fact;
  return fault.fact.empty() ? attributeName(fault.attribute) : attributeName(fault.attribute) + ": " + fault.fact;
}

}  // namespace quorate
