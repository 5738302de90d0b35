// Requests by mechanism and templates, for the plane's tests.
#pragma once
#include "core/object_rules.h"
#include "plane_fixture.h"

namespace quorate::test {

namespace M = fields::MechanismRequest;
namespace R = fields::MechanismResponse;
namespace O = fields::SessionObjectResponse;

enum Ckm : uint32_t {
#define M(name, number, kind, hash, key, least, most, uses) CKM_##name = number,
#include "core/mechanisms.def"
};
constexpr uint64_t kCkkRsa = 0, kCkkEc = 3, kCkkGeneric = 0x10, kCkkAes = 0x1f, kCkkEdwards = 0x40, kCkkMontgomery = 0x41;

inline const std::string kP256("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10), kP384("\x06\x05\x2b\x81\x04\x00\x22", 7), kP521("\x06\x05\x2b\x81\x04\x00\x23", 7);
inline const std::string kEd25519("\x06\x03\x2b\x65\x70", 5), kX25519("\x06\x03\x2b\x65\x6e", 5);

// A sheet under construction: Template().number(attribute::ValueLen, 32).flag(attribute::Encrypt)
class Template {
 public:
  Template& flag(uint32_t type, bool value = true) {
    sheet_.setFlag(type, value);
    return *this;
  }
  Template& number(uint32_t type, uint64_t value) {
    sheet_.setNumber(type, value);
    return *this;
  }
  Template& bytes(uint32_t type, const std::string& value) {
    sheet_.set(type, bytesOf(value));
    return *this;
  }
  Template& mechanisms(std::initializer_list<uint64_t> numbers) {
    std::string list;
    for (const uint64_t number : numbers) list.append(reinterpret_cast<const char*>(&number), 8);
    return bytes(attribute::AllowedMechanisms, list);
  }
  operator std::string() const { return str(sheet_.encode()); }
  const Sheet& sheet() const { return sheet_; }

 private:
  Sheet sheet_;
};

inline Template aes(uint64_t bytes = 32) { return Template().number(attribute::ValueLen, bytes); }
inline Template keyOf(ObjectClass objectClass, uint64_t keyType) { return Template().number(attribute::Class, static_cast<uint64_t>(objectClass)).number(attribute::KeyType, keyType); }

inline Sheet sheetFrom(const std::string& bytes) {
  Sheet sheet;
  uint32_t at = 0;
  REQUIRE(Sheet::parse(bytesOf(bytes), &sheet, &at) == Code::OK);
  return sheet;
}
inline Sheet mainOf(const Answer& answer) { return sheetFrom(answer.text(O::attributes)); }

inline Message by(const std::string& key, uint32_t mechanism, const std::string& data = "") {
  Message out;
  out.text(M::key, key).number(M::mechanism, mechanism);
  if (!data.empty()) out.text(M::data, data);
  return out;
}

inline Answer generate(Client& c, uint32_t mechanism, const std::string& wanted, const std::string& wantedPublic = "") {
  return c.call(Method::GenerateObject, Message().number(M::mechanism, mechanism).text(M::attributes, wanted).text(M::public_attributes, wantedPublic));
}
// The new object's reference.
inline std::string made(const Answer& answer) {
  INFO(answer.text(fields::Failure::detail));
  REQUIRE(answer.code() == Code::OK);
  return answer.text(O::key);
}
inline std::string pair(Client& c, uint32_t mechanism, const std::string& curve, Template main = {}, Template publicHalf = {}) {
  return made(generate(c, mechanism, main, publicHalf.bytes(attribute::EcParams, curve)));
}
inline std::string rsaPair(Client& c, Template main = {}, Template publicHalf = {}) { return made(generate(c, CKM_RSA_PKCS_KEY_PAIR_GEN, main, publicHalf.number(attribute::ModulusBits, 2048))); }
inline Answer createSecret(Client& c, uint64_t keyType, const std::string& value, Template wanted = {}) {
  wanted.number(attribute::Class, static_cast<uint64_t>(ObjectClass::secretKey)).number(attribute::KeyType, keyType);
  return c.call(Method::CreateObject, Message().text(M::data, value).text(M::attributes, wanted));
}
inline std::string sessionRaw(Client& c, KeyType type, KeyScheme scheme) {
  const Answer answer = c.call(Method::CreateSessionKey, Message().number(1, static_cast<uint64_t>(type)).number(2, static_cast<uint64_t>(scheme)));
  REQUIRE(answer.code() == Code::OK);
  return answer.text(1);
}

// A stored key of scheme PKCS11, as it comes out of generation with this template.
inline KeyId storeGenerated(TestPlane& plane, const std::string& name, uint32_t mechanism, const Template& wanted, const Template& wantedPublic = {}) {
  PlannedObject plan;
  RuleFault fault;
  const Code code = planGenerate(*mechanismRow(mechanism), wanted.sheet(), wantedPublic.sheet(), &plan, &fault);
  INFO(fault.fact);
  REQUIRE(code == Code::OK);
  TestKey key;
  randomBytes(key.id);
  key.type = plan.type;
  key.scheme = KeyScheme::PKCS11;
  key.exportable = true;  // which means nothing for such a key
  key.attributes = plan.main.encode();
  if (plan.hasPublic) key.publicAttributes = plan.publicHalf.encode();
  Secret stored;
  Buffer spki;
  REQUIRE(generateKey(plan.type, symmetricBytes(plan.type) != 0 ? 0 : plan.bytes, &stored, &spki) == Code::OK);
  key.versions.emplace_back(Buffer(stored.data(), stored.data() + stored.size()), spki);
  return plane.putKey(name, std::move(key));
}

}  // namespace quorate::test
