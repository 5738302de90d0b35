// An attacker who may call everything, over symbolic values (Dolev and Yao 1983): what is wrapped or encrypted is opened only by who knows the key, or by a key here
// whose attributes allow it. It knows object_rules.h and nothing else of the daemon: each step asks plan* or may* as the plane does.
#pragma once
#include <array>
#include <vector>

#include "object_sheets.h"

namespace quorate::test {

// A value: an atom (a key that somebody made), a ciphertext {content} under a key, or what was derived from a private key with the attacker's public one. Wrapping and
// encrypting are one: AES_ECB opens, block by block, what KEY_WRAP made, and a raw RSA signature opens OAEP.
struct Term {
  enum Kind : uint8_t { atom, sealed, derived } kind;
  KeyFamily family;    // of atoms; what is derived serves as an AES key
  int under, content;  // terms: sealed under which key; derived from which
  bool known = false;  // to the attacker
  bool kept = false;   // made so that its value is never told: if it is known, the rules failed
};

struct Held {
  int value;
  KeyFamily family;
  bool hasMain, hasPublic;
  bool honest;  // imported by an administrator, from elsewhere
  Sheet main, publicHalf;
};

enum class Step : uint8_t {
  generateAes, generateRsa, generateEc, createKnown, createPublic, importHonest, trust, copy, set, wrap, unwrap, encrypt, decrypt, rawSign, derive, read,
};
inline constexpr size_t kSteps = 16;
inline constexpr const char* kStepNames[kSteps] = {"generate AES", "generate RSA", "generate EC", "create of a known value", "create of a public key", "honest import",
                                                   "trust",        "copy",         "set",         "wrap",                    "unwrap",                 "encrypt",
                                                   "decrypt",      "raw signature", "derive",     "read"};

class Attacker {
 public:
  explicit Attacker(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {
    constant_ = fresh(KeyFamily::aes);
    learn(constant_);
    rsaKnown_ = fresh(KeyFamily::rsa);
    learn(rsaKnown_);
  }
  // One step of its choosing; whether the rules let it.
  bool step() {
    static constexpr Step kUses[] = {Step::wrap, Step::wrap, Step::unwrap, Step::unwrap, Step::decrypt, Step::rawSign, Step::read, Step::encrypt, Step::derive};
    const uint32_t choice = below(2 * kSteps);
    const Step which = choice < kSteps ? Step(choice) : kUses[below(std::size(kUses))];
    const size_t before = held_.size();
    const bool done = take(which);
    if (done) {
      succeeded_[size_t(which)]++;
      trace_ += std::string(trace_.empty() ? "" : ", ") + kStepNames[size_t(which)];
      if (held_.size() > before) trace_ += " -> " + std::to_string(before);
    }
    return done;
  }
  bool hasWon() const { return won_; }
  const std::string& trace() const { return trace_; }
  const std::array<size_t, kSteps>& succeeded() const { return succeeded_; }

 private:
  uint32_t below(uint32_t n) {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return uint32_t((state_ >> 33) % n);
  }
  int fresh(KeyFamily family) {
    terms_.push_back({Term::atom, family, -1, -1});
    return int(terms_.size()) - 1;
  }
  int composed(Term::Kind kind, int under, int content) {
    for (size_t i = 0; i < terms_.size(); i++) {
      if (terms_[i].kind == kind && terms_[i].under == under && terms_[i].content == content) return int(i);
    }
    terms_.push_back({kind, KeyFamily::aes, under, content});
    if (kind == Term::derived && terms_[size_t(under)].known) learn(int(terms_.size()) - 1);
    return int(terms_.size()) - 1;
  }
  void learn(int term) {
    if (terms_[size_t(term)].known) return;
    terms_[size_t(term)].known = true;
    won_ |= terms_[size_t(term)].kept;
    for (size_t i = 0; i < terms_.size(); i++) {  // what it can open now, and could not before
      const Term each = terms_[i];
      if (each.kind == Term::sealed && each.known && terms_[size_t(each.under)].known) learn(each.content);
      if (each.kind == Term::derived && terms_[size_t(each.under)].known) learn(int(i));
    }
  }
  // A template: each attribute absent, true or false.
  Sheet some(std::initializer_list<uint32_t> types) {
    Sheet out;
    for (const uint32_t type : types) {
      const uint32_t choice = below(5);
      if (choice < 3) continue;
      out.setFlag(type, choice == 3);
    }
    return out;
  }
  Sheet someSecret() {
    return some({attribute::Sensitive, attribute::Extractable, attribute::Encrypt, attribute::Decrypt, attribute::Wrap, attribute::Unwrap, attribute::Sign,
                 attribute::Derive, attribute::WrapWithTrusted, attribute::Trusted, attribute::Local, attribute::AlwaysSensitive, attribute::NeverExtractable});
  }
  // With fewer attributes that are refused whatever their value; half of the time the roles are ones that go together.
  Sheet someMade() {
    if (below(2) == 0) {
      Sheet out = some({attribute::Sensitive, attribute::Extractable});
      if (below(2) == 0) out.setFlag(attribute::Extractable, true);
      static constexpr uint32_t kTogether[][2] = {{attribute::Wrap, attribute::Unwrap}, {attribute::Encrypt, attribute::Decrypt}, {attribute::Wrap, attribute::Wrap}};
      for (const uint32_t type : kTogether[below(3)]) out.setFlag(type, true);
      return out;
    }
    return some({attribute::Sensitive, attribute::Extractable, attribute::Encrypt, attribute::Decrypt, attribute::Wrap, attribute::Unwrap, attribute::Sign});
  }
  Sheet somePrivate() { return some({attribute::Sensitive, attribute::Extractable, attribute::Decrypt, attribute::Unwrap, attribute::Sign, attribute::Derive}); }
  Sheet somePublic() { return some({attribute::Encrypt, attribute::Wrap, attribute::Verify}); }
  // One of those that are such; any, one time in eight.
  template <class Such>
  Held* pick(Such such) {
    std::array<size_t, 64> found;
    size_t n = 0;
    for (size_t i = 0; i < held_.size() && n < found.size(); i++) {
      if (such(held_[i])) found[n++] = i;
    }
    return n == 0 || below(8) == 0 ? any() : &held_[found[below(uint32_t(n))]];
  }
  Held* can(uint32_t type) {
    return pick([&](const Held& each) { return each.main.flag(type) || each.publicHalf.flag(type); });
  }
  Held* any() { return held_.empty() ? nullptr : &held_[below(uint32_t(held_.size()))]; }

  bool keep(const PlannedObject& plan, int value, bool honest = false) {
    held_.push_back({value, plan.family, plan.objectClass != ObjectClass::publicKey, plan.hasPublic || plan.objectClass == ObjectClass::publicKey, honest, plan.main,
                     plan.hasPublic ? plan.publicHalf : plan.objectClass == ObjectClass::publicKey ? plan.main : Sheet()});
    return true;
  }
  // What whoever made the key asked for: only a key that is born readable may be read.
  void born(const PlannedObject& plan, int value) { terms_[size_t(value)].kept = plan.main.flag(attribute::Sensitive) || !plan.main.flag(attribute::Extractable); }

  bool take(Step which) {
    switch (which) {
      case Step::generateAes:
      case Step::generateRsa:
      case Step::generateEc: return generate(which);
      case Step::createKnown:
      case Step::createPublic:
      case Step::importHonest: return create(which);
      case Step::trust: return trust();
      case Step::copy:
      case Step::set: return change(which == Step::copy);
      case Step::wrap: return wrap();
      case Step::unwrap: return unwrap();
      case Step::encrypt: return encrypt();
      case Step::decrypt:
      case Step::rawSign: return open(which == Step::decrypt ? kDecrypt : kSign);
      case Step::derive: return derive();
      case Step::read: return read();
    }
    return false;
  }

  bool generate(Step which) {
    PlannedObject plan;
    Code code;
    if (which == Step::generateAes) {
      code = planGenerate(*mechanismRow(kCkm_AES_KEY_GEN), with(below(4) == 0 ? someSecret() : someMade(), {number(attribute::ValueLen, 32)}), {}, &plan, nullptr);
    } else if (which == Step::generateRsa) {
      code = planGenerate(*mechanismRow(kCkm_RSA_PKCS_KEY_PAIR_GEN), somePrivate(), with(somePublic(), {number(attribute::ModulusBits, 2048)}), &plan, nullptr);
    } else {
      Sheet wanted = somePrivate();
      if (below(2) == 0) wanted.set(attribute::DeriveTemplate, sheet({flag(attribute::Sensitive)}).encode());
      code = planGenerate(*mechanismRow(kCkm_EC_KEY_PAIR_GEN), wanted, with(somePublic(), {bytes(attribute::EcParams, ecParamsOf(KeyType::EC_P256))}), &plan, nullptr);
    }
    if (code != Code::OK) return false;
    const int value = fresh(plan.family);
    born(plan, value);
    return keep(plan, value);
  }

  bool create(Step which) {
    PlannedObject plan;
    Sheet wanted = below(4) == 0 ? someSecret() : someMade();
    int value = constant_;
    if (which == Step::createPublic) {  // of any pair, its own among them
      const Held* from = any();
      value = from != nullptr && from->family == KeyFamily::rsa ? from->value : rsaKnown_;
      wanted = with(somePublic(), {ofClass(ObjectClass::publicKey), number(attribute::KeyType, kCkkRsa)});
    } else if (which == Step::createKnown && below(3) == 0) {
      value = rsaKnown_;
      wanted = with(somePrivate(), {ofClass(ObjectClass::privateKey), number(attribute::KeyType, kCkkRsa)});
    } else {
      wanted = with(wanted, {ofClass(ObjectClass::secretKey), number(attribute::KeyType, kCkkAes)});
    }
    if (planCreate(wanted, KeyType::RSA_2048, 32, &plan, nullptr) != Code::OK) return false;
    if (which != Step::importHonest) return keep(plan, value);
    value = fresh(KeyFamily::aes);
    born(plan, value);
    return keep(plan, value, true);
  }

  // An administrator trusts what she brought herself and nobody can take out; anybody else may only try.
  bool trust() {
    Held* object = any();
    if (object == nullptr) return false;
    const bool mayTrust = object->honest && terms_[size_t(object->value)].kept && !object->main.flag(attribute::Extractable) && !object->main.flag(attribute::NeverExtractable) &&
                          bornInside(object->value);
    Sheet* const half = object->hasPublic && below(2) == 0 ? &object->publicHalf : &object->main;
    if (half == &object->main && !object->hasMain) return false;
    Sheet out;
    if (planSet(*half, half == &object->publicHalf, sheet({flag(attribute::Trusted)}), mayTrust, &out, nullptr) != Code::OK) return false;
    *half = out;
    return true;
  }
  // Whether no object with this value could ever be wrapped.
  bool bornInside(int value) const {
    for (const Held& each : held_) {
      if (each.value == value && (each.main.flag(attribute::Extractable) || !each.honest)) return false;
    }
    for (const Term& each : terms_) {
      if (each.kind == Term::sealed && each.content == value) return false;
    }
    return true;
  }

  bool change(bool copies) {
    Held* from = any();
    if (from == nullptr) return false;
    const bool isPublic = from->hasPublic && (!from->hasMain || below(2) == 0);
    const Sheet wanted = below(2) == 0 ? some({attribute::Sensitive, attribute::Extractable}) : isPublic ? somePublic() : from->family == KeyFamily::aes ? someSecret() : somePrivate();
    const Sheet before = isPublic ? from->publicHalf : from->main;
    Sheet out;
    if ((copies ? planCopy(before, isPublic, wanted, &out, nullptr) : planSet(before, isPublic, wanted, false, &out, nullptr)) != Code::OK) return false;
    if (!copies) {
      (isPublic ? from->publicHalf : from->main) = out;
      return true;
    }
    held_.push_back({from->value, from->family, !isPublic, isPublic, from->honest, isPublic ? Sheet() : out, isPublic ? out : Sheet()});
    return true;
  }

  bool wrap() {
    const Held* by = can(attribute::Wrap);
    const Held* target = can(attribute::Extractable);
    if (by == nullptr || !target->hasMain) return false;
    const bool pair = by->family == KeyFamily::rsa;
    if (by->family == KeyFamily::ec || (pair && !by->hasPublic)) return false;
    const Sheet& wrapping = pair ? by->publicHalf : by->main;
    if (mayUse(wrapping, kWrap, pair ? kCkm_RSA_PKCS_OAEP : kCkm_AES_KEY_WRAP) != Code::OK) return false;
    if (mayWrap(wrapping, pair && by->hasMain ? &by->main : nullptr, target->main) != Code::OK) return false;
    const int blob = composed(Term::sealed, by->value, target->value);
    learn(blob);
    learnContent(blob);
    return true;
  }
  void learnContent(int blob) {
    const Term term = terms_[size_t(blob)];
    if (terms_[size_t(term.under)].known) learn(term.content);
  }

  // Something to put into a key here: a blob that it saw, or one that it makes itself (it knows the key, or the key is an RSA key's public half).
  int blobFor(const Held& key) {
    std::vector<int> seen;
    for (size_t i = 0; i < terms_.size(); i++) {
      if (terms_[i].kind == Term::sealed && terms_[i].known && terms_[i].under == key.value) seen.push_back(int(i));
    }
    const bool canMake = terms_[size_t(key.value)].known || key.family == KeyFamily::rsa;
    if (!seen.empty() && (!canMake || below(3) != 0)) return seen[below(uint32_t(seen.size()))];
    if (!canMake) return -1;
    const int content = below(2) == 0 ? constant_ : rsaKnown_;
    const int made = composed(Term::sealed, key.value, content);
    learn(made);
    return made;
  }

  bool unwrap() {
    const Held* by = can(attribute::Unwrap);
    if (by == nullptr || !by->hasMain || mayUse(by->main, kUnwrap, by->family == KeyFamily::rsa ? kCkm_RSA_PKCS_OAEP : kCkm_AES_KEY_WRAP) != Code::OK) return false;
    const int blob = blobFor(*by);
    if (blob < 0) return false;
    const Term content = terms_[size_t(terms_[size_t(blob)].content)];
    const bool isSecret = content.family == KeyFamily::aes;
    const uint64_t keyType = isSecret ? kCkkAes : content.family == KeyFamily::rsa ? kCkkRsa : kCkkEc;
    const Sheet wanted = with(isSecret ? someMade() : somePrivate(), {ofClass(isSecret ? ObjectClass::secretKey : ObjectClass::privateKey), number(attribute::KeyType, keyType)});
    PlannedObject plan;
    if (planUnwrap(by->main, wanted, &plan, nullptr) != Code::OK) return false;
    if (completePlan(&plan, content.family == KeyFamily::ec ? KeyType::EC_P256 : KeyType::RSA_2048, 32, nullptr) != Code::OK) return false;
    return keep(plan, terms_[size_t(blob)].content);
  }

  bool encrypt() {
    const Held* by = can(attribute::Encrypt);
    if (by == nullptr || by->family != KeyFamily::aes || mayUse(by->main, kEncrypt, kCkm_AES_ECB) != Code::OK) return false;
    learn(composed(Term::sealed, by->value, below(2) == 0 ? constant_ : rsaKnown_));
    return true;
  }

  bool open(Use use) {
    const Held* by = can(use == kSign ? attribute::Sign : attribute::Decrypt);
    if (by == nullptr || !by->hasMain || by->family == KeyFamily::ec) return false;
    if (use == kSign && by->family != KeyFamily::rsa) return false;
    if (mayUse(by->main, use, by->family == KeyFamily::rsa ? kCkm_RSA_X_509 : kCkm_AES_ECB) != Code::OK) return false;
    const int blob = blobFor(*by);
    if (blob < 0) return false;
    learn(terms_[size_t(blob)].content);
    return true;
  }

  bool derive() {
    const Held* by = can(attribute::Derive);
    if (by == nullptr || !by->hasMain || by->family != KeyFamily::ec || mayUse(by->main, kDerive, kCkm_ECDH1_DERIVE) != Code::OK) return false;
    PlannedObject plan;
    if (planDerive(by->main, with(someMade(), {number(attribute::KeyType, kCkkAes), number(attribute::ValueLen, 32)}), &plan, nullptr) != Code::OK) return false;
    const int value = composed(Term::derived, by->value, -1);
    // Whoever may derive may derive once more to a readable key, unless the base's template forbids and no copy without it can be unwrapped.
    if (by->main.has(attribute::DeriveTemplate) && by->main.flag(attribute::NeverExtractable)) terms_[size_t(value)].kept = true;
    return keep(plan, value);
  }

  bool read() {
    const Held* object = pick([](const Held& each) { return each.hasMain && !each.main.flag(attribute::Sensitive); });
    if (object == nullptr || !object->hasMain || mayRead(object->main) != Code::OK) return false;
    learn(object->value);
    return true;
  }

  uint64_t state_;
  std::vector<Term> terms_;
  std::vector<Held> held_;
  std::array<size_t, kSteps> succeeded_{};
  std::string trace_;
  bool won_ = false;
  int constant_ = 0, rsaKnown_ = 0;
};

}  // namespace quorate::test
