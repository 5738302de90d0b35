// Sheets: every form of value, every malformed one; and the sheets of keys that were made without attributes.
#include "object_sheets.h"

#include <random>
#include <set>

using namespace quorate;
using namespace quorate::test;
namespace a = quorate::attribute;

namespace {

Buffer row(uint32_t type, Bytes value) {
  Buffer out;
  for (const uint32_t word : {type, uint32_t(value.size())}) {
    for (int i = 0; i < 4; i++) out.push_back(uint8_t(word >> (8 * i)));
  }
  out.insert(out.end(), value.begin(), value.end());
  return out;
}
Buffer rows(std::initializer_list<Buffer> all) {
  Buffer out;
  for (const Buffer& each : all) out.insert(out.end(), each.begin(), each.end());
  return out;
}
Code parsed(Bytes encoded, Sheet* out = nullptr, uint32_t* attribute = nullptr) {
  Sheet unused;
  return Sheet::parse(encoded, out == nullptr ? &unused : out, attribute);
}

}  // namespace

TEST_CASE("sheet: each form of value, right and wrong") {
  struct Form {
    uint32_t type;
    std::vector<Buffer> right, wrong;
  };
  const Buffer date = text("20261122"), seven(7), eight(8);
  const Form forms[] = {
      {a::Token, {{0}, {1}}, {{}, {2}, {0xff}, {0, 0}}},
      {a::ValueLen, {eight, Buffer(8, 0xff)}, {{}, seven, Buffer(9), Buffer(4)}},
      {a::Class, {eight, number(0, 4).value}, {number(0, 5).value, Buffer(8, 0xff), seven}},
      {a::KeyType, {number(0, kCkkAes).value, eight}, {number(0, 2).value, number(0, 0x13).value, Buffer(8, 0xff)}},
      {a::Id, {{}, {0}, Buffer(300)}, {}},
      {a::Label, {{}, text("a"), Buffer(limits::object_label_bytes_max)}, {Buffer(limits::object_label_bytes_max + 1)}},
      {a::StartDate, {{}, date}, {text("2026112"), text("202611222"), text("20261322"), text("20260022"), text("20261132"), text("20261100"), text("2026-1-1"), {1, 2, 3, 4, 5, 6, 7, 8}}},
      {a::AllowedMechanisms, {{}, eight, Buffer(16)}, {seven, Buffer(9), {0}}},
      {a::WrapTemplate, {{}, row(a::Token, {{1}})}, {{0}, row(a::Token, {{2}}), row(0x999, {}), row(a::WrapTemplate, {}), row(a::UnwrapTemplate, row(a::Token, {{1}}))}},
  };
  std::set<AttributeForm> seen;
  for (const Form& form : forms) {
    seen.insert(attributeRow(form.type)->form);
    for (const Buffer& value : form.right) {
      INFO("attribute ", form.type, " of ", toHex(value));
      Sheet out;
      CHECK(parsed(row(form.type, value), &out) == Code::OK);
      CHECK(out.encode() == row(form.type, value));
    }
    for (const Buffer& value : form.wrong) {
      INFO("attribute ", form.type, " of ", toHex(value));
      uint32_t attribute = 0;
      CHECK(parsed(row(form.type, value), nullptr, &attribute) == Code::ATTRIBUTE_VALUE_INVALID);
      CHECK(attribute == form.type);
    }
  }
  for (const AttributeRow& each : attributeRows()) CHECK(seen.count(each.form) == 1);
}

TEST_CASE("sheet: order, repetition, unknown attributes, sizes") {
  const Buffer token = row(a::Token, {{1}}), label = row(a::Label, text("x"));
  CHECK(parsed({}) == Code::OK);
  CHECK(parsed(rows({token, label})) == Code::OK);
  CHECK(parsed(rows({label, token})) == Code::ATTRIBUTE_VALUE_INVALID);
  CHECK(parsed(rows({token, token})) == Code::ATTRIBUTE_VALUE_INVALID);
  uint32_t attribute = 0;
  CHECK(parsed(row(0x110000, {}), nullptr, &attribute) == Code::ATTRIBUTE_TYPE_INVALID);
  CHECK(attribute == 0x110000);
  CHECK(parsed(row(0xffffffff, {})) == Code::ATTRIBUTE_TYPE_INVALID);
  CHECK(parsed(row(a::Id, Buffer(limits::object_sheet_bytes_max - 8))) == Code::OK);
  CHECK(parsed(row(a::Id, Buffer(limits::object_sheet_bytes_max - 7))) == Code::OBJECT_TOO_LARGE);
  CHECK(parsed(Buffer(1 << 20)) == Code::OBJECT_TOO_LARGE);
  // A failed parse leaves the sheet as it was.
  Sheet kept = sheet({flag(a::Token)});
  CHECK(parsed(rows({label, token}), &kept) == Code::ATTRIBUTE_VALUE_INVALID);
  CHECK((kept.flag(a::Token) && kept.rows().size() == 1));
}

TEST_CASE("sheet: malformed bytes") {
  for (const uint32_t length : {0xffffffffu, 0xfffffff8u, 0x80000000u, 2u, 100u}) {
    Buffer bad = row(a::Token, {{1}});
    for (int i = 0; i < 4; i++) bad[size_t(4 + i)] = uint8_t(length >> (8 * i));
    CHECK(parsed(bad) == Code::ATTRIBUTE_VALUE_INVALID);
  }
  const Buffer good = rows({row(a::Token, {{1}}), row(a::Label, text("label")), row(a::WrapTemplate, row(a::Token, {{1}}))});
  REQUIRE(parsed(good) == Code::OK);
  for (size_t n = 1; n < good.size(); n++) {
    const bool boundary = n == 9 || n == 22;  // between two attributes
    CHECK(parsed(Bytes(good).first(n)) == (boundary ? Code::OK : Code::ATTRIBUTE_VALUE_INVALID));
  }
  // Templates within templates: 10,000 deep by their headers alone, refused at the second.
  Buffer deep;
  for (int i = 0; i < 8000; i++) {
    const uint32_t rest = uint32_t((8000 - i - 1) * 8);
    for (const uint32_t word : {uint32_t(a::WrapTemplate), rest}) {
      for (int k = 0; k < 4; k++) deep.push_back(uint8_t(word >> (8 * k)));
    }
  }
  CHECK(parsed(deep) == Code::ATTRIBUTE_VALUE_INVALID);
  for (int i = 0; i < 2000; i++) {
    const Buffer header = {0x11, 0x02, 0x00, 0x40, 0xff, 0xff, 0xff, 0xff};
    deep.insert(deep.begin(), header.begin(), header.end());
  }
  CHECK(parsed(deep) == Code::OBJECT_TOO_LARGE);
  constexpr uint32_t kSeed = 4;
  std::mt19937 random(kSeed);
  size_t accepted = 0;
  for (int i = 0; i < 200'000; i++) {
    Buffer bytes = good;
    if (i % 2 == 0) {
      bytes.resize(random() % 64);
      for (uint8_t& b : bytes) b = uint8_t(random());
    } else {
      for (uint32_t k = 0; k < 1 + random() % 3; k++) bytes[random() % bytes.size()] = uint8_t(random());
    }
    Sheet out;
    if (parsed(bytes, &out) != Code::OK) continue;
    accepted++;
    INFO("seed ", kSeed, ", case ", i);
    REQUIRE(out.encode() == bytes);
  }
  CHECK(accepted > 1000);
}

TEST_CASE("sheet: values by type") {
  Sheet s;
  CHECK((!s.has(a::Token) && !s.flag(a::Token) && s.number(a::ValueLen, 7) == 7 && s.value(a::Label).empty()));
  s.setNumber(a::ValueLen, 0x0102030405060708);
  s.setFlag(a::Token, true);
  s.set(a::Label, text("l"));
  CHECK((s.flag(a::Token) && s.number(a::ValueLen, 0) == 0x0102030405060708));
  CHECK(toHex(s.value(a::ValueLen)) == "0807060504030201");
  CHECK((s.rows()[0].first == a::Token && s.rows()[1].first == a::Label && s.rows()[2].first == a::ValueLen));
  s.setFlag(a::Token, false);
  CHECK((s.has(a::Token) && !s.flag(a::Token) && s.rows().size() == 3));
  s.erase(a::Token);
  CHECK((!s.has(a::Token) && s.rows().size() == 2));
}

TEST_CASE("sheet: of keys that were made without attributes") {
  const std::string name = "signing";
  const Buffer id = pattern(16);
  Sheet main, other;
  bool hasMain = false, hasPublic = false;
  const auto of = [&](KeyType type, KeyScheme scheme, bool exportable = false, bool imported = false, bool publicOnly = false) {
    sheetOfKey(type, scheme, exportable, imported, publicOnly, name, id, &main, &other, &hasMain, &hasPublic);
  };
  of(KeyType::EC_P256, KeyScheme::ECDSA);
  REQUIRE((hasMain && hasPublic));
  CHECK((main.number(a::Class, 9) == 3 && other.number(a::Class, 9) == 2 && main.number(a::KeyType, 9) == kCkkEc));
  CHECK((main.flag(a::Sign) && !main.flag(a::Derive) && other.flag(a::Verify)));
  CHECK((main.flag(a::Sensitive) && !main.flag(a::Extractable) && !main.flag(a::Modifiable) && !main.flag(a::Copyable) && main.flag(a::Token) && main.flag(a::Local)));
  CHECK((curveOf(main.value(a::EcParams)) == KeyType::EC_P256 && curveOf(other.value(a::EcParams)) == KeyType::EC_P256));
  CHECK((toHex(main.value(a::Id)) == toHex(id) && toHex(other.value(a::Label)) == toHex(text(name))));
  CHECK((mayUse(main, kSign, kCkm_ECDSA) == Code::OK && mayUse(main, kSign, kCkm_ECDSA_SHA1) == Code::MECHANISM_INVALID));
  Sheet out;
  CHECK(planSet(main, false, sheet({bytes(a::Label, text("new"))}), true, &out, nullptr) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(planCopy(main, false, kNothing, &out, nullptr) == Code::ATTRIBUTE_READ_ONLY);
  uint32_t attribute = 0;
  CHECK(Sheet::parse(main.encode(), &out, &attribute) == Code::OK);
  of(KeyType::AES_256, KeyScheme::AES_GCM, true, true);
  REQUIRE((hasMain && !hasPublic));
  CHECK((mayUse(main, kEncrypt, kCkm_AES_GCM) == Code::OK && mayUse(main, kEncrypt, kCkm_AES_ECB) == Code::MECHANISM_INVALID));
  CHECK((main.flag(a::Extractable) && !main.flag(a::NeverExtractable) && !main.flag(a::AlwaysSensitive) && !main.flag(a::Local) && main.number(a::ValueLen, 0) == 32));
  CHECK(mayRead(main) == Code::ATTRIBUTE_SENSITIVE);
  of(KeyType::RSA_3072, KeyScheme::RSA_PSS, false, true, true);
  CHECK((!hasMain && hasPublic && other.number(a::ModulusBits, 0) == 3072));
  of(KeyType::AES_256, KeyScheme::MANAGED);
  CHECK((!hasMain && !hasPublic));
  of(KeyType::AES_256, KeyScheme::PKCS11);
  CHECK((!hasMain && !hasPublic));
}

TEST_CASE("rules: certificates and data, created keys of every type, what a template may not name") {
  const Planned data = created(sheet({ofClass(ObjectClass::data), bytes(a::Value, text("v")), bytes(a::Application, text("app"))}), 0);
  REQUIRE(data.code == Code::OK);
  CHECK((data.object.type == KeyType::KEY_TYPE_UNSPECIFIED && toHex(data.object.main.value(a::Value)) == toHex(text("v")) && data.object.main.has(a::ObjectId)));
  const Sheet certificate = sheet({ofClass(ObjectClass::certificate), number(a::CertificateType, 0), bytes(a::Value, pattern(40))});
  CHECK(created(certificate, 0).code == Code::OK);
  CHECK(created(with(certificate, {number(a::CertificateType, 1)}), 0).code == Code::ATTRIBUTE_VALUE_INVALID);
  CHECK(created(with(certificate, {bytes(a::Value, {})}), 0).code == Code::TEMPLATE_INCOMPLETE);
  CHECK(created(with(certificate, {flag(a::Trusted)}), 0).code == Code::ATTRIBUTE_READ_ONLY);
  CHECK(created(with(certificate, {flag(a::Sensitive)}), 0).code == Code::ATTRIBUTE_TYPE_INVALID);
  CHECK(created(kNothing).code == Code::TEMPLATE_INCOMPLETE);
  CHECK(created(sheet({ofClass(ObjectClass::secretKey)})).code == Code::TEMPLATE_INCOMPLETE);
  CHECK(created(sheet({ofClass(ObjectClass::secretKey), number(a::KeyType, kCkkRsa)})).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(created(sheet({ofClass(ObjectClass::secretKey), number(a::KeyType, kCkkAes)}), 0).code == Code::TEMPLATE_INCOMPLETE);
  CHECK(createdAes({number(a::ValueLen, 16)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(createdAes({bytes(a::CheckValue, hex("010203"))}).code == Code::ATTRIBUTE_VALUE_INVALID);
  const Sheet ecPrivate = sheet({ofClass(ObjectClass::privateKey), number(a::KeyType, kCkkEc)});
  CHECK(created(ecPrivate).code == Code::TEMPLATE_INCOMPLETE);
  CHECK(created(with(ecPrivate, {bytes(a::EcParams, ecParamsOf(KeyType::EC_P384))})).object.type == KeyType::EC_P384);
  CHECK(created(with(ecPrivate, {bytes(a::EcParams, ecParamsOf(KeyType::X25519))})).code == Code::CURVE_NOT_SUPPORTED);
  const Sheet rsaPublic = sheet({ofClass(ObjectClass::publicKey), number(a::KeyType, kCkkRsa)});
  CHECK(created(rsaPublic, 294).code == Code::KEY_SIZE_INVALID);
  CHECK(created(rsaPublic, 294, KeyType::RSA_4096).object.main.number(a::ModulusBits, 0) == 4096);
  CHECK(created(with(rsaPublic, {number(a::ModulusBits, 2048)}), 294, KeyType::RSA_4096).code == Code::TEMPLATE_INCONSISTENT);
  for (const char* params : {"130c656477617264733235353139", "06032b6570", "06092b06010401da470f01"}) {
    CHECK(generated(kCkm_EC_EDWARDS_KEY_PAIR_GEN, kNothing, sheet({bytes(a::EcParams, hex(params))})).object.type == KeyType::ED25519);
  }
  CHECK(ec({ofClass(ObjectClass::secretKey)}, {}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(ec({bytes(a::EcParams, ecParamsOf(KeyType::EC_P384))}, {}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(ec({flag(a::Encrypt)}, {}).code == Code::ATTRIBUTE_TYPE_INVALID);
  // What was unwrapped is what the template said, or what was found.
  PlannedObject plan;
  REQUIRE(planUnwrap(kNothing, ecPrivate, &plan, nullptr) == Code::OK);
  CHECK(completePlan(&plan, KeyType::RSA_2048, 1200, nullptr) == Code::WRAPPED_KEY_INVALID);
  CHECK(completePlan(&plan, KeyType::EC_P521, 66, nullptr) == Code::OK);
  CHECK((plan.type == KeyType::EC_P521 && curveOf(plan.main.value(a::EcParams)) == KeyType::EC_P521));
  CHECK(planUnwrap(kNothing, rsaPublic, &plan, nullptr) == Code::TEMPLATE_INCONSISTENT);
  REQUIRE(planUnwrap(kNothing, sheet({ofClass(ObjectClass::secretKey), number(a::KeyType, kCkkAes), number(a::ValueLen, 32)}), &plan, nullptr) == Code::OK);
  CHECK(completePlan(&plan, KeyType::KEY_TYPE_UNSPECIFIED, 16, nullptr) == Code::WRAPPED_KEY_INVALID);
}
