// The rules of attributes, for objects that are stored: pure functions over core/object_rules.h.
#include "addon/bindings.h"
#include "core/object_rules.h"
#include "plane/object_fault.h"

namespace quorate::addon {

namespace {

Buffer copyOf(Bytes bytes) { return Buffer(bytes.begin(), bytes.end()); }

Sheet parse(Bytes encoded) {
  Sheet sheet;
  uint32_t attribute = 0;
  const Code code = Sheet::parse(encoded, &sheet, &attribute);
  if (code != Code::OK) refuse(code, attribute == 0 ? "" : attributeName(attribute));
  return sheet;
}

bool isPublicKey(const Sheet& sheet) { return sheet.number(attribute::Class, UINT64_MAX) == static_cast<uint64_t>(ObjectClass::publicKey); }

// An empty sheet stands for an object that is not there; an empty change leaves one as it is.
Buffer changed(Bytes from, Bytes wanted, bool isPublicHalf, bool mayTrust) {
  if (wanted.empty()) return copyOf(from);
  if (from.empty()) refuse(Code::OBJECT_NOT_FOUND, isPublicHalf ? "the key has no public object" : "");
  const Sheet old = parse(from), change = parse(wanted);
  Sheet out;
  RuleFault fault;
  if (const Code code = planSet(old, isPublicKey(old), change, mayTrust, &out, &fault); code != Code::OK) refuse(code, describeFault(fault));
  return out.encode();
}

Napi::Value makeSheets(Napi::Env env, Bytes main, Bytes publicHalf) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("attributes", makeBytes(env, main));
  result.Set("publicAttributes", makeBytes(env, publicHalf));
  return result;
}

Napi::Value set(const Arguments& in) {
  constexpr size_t most = limits::object_sheet_bytes_max;
  const Bytes main = in.bytes(0, "attributes", 0, most), publicHalf = in.bytes(1, "publicAttributes", 0, most);
  const Bytes wanted = in.bytes(2, "wanted", 0, most), wantedPublic = in.bytes(3, "wantedPublic", 0, most);
  const bool mayTrust = in.boolean(4, "mayTrust");
  return makeSheets(in.env(), changed(main, wanted, false, mayTrust), changed(publicHalf, wantedPublic, true, mayTrust));
}

Napi::Value ofKey(const Arguments& in) {
  const auto type = in.enumerator(0, "type", KeyType::AES_128, KeyType::RSA_4096);
  const auto scheme = in.enumerator(1, "scheme", KeyScheme::AES_GCM, KeyScheme::RSA_OAEP);
  const bool exportable = in.boolean(2, "exportable"), imported = in.boolean(3, "imported"), publicOnly = in.boolean(4, "publicOnly");
  const std::string name = in.text(5, "name", 1, limits::name_bytes_max);
  const Bytes id = in.bytes(6, "id", 16, 16);
  Sheet main, publicHalf;
  bool hasMain = false, hasPublic = false;
  sheetOfKey(type, scheme, exportable, imported, publicOnly, name, id, &main, &publicHalf, &hasMain, &hasPublic);
  if (!hasMain && hasPublic) return makeSheets(in.env(), publicHalf.encode(), {});  // a lone public key is the main object
  return makeSheets(in.env(), hasMain ? main.encode() : Buffer{}, hasPublic ? publicHalf.encode() : Buffer{});
}

Napi::Value info(const Arguments& in) {
  static constexpr std::pair<const char*, uint32_t> flags[] = {
      {"token", attribute::Token},           {"private", attribute::Private},         {"modifiable", attribute::Modifiable}, {"copyable", attribute::Copyable},
      {"destroyable", attribute::Destroyable}, {"sensitive", attribute::Sensitive},   {"extractable", attribute::Extractable}, {"trusted", attribute::Trusted},
      {"wrapWithTrusted", attribute::WrapWithTrusted}, {"alwaysAuthenticate", attribute::AlwaysAuthenticate}, {"local", attribute::Local}};
  const Sheet sheet = parse(in.bytes(0, "attributes", 1, limits::object_sheet_bytes_max));
  const Napi::Env env = in.env();
  Napi::Object result = Napi::Object::New(env);
  const auto number = [&](uint32_t attribute) { return sheet.has(attribute) ? static_cast<double>(sheet.number(attribute, 0)) : -1.0; };
  result.Set("objectClass", number(attribute::Class));
  result.Set("keyType", number(attribute::KeyType));
  const Bytes label = sheet.value(attribute::Label);
  result.Set("label", Napi::String::New(env, reinterpret_cast<const char*>(label.data()), label.size()));
  result.Set("id", makeBytes(env, sheet.value(attribute::Id)));
  for (const auto& [name, attribute] : flags) result.Set(name, Napi::Boolean::New(env, sheet.flag(attribute)));
  return result;
}

constexpr Export kExports[] = {{"objectSet", entry<set>}, {"sheetOfKey", entry<ofKey>}, {"sheetInfo", entry<info>}};

}  // namespace

std::span<const Export> objectExports() { return kExports; }

}  // namespace quorate::addon
