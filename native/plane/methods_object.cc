// Objects with attributes: what a template asks for, the material that it gets, and what may leave again. The rules are core/object_rules.h's.
#include "plane/methods.h"
#include "plane/object_fault.h"

namespace quorate {

namespace {

MaterialFormat formatOf(ObjectClass objectClass) {
  switch (objectClass) {
    case ObjectClass::publicKey: return MaterialFormat::SPKI_PUBLIC;
    case ObjectClass::privateKey: return MaterialFormat::PKCS8;
    default: return MaterialFormat::RAW;
  }
}

ObjectOrigin originOf(Method method) {
  switch (method) {
    case Method::GenerateObject: return ObjectOrigin::GENERATED;
    case Method::UnwrapObject: return ObjectOrigin::UNWRAPPED;
    case Method::DeriveObject: return ObjectOrigin::DERIVED;
    default: return ObjectOrigin::CREATED;
  }
}

bool isKeyClass(ObjectClass objectClass) { return objectClass != ObjectClass::data && objectClass != ObjectClass::certificate; }

// Material that the plan describes, with every check of importKey().
Code takeMaterial(Work& work, const PlannedObject* plan, Bytes material, NewKey* out) {
  const MaterialFormat format = formatOf(plan->objectClass);
  std::string detail;
  const Code code = importKey(plan->type, format, material, &out->stored, &out->spki, &detail);
  if (code == Code::KEY_INVALID) work.fault = {detail, "data"};
  return code;
}

// Material that came out of an unwrapping or a derivation: its type and length enter the plan first.
Code takeFound(Work& work, PlannedObject* plan, Bytes material, NewKey* out) {
  const MaterialFormat format = formatOf(plan->objectClass);
  const KeyType found = format == MaterialFormat::RAW ? plan->type : keyTypeOf(format, material);
  RuleFault fault;
  if (const Code code = completePlan(plan, found, material.size(), &fault); code != Code::OK) return refuseByRule(work, code, "attributes", fault);
  return takeMaterial(work, plan, material, out);
}

// Whatever is wrong with what came wrapped, the answer is one: who could tell a bad padding from a bad key would have an oracle.
Code unwrapObject(Work& work, PlannedObject* plan, NewKey* out) {
  const Mechanism m = mechanismOf(work.request, {});
  Secret plain;
  Code code = mechanismUnwrap(m, mechanismKeyOf(work.key, m), work.request.data, &plain);
  if (code == Code::OK) code = takeFound(work, plan, plain, out);
  if (code == Code::OK || code == Code::ARENA_FULL) return code;
  work.fault = {};
  return Code::WRAPPED_KEY_INVALID;
}

Code deriveObject(Work& work, PlannedObject* plan, NewKey* out) {
  const Mechanism m = mechanismOf(work.request, {});
  Secret derived;
  if (const Code code = mechanismDerive(m, mechanismKeyOf(work.key, m), plan->bytes, &derived); code != Code::OK) {
    if (code == Code::KEY_INVALID) work.fault = {"peer_public is not a valid public key of this type", "peer_public"};
    return code;
  }
  return takeFound(work, plan, derived, out);
}

// The part of a template that says what the material is.
Code planCreated(Work& work, const Sheet& wanted, PlannedObject* plan, RuleFault* fault) {
  const HotRequest& r = work.request;
  const auto objectClass = static_cast<ObjectClass>(wanted.number(attribute::Class, UINT64_MAX));
  KeyType type = KeyType::KEY_TYPE_UNSPECIFIED;
  if (objectClass == ObjectClass::publicKey || objectClass == ObjectClass::privateKey) type = keyTypeOf(formatOf(objectClass), r.data);
  if (const Code code = planCreate(wanted, type, r.data.size(), plan, fault); code != Code::OK) return code;
  if (isKeyClass(plan->objectClass) || r.data.empty()) return Code::OK;
  fault->fact = "the value of a certificate or of data is its CKA_VALUE";
  return Code::TEMPLATE_INCONSISTENT;
}

}  // namespace

Code refuseByRule(Work& work, Code code, const char* field, const RuleFault& fault) {
  work.fault = {describeFault(fault), field};
  return code;
}

Code readTemplate(Work& work, Bytes encoded, const char* field, Sheet* out) {
  uint32_t at = 0;
  const Code code = Sheet::parse(encoded, out, &at);
  if (code != Code::OK) work.fault = {at == 0 ? "" : attributeName(at), field};
  return code;
}

Code planObject(Work& work, const Sheet* base, PlannedObject* plan) {
  const HotRequest& r = work.request;
  Sheet wanted, wantedPublic;
  if (const Code code = readTemplate(work, r.attributes, "attributes", &wanted); code != Code::OK) return code;
  if (const Code code = readTemplate(work, r.publicAttributes, "public_attributes", &wantedPublic); code != Code::OK) return code;
  RuleFault fault;
  Code code;
  if (r.method == Method::GenerateObject) {
    const MechanismRow* row = mechanismRow(r.mechanism);
    if (row == nullptr || (row->uses & (kGenerate | kGeneratePair)) == 0) {
      work.fault = {"", "mechanism"};
      return Code::MECHANISM_INVALID;
    }
    code = planGenerate(*row, wanted, wantedPublic, plan, &fault);
  } else if (r.method == Method::CreateObject) {
    code = planCreated(work, wanted, plan, &fault);
  } else {
    code = r.method == Method::UnwrapObject ? planUnwrap(*base, wanted, plan, &fault) : planDerive(*base, wanted, plan, &fault);
  }
  return code == Code::OK ? code : refuseByRule(work, code, "attributes", fault);
}

bool isSlowPlan(const PlannedObject& plan) { return plan.objectClass == ObjectClass::privateKey || plan.objectClass == ObjectClass::publicKey; }

Code makeObject(Work& work, NewKey* out) {
  auto plan = std::make_unique<PlannedObject>(*work.plan);
  Code code = Code::OK;
  switch (work.request.method) {
    case Method::GenerateObject: code = generateKey(plan->type, symmetricBytes(plan->type) != 0 ? 0 : plan->bytes, &out->stored, &out->spki); break;
    case Method::UnwrapObject: code = unwrapObject(work, plan.get(), out); break;
    case Method::DeriveObject: code = deriveObject(work, plan.get(), out); break;
    default:
      if (isKeyClass(plan->objectClass)) code = takeMaterial(work, plan.get(), work.request.data, out);
  }
  if (code != Code::OK) return code;
  out->type = plan->type;
  out->scheme = KeyScheme::PKCS11;
  out->origin = originOf(work.request.method);
  out->plan = std::move(plan);
  return Code::OK;
}

Code checkWrapObject(Work& work, const KeySheets& wrapping, const KeySheets& target) {
  const auto refuse = [&](Code code, const char* detail) {
    work.fault = {detail, "target"};
    return code;
  };
  const HalfSheet* half = wrapping.halfFor(kWrap);
  if (half == nullptr) return Code::USE_NOT_PERMITTED;
  const bool isPair = wrapping.main.objectClass == ObjectClass::privateKey;
  if (const Code code = mayWrap(half->sheet, isPair ? &wrapping.main.sheet : nullptr, target.main.sheet); code != Code::OK) return refuse(code, "");
  return work.target->stored ? Code::OK : refuse(Code::KEY_NOT_EXPORTABLE, "its material is not here");
}

// GetObjectValue: the RAW value of a secret key, PKCS#8 of a private one; of certificates and data what their sheet holds.
Code objectValue(Work& work, const KeySheets& sheets, Reply& reply) {
  const PreparedKey& key = *work.key;
  namespace F = fields::GetObjectValueResponse;
  if (!sheets.isKey()) {
    const Bytes value = sheets.main.sheet.value(attribute::Value);
    reply.end(putField(reply.begin(fieldBytes(value.size())), F::value, value));
    return Code::OK;
  }
  work.fault.field = "key";
  if (sheets.main.objectClass == ObjectClass::publicKey) return Code::ATTRIBUTE_TYPE_INVALID;
  if (const Code code = mayRead(sheets.main.sheet); code != Code::OK) return code;
  if (!key.stored) return Code::ATTRIBUTE_SENSITIVE;
  Secret value;
  if (const Code code = exportMaterial(key.type, formatOf(sheets.main.objectClass), *key.stored, key.spki, &value); code != Code::OK) return code;
  work.fault.field = "";
  reply.end(putField(reply.begin(fieldBytes(value.size())), F::value, Bytes(value)));
  return Code::OK;
}

}  // namespace quorate
