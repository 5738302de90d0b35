// The rules of attributes, one by one: R1 to R8 (docs/PKCS11.md). What they stop together is object_attack_test.cc's.
#include "object_sheets.h"

using namespace quorate;
using namespace quorate::test;
namespace a = quorate::attribute;

TEST_CASE("rules: R1, roles that undo each other are refused when a key is made") {
  for (const uint32_t wrapping : {a::Wrap, a::Unwrap}) {
    for (const uint32_t other : {a::Encrypt, a::Decrypt, a::Sign, a::Verify, a::Derive}) {
      INFO("AES ", wrapping, " with ", other);
      CHECK(aes({flag(wrapping), flag(other)}).code == Code::TEMPLATE_INCONSISTENT);
      CHECK(createdAes({flag(wrapping), flag(other)}).code == Code::TEMPLATE_INCONSISTENT);
      CHECK(unwrapped(kNothing, {flag(wrapping), flag(other)}).code == Code::TEMPLATE_INCONSISTENT);
      CHECK(derived(kNothing, {number(a::KeyType, 0x1f), number(a::ValueLen, 32), flag(wrapping), flag(other)}).code == Code::TEMPLATE_INCONSISTENT);
      // Nothing wraps or encrypts with a generic secret.
      CHECK(derived(kNothing, {number(a::ValueLen, 32), flag(wrapping), flag(other)}).code == Code::OK);
    }
  }
  CHECK(aes({flag(a::Wrap), flag(a::Unwrap)}).code == Code::OK);
  CHECK(aes({flag(a::Encrypt), flag(a::Decrypt), flag(a::Sign), flag(a::Verify)}).code == Code::OK);
  // Over both halves of a pair.
  CHECK(rsa({flag(a::Decrypt)}, {flag(a::Wrap)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(rsa({flag(a::Unwrap)}, {flag(a::Encrypt)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(rsa({flag(a::Unwrap), flag(a::Decrypt)}, {}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(rsa({}, {flag(a::Wrap), flag(a::Encrypt)}).code == Code::TEMPLATE_INCONSISTENT);
  // A raw RSA signature is a decryption.
  CHECK(rsa({flag(a::Sign), flag(a::Unwrap)}, {}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(rsa({flag(a::Sign)}, {flag(a::Wrap)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(rsa({flag(a::SignRecover)}, {flag(a::Wrap)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(rsa({flag(a::Unwrap)}, {flag(a::Wrap), flag(a::Verify)}).code == Code::OK);
}

TEST_CASE("rules: R1, the roles of a key whose template leaves them open") {
  const auto roles = [](const Sheet& s) {
    std::string out;
    const std::pair<uint32_t, char> letters[] = {{a::Encrypt, 'e'}, {a::Decrypt, 'd'}, {a::Wrap, 'w'}, {a::Unwrap, 'u'}, {a::Sign, 's'}, {a::Verify, 'v'}, {a::Derive, 'x'}};
    for (const auto& [type, letter] : letters) {
      if (s.flag(type)) out += letter;
    }
    return out;
  };
  CHECK(roles(aes({}).object.main) == "ed");
  CHECK(roles(aes({flag(a::Wrap)}).object.main) == "w");
  CHECK(roles(aes({flag(a::Encrypt)}).object.main) == "ed");
  CHECK(roles(aes({flag(a::Encrypt), flag(a::Decrypt, false)}).object.main) == "e");
  CHECK(roles(aes({flag(a::Sign), flag(a::Verify)}).object.main) == "sv");
  CHECK(roles(generated(kCkm_GENERIC_SECRET_KEY_GEN, sheet({number(a::ValueLen, 16)})).object.main) == "sv");
  const Planned open = rsa({}, {});
  CHECK(roles(open.object.main) == "ds");
  CHECK(roles(open.object.publicHalf) == "ev");
  const Planned signs = rsa({flag(a::Sign)}, {});
  CHECK(roles(signs.object.main) == "s");
  CHECK(roles(signs.object.publicHalf) == "v");
  const Planned wraps = rsa({flag(a::Unwrap)}, {flag(a::Wrap)});
  CHECK(roles(wraps.object.main) == "u");
  CHECK(roles(wraps.object.publicHalf) == "w");
  CHECK(roles(ec({}, {}).object.main) == "sx");
  CHECK(roles(ec({}, {}).object.publicHalf) == "v");
  CHECK(roles(ec({flag(a::Derive)}, {}).object.main) == "x");
  const auto pair = [](uint32_t mechanism, KeyType type) { return generated(mechanism, kNothing, sheet({bytes(a::EcParams, ecParamsOf(type))})); };
  CHECK(roles(pair(kCkm_EC_EDWARDS_KEY_PAIR_GEN, KeyType::ED25519).object.main) == "s");
  CHECK(roles(pair(kCkm_EC_MONTGOMERY_KEY_PAIR_GEN, KeyType::X25519).object.main) == "x");
}

TEST_CASE("rules: R2, what a key was once it is for ever") {
  const Sheet usual = aes({}).object.main;
  CHECK((usual.flag(a::Sensitive) && usual.flag(a::AlwaysSensitive) && usual.flag(a::NeverExtractable) && usual.flag(a::Local) && !usual.flag(a::Extractable)));
  CHECK(usual.number(a::KeyGenMechanism, 0) == kCkm_AES_KEY_GEN);
  const Sheet open = aes({flag(a::Sensitive, false), flag(a::Extractable)}).object.main;
  CHECK((!open.flag(a::AlwaysSensitive) && !open.flag(a::NeverExtractable) && open.flag(a::Local)));
  Sheet out;
  RuleFault fault;
  CHECK(planSet(usual, false, sheet({flag(a::Sensitive, false)}), true, &out, &fault) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(fault.attribute == a::Sensitive);
  CHECK(planSet(usual, false, sheet({flag(a::Extractable)}), true, &out, &fault) == Code::ATTRIBUTE_READ_ONLY);
  REQUIRE(planSet(open, false, sheet({flag(a::Sensitive), flag(a::Extractable, false)}), false, &out, &fault) == Code::OK);
  CHECK((out.flag(a::Sensitive) && !out.flag(a::Extractable) && !out.flag(a::AlwaysSensitive) && !out.flag(a::NeverExtractable)));
  for (const Sheet& known : {createdAes({}).object.main, unwrapped(kNothing, {}).object.main}) {
    CHECK((known.flag(a::Sensitive) && !known.flag(a::Extractable) && !known.flag(a::AlwaysSensitive) && !known.flag(a::NeverExtractable) && !known.flag(a::Local)));
    CHECK(known.number(a::KeyGenMechanism, 0) == ~uint64_t(0));
  }
  const Sheet base = ec({flag(a::Derive)}, {}).object.main;
  const Sheet child = derived(base, {number(a::ValueLen, 32)}).object.main;
  CHECK((child.flag(a::AlwaysSensitive) && child.flag(a::NeverExtractable) && !child.flag(a::Local)));
  const Sheet ofOpen = derived(with(base, {flag(a::AlwaysSensitive, false), flag(a::NeverExtractable, false)}), {number(a::ValueLen, 32)}).object.main;
  CHECK((!ofOpen.flag(a::AlwaysSensitive) && !ofOpen.flag(a::NeverExtractable)));
  for (const uint32_t made : {a::Local, a::AlwaysSensitive, a::NeverExtractable}) CHECK(aes({flag(made)}).code == Code::ATTRIBUTE_READ_ONLY);
}

TEST_CASE("rules: R3, what was unwrapped is not read") {
  CHECK(unwrapped(kNothing, {flag(a::Sensitive, false), flag(a::Extractable)}).code == Code::TEMPLATE_INCONSISTENT);
  const Planned unread = unwrapped(kNothing, {flag(a::Sensitive, false)});
  REQUIRE(unread.code == Code::OK);
  CHECK((mayRead(unread.object.main) == Code::ATTRIBUTE_SENSITIVE && !unread.object.main.flag(a::Extractable)));
  Sheet later;
  RuleFault laterFault;
  CHECK(planSet(unread.object.main, false, sheet({flag(a::Extractable)}), true, &later, &laterFault) == Code::ATTRIBUTE_READ_ONLY);
  const Planned extractable = unwrapped(kNothing, {flag(a::Extractable)});
  REQUIRE(extractable.code == Code::OK);
  CHECK((extractable.object.main.flag(a::Sensitive) && extractable.object.main.flag(a::Extractable)));
  // The unwrapping key's template is applied, and not to be contradicted.
  const Sheet picky = sheet({templated(a::UnwrapTemplate, {flag(a::Extractable, false), flag(a::Decrypt, false)})});
  CHECK(unwrapped(picky, {flag(a::Extractable)}).code == Code::TEMPLATE_INCONSISTENT);
  const Planned forced = unwrapped(picky, {});
  REQUIRE(forced.code == Code::OK);
  CHECK((forced.object.main.flag(a::Encrypt) && !forced.object.main.flag(a::Decrypt)));
  CHECK(unwrapped(sheet({templated(a::UnwrapTemplate, {flag(a::Sensitive, false), flag(a::Extractable)})}), {}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(unwrapped(sheet({templated(a::UnwrapTemplate, {flag(a::Trusted)})}), {}).code == Code::ATTRIBUTE_READ_ONLY);
}

TEST_CASE("rules: R4, who may take a key out") {
  const Sheet target = aes({flag(a::Extractable)}).object.main, open = aes({flag(a::Extractable), flag(a::Sensitive, false)}).object.main;
  const Sheet good = aes({flag(a::Wrap), flag(a::Unwrap)}).object.main;
  CHECK(mayWrap(good, nullptr, target) == Code::OK);
  CHECK(mayWrap(aes({}).object.main, nullptr, target) == Code::USE_NOT_PERMITTED);
  CHECK(mayWrap(good, nullptr, aes({}).object.main) == Code::KEY_NOT_EXPORTABLE);
  for (const Sheet& weak : {createdAes({flag(a::Wrap)}).object.main, unwrapped(kNothing, {flag(a::Wrap)}).object.main, aes({flag(a::Wrap), flag(a::Extractable)}).object.main,
                            aes({flag(a::Wrap), flag(a::Sensitive, false)}).object.main, with(good, {flag(a::Decrypt)}), with(good, {flag(a::Sign)})}) {
    CHECK(mayWrap(weak, nullptr, target) == Code::KEY_NOT_WRAPPABLE);
    CHECK(mayWrap(weak, nullptr, open) == Code::OK);
    CHECK(mayWrap(with(weak, {flag(a::Trusted)}), nullptr, target) == Code::OK);
  }
  const Sheet careful = with(target, {flag(a::WrapWithTrusted)});
  CHECK(mayWrap(good, nullptr, careful) == Code::KEY_NOT_WRAPPABLE);
  CHECK(mayWrap(with(good, {flag(a::Trusted)}), nullptr, careful) == Code::OK);
  const Sheet picky = with(good, {templated(a::WrapTemplate, {number(a::KeyType, kCkkGenericSecret)})});
  CHECK(mayWrap(picky, nullptr, target) == Code::KEY_NOT_WRAPPABLE);
  CHECK(mayWrap(picky, nullptr, generated(kCkm_GENERIC_SECRET_KEY_GEN, sheet({number(a::ValueLen, 32), flag(a::Extractable)})).object.main) == Code::OK);
  // RSA: the private half is what counts, and it must be here.
  const PlannedObject pair = rsa({flag(a::Unwrap)}, {flag(a::Wrap)}).object;
  CHECK(mayWrap(pair.publicHalf, &pair.main, target) == Code::OK);
  CHECK(mayWrap(pair.publicHalf, nullptr, target) == Code::KEY_NOT_WRAPPABLE);
  CHECK(mayWrap(pair.publicHalf, nullptr, open) == Code::OK);
  for (const uint32_t other : {a::Decrypt, a::Sign}) {
    const Sheet mixed = with(pair.main, {flag(other)});
    CHECK(mayWrap(pair.publicHalf, &mixed, target) == Code::KEY_NOT_WRAPPABLE);
  }
  for (const Sheet& weaker : {with(pair.main, {flag(a::Unwrap, false)}), with(pair.main, {flag(a::Local, false)}), with(pair.main, {flag(a::NeverExtractable, false)})}) {
    CHECK(mayWrap(pair.publicHalf, &weaker, target) == Code::KEY_NOT_WRAPPABLE);
  }
  CHECK(mayWrap(good, nullptr, pair.publicHalf) == Code::KEY_NOT_WRAPPABLE);
  CHECK(mayWrap(good, nullptr, with(pair.main, {flag(a::Extractable)})) == Code::OK);
}

TEST_CASE("rules: R5, copies and changes only tighten") {
  const Sheet from = aes({flag(a::Encrypt), flag(a::Decrypt, false)}).object.main;
  Sheet out;
  RuleFault fault;
  for (const bool copies : {false, true}) {
    const auto change = [&](const Sheet& base, std::initializer_list<AttributeValue> values, bool mayTrust = false) {
      return copies ? planCopy(base, false, sheet(values), &out, &fault) : planSet(base, false, sheet(values), mayTrust, &out, &fault);
    };
    for (const uint32_t role : {a::Decrypt, a::Wrap, a::Unwrap, a::Sign, a::Verify, a::Derive, a::Extractable}) CHECK(change(from, {flag(role)}) == Code::ATTRIBUTE_READ_ONLY);
    for (const uint32_t lock : {a::Modifiable, a::Copyable, a::Destroyable}) {
      CHECK(change(from, {flag(lock, false)}) == Code::OK);
      if (lock != (copies ? uint32_t(a::Copyable) : uint32_t(a::Modifiable))) CHECK(change(with(from, {flag(lock, false)}), {flag(lock)}) == Code::ATTRIBUTE_READ_ONLY);
    }
    CHECK(change(from, {flag(a::Encrypt, false)}) == Code::OK);
    CHECK(change(from, {flag(a::Sensitive, false)}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(from, {flag(a::WrapWithTrusted)}) == Code::OK);
    CHECK(change(with(from, {flag(a::WrapWithTrusted)}), {flag(a::WrapWithTrusted, false)}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(from, {flag(a::Trusted)}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(with(from, {flag(a::Trusted)}), {flag(a::Trusted, false)}) == Code::OK);
    CHECK(change(from, {flag(a::Trusted)}, true) == (copies ? Code::ATTRIBUTE_READ_ONLY : Code::OK));
    for (const uint32_t made : {a::Local, a::AlwaysSensitive, a::NeverExtractable}) CHECK(change(with(from, {flag(made, false)}), {flag(made)}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(from, {flag(a::Token)}) == (copies ? Code::OK : Code::ATTRIBUTE_READ_ONLY));
    CHECK(change(with(from, {flag(a::Private)}), {flag(a::Private, false)}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(from, {templated(a::WrapTemplate, {})}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(from, {bytes(a::AllowedMechanisms, Buffer(8))}) == Code::ATTRIBUTE_READ_ONLY);
    CHECK(change(from, {bytes(a::EcParams, {})}) == Code::ATTRIBUTE_TYPE_INVALID);
    REQUIRE(change(from, {bytes(a::Label, text("new")), bytes(a::Id, text("1"))}) == Code::OK);
    CHECK(Buffer(out.value(a::Label).begin(), out.value(a::Label).end()) == text("new"));
    CHECK((out.flag(a::Local) && out.flag(a::AlwaysSensitive) && out.flag(a::NeverExtractable)));
  }
  CHECK(planCopy(with(from, {flag(a::Copyable, false)}), false, kNothing, &out, &fault) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(planSet(with(from, {flag(a::Modifiable, false)}), false, kNothing, true, &out, &fault) == Code::ATTRIBUTE_READ_ONLY);
  CHECK(aes({flag(a::Trusted)}).code == Code::ATTRIBUTE_READ_ONLY);
  CHECK(createdAes({flag(a::Trusted)}).code == Code::ATTRIBUTE_READ_ONLY);
  CHECK(unwrapped(kNothing, {flag(a::Trusted)}).code == Code::ATTRIBUTE_READ_ONLY);
}

TEST_CASE("rules: R6, sizes") {
  const auto ofBytes = [](uint32_t mechanism, uint64_t bytes) { return generated(mechanism, sheet({number(a::ValueLen, bytes)})).code; };
  for (const uint64_t wrong : {uint64_t(0), uint64_t(8), uint64_t(17), uint64_t(64), ~uint64_t(0)}) CHECK(ofBytes(kCkm_AES_KEY_GEN, wrong) == Code::KEY_SIZE_INVALID);
  for (const uint64_t wrong : {uint64_t(0), uint64_t(15), uint64_t(257), uint64_t(1) << 32}) CHECK(ofBytes(kCkm_GENERIC_SECRET_KEY_GEN, wrong) == Code::KEY_SIZE_INVALID);
  for (const uint64_t right : {16, 24, 32}) CHECK(ofBytes(kCkm_AES_KEY_GEN, right) == Code::OK);
  for (const uint64_t right : {16, 256}) CHECK(ofBytes(kCkm_GENERIC_SECRET_KEY_GEN, right) == Code::OK);
  CHECK(aes({number(a::ValueLen, 24)}).object.type == KeyType::AES_192);
  CHECK(generated(kCkm_AES_KEY_GEN, kNothing).code == Code::TEMPLATE_INCOMPLETE);
  CHECK(rsa({}, {number(a::ModulusBits, 1024)}).code == Code::KEY_SIZE_INVALID);
  CHECK(rsa({}, {number(a::ModulusBits, 3072)}).object.type == KeyType::RSA_3072);
  CHECK(rsa({}, {bytes(a::PublicExponent, hex("03"))}).code == Code::ATTRIBUTE_VALUE_INVALID);
  CHECK(rsa({}, {bytes(a::PublicExponent, hex("00010001"))}).code == Code::OK);
  CHECK(ec({}, {bytes(a::EcParams, hex("06052b8104000a"))}).code == Code::CURVE_NOT_SUPPORTED);
  CHECK(ec({}, {bytes(a::EcParams, ecParamsOf(KeyType::ED25519))}).code == Code::CURVE_NOT_SUPPORTED);
  CHECK(created(sheet({ofClass(ObjectClass::secretKey), number(a::KeyType, kCkkAes)}), 33).code == Code::KEY_SIZE_INVALID);
  CHECK(created(sheet({ofClass(ObjectClass::secretKey), number(a::KeyType, kCkkGenericSecret)}), 5).code == Code::KEY_SIZE_INVALID);
  CHECK(derived(kNothing, {number(a::ValueLen, 5)}).code == Code::KEY_SIZE_INVALID);
  CHECK(derived(kNothing, {number(a::KeyType, kCkkAes)}).code == Code::TEMPLATE_INCOMPLETE);
  PlannedObject plan = derived(kNothing, {}).object;
  CHECK(completePlan(&plan, KeyType::KEY_TYPE_UNSPECIFIED, 15, nullptr) == Code::KEY_SIZE_INVALID);
  CHECK(completePlan(&plan, KeyType::KEY_TYPE_UNSPECIFIED, 66, nullptr) == Code::OK);
  CHECK((plan.main.number(a::ValueLen, 0) == 66 && plan.type == KeyType::HMAC));
}

TEST_CASE("rules: R7, whose value is told") {
  CHECK(mayRead(aes({}).object.main) == Code::ATTRIBUTE_SENSITIVE);
  CHECK(mayRead(aes({flag(a::Extractable)}).object.main) == Code::ATTRIBUTE_SENSITIVE);
  CHECK(mayRead(aes({flag(a::Sensitive, false)}).object.main) == Code::ATTRIBUTE_SENSITIVE);
  CHECK(mayRead(aes({flag(a::Sensitive, false), flag(a::Extractable)}).object.main) == Code::OK);
  CHECK(mayRead(kNothing) == Code::ATTRIBUTE_SENSITIVE);
  CHECK(mayRead(rsa({}, {}).object.publicHalf) == Code::OK);
}

TEST_CASE("rules: R8, each use asks for its own flag, and for the mechanism where the key names some") {
  const Sheet decrypts = rsa({flag(a::Decrypt)}, {}).object.main, signs = rsa({flag(a::Sign)}, {}).object.main;
  CHECK(mayUse(decrypts, kDecrypt, kCkm_RSA_X_509) == Code::OK);
  CHECK(mayUse(decrypts, kSign, kCkm_RSA_X_509) == Code::USE_NOT_PERMITTED);
  CHECK(mayUse(signs, kSign, kCkm_RSA_X_509) == Code::OK);
  for (const Use use : {kDecrypt, kUnwrap, kWrap, kEncrypt, kVerify, kDerive, kDigest, kGenerate}) CHECK(mayUse(signs, use, kCkm_RSA_X_509) == Code::USE_NOT_PERMITTED);
  const Sheet picky = aes({AttributeValue{a::AllowedMechanisms, number(0, kCkm_AES_GCM).value}}).object.main;
  CHECK(mayUse(picky, kEncrypt, kCkm_AES_GCM) == Code::OK);
  CHECK(mayUse(picky, kEncrypt, kCkm_AES_ECB) == Code::MECHANISM_INVALID);
  CHECK(mayUse(aes({bytes(a::AllowedMechanisms, {})}).object.main, kEncrypt, kCkm_AES_GCM) == Code::MECHANISM_INVALID);
}
