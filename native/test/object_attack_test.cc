// The attacks that the rules of attributes stop: each by its name (Clulow 2003; Bortolozzo, Centenaro, Focardi, Steel 2010), and a search for others.
#include "object_attacker.h"

using namespace quorate;
using namespace quorate::test;
namespace a = quorate::attribute;

namespace {

Sheet target() { return aes({flag(a::Extractable)}).object.main; }
Sheet wrapper() { return aes({flag(a::Wrap), flag(a::Unwrap)}).object.main; }

}  // namespace

TEST_CASE("attack: wrap, then unwrap as readable") {
  REQUIRE(mayWrap(wrapper(), nullptr, target()) == Code::OK);
  CHECK(unwrapped(wrapper(), {flag(a::Sensitive, false), flag(a::Extractable)}).code == Code::TEMPLATE_INCONSISTENT);
  const Planned again = unwrapped(wrapper(), {flag(a::Extractable)});
  REQUIRE(again.code == Code::OK);
  CHECK(mayRead(again.object.main) == Code::ATTRIBUTE_SENSITIVE);
}

TEST_CASE("attack: wrap and decrypt with one key") {
  CHECK(aes({flag(a::Wrap), flag(a::Decrypt)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(mayUse(wrapper(), kDecrypt, kCkm_AES_ECB) == Code::USE_NOT_PERMITTED);
  CHECK(rsa({flag(a::Decrypt)}, {flag(a::Wrap)}).code == Code::TEMPLATE_INCONSISTENT);
  // Nor by signing raw, which for RSA is to decrypt.
  CHECK(rsa({flag(a::Sign)}, {flag(a::Wrap)}).code == Code::TEMPLATE_INCONSISTENT);
}

TEST_CASE("attack: encrypt a known key, unwrap it as a wrapping key, wrap with it") {
  CHECK(aes({flag(a::Encrypt), flag(a::Unwrap)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(mayUse(wrapper(), kEncrypt, kCkm_AES_ECB) == Code::USE_NOT_PERMITTED);
  // For RSA anybody encrypts; so what was unwrapped wraps no sensitive key.
  const Sheet trojan = unwrapped(rsa({flag(a::Unwrap)}, {}).object.main, {flag(a::Wrap)}).object.main;
  CHECK(mayWrap(trojan, nullptr, target()) == Code::KEY_NOT_WRAPPABLE);
}

TEST_CASE("attack: copy with a weaker template") {
  Sheet out;
  for (const auto& weaker : {flag(a::Sensitive, false), flag(a::Decrypt), flag(a::Trusted), flag(a::WrapWithTrusted, false)}) {
    const Sheet from = with(wrapper(), {flag(a::WrapWithTrusted)});
    CHECK(planCopy(from, false, sheet({weaker}), &out, nullptr) == Code::ATTRIBUTE_READ_ONLY);
  }
  CHECK(planCopy(aes({}).object.main, false, sheet({flag(a::Extractable)}), &out, nullptr) == Code::ATTRIBUTE_READ_ONLY);
}

TEST_CASE("attack: unwrap one key twice, for roles that undo each other") {
  const Sheet wraps = unwrapped(wrapper(), {flag(a::Wrap)}).object.main, decrypts = unwrapped(wrapper(), {flag(a::Decrypt)}).object.main;
  REQUIRE(mayUse(decrypts, kDecrypt, kCkm_AES_ECB) == Code::OK);
  CHECK(mayWrap(wraps, nullptr, target()) == Code::KEY_NOT_WRAPPABLE);
  // Nor does the key from which it was wrapped: it may leave.
  CHECK(mayWrap(aes({flag(a::Wrap), flag(a::Extractable)}).object.main, nullptr, target()) == Code::KEY_NOT_WRAPPABLE);
}

TEST_CASE("attack: set attributes after the fact") {
  Sheet out;
  for (const auto& weaker : {flag(a::Sensitive, false), flag(a::Decrypt), flag(a::Encrypt), flag(a::Sign), flag(a::Derive), flag(a::Trusted), flag(a::Local, false)}) {
    CHECK(planSet(wrapper(), false, sheet({weaker}), false, &out, nullptr) == Code::ATTRIBUTE_READ_ONLY);
  }
  // A role is exchanged for another in two steps: the second is refused.
  REQUIRE(planSet(wrapper(), false, sheet({flag(a::Wrap, false), flag(a::Unwrap, false)}), false, &out, nullptr) == Code::OK);
  CHECK(planSet(out, false, sheet({flag(a::Decrypt)}), false, &out, nullptr) == Code::ATTRIBUTE_READ_ONLY);
}

TEST_CASE("attack: a wrapping key of known value") {
  const Planned known = createdAes({flag(a::Wrap)});
  REQUIRE(known.code == Code::OK);
  CHECK(mayWrap(known.object.main, nullptr, target()) == Code::KEY_NOT_WRAPPABLE);
  CHECK(createdAes({flag(a::Wrap), flag(a::Trusted)}).code == Code::ATTRIBUTE_READ_ONLY);
  const Planned publicKey = created(sheet({ofClass(ObjectClass::publicKey), number(a::KeyType, kCkkRsa), flag(a::Wrap)}), 294, KeyType::RSA_2048);
  REQUIRE(publicKey.code == Code::OK);
  CHECK(mayWrap(publicKey.object.main, nullptr, target()) == Code::KEY_NOT_WRAPPABLE);
  // With a private key of known value beside it, or one that is here and unwraps: a pair is what was generated as one.
  const Sheet imported = created(sheet({ofClass(ObjectClass::privateKey), number(a::KeyType, kCkkRsa), flag(a::Unwrap)}), 1200, KeyType::RSA_2048).object.main;
  CHECK(mayWrap(publicKey.object.main, &imported, target()) == Code::KEY_NOT_WRAPPABLE);
}

TEST_CASE("attack: derive keys that are short enough to try") {
  const Sheet base = ec({flag(a::Derive)}, {}).object.main;
  for (const uint64_t bytes : {1, 5, 8, 15}) CHECK(derived(base, {number(a::ValueLen, bytes)}).code == Code::KEY_SIZE_INVALID);
  CHECK(derived(base, {number(a::ValueLen, 16)}).code == Code::OK);
  // A base that says so has no readable children.
  const Sheet strict = ec({flag(a::Derive), templated(a::DeriveTemplate, {flag(a::Sensitive)})}, {}).object.main;
  CHECK(derived(strict, {number(a::ValueLen, 16), flag(a::Sensitive, false)}).code == Code::TEMPLATE_INCONSISTENT);
  CHECK(mayRead(derived(strict, {number(a::ValueLen, 16), flag(a::Extractable)}).object.main) == Code::ATTRIBUTE_SENSITIVE);
}

TEST_CASE("attack: a raw key takes a sensitive object out by its own methods") {
  Sheet main, publicHalf;
  bool hasMain = false, hasPublic = false;
  sheetOfKey(KeyType::AES_256, KeyScheme::AES_KW, false, false, false, "kw", Buffer(16), &main, &publicHalf, &hasMain, &hasPublic);
  REQUIRE((hasMain && mayUse(main, kWrap, kCkm_AES_KEY_WRAP) == Code::OK));
  CHECK(mayWrap(main, nullptr, target()) == Code::KEY_NOT_WRAPPABLE);
  sheetOfKey(KeyType::RSA_2048, KeyScheme::RSA_OAEP, false, false, false, "oaep", Buffer(16), &main, &publicHalf, &hasMain, &hasPublic);
  CHECK(mayWrap(publicHalf, &main, target()) == Code::USE_NOT_PERMITTED);
}

TEST_CASE("attack: a search finds none") {
  constexpr uint64_t kFirstSeed = 20261122;
#ifdef __SANITIZE_ADDRESS__
  constexpr int kSequences = 4'000;
#else
  constexpr int kSequences = 200'000;
#endif
  constexpr int kStepsEach = 24;
  std::array<size_t, kSteps> succeeded{};
  for (uint64_t seed = kFirstSeed; seed < kFirstSeed + kSequences; seed++) {
    Attacker attacker(seed);
    for (int i = 0; i < kStepsEach && !attacker.hasWon(); i++) attacker.step();
    for (size_t i = 0; i < kSteps; i++) succeeded[i] += attacker.succeeded()[i];
    if (attacker.hasWon()) FAIL("a kept value became known. Seed ", seed, ": ", attacker.trace());
  }
  // A search that gets nowhere finds nothing: every step was let through, in one sequence of forty at least.
  for (size_t i = 0; i < kSteps; i++) {
    INFO(std::string(kStepNames[i]), ": ", succeeded[i]);
    CHECK(succeeded[i] > kSequences / 40);
  }
}
