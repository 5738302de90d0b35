// What all plans share: the forms of templates, R1 (which roles a key may have together, and which it has when its template says nothing), defaults.
#include "core/object_roles.h"

namespace quorate {
namespace {

constexpr RoleRow kRoles[] = {
    {kRoleEncrypt, attribute::Encrypt}, {kRoleDecrypt, attribute::Decrypt},         {kRoleWrap, attribute::Wrap},
    {kRoleUnwrap, attribute::Unwrap},   {kRoleSign, attribute::Sign},               {kRoleSignRecover, attribute::SignRecover},
    {kRoleVerify, attribute::Verify},   {kRoleVerifyRecover, attribute::VerifyRecover}, {kRoleDerive, attribute::Derive},
};

constexpr uint32_t kWrapping = kRoleWrap | kRoleUnwrap;
// Each of these gives away what a wrapped key holds, or makes a wrapped key of what one likes: decryption opens it, encryption forges it, a raw RSA signature is
// the same operation as decryption, and a MAC or a derived key over a block is an oracle.
constexpr uint32_t kUndoesWrapping = kRoleEncrypt | kRoleDecrypt | kRoleSign | kRoleSignRecover | kRoleDerive;

uint32_t defaultRoles(KeyFamily family) {
  switch (family) {
    case KeyFamily::rsa: return kRoleSign | kRoleVerify | kRoleEncrypt | kRoleDecrypt;
    case KeyFamily::ec: return kRoleSign | kRoleVerify | kRoleDerive;
    case KeyFamily::edwards: return kRoleSign | kRoleVerify;
    case KeyFamily::montgomery: return kRoleDerive;
    case KeyFamily::aes: return kRoleEncrypt | kRoleDecrypt;
    case KeyFamily::secret: return kRoleSign | kRoleVerify;
    case KeyFamily::none: break;
  }
  return 0;
}

// The other direction of a role.
uint32_t partnersOf(uint32_t roles) {
  uint32_t partners = 0;
  if (roles & (kRoleEncrypt | kRoleDecrypt)) partners |= kRoleEncrypt | kRoleDecrypt;
  if (roles & (kRoleSign | kRoleVerify)) partners |= kRoleSign | kRoleVerify;
  return partners;
}

void fillRoles(Sheet* sheet, uint32_t on) {
  const auto objectClass = ObjectClass(sheet->number(attribute::Class, 0));
  for (const RoleRow& row : kRoles) {
    if (!classHas(objectClass, *attributeRow(row.attribute)) || sheet->has(row.attribute)) continue;
    sheet->setFlag(row.attribute, (on & row.role) != 0 && !(objectClass == ObjectClass::publicKey && row.role == kRoleDerive));
  }
}


}  // namespace

Code ruleFault(RuleFault* fault, Code code, uint32_t attribute, const char* fact) {
  if (fault != nullptr) *fault = {attribute, fact};
  return code;
}

Code checkTemplate(ObjectClass objectClass, const Sheet& wanted, RuleFault* fault) {
  for (const auto& [type, value] : wanted.rows()) {
    const AttributeRow* row = attributeRow(type);
    if (row == nullptr || !classHas(objectClass, *row)) {
      return ruleFault(fault, Code::ATTRIBUTE_TYPE_INVALID, type, "an object of this class has no such attribute");
    }
    if (row->rule == AttributeRule::made) return ruleFault(fault, Code::ATTRIBUTE_READ_ONLY, type, "the daemon alone says how a key came to be");
  }
  if (wanted.number(attribute::Class, uint64_t(objectClass)) != uint64_t(objectClass)) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::Class, "another class of object is made here");
  }
  if (wanted.flag(attribute::Trusted)) {
    return ruleFault(fault, Code::ATTRIBUTE_READ_ONLY, attribute::Trusted, "an object becomes trusted after it is made, by whom keys:trust is allowed");
  }
  if (objectClass == ObjectClass::secretKey && !wanted.value(attribute::CheckValue).empty()) {
    return ruleFault(fault, Code::ATTRIBUTE_VALUE_INVALID, attribute::CheckValue, "check values of keys are not kept");
  }
  return Code::OK;
}

std::span<const RoleRow> roleRows() { return kRoles; }

uint32_t rolesOf(const Sheet& sheet) {
  uint32_t roles = 0;
  for (const RoleRow& row : kRoles) roles |= sheet.flag(row.attribute) ? row.role : 0;
  return roles;
}

bool rolesConflict(uint32_t mainRoles, uint32_t publicRoles, bool isSecret) {
  const uint32_t roles = mainRoles | publicRoles, undoes = kUndoesWrapping | (isSecret ? kRoleVerify : 0u);
  return (roles & kWrapping) != 0 && (roles & undoes) != 0;
}

// A template that names no role gets those of the key's family; one that does gets, of these, the other directions of what it names. Neither beside wrapping.
void giveRoles(KeyFamily family, Sheet* main, Sheet* publicHalf) {
  const uint32_t named = rolesOf(*main) | (publicHalf == nullptr ? 0 : rolesOf(*publicHalf));
  uint32_t on = defaultRoles(family);
  if (named != 0) on &= partnersOf(named);
  if ((named & kWrapping) != 0) on = 0;
  fillRoles(main, on);
  if (publicHalf != nullptr) fillRoles(publicHalf, on);
}

void giveDefaults(ObjectClass objectClass, Sheet* sheet) {
  sheet->setNumber(attribute::Class, uint64_t(objectClass));
  const bool secretHalf = objectClass == ObjectClass::privateKey || objectClass == ObjectClass::secretKey;
  for (const AttributeRow& row : attributeRows()) {
    if (!classHas(objectClass, row) || sheet->has(row.type)) continue;
    // Absent means something else than empty, false or zero.
    if (row.form == AttributeForm::mechanisms || row.form == AttributeForm::sheet || row.rule == AttributeRule::made) continue;
    if (row.type == attribute::Value || row.type == attribute::CheckValue || row.type == attribute::PublicExponent || row.type == attribute::EcParams) continue;
    if (row.form == AttributeForm::number && row.type != attribute::CertificateCategory) continue;
    if (row.form == AttributeForm::boolean) sheet->setFlag(row.type, false);
    else if (row.form == AttributeForm::number) sheet->setNumber(row.type, 0);
    else sheet->set(row.type, {});
    if (row.type == attribute::Modifiable || row.type == attribute::Copyable || row.type == attribute::Destroyable) sheet->setFlag(row.type, true);
    if (secretHalf && (row.type == attribute::Private || row.type == attribute::Sensitive)) sheet->setFlag(row.type, true);
  }
  if (objectClass == ObjectClass::data && !sheet->has(attribute::Value)) sheet->set(attribute::Value, {});
}

}  // namespace quorate
