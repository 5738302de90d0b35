#include "pkcs11/attributes.h"

#include "pkcs11/mechanisms.h"

namespace quorate::pkcs11 {

namespace {

bool isRsa(KeyType type) { return type == KeyType::RSA_2048 || type == KeyType::RSA_3072 || type == KeyType::RSA_4096; }

Presence number(CK_ULONG value, std::string* out) {
  out->assign(reinterpret_cast<const char*>(&value), sizeof(value));
  return Presence::value;
}
Presence flag(bool value, std::string* out) {
  out->assign(1, static_cast<char>(value ? CK_TRUE : CK_FALSE));
  return Presence::value;
}
Presence text(std::string_view value, std::string* out) {
  out->assign(value);
  return Presence::value;
}

// OBJECT IDENTIFIERs: prime256v1, secp384r1, secp521r1 (RFC 5480), id-Ed25519 (RFC 8410).
std::string_view curveOf(KeyType type) {
  using namespace std::string_view_literals;
  switch (type) {
    case KeyType::EC_P256: return "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv;
    case KeyType::EC_P384: return "\x06\x05\x2b\x81\x04\x00\x22"sv;
    case KeyType::EC_P521: return "\x06\x05\x2b\x81\x04\x00\x23"sv;
    case KeyType::ED25519: return "\x06\x03\x2b\x65\x70"sv;
    default: return {};
  }
}

Presence allowedMechanisms(const KeyEntry& key, std::string* out) {
  out->clear();
  for (const MechanismRow& row : mechanisms()) {
    if (row.scheme == key.scheme) out->append(reinterpret_cast<const char*>(&row.type), sizeof(row.type));
  }
  return Presence::value;
}

CK_ULONG madeBy(const KeyEntry& key) {
  if (key.imported) return CK_UNAVAILABLE_INFORMATION;
  if (isRsa(key.type)) return CKM_RSA_PKCS_KEY_PAIR_GEN;
  return key.type == KeyType::ED25519 ? CKM_EC_EDWARDS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN;
}

// What the numbers of the key are. The public ones are told of both halves: OpenSSH, NSS and Java look for a modulus at the private key.
Presence ofMaterial(const ObjectRef& object, CK_ATTRIBUTE_TYPE type, std::string* out) {
  const KeyEntry& key = *object.key;
  const bool isPrivate = object.half == Half::privateKey, rsa = isRsa(key.type);
  switch (type) {
    case CKA_PUBLIC_KEY_INFO: return text(key.spki, out);
    case CKA_EC_PARAMS: return rsa ? Presence::absent : text(curveOf(key.type), out);
    case CKA_EC_POINT: return rsa ? Presence::absent : text(octetString(key.parts.point), out);
    case CKA_MODULUS: return rsa ? text(key.parts.modulus, out) : Presence::absent;
    case CKA_PUBLIC_EXPONENT: return rsa ? text(key.parts.exponent, out) : Presence::absent;
    case CKA_MODULUS_BITS: return rsa && !isPrivate ? number(keyBits(key.type), out) : Presence::absent;
    case CKA_VALUE: return isPrivate && !rsa ? Presence::sensitive : Presence::absent;
    case CKA_PRIVATE_EXPONENT:
    case CKA_PRIME_1:
    case CKA_PRIME_2:
    case CKA_EXPONENT_1:
    case CKA_EXPONENT_2:
    case CKA_COEFFICIENT: return isPrivate && rsa ? Presence::sensitive : Presence::absent;
    default: return Presence::absent;
  }
}

Presence ofPrivate(const KeyEntry& key, CK_ATTRIBUTE_TYPE type, std::string* out) {
  switch (type) {
    case CKA_SIGN: return flag(key.state == KeyState::ACTIVE, out);
    case CKA_SENSITIVE: return flag(true, out);
    case CKA_ALWAYS_SENSITIVE:
      return flag(!key.imported, out);  // what was imported was once somewhere else
    case CKA_EXTRACTABLE: return flag(key.exportable, out);
    case CKA_NEVER_EXTRACTABLE: return flag(!key.exportable && !key.imported, out);
    case CKA_DECRYPT:
    case CKA_SIGN_RECOVER:
    case CKA_UNWRAP:
    case CKA_ALWAYS_AUTHENTICATE:
    case CKA_WRAP_WITH_TRUSTED: return flag(false, out);
    default: return Presence::absent;
  }
}

Presence ofPublic(const KeyEntry& key, CK_ATTRIBUTE_TYPE type, std::string* out) {
  switch (type) {
    case CKA_VERIFY: return flag(key.state != KeyState::PRE_ACTIVE, out);
    case CKA_ENCRYPT:
    case CKA_VERIFY_RECOVER:
    case CKA_WRAP:
    case CKA_TRUSTED: return flag(false, out);
    default: return Presence::absent;
  }
}

}  // namespace

bool needsPublic(CK_ATTRIBUTE_TYPE type) { return type == CKA_PUBLIC_KEY_INFO || type == CKA_EC_POINT || type == CKA_MODULUS || type == CKA_PUBLIC_EXPONENT; }

Presence attributeValue(const ObjectRef& object, CK_ATTRIBUTE_TYPE type, std::string* out) {
  const KeyEntry& key = *object.key;
  const bool isPrivate = object.half == Half::privateKey;
  switch (type) {
    case CKA_CLASS: return number(isPrivate ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY, out);
    case CKA_KEY_TYPE: return number(isRsa(key.type) ? CKK_RSA : key.type == KeyType::ED25519 ? CKK_EC_EDWARDS : CKK_EC, out);
    case CKA_ID: return text(key.id, out);
    case CKA_LABEL: return text(key.name, out);
    case CKA_UNIQUE_ID: return text(key.hexId() + (isPrivate ? ":priv" : ":pub"), out);
    case CKA_TOKEN: return flag(true, out);
    case CKA_PRIVATE: return flag(isPrivate, out);
    case CKA_LOCAL: return flag(!key.imported, out);
    case CKA_KEY_GEN_MECHANISM: return number(madeBy(key), out);
    case CKA_ALLOWED_MECHANISMS: return allowedMechanisms(key, out);
    // Empty, as for a key without them: the daemon keeps its own times.
    case CKA_SUBJECT:
    case CKA_START_DATE:
    case CKA_END_DATE: return text("", out);
    case CKA_DERIVE:
    case CKA_MODIFIABLE:
    case CKA_COPYABLE:
    case CKA_DESTROYABLE: return flag(false, out);
    default: break;
  }
  const Presence presence = isPrivate ? ofPrivate(key, type, out) : ofPublic(key, type, out);
  return presence == Presence::absent ? ofMaterial(object, type, out) : presence;
}

}  // namespace quorate::pkcs11
