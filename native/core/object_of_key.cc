// The attributes that keys show which were made without any: raw schemes (docs/PKCS11.md). Read-only: their schemes govern them.
#include <initializer_list>

#include "core/key_row.h"
#include "core/object_roles.h"

namespace quorate {
namespace {

// By what a scheme's own methods do. No mechanism is named that would do more: AES_ECB with a key of AES_GCM would give its hash key, and a short MAC (_GENERAL)
// would be guessed.
struct SchemeRow {
  KeyScheme scheme;
  uint32_t mainRoles, publicRoles;
  std::initializer_list<uint32_t> mechanisms;
};

enum Mechanisms : uint32_t {
#define M(name, number, kind, hash, key, least, most, uses) kCkm_##name = number,
#include "core/mechanisms.def"
};

const SchemeRow kSchemes[] = {
    {KeyScheme::AES_GCM, kRoleEncrypt | kRoleDecrypt, 0, {kCkm_AES_GCM}},
    {KeyScheme::AES_CBC, kRoleEncrypt | kRoleDecrypt, 0, {kCkm_AES_CBC, kCkm_AES_CBC_PAD}},
    {KeyScheme::AES_CTR, kRoleEncrypt | kRoleDecrypt, 0, {kCkm_AES_CTR}},
    {KeyScheme::AES_KW, kRoleWrap | kRoleUnwrap, 0, {kCkm_AES_KEY_WRAP, kCkm_AES_KEY_WRAP_PAD, kCkm_AES_KEY_WRAP_KWP}},
    {KeyScheme::AES_CMAC, kRoleSign | kRoleVerify, 0, {kCkm_AES_CMAC}},
    {KeyScheme::HMAC_SHA256, kRoleSign | kRoleVerify, 0, {kCkm_SHA256_HMAC}},
    {KeyScheme::HMAC_SHA384, kRoleSign | kRoleVerify, 0, {kCkm_SHA384_HMAC}},
    {KeyScheme::HMAC_SHA512, kRoleSign | kRoleVerify, 0, {kCkm_SHA512_HMAC}},
    {KeyScheme::ECDSA, kRoleSign, kRoleVerify, {kCkm_ECDSA, kCkm_ECDSA_SHA224, kCkm_ECDSA_SHA256, kCkm_ECDSA_SHA384, kCkm_ECDSA_SHA512}},
    {KeyScheme::EDDSA, kRoleSign, kRoleVerify, {kCkm_EDDSA}},
    {KeyScheme::ECDH, kRoleDerive, 0, {kCkm_ECDH1_DERIVE, kCkm_ECDH1_COFACTOR_DERIVE}},
    {KeyScheme::RSA_PSS, kRoleSign, kRoleVerify,
     {kCkm_RSA_PKCS_PSS, kCkm_SHA224_RSA_PKCS_PSS, kCkm_SHA256_RSA_PKCS_PSS, kCkm_SHA384_RSA_PKCS_PSS, kCkm_SHA512_RSA_PKCS_PSS}},
    {KeyScheme::RSA_PKCS1, kRoleSign, kRoleVerify, {kCkm_RSA_PKCS, kCkm_SHA224_RSA_PKCS, kCkm_SHA256_RSA_PKCS, kCkm_SHA384_RSA_PKCS, kCkm_SHA512_RSA_PKCS}},
    // Such keys wrap and decrypt in their own methods; here they only decrypt, so that no sensitive object is wrapped by one.
    {KeyScheme::RSA_OAEP, kRoleDecrypt, kRoleEncrypt, {kCkm_RSA_PKCS_OAEP}},
};

const SchemeRow* schemeRow(KeyScheme scheme) {
  for (const SchemeRow& row : kSchemes) {
    if (row.scheme == scheme) return &row;
  }
  return nullptr;
}

struct Facts {
  KeyType type;
  bool exportable, imported;
  const std::string& name;
  Bytes id;
};

void describe(ObjectClass objectClass, const SchemeRow& scheme, const Facts& facts, Sheet* sheet) {
  const KeyFamily family = familyOf(facts.type);
  sheet->setNumber(attribute::KeyType, cryptokiOf(family));
  for (const RoleRow& row : roleRows()) {
    if (!classHas(objectClass, *attributeRow(row.attribute))) continue;
    sheet->setFlag(row.attribute, ((objectClass == ObjectClass::publicKey ? scheme.publicRoles : scheme.mainRoles) & row.role) != 0);
  }
  Buffer mechanisms;
  for (const uint32_t number : scheme.mechanisms) {
    for (int i = 0; i < 8; i++) mechanisms.push_back(i < 4 ? uint8_t(number >> (8 * i)) : 0);
  }
  sheet->set(attribute::AllowedMechanisms, mechanisms);
  sheet->set(attribute::Label, bytesOf(facts.name));
  sheet->set(attribute::Id, facts.id);
  for (const uint32_t type : {attribute::Modifiable, attribute::Copyable}) sheet->setFlag(type, false);
  sheet->setFlag(attribute::Token, true);
  // A key that wraps for the native methods may be told there to make an exportable key of what WrapObject wrapped: R4 asks for CKA_LOCAL, so that no sensitive
  // object gets out by that way.
  sheet->setFlag(attribute::Local, !facts.imported && scheme.scheme != KeyScheme::AES_KW);
  sheet->setNumber(attribute::KeyGenMechanism, ~uint64_t(0));
  if (symmetricBytes(facts.type) != 0) sheet->setNumber(attribute::ValueLen, symmetricBytes(facts.type));
  if (objectClass == ObjectClass::publicKey && family == KeyFamily::rsa) sheet->setNumber(attribute::ModulusBits, 8 * keyRow(facts.type)->bytes);
  if (!ecParamsOf(facts.type).empty()) sheet->set(attribute::EcParams, ecParamsOf(facts.type));
  if (objectClass != ObjectClass::publicKey) {
    sheet->setFlag(attribute::Extractable, facts.exportable);
    sheet->setFlag(attribute::AlwaysSensitive, !facts.imported);
    sheet->setFlag(attribute::NeverExtractable, !facts.imported && !facts.exportable);
  }
  giveDefaults(objectClass, sheet);
}

}  // namespace

void sheetOfKey(KeyType type, KeyScheme scheme, bool exportable, bool imported, bool publicOnly, const std::string& name, Bytes id, Sheet* main, Sheet* publicHalf,
                bool* hasMain, bool* hasPublic) {
  *main = *publicHalf = {};
  *hasMain = *hasPublic = false;
  const SchemeRow* row = schemeRow(scheme);
  if (row == nullptr || keyRow(type) == nullptr) return;  // MANAGED has formats of its own, PKCS11 its own sheets
  const Facts facts = {type, exportable, imported, name, id};
  const bool pair = isAsymmetric(type);
  *hasPublic = pair;
  *hasMain = !pair || !publicOnly;
  if (*hasMain) describe(pair ? ObjectClass::privateKey : ObjectClass::secretKey, *row, facts, main);
  if (*hasPublic) describe(ObjectClass::publicKey, *row, facts, publicHalf);
}

}  // namespace quorate
