#include "plane/hot_request.h"

#include <cstring>
#include <protozero/pbf_reader.hpp>

namespace quorate {

namespace {

using protozero::pbf_wire_type;

constexpr uint32_t kFieldNumbers = 32;

// What a field number of one message means: which member of HotRequest takes it, and how it travels.
struct Rule {
  enum Kind : uint8_t { none, text, bytes, list, number, number64, flag } kind = none;
  const char* name = "";
  union {
    std::string_view HotFields::*textMember;
    Bytes HotFields::*bytesMember;
    uint32_t HotFields::*numberMember;
    uint64_t HotFields::*number64Member;
    bool HotFields::*flagMember;
  };
  uint32_t most = UINT32_MAX;  // number: the largest value allowed (enumerations)

  constexpr Rule() : textMember(nullptr) {}
  constexpr Rule(const char* n, std::string_view HotFields::*m) : kind(text), name(n), textMember(m) {}
  constexpr Rule(const char* n, Bytes HotFields::*m) : kind(bytes), name(n), bytesMember(m) {}
  constexpr Rule(const char* n, uint32_t HotFields::*m, uint32_t largest = UINT32_MAX) : kind(number), name(n), numberMember(m), most(largest) {}
  constexpr Rule(const char* n, uint64_t HotFields::*m) : kind(number64), name(n), number64Member(m) {}
  constexpr Rule(const char* n, bool HotFields::*m) : kind(flag), name(n), flagMember(m) {}
  static constexpr Rule ciphertexts() {
    Rule rule;
    rule.kind = list;
    rule.name = "ciphertexts";
    return rule;
  }
};

struct Message {
  Method method;
  Rule rules[kFieldNumbers];
};

using H = HotFields;
constexpr uint32_t kHashes = 5, kFormats = 3, kSignatureFormats = 2, kTypes = 12, kSchemes = 15;
constexpr Rule kNone{};
constexpr Rule kKey{"key", &H::key};
constexpr Rule kContext{"context", &H::context};
constexpr Rule kHash(const char* name = "hash") { return {name, &H::hash, kHashes}; }
constexpr Rule kVersion{"version", &H::version};

// MechanismRequest, which many methods share.
constexpr Message byMechanism(Method method) {
  return {method,
          {kNone,
           kKey,
           {"data", &H::data},
           {"mechanism", &H::mechanism},
           kVersion,
           {"iv", &H::iv},
           {"aad", &H::aad},
           {"tag_bits", &H::tagBits},
           {"counter_bits", &H::counterBits},
           kHash(),
           {"mgf", &H::mgf, kHashes},
           {"salt_bytes", &H::saltBytes},
           {"label", &H::label},
           {"mac_bytes", &H::macBytes},
           {"peer_public", &H::peerPublic},
           {"kdf", &H::kdf, kHashes},
           {"shared", &H::shared},
           {"bits", &H::bits},
           {"generate_iv", &H::generateIv},
           {"ticket", &H::ticket},
           {"more", &H::more},
           {"signature", &H::signature},
           {"target", &H::target},
           {"attributes", &H::attributes},
           {"public_attributes", &H::publicAttributes}}};
}

// Each row lists the fields of a message from number 0 (there is none) upwards.
constexpr Message kMessages[] = {
    {Method::Ping, {kNone, {"payload", &H::data}}},
    {Method::Encrypt, {kNone, kKey, {"plaintext", &H::data}, kContext, {"iv", &H::iv}, {"tag_bytes", &H::tagBytes}, kHash()}},
    {Method::Decrypt, {kNone, kKey, {"ciphertext", &H::data}, kContext, {"iv", &H::iv}, {"tag_bytes", &H::tagBytes}, kHash(), kVersion}},
    {Method::Sign, {kNone, kKey, {"message", &H::data}, {"digest", &H::digest}, kHash(), {"format", &H::format, kSignatureFormats}, {"salt_bytes", &H::saltBytes}}},
    {Method::Verify,
     {kNone, kKey, {"message", &H::data}, {"digest", &H::digest}, kHash(), {"format", &H::format, kSignatureFormats}, {"salt_bytes", &H::saltBytes}, {"signature", &H::signature}, kVersion}},
    {Method::Mac, {kNone, kKey, {"message", &H::data}, {"mac_bytes", &H::length}}},
    {Method::VerifyMac, {kNone, kKey, {"message", &H::data}, {"mac", &H::signature}, kVersion}},
    {Method::Random, {kNone, {"length", &H::length}}},
    {Method::GenerateDataKey, {kNone, kKey, {"length", &H::length}, kContext, {"without_plaintext", &H::withoutPlaintext}}},
    {Method::Wrap, {kNone, kKey, {"target", &H::target}, kContext, kHash(), {"format", &H::format, kFormats}}},
    {Method::Unwrap,
     {kNone, kKey, {"wrapped", &H::data}, kContext, kHash(), {"format", &H::format, kFormats}, {"type", &H::type, kTypes}, {"scheme", &H::scheme, kSchemes}, kVersion}},
    {Method::Derive, {kNone, kKey, {"peer_public", &H::data}, kHash(), {"salt", &H::salt}, {"info", &H::info}, {"length", &H::length}, kVersion}},
    {Method::Rewrap, {kNone, kKey, Rule::ciphertexts(), kContext, {"new_context", &H::newContext}, {"keep_context", &H::keepContext}}},
    {Method::EncryptStream, {kNone, kKey, kContext}},
    {Method::DecryptStream, {kNone, kKey, {"header", &H::header}, kContext}},
    {Method::StreamChunk, {kNone, {"stream", &H::stream}, {"data", &H::data}, {"last", &H::last}}},
    {Method::StreamClose, {kNone, {"stream", &H::stream}}},
    {Method::CreateSessionKey, {kNone, {"type", &H::type, kTypes}, {"scheme", &H::scheme, kSchemes}, {"exportable", &H::exportable}, {"length", &H::length}}},
    {Method::ImportSessionKey,
     {kNone, {"type", &H::type, kTypes}, {"scheme", &H::scheme, kSchemes}, {"exportable", &H::exportable}, {"format", &H::format, kFormats}, {"material", &H::data}}},
    {Method::DestroySessionKey, {kNone, kKey}},
    byMechanism(Method::MechanismEncrypt),
    byMechanism(Method::MechanismDecrypt),
    byMechanism(Method::MechanismSign),
    byMechanism(Method::MechanismVerify),
    byMechanism(Method::MechanismDigest),
    byMechanism(Method::WrapObject),
    byMechanism(Method::GenerateObject),
    byMechanism(Method::CreateObject),
    byMechanism(Method::CopyObject),
    byMechanism(Method::UnwrapObject),
    byMechanism(Method::DeriveObject),
    byMechanism(Method::SetSessionObject),
    {Method::MechanismUpdate, {kNone, {"operation", &H::stream}, {"data", &H::data}, {"last", &H::last}, {"signature", &H::signature}}},
    {Method::MechanismCancel, {kNone, {"operation", &H::stream}}},
    {Method::GetObjectValue, {kNone, kKey}},
    {Method::FetchSecret, {kNone, kKey, kVersion}},
    {Method::ObjectsEpoch, {kNone}},
};

constexpr size_t kMethodNumbers = 128;
struct Index {
  const Message* row[kMethodNumbers] = {};
  constexpr Index() {
    for (const Message& m : kMessages) row[static_cast<size_t>(m.method)] = &m;
  }
};
constexpr Index kIndex;
// Hello is read by its own method.
static_assert(
    [] {
      for (const MethodRow& method : kMethods)
        if (method.hot && method.id != Method::Hello && kIndex.row[static_cast<size_t>(method.id)] == nullptr) return false;
      return true;
    }(),
    "a hot method has no row above");

Bytes viewOf(protozero::pbf_reader& reader) {
  const protozero::data_view view = reader.get_view();
  return {reinterpret_cast<const uint8_t*>(view.data()), view.size()};
}

void take(const Rule& rule, protozero::pbf_reader& reader, HotRequest* out) {
  const bool delimited = rule.kind == Rule::text || rule.kind == Rule::bytes || rule.kind == Rule::list;
  if (reader.wire_type() != (delimited ? pbf_wire_type::length_delimited : pbf_wire_type::varint)) throw BadField{rule.name, "has the wrong wire type"};
  switch (rule.kind) {
    case Rule::text: {
      const Bytes view = viewOf(reader);
      out->*rule.textMember = {reinterpret_cast<const char*>(view.data()), view.size()};
      break;
    }
    case Rule::bytes: out->*rule.bytesMember = viewOf(reader); break;
    case Rule::list: out->ciphertexts.push_back(viewOf(reader)); break;
    case Rule::number: {
      const auto value = static_cast<uint32_t>(reader.get_uint64());
      if (value > rule.most) throw BadField{rule.name, "has a value that is not in its list"};
      out->*rule.numberMember = value;
      break;
    }
    case Rule::number64: out->*rule.number64Member = reader.get_uint64(); break;
    case Rule::flag: out->*rule.flagMember = reader.get_uint64() != 0; break;
    case Rule::none: break;
  }
}

}  // namespace

void decodeHotRequest(Method method, Bytes body, HotRequest* out) {
  // All members are zero when empty. The size is hidden so that libc's memset does it: for this many bytes the compiler would write
  // `rep stos`, whose start alone takes longer than the rest of decoding a short request.
  static_assert(std::is_trivially_copyable_v<HotFields>);
  size_t bytes = sizeof(HotFields);
  asm("" : "+r"(bytes));
  std::memset(static_cast<void*>(static_cast<HotFields*>(out)), 0, bytes);
  out->method = method;
  out->ciphertexts.clear();
  const Message& message = *kIndex.row[static_cast<size_t>(method)];
  protozero::pbf_reader reader{reinterpret_cast<const char*>(body.data()), body.size()};
  while (reader.next()) {
    const uint32_t field = reader.tag();
    if (field >= kFieldNumbers || message.rules[field].kind == Rule::none) {
      reader.skip();
    } else {
      take(message.rules[field], reader, out);
    }
  }
}

}  // namespace quorate
