// Templates in tests: written as a list of attributes.
#pragma once
#include <doctest/doctest.h>

#include <initializer_list>

#include "core/attribute_rows.h"
#include "hex.h"

namespace quorate::test {

enum MechanismNumber : uint32_t {
#define M(name, number, kind, hash, key, least, most, uses) kCkm_##name = number,
#include "core/mechanisms.def"
};

struct AttributeValue {
  uint32_t type;
  Buffer value;
};
inline AttributeValue flag(uint32_t type, bool value = true) { return {type, {uint8_t(value ? 1 : 0)}}; }
inline AttributeValue number(uint32_t type, uint64_t value) {
  Buffer bytes(8);
  for (int i = 0; i < 8; i++) bytes[size_t(i)] = uint8_t(value >> (8 * i));
  return {type, bytes};
}
inline AttributeValue bytes(uint32_t type, Bytes value) { return {type, Buffer(value.begin(), value.end())}; }
inline AttributeValue ofClass(ObjectClass objectClass) { return number(attribute::Class, uint64_t(objectClass)); }

inline Sheet sheet(std::initializer_list<AttributeValue> values) {
  Sheet out;
  for (const AttributeValue& each : values) out.set(each.type, each.value);
  return out;
}
inline Sheet with(Sheet base, std::initializer_list<AttributeValue> values) {
  for (const AttributeValue& each : values) base.set(each.type, each.value);
  return base;
}
inline AttributeValue templated(uint32_t type, std::initializer_list<AttributeValue> values) { return {type, sheet(values).encode()}; }

inline const Sheet kNothing;

struct Planned {
  Code code;
  RuleFault fault;
  PlannedObject object;
};
inline Planned generated(uint32_t mechanism, const Sheet& wanted, const Sheet& wantedPublic = kNothing) {
  Planned out{};
  out.code = planGenerate(*mechanismRow(mechanism), wanted, wantedPublic, &out.object, &out.fault);
  return out;
}
inline Planned aes(std::initializer_list<AttributeValue> values) {
  return generated(kCkm_AES_KEY_GEN, with(sheet({number(attribute::ValueLen, 32)}), values));
}
inline Planned rsa(std::initializer_list<AttributeValue> privateHalf, std::initializer_list<AttributeValue> publicHalf) {
  return generated(kCkm_RSA_PKCS_KEY_PAIR_GEN, sheet(privateHalf), with(sheet({number(attribute::ModulusBits, 2048)}), publicHalf));
}
inline Planned ec(std::initializer_list<AttributeValue> privateHalf, std::initializer_list<AttributeValue> publicHalf) {
  return generated(kCkm_EC_KEY_PAIR_GEN, sheet(privateHalf), with(sheet({bytes(attribute::EcParams, ecParamsOf(KeyType::EC_P256))}), publicHalf));
}
inline Planned created(const Sheet& wanted, size_t valueBytes = 32, KeyType rsaType = KeyType::KEY_TYPE_UNSPECIFIED) {
  Planned out{};
  out.code = planCreate(wanted, rsaType, valueBytes, &out.object, &out.fault);
  return out;
}
inline Planned createdAes(std::initializer_list<AttributeValue> values) {
  return created(with(sheet({ofClass(ObjectClass::secretKey), number(attribute::KeyType, kCkkAes)}), values));
}
inline Planned unwrapped(const Sheet& unwrapping, std::initializer_list<AttributeValue> values) {
  Planned out{};
  out.code = planUnwrap(unwrapping, with(sheet({ofClass(ObjectClass::secretKey), number(attribute::KeyType, kCkkAes)}), values), &out.object, &out.fault);
  if (out.code == Code::OK) out.code = completePlan(&out.object, KeyType::KEY_TYPE_UNSPECIFIED, 32, &out.fault);
  return out;
}
inline Planned derived(const Sheet& base, std::initializer_list<AttributeValue> values) {
  Planned out{};
  out.code = planDerive(base, sheet(values), &out.object, &out.fault);
  return out;
}

}  // namespace quorate::test
