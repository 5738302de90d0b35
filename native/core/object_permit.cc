// What objects may do and suffer, by their attributes (object_rules.h): R4, R7, R8.
#include <algorithm>

#include "core/object_roles.h"

namespace quorate {
namespace {

uint32_t attributeOf(Use use) {
  switch (use) {
    case kEncrypt: return attribute::Encrypt;
    case kDecrypt: return attribute::Decrypt;
    case kSign: return attribute::Sign;
    case kVerify: return attribute::Verify;
    case kWrap: return attribute::Wrap;
    case kUnwrap: return attribute::Unwrap;
    case kDerive: return attribute::Derive;
    default: return attribute::Local;  // no role: never asked for with a key
  }
}

bool lists(Bytes mechanisms, uint64_t number) {
  for (; mechanisms.size() >= 8; mechanisms = mechanisms.subspan(8)) {
    uint64_t one = 0;
    for (int i = 7; i >= 0; i--) one = one << 8 | mechanisms[size_t(i)];
    if (one == number) return true;
  }
  return false;
}

ObjectClass classOf(const Sheet& sheet) { return ObjectClass(sheet.number(attribute::Class, uint64_t(ObjectClass::secretKey))); }

// R4: nobody but the daemon knows this key's value or ever will, and it undoes no wrapping: a blob made with it opens here alone, to a key as sensitive as before.
bool keepsSecrets(const Sheet& wrapping, const Sheet* wrappingPrivate) {
  const bool isPair = classOf(wrapping) == ObjectClass::publicKey;
  if (isPair && (wrappingPrivate == nullptr || classOf(*wrappingPrivate) != ObjectClass::privateKey)) return false;
  const Sheet& keeper = isPair ? *wrappingPrivate : wrapping;
  if (isPair && !keeper.flag(attribute::Unwrap)) return false;
  if (rolesConflict(rolesOf(keeper) | kRoleUnwrap, isPair ? rolesOf(wrapping) : 0, !isPair)) return false;
  return keeper.flag(attribute::Local) && keeper.flag(attribute::AlwaysSensitive) && keeper.flag(attribute::NeverExtractable);
}

bool matchesTemplate(const Sheet& wrapping, const Sheet& target) {
  if (!wrapping.has(attribute::WrapTemplate)) return true;
  Sheet wanted;
  if (Sheet::parse(wrapping.value(attribute::WrapTemplate), &wanted, nullptr) != Code::OK) return false;
  return std::ranges::all_of(wanted.rows(), [&](const auto& row) { return target.has(row.first) && std::ranges::equal(target.value(row.first), row.second); });
}

}  // namespace

Code mayUse(const Sheet& key, Use use, uint32_t mechanism) {
  if (attributeOf(use) == attribute::Local || !key.flag(attributeOf(use))) return Code::USE_NOT_PERMITTED;
  if (key.has(attribute::AllowedMechanisms) && !lists(key.value(attribute::AllowedMechanisms), mechanism)) return Code::MECHANISM_INVALID;
  return Code::OK;
}

Code mayWrap(const Sheet& wrapping, const Sheet* wrappingPrivate, const Sheet& target) {
  if (!wrapping.flag(attribute::Wrap)) return Code::USE_NOT_PERMITTED;
  const ObjectClass targetClass = classOf(target);
  if (targetClass != ObjectClass::secretKey && targetClass != ObjectClass::privateKey) return Code::KEY_NOT_WRAPPABLE;
  if (!target.flag(attribute::Extractable)) return Code::KEY_NOT_EXPORTABLE;
  const bool trusted = wrapping.flag(attribute::Trusted);
  if (target.flag(attribute::WrapWithTrusted) && !trusted) return Code::KEY_NOT_WRAPPABLE;
  // Absent is as sensitive: only a key that says that it is not may be wrapped by any other.
  const bool open = target.has(attribute::Sensitive) && !target.flag(attribute::Sensitive);
  if (!open && !trusted && !keepsSecrets(wrapping, wrappingPrivate)) return Code::KEY_NOT_WRAPPABLE;
  return matchesTemplate(wrapping, target) ? Code::OK : Code::KEY_NOT_WRAPPABLE;
}

Code mayRead(const Sheet& key) {
  const ObjectClass objectClass = classOf(key);
  if (objectClass != ObjectClass::secretKey && objectClass != ObjectClass::privateKey) return Code::OK;
  const bool open = key.has(attribute::Sensitive) && !key.flag(attribute::Sensitive) && key.flag(attribute::Extractable);
  return open ? Code::OK : Code::ATTRIBUTE_SENSITIVE;
}

}  // namespace quorate
