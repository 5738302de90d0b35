// Objects that are made: generated, created from a known value, unwrapped, derived (object_rules.h).
#include <algorithm>

#include "core/key_row.h"
#include "core/object_roles.h"

namespace quorate {
namespace {

constexpr uint64_t kNoMechanism = ~uint64_t(0);  // CK_UNAVAILABLE_INFORMATION
constexpr uint8_t kF4[] = {0x01, 0x00, 0x01};

bool isAesBytes(uint64_t bytes) { return bytes == 16 || bytes == 24 || bytes == 32; }
KeyType aesOf(size_t bytes) { return bytes == 16 ? KeyType::AES_128 : bytes == 24 ? KeyType::AES_192 : KeyType::AES_256; }
bool isSecretBytes(uint64_t bytes) { return bytes >= limits::secret_key_bytes_min && bytes <= limits::hmac_key_bytes_max; }

// The type and length of symmetric material. KEY_SIZE_INVALID.
Code sizeSymmetric(PlannedObject* plan, uint64_t bytes, RuleFault* fault) {
  const bool aes = plan->family == KeyFamily::aes;
  if (aes ? !isAesBytes(bytes) : !isSecretBytes(bytes)) {
    return ruleFault(fault, Code::KEY_SIZE_INVALID, attribute::ValueLen, aes ? "an AES key has 16, 24 or 32 bytes" : "a secret key has 16 to 256 bytes");
  }
  plan->bytes = bytes;
  plan->type = aes ? aesOf(bytes) : KeyType::HMAC;
  plan->main.setNumber(attribute::ValueLen, bytes);
  return Code::OK;
}

// The curve that CKA_EC_PARAMS names must be one of the family's.
Code curveFrom(const Sheet& wanted, PlannedObject* plan, RuleFault* fault) {
  if (!wanted.has(attribute::EcParams)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::EcParams, "the curve is not named");
  plan->type = curveOf(wanted.value(attribute::EcParams));
  if (familyOf(plan->type) == plan->family) return Code::OK;
  plan->type = KeyType::KEY_TYPE_UNSPECIFIED;
  return ruleFault(fault, Code::CURVE_NOT_SUPPORTED, attribute::EcParams, "P-256, P-384, P-521, Ed25519 or X25519, as the mechanism asks");
}

Code checkKeyType(const Sheet& wanted, KeyFamily family, RuleFault* fault) {
  if (familyOfCryptoki(wanted.number(attribute::KeyType, cryptokiOf(family))) == family) return Code::OK;
  return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::KeyType, "another type of key is made here");
}

// How the key came to be, which decides for its whole life what it may wrap (R2, R4).
struct Origin {
  bool local, alwaysSensitive, neverExtractable;  // the last two: whether they can be true at all
  uint64_t mechanism;
};
constexpr Origin kKnownElsewhere = {false, false, false, kNoMechanism};

void markOrigin(Sheet* sheet, const Origin& origin) {
  sheet->setFlag(attribute::Local, origin.local);
  sheet->setNumber(attribute::KeyGenMechanism, origin.mechanism);
  if (!sheet->has(attribute::Sensitive)) return;  // a public half
  sheet->setFlag(attribute::AlwaysSensitive, origin.alwaysSensitive && sheet->flag(attribute::Sensitive));
  sheet->setFlag(attribute::NeverExtractable, origin.neverExtractable && !sheet->flag(attribute::Extractable));
}

// What every key gets once its template has been read: roles, defaults, marks. R1.
Code finishKey(PlannedObject* plan, const Origin& origin, RuleFault* fault) {
  Sheet* const other = plan->hasPublic ? &plan->publicHalf : nullptr;
  plan->main.setNumber(attribute::Class, uint64_t(plan->objectClass));
  plan->main.setNumber(attribute::KeyType, cryptokiOf(plan->family));
  if (other != nullptr) {
    other->setNumber(attribute::Class, uint64_t(ObjectClass::publicKey));
    other->setNumber(attribute::KeyType, cryptokiOf(plan->family));
  }
  giveRoles(plan->family, &plan->main, other);
  if (rolesConflict(rolesOf(plan->main), other == nullptr ? 0 : rolesOf(*other), plan->objectClass == ObjectClass::secretKey)) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, plan->main.flag(attribute::Unwrap) ? attribute::Unwrap : attribute::Wrap,
                     "a key that wraps or unwraps does nothing else, nor does its other half");
  }
  giveDefaults(plan->objectClass, &plan->main);
  markOrigin(&plan->main, origin);
  if (other != nullptr) {
    giveDefaults(ObjectClass::publicKey, other);
    markOrigin(other, origin);
  }
  const size_t bytes = std::max(plan->main.encode().size(), plan->publicHalf.encode().size());
  return bytes <= limits::object_sheet_bytes_max ? Code::OK : ruleFault(fault, Code::OBJECT_TOO_LARGE, 0, "the attributes are longer than the limit");
}

Code sizeOfRsa(const Sheet& wantedPublic, PlannedObject* plan, RuleFault* fault) {
  if (!wantedPublic.has(attribute::ModulusBits)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::ModulusBits, "the modulus' size is not named");
  switch (wantedPublic.number(attribute::ModulusBits, 0)) {
    case 2048: plan->type = KeyType::RSA_2048; break;
    case 3072: plan->type = KeyType::RSA_3072; break;
    case 4096: plan->type = KeyType::RSA_4096; break;
    default: return ruleFault(fault, Code::KEY_SIZE_INVALID, attribute::ModulusBits, "an RSA key has 2048, 3072 or 4096 bits");
  }
  Bytes exponent = wantedPublic.value(attribute::PublicExponent);
  while (!exponent.empty() && exponent[0] == 0) exponent = exponent.subspan(1);
  if (wantedPublic.has(attribute::PublicExponent) && !std::ranges::equal(exponent, kF4)) {
    return ruleFault(fault, Code::ATTRIBUTE_VALUE_INVALID, attribute::PublicExponent, "keys are made with the public exponent 65537");
  }
  plan->publicHalf.set(attribute::PublicExponent, kF4);
  return Code::OK;
}

Code planPair(const MechanismRow& mechanism, const Sheet& wanted, const Sheet& wantedPublic, PlannedObject* out, RuleFault* fault) {
  out->objectClass = ObjectClass::privateKey;
  out->hasPublic = true;
  out->main = wanted;
  out->publicHalf = wantedPublic;
  Code code = checkTemplate(ObjectClass::privateKey, wanted, fault);
  if (code == Code::OK) code = checkTemplate(ObjectClass::publicKey, wantedPublic, fault);
  if (code == Code::OK) code = checkKeyType(wanted, out->family, fault);
  if (code == Code::OK) code = checkKeyType(wantedPublic, out->family, fault);
  if (code != Code::OK) return code;
  if (out->family == KeyFamily::rsa) {
    if (wanted.has(attribute::EcParams)) return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::EcParams, "an RSA key has no curve");
    code = sizeOfRsa(wantedPublic, out, fault);
  } else {
    const Bytes named = wantedPublic.value(attribute::EcParams);
    code = curveFrom(wantedPublic, out, fault);
    if (code == Code::OK && wanted.has(attribute::EcParams) && !std::ranges::equal(wanted.value(attribute::EcParams), named)) {
      return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::EcParams, "the two halves name different curves");
    }
    out->main.set(attribute::EcParams, named);
  }
  return code == Code::OK ? finishKey(out, {true, true, true, mechanism.number}, fault) : code;
}

Code planData(ObjectClass objectClass, const Sheet& wanted, PlannedObject* out, RuleFault* fault) {
  if (objectClass == ObjectClass::certificate) {
    if (!wanted.has(attribute::CertificateType)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::CertificateType, "the certificate's type is not named");
    if (wanted.number(attribute::CertificateType, 0) != 0) {
      return ruleFault(fault, Code::ATTRIBUTE_VALUE_INVALID, attribute::CertificateType, "X.509 certificates are kept, no others");
    }
    if (wanted.value(attribute::Value).empty()) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::Value, "the certificate itself is missing");
  }
  out->main = wanted;
  giveDefaults(objectClass, &out->main);
  return out->main.encode().size() <= limits::object_sheet_bytes_max ? Code::OK : ruleFault(fault, Code::OBJECT_TOO_LARGE, 0, "the object is longer than the limit");
}

// A base's or unwrapping key's template: what it has is wanted, and nothing else instead.
Code merge(const Sheet& from, uint32_t templateType, Sheet* wanted, RuleFault* fault) {
  if (!from.has(templateType)) return Code::OK;
  Sheet forced;
  if (Sheet::parse(from.value(templateType), &forced, nullptr) != Code::OK) return ruleFault(fault, Code::INTERNAL, templateType, "the template of the key is not a sheet");
  for (const auto& [type, value] : forced.rows()) {
    if (wanted->has(type) && !std::ranges::equal(wanted->value(type), value)) {
      return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, type, "the key asks for another value of what it unwraps or derives");
    }
    wanted->set(type, value);
  }
  return Code::OK;
}

// Secret and private keys whose material is not here yet.
Code planLater(PlannedObject* out, KeyFamily family, RuleFault* fault) {
  out->family = family;
  if (out->objectClass == ObjectClass::secretKey) {
    if (family != KeyFamily::aes && family != KeyFamily::secret) {
      return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::KeyType, "a secret key is an AES key or a generic secret");
    }
    return out->main.has(attribute::ValueLen) ? sizeSymmetric(out, out->main.number(attribute::ValueLen, 0), fault) : Code::OK;
  }
  if (family == KeyFamily::aes || family == KeyFamily::secret || family == KeyFamily::none) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::KeyType, "a private key is one of a pair");
  }
  if (family == KeyFamily::rsa) {
    return out->main.has(attribute::EcParams) ? ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::EcParams, "an RSA key has no curve") : Code::OK;
  }
  return out->main.has(attribute::EcParams) ? curveFrom(out->main, out, fault) : Code::OK;
}

// Created asymmetric keys: the type is the curve's, or what the caller found in the material.
Code typeOfCreated(const Sheet& wanted, KeyType rsaType, PlannedObject* out, RuleFault* fault) {
  if (out->family != KeyFamily::rsa) return curveFrom(wanted, out, fault);
  if (wanted.has(attribute::EcParams)) return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::EcParams, "an RSA key has no curve");
  if (familyOf(rsaType) != KeyFamily::rsa) return ruleFault(fault, Code::KEY_SIZE_INVALID, 0, "an RSA key has 2048, 3072 or 4096 bits");
  out->type = rsaType;
  if (out->objectClass != ObjectClass::publicKey) return Code::OK;
  const uint64_t bits = 8 * keyRow(rsaType)->bytes;
  if (wanted.number(attribute::ModulusBits, bits) != bits) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::ModulusBits, "the modulus has another size");
  }
  out->main.setNumber(attribute::ModulusBits, bits);
  out->main.erase(attribute::PublicExponent);  // the material tells it
  return Code::OK;
}

}  // namespace

Code planGenerate(const MechanismRow& mechanism, const Sheet& wanted, const Sheet& wantedPublic, PlannedObject* out, RuleFault* fault) {
  *out = {};
  out->family = mechanism.key;
  if (mechanism.kind == MechanismKind::generatePair) return planPair(mechanism, wanted, wantedPublic, out, fault);
  if (mechanism.kind != MechanismKind::generate) return ruleFault(fault, Code::MECHANISM_INVALID, 0, "the mechanism makes no keys");
  out->objectClass = ObjectClass::secretKey;
  out->main = wanted;
  Code code = checkTemplate(ObjectClass::secretKey, wanted, fault);
  if (code == Code::OK) code = checkKeyType(wanted, out->family, fault);
  if (code != Code::OK) return code;
  if (!wanted.has(attribute::ValueLen)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::ValueLen, "the key's length is not named");
  code = sizeSymmetric(out, wanted.number(attribute::ValueLen, 0), fault);
  return code == Code::OK ? finishKey(out, {true, true, true, mechanism.number}, fault) : code;
}

Code planCreate(const Sheet& wanted, KeyType rsaType, size_t valueBytes, PlannedObject* out, RuleFault* fault) {
  *out = {};
  if (!wanted.has(attribute::Class)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::Class, "the object's class is not named");
  out->objectClass = ObjectClass(wanted.number(attribute::Class, 0));
  Code code = checkTemplate(out->objectClass, wanted, fault);
  if (code != Code::OK) return code;
  if (out->objectClass == ObjectClass::data || out->objectClass == ObjectClass::certificate) return planData(out->objectClass, wanted, out, fault);
  if (!wanted.has(attribute::KeyType)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::KeyType, "the key's type is not named");
  if (valueBytes == 0) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::Value, "the key's value is missing");
  out->family = familyOfCryptoki(wanted.number(attribute::KeyType, 0));
  out->main = wanted;
  const bool symmetric = out->family == KeyFamily::aes || out->family == KeyFamily::secret;
  if (symmetric != (out->objectClass == ObjectClass::secretKey)) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::KeyType, "the type of key is not of that class");
  }
  if (!symmetric) {
    code = typeOfCreated(wanted, rsaType, out, fault);
  } else if (wanted.number(attribute::ValueLen, valueBytes) != valueBytes) {
    code = ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::ValueLen, "the value has another length");
  } else {
    code = sizeSymmetric(out, valueBytes, fault);
  }
  return code == Code::OK ? finishKey(out, kKnownElsewhere, fault) : code;
}

Code planUnwrap(const Sheet& unwrapping, const Sheet& wanted, PlannedObject* out, RuleFault* fault) {
  *out = {};
  out->main = wanted;
  Code code = merge(unwrapping, attribute::UnwrapTemplate, &out->main, fault);
  if (code != Code::OK) return code;
  for (const uint32_t type : {attribute::Class, attribute::KeyType}) {
    if (!out->main.has(type)) return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, type, "what is unwrapped is not named");
  }
  out->objectClass = ObjectClass(out->main.number(attribute::Class, 0));
  if (out->objectClass != ObjectClass::secretKey && out->objectClass != ObjectClass::privateKey) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::Class, "secret and private keys are unwrapped, nothing else");
  }
  code = checkTemplate(out->objectClass, out->main, fault);
  if (code == Code::OK) code = planLater(out, familyOfCryptoki(out->main.number(attribute::KeyType, 0)), fault);
  if (code != Code::OK) return code;
  // R3: whoever wrapped the key kept it from being read, or may have; so it stays unread whoever unwraps it.
  if (out->main.has(attribute::Sensitive) && !out->main.flag(attribute::Sensitive)) {
    return ruleFault(fault, Code::TEMPLATE_INCONSISTENT, attribute::Sensitive, "what was unwrapped is sensitive");
  }
  return finishKey(out, kKnownElsewhere, fault);
}

Code planDerive(const Sheet& base, const Sheet& wanted, PlannedObject* out, RuleFault* fault) {
  *out = {};
  out->objectClass = ObjectClass::secretKey;
  out->main = wanted;
  Code code = merge(base, attribute::DeriveTemplate, &out->main, fault);
  if (code == Code::OK) code = checkTemplate(ObjectClass::secretKey, out->main, fault);
  if (code == Code::OK) code = planLater(out, familyOfCryptoki(out->main.number(attribute::KeyType, kCkkGenericSecret)), fault);
  if (code != Code::OK) return code;
  if (out->family == KeyFamily::aes && out->bytes == 0) {
    return ruleFault(fault, Code::TEMPLATE_INCOMPLETE, attribute::ValueLen, "the AES key's length is not named");
  }
  return finishKey(out, {false, base.flag(attribute::AlwaysSensitive), base.flag(attribute::NeverExtractable), kNoMechanism}, fault);
}

Code completePlan(PlannedObject* plan, KeyType found, size_t bytes, RuleFault* fault) {
  if (plan->objectClass == ObjectClass::secretKey) {
    if (plan->bytes != 0 && plan->bytes != bytes) return ruleFault(fault, Code::WRAPPED_KEY_INVALID, attribute::ValueLen, "the key has another length");
    return sizeSymmetric(plan, bytes, fault);
  }
  if (familyOf(found) != plan->family || (plan->type != KeyType::KEY_TYPE_UNSPECIFIED && plan->type != found)) {
    return ruleFault(fault, Code::WRAPPED_KEY_INVALID, attribute::KeyType, "the key is of another type");
  }
  plan->type = found;
  if (plan->family != KeyFamily::rsa && !plan->main.has(attribute::EcParams)) plan->main.set(attribute::EcParams, ecParamsOf(found));
  return Code::OK;
}

}  // namespace quorate
