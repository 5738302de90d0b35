// R5 of the rules of attributes: copies and changes only tighten (object_rules.h).
#include <algorithm>

#include "core/object_roles.h"

namespace quorate {
namespace {

// The stricter value of an attribute that tightens.
bool strictIs(uint32_t type) {
  switch (type) {
    case attribute::Sensitive:
    case attribute::WrapWithTrusted:
    case attribute::Trusted: return true;
    default: return false;  // roles, EXTRACTABLE, MODIFIABLE, COPYABLE, DESTROYABLE
  }
}

struct Change {
  bool copies;    // a copy may be kept elsewhere, and be private
  bool mayTrust;
};

bool allowed(const AttributeRow& row, const Sheet& from, Bytes value, const Change& change) {
  if (from.has(row.type) && std::ranges::equal(from.value(row.type), value)) return true;
  const bool on = value.size() == 1 && value[0] == 1;
  switch (row.rule) {
    case AttributeRule::free: return true;
    case AttributeRule::tighten: return on == strictIs(row.type) ? row.type != attribute::Trusted || change.mayTrust : row.type == attribute::Trusted;
    case AttributeRule::once: return change.copies && (row.type == attribute::Token || (row.type == attribute::Private && on));
    case AttributeRule::made: return false;
  }
  return false;
}

Code changed(const Sheet& from, bool isPublic, const Sheet& wanted, const Change& change, Sheet* out, RuleFault* fault) {
  if (!from.has(attribute::Class)) return ruleFault(fault, Code::INTERNAL, attribute::Class, "the object has no class");
  const auto objectClass = ObjectClass(from.number(attribute::Class, 0));
  if (isPublic != (objectClass == ObjectClass::publicKey)) return ruleFault(fault, Code::INTERNAL, attribute::Class, "the sheet is the other half's");
  Sheet result = from;
  for (const auto& [type, value] : wanted.rows()) {
    const AttributeRow* row = attributeRow(type);
    if (row == nullptr || !classHas(objectClass, *row)) {
      return ruleFault(fault, Code::ATTRIBUTE_TYPE_INVALID, type, "an object of this class has no such attribute");
    }
    if (!allowed(*row, from, value, change)) return ruleFault(fault, Code::ATTRIBUTE_READ_ONLY, type, "the attribute keeps its value, or only becomes stricter");
    result.set(type, value);
  }
  if (result.encode().size() > limits::object_sheet_bytes_max) return ruleFault(fault, Code::OBJECT_TOO_LARGE, 0, "the attributes are longer than the limit");
  *out = std::move(result);
  return Code::OK;
}

}  // namespace

Code planCopy(const Sheet& from, bool isPublic, const Sheet& wanted, Sheet* out, RuleFault* fault) {
  if (!from.flag(attribute::Copyable)) return ruleFault(fault, Code::ATTRIBUTE_READ_ONLY, attribute::Copyable, "the object was made not to be copied");
  return changed(from, isPublic, wanted, {.copies = true, .mayTrust = false}, out, fault);
}

Code planSet(const Sheet& from, bool isPublic, const Sheet& wanted, bool mayTrust, Sheet* out, RuleFault* fault) {
  if (!from.flag(attribute::Modifiable)) return ruleFault(fault, Code::ATTRIBUTE_READ_ONLY, attribute::Modifiable, "the object was made not to be changed");
  return changed(from, isPublic, wanted, {.copies = false, .mayTrust = mayTrust}, out, fault);
}

}  // namespace quorate
