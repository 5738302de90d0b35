// The attributes of a key or object in use, read once: what is asked at each use is a bit and a short list. The rules are core/object_rules.h's.
#pragma once
#include <memory>

#include "core/object_rules.h"

namespace quorate {

// The attributes of one object: of a secret key, a private or a public one, a certificate or data.
struct HalfSheet {
  HalfSheet() = default;
  explicit HalfSheet(Sheet&& read);

  bool there = false;
  ObjectClass objectClass{};
  Sheet sheet;
  uint32_t uses = 0;                 // bits of Use: its flags
  bool anyMechanism = true;          // it has no CKA_ALLOWED_MECHANISMS
  std::vector<uint32_t> mechanisms;  // else these

  Code permits(Use use, uint32_t mechanism) const;  // as mayUse()
};

struct KeySheets {
  HalfSheet main;        // of the secret or private key, or of what has one object alone
  HalfSheet publicHalf;  // of a pair

  // ATTRIBUTE_VALUE_INVALID and the like for what is no sheet.
  static Code read(Bytes attributes, Bytes publicAttributes, std::shared_ptr<const KeySheets>* out);
  static std::shared_ptr<const KeySheets> of(Sheet&& main, bool hasPublic, Sheet&& publicHalf);

  // Whose flag governs that use: the public half's for what needs the public key alone. nullptr: there is no such object.
  const HalfSheet* halfFor(Use use) const;
  Code permits(Use use, uint32_t mechanism) const {
    const HalfSheet* half = halfFor(use);
    return half == nullptr ? Code::USE_NOT_PERMITTED : half->permits(use, mechanism);
  }
  // CKA_ALWAYS_AUTHENTICATE, and the use is the private key's.
  bool asksEachTime(Use use) const { return alwaysAuthenticate_ && halfFor(use) == &main; }
  bool isKey() const { return main.objectClass != ObjectClass::data && main.objectClass != ObjectClass::certificate; }
  // Heap that the attributes take, roughly.
  size_t bytes() const;

 private:
  bool alwaysAuthenticate_ = false;
};
using SheetsPtr = std::shared_ptr<const KeySheets>;

}  // namespace quorate
