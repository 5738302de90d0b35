#include "pkcs11/attributes.h"

namespace quorate::pkcs11 {

namespace {

struct Asked {
  const ObjectRef& object;
  CK_ATTRIBUTE_TYPE type;
  std::string* room;
  std::string_view* value;
};

Presence give(const Asked& asked, std::string_view value) {
  *asked.value = value;
  return Presence::value;
}
Presence giveOwn(const Asked& asked, std::string value) {
  *asked.room = std::move(value);
  return give(asked, *asked.room);
}
Presence giveNumber(const Asked& asked, CK_ULONG value) { return giveOwn(asked, {reinterpret_cast<const char*>(&value), sizeof(value)}); }

// What the numbers of a key pair are. The public ones are told of both halves: OpenSSH, NSS and Java look for a modulus at the private key.
Presence ofPair(const Asked& asked, bool isPrivate) {
  const Entry& key = *asked.object.entry;
  const bool rsa = isRsa(key.type);
  const auto publicValue = [&](bool applies, std::string_view value) { return applies && !key.spki.empty() ? give(asked, value) : Presence::absent; };
  switch (asked.type) {
    case CKA_PUBLIC_KEY_INFO: return publicValue(true, key.spki);
    case CKA_EC_PARAMS: return rsa ? Presence::absent : give(asked, curveOf(key.type));
    case CKA_EC_POINT: return rsa || key.spki.empty() ? Presence::absent : giveOwn(asked, der::octetString(key.parts.point));
    case CKA_MODULUS: return publicValue(rsa, key.parts.modulus);
    case CKA_PUBLIC_EXPONENT: return publicValue(rsa, key.parts.exponent);
    case CKA_MODULUS_BITS: return rsa && !isPrivate ? giveNumber(asked, keyBits(key.type)) : Presence::absent;
    default: return Presence::absent;
  }
}

// Whether it is a part of the key's value.
bool isSecretPart(const Entry& key, CK_OBJECT_CLASS kind, CK_ATTRIBUTE_TYPE type) {
  if (kind == CKO_SECRET_KEY) return type == CKA_VALUE;
  if (kind != CKO_PRIVATE_KEY) return false;
  if (!isRsa(key.type)) return type == CKA_VALUE;
  return type >= CKA_PRIVATE_EXPONENT && type <= CKA_COEFFICIENT;
}

Presence ofCertificate(const Asked& asked) {
  const CertificateParts& parts = asked.object.entry->certificate;
  switch (asked.type) {
    case CKA_SUBJECT: return give(asked, parts.subject);
    case CKA_ISSUER: return give(asked, parts.issuer);
    case CKA_SERIAL_NUMBER: return give(asked, parts.serialNumber);
    default: return Presence::absent;
  }
}

// What an object of its class has although nobody said so: flags are off, texts and dates empty.
Presence byDefault(const Asked& asked, CK_OBJECT_CLASS kind) {
  const AttributeRow* const row = attributeRow(asked.type);
  if (row == nullptr || (row->classes & classBit(kind)) == 0) return Presence::absent;
  switch (row->kind) {
    case AttributeKind::boolean: return giveOwn(asked, std::string(1, '\0'));
    case AttributeKind::text:
    case AttributeKind::date: return give(asked, "");
    case AttributeKind::bytes: return asked.type == CKA_SUBJECT || asked.type == CKA_ID || kind == CKO_DATA ? give(asked, "") : Presence::absent;
    case AttributeKind::number: return asked.type == CKA_KEY_GEN_MECHANISM ? giveNumber(asked, CK_UNAVAILABLE_INFORMATION) : Presence::absent;
    default: return Presence::absent;
  }
}

std::string uniqueId(const ObjectRef& object, CK_OBJECT_CLASS kind) {
  const char* const half = kind == CKO_PRIVATE_KEY ? ":priv" : kind == CKO_PUBLIC_KEY ? ":pub" : "";
  return object.entry->ref + half;
}

}  // namespace

Presence attributeValue(const ObjectRef& object, CK_ATTRIBUTE_TYPE type, std::string* room, std::string_view* value) {
  const Asked asked{object, type, room, value};
  const CK_OBJECT_CLASS kind = object.objectClass();
  if (isSecretPart(*object.entry, kind, type)) {
    // What lacks a word of it is sensitive; the daemon is asked only where both say that it would answer.
    const bool isTold = object.sheet().find(CKA_SENSITIVE).has_value() && !object.sheet().flag(CKA_SENSITIVE) && object.sheet().flag(CKA_EXTRACTABLE);
    return isTold ? Presence::secret : Presence::sensitive;
  }
  if (type == CKA_UNIQUE_ID) return giveOwn(asked, uniqueId(object, kind));
  if (const auto kept = object.sheet().find(type); kept && !(kept->empty() && kind == CKO_CERTIFICATE)) return give(asked, *kept);
  if (kind == CKO_CERTIFICATE) {
    if (const Presence presence = ofCertificate(asked); presence != Presence::absent) return presence;
  }
  if (kind == CKO_PUBLIC_KEY || kind == CKO_PRIVATE_KEY) {
    if (const Presence presence = ofPair(asked, kind == CKO_PRIVATE_KEY); presence != Presence::absent) return presence;
  }
  if (kind == CKO_SECRET_KEY && type == CKA_VALUE_LEN && keyBits(object.entry->type) != 0) return giveNumber(asked, keyBits(object.entry->type) / 8);
  return byDefault(asked, kind);
}

bool hasAttribute(const ObjectRef& object, const CK_ATTRIBUTE& wanted) {
  std::string room;
  std::string_view value;
  const AttributeRow* const row = attributeRow(wanted.type);
  // Templates are pointers on the application's side: none is followed for a comparison.
  if (row != nullptr && row->kind == AttributeKind::tmplate) return false;
  return attributeValue(object, wanted.type, &room, &value) == Presence::value && value.size() == wanted.ulValueLen && value == valueOf(wanted);
}

}  // namespace quorate::pkcs11
