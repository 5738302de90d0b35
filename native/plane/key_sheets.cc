#include "plane/key_sheets.h"

#include <algorithm>
#include <cstring>

namespace quorate {

namespace {

constexpr Use kUses[] = {kEncrypt, kDecrypt, kSign, kVerify, kWrap, kUnwrap, kDerive};
constexpr size_t kRowBytes = 80;  // of one attribute, beside its value

bool isPublicUse(Use use) { return use == kEncrypt || use == kVerify || use == kWrap; }

size_t bytesOf(const Sheet& sheet) {
  size_t n = 0;
  for (const auto& [type, value] : sheet.rows()) n += kRowBytes + value.size();
  return n;
}

}  // namespace

HalfSheet::HalfSheet(Sheet&& read) : there(true), sheet(std::move(read)) {
  objectClass = static_cast<ObjectClass>(sheet.number(attribute::Class, static_cast<uint64_t>(ObjectClass::data)));
  anyMechanism = !sheet.has(attribute::AllowedMechanisms);
  const Bytes list = sheet.value(attribute::AllowedMechanisms);
  for (size_t at = 0; at + 8 <= list.size(); at += 8) {
    uint64_t mechanism;
    std::memcpy(&mechanism, list.data() + at, sizeof(mechanism));
    if (mechanism <= UINT32_MAX) mechanisms.push_back(static_cast<uint32_t>(mechanism));
  }
  // The flags alone: by a mechanism that the list allows, and without one its list allows nothing.
  if (!anyMechanism && mechanisms.empty()) return;
  const uint32_t allowed = anyMechanism ? 0 : mechanisms[0];
  for (const Use use : kUses)
    if (mayUse(sheet, use, allowed) == Code::OK) uses |= use;
}

Code HalfSheet::permits(Use use, uint32_t mechanism) const {
  if ((uses & use) == 0) return Code::USE_NOT_PERMITTED;
  if (anyMechanism || std::find(mechanisms.begin(), mechanisms.end(), mechanism) != mechanisms.end()) return Code::OK;
  return Code::MECHANISM_INVALID;
}

SheetsPtr KeySheets::of(Sheet&& main, bool hasPublic, Sheet&& publicHalf) {
  auto sheets = std::make_shared<KeySheets>();
  sheets->main = HalfSheet(std::move(main));
  if (hasPublic) sheets->publicHalf = HalfSheet(std::move(publicHalf));
  sheets->alwaysAuthenticate_ = sheets->main.sheet.flag(attribute::AlwaysAuthenticate);
  return sheets;
}

Code KeySheets::read(Bytes attributes, Bytes publicAttributes, SheetsPtr* out) {
  Sheet main, publicHalf;
  uint32_t at;
  if (const Code code = Sheet::parse(attributes, &main, &at); code != Code::OK) return code;
  if (!publicAttributes.empty())
    if (const Code code = Sheet::parse(publicAttributes, &publicHalf, &at); code != Code::OK) return code;
  *out = of(std::move(main), !publicAttributes.empty(), std::move(publicHalf));
  return Code::OK;
}

const HalfSheet* KeySheets::halfFor(Use use) const {
  switch (main.objectClass) {
    case ObjectClass::secretKey: return &main;
    case ObjectClass::privateKey:
      if (!isPublicUse(use)) return &main;
      return publicHalf.there ? &publicHalf : nullptr;
    case ObjectClass::publicKey: return isPublicUse(use) ? &main : nullptr;
    default: return nullptr;
  }
}

size_t KeySheets::bytes() const { return bytesOf(main.sheet) + (publicHalf.there ? bytesOf(publicHalf.sheet) : 0); }

}  // namespace quorate
