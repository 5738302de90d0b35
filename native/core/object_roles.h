// Between the files of object_rules.h: what all plans share.
#pragma once
#include "core/attribute_rows.h"

namespace quorate {

// Says what was wrong and returns `code`.
Code ruleFault(RuleFault* fault, Code code, uint32_t attribute, const char* fact);

// Every attribute of `wanted` is one that the class has and a template may give when the object is made. ATTRIBUTE_TYPE_INVALID, ATTRIBUTE_READ_ONLY.
Code checkTemplate(ObjectClass objectClass, const Sheet& wanted, RuleFault* fault);

// Usage flags (bits by kUsages) of an object and, with `halves`, of both halves of a pair.
enum Role : uint32_t {
  kRoleEncrypt = 1, kRoleDecrypt = 2, kRoleWrap = 4, kRoleUnwrap = 8, kRoleSign = 16, kRoleSignRecover = 32, kRoleVerify = 64, kRoleVerifyRecover = 128, kRoleDerive = 256,
};
struct RoleRow {
  uint32_t role, attribute;
};
std::span<const RoleRow> roleRows();
uint32_t rolesOf(const Sheet& sheet);
// R1: roles of which one would undo the other. Public keys: verifying undoes nothing.
bool rolesConflict(uint32_t mainRoles, uint32_t publicRoles, bool isSecret);
// Every usage flag that the template leaves open gets its default. publicHalf may be nullptr.
void giveRoles(KeyFamily family, Sheet* main, Sheet* publicHalf);

// The defaults of everything else that an object of its class has.
void giveDefaults(ObjectClass objectClass, Sheet* sheet);

}  // namespace quorate
