// Attributes of objects, and the rules of what may be made and used with which attributes: so that no sequence of calls gives the value of a sensitive
// key (docs/PKCS11.md tells the attacks: Clulow 2003; Bortolozzo, Centenaro, Focardi, Steel 2010). No I/O, no keys: attributes alone. The plane asks it for session
// objects, TypeScript (through the addon) for stored ones; nobody decides anywhere else.
//
// A sheet: for each attribute, ascending by type and without repetition, u32 type, u32 length, value, little endian. CK_ULONG 8 bytes, CK_BBOOL 1 byte (0, 1),
// dates 8 digits or empty, CKA_ALLOWED_MECHANISMS 8 bytes each, a template a sheet (whose templates are refused: depth 1). At most object_sheet_bytes_max.
#pragma once
#include "core/mechanism.h"

namespace quorate {

// CKA_ numbers of PKCS #11 3.0 that objects here have: see attributes.def.
namespace attribute {
enum : uint32_t {
#define A(name, number, kind, classes, rule) name = number,
#include "core/attributes.def"
};
}  // namespace attribute

enum class ObjectClass : uint64_t { data = 0, certificate = 1, publicKey = 2, privateKey = 3, secretKey = 4 };

class Sheet {
 public:
  // ATTRIBUTE_VALUE_INVALID (form, order, repetition, a value of the wrong form), ATTRIBUTE_TYPE_INVALID (unknown), OBJECT_TOO_LARGE. *attribute: the one at fault.
  static Code parse(Bytes encoded, Sheet* out, uint32_t* attribute);
  Buffer encode() const;
  bool has(uint32_t type) const;
  bool flag(uint32_t type) const;              // false when absent
  uint64_t number(uint32_t type, uint64_t otherwise) const;
  Bytes value(uint32_t type) const;            // empty when absent
  void set(uint32_t type, Bytes value);
  void setFlag(uint32_t type, bool value);
  void setNumber(uint32_t type, uint64_t value);
  void erase(uint32_t type);
  const std::vector<std::pair<uint32_t, Buffer>>& rows() const { return rows_; }

 private:
  const Buffer* find(uint32_t type) const;

  std::vector<std::pair<uint32_t, Buffer>> rows_;  // ascending
};

struct RuleFault {
  uint32_t attribute = 0;  // 0: none in particular
  std::string fact;
};

// What was made from a template: attributes complete, with defaults. For a pair `main` is the private key's.
struct PlannedObject {
  ObjectClass objectClass{};
  KeyFamily family{};           // none: certificate, data
  KeyType type{};               // KEY_TYPE_UNSPECIFIED: certificate, data; or the material tells: completePlan
  size_t bytes = 0;             // symmetric: length of the material to make (generate, derive); 0: as it comes
  Sheet main, publicHalf;
  bool hasPublic = false;
};

// C_GenerateKey, C_GenerateKeyPair. Roles that conflict are refused (TEMPLATE_INCONSISTENT).
Code planGenerate(const MechanismRow& mechanism, const Sheet& wanted, const Sheet& wantedPublic, PlannedObject* out, RuleFault* fault);
// C_CreateObject: known values. KEY_SIZE_INVALID, CURVE_NOT_SUPPORTED, TEMPLATE_INCOMPLETE ... `valueBytes`: of the material that came with it (its RAW, PKCS8 or SPKI form; 0: none). The template
// names CKA_CLASS, CKA_KEY_TYPE and, for curves, CKA_EC_PARAMS; RSA's size is the caller's to find: rsaType.
Code planCreate(const Sheet& wanted, KeyType rsaType, size_t valueBytes, PlannedObject* out, RuleFault* fault);
// C_UnwrapKey, from whom? `unwrapping`: the unwrapping key's sheet (its CKA_UNWRAP_TEMPLATE is applied). The result is sensitive.
Code planUnwrap(const Sheet& unwrapping, const Sheet& wanted, PlannedObject* out, RuleFault* fault);
// C_DeriveKey. `base`: the base key's sheet (CKA_DERIVE_TEMPLATE).
Code planDerive(const Sheet& base, const Sheet& wanted, PlannedObject* out, RuleFault* fault);
// After unwrap and derive, when the material is there: its type and length enter the sheet. found: of a private key, what it is (keyTypeOf); ignored for symmetric
// ones. bytes: of the material. WRAPPED_KEY_INVALID: it is not what the plan says. KEY_SIZE_INVALID.
Code completePlan(PlannedObject* plan, KeyType found, size_t bytes, RuleFault* fault);
// C_CopyObject, C_SetAttributeValue: only ever stricter. Label, id, dates, subject and the like may change freely where CKA_MODIFIABLE (set) and CKA_COPYABLE (copy) allow.
// mayTrust: the caller may set CKA_TRUSTED and CKA_WRAP_WITH_TRUSTED ... CKA_TRUSTED false to true needs it; otherwise ATTRIBUTE_READ_ONLY.
Code planCopy(const Sheet& from, bool isPublic, const Sheet& wanted, Sheet* out, RuleFault* fault);
Code planSet(const Sheet& from, bool isPublic, const Sheet& wanted, bool mayTrust, Sheet* out, RuleFault* fault);

// May a key with this sheet do that by this mechanism? USE_NOT_PERMITTED (its flag for `use` is off), MECHANISM_INVALID (CKA_ALLOWED_MECHANISMS).
Code mayUse(const Sheet& key, Use use, uint32_t mechanism);
// May `wrapping` (and its pair: whether CKA_DECRYPT or the like is on the other half) take `target` out? KEY_NOT_EXPORTABLE, KEY_NOT_WRAPPABLE, USE_NOT_PERMITTED.
Code mayWrap(const Sheet& wrapping, const Sheet* wrappingPrivate, const Sheet& target);
// May the value be told? ATTRIBUTE_SENSITIVE.
Code mayRead(const Sheet& key);

// The attributes that a key made without them (scheme not PKCS11) shows: what its scheme does, sensitive, never to be changed. label: its name; id: 16 bytes.
void sheetOfKey(KeyType type, KeyScheme scheme, bool exportable, bool imported, bool publicOnly, const std::string& name, Bytes id, Sheet* main, Sheet* publicHalf, bool* hasMain, bool* hasPublic);

}  // namespace quorate
