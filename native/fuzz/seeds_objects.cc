// Seeds of the methods by mechanism and of session objects: each does its work.
#include <protozero/pbf_writer.hpp>

#include "fuzz/run.h"

namespace quorate::fuzz {

namespace {

namespace M = fields::MechanismRequest;
using W = protozero::pbf_writer;

enum Ckm : uint32_t {
#define M(name, number, kind, hash, key, least, most, uses) CKM_##name = number,
#include "core/mechanisms.def"
};

std::string textOf(const Buffer& bytes) { return {bytes.begin(), bytes.end()}; }

template <class F>
std::string by(Method method, const std::string& key, uint32_t mechanism, const std::string& data, F more) {
  std::string body;
  W writer{body};
  if (!key.empty()) writer.add_string(M::key, key);
  if (!data.empty()) writer.add_bytes(M::data, data);
  writer.add_uint32(M::mechanism, mechanism);
  more(writer);
  return frame(method, body);
}
std::string by(Method method, const std::string& key, uint32_t mechanism, const std::string& data) {
  return by(method, key, mechanism, data, [](W&) {});
}
std::string update(const std::string& data, bool last) {
  std::string body;
  W writer{body};
  writer.add_uint64(1, 1);
  writer.add_bytes(2, data);
  writer.add_bool(3, last);
  return frame(Method::MechanismUpdate, body);
}

template <class F>
std::string sheet(F fill) {
  Sheet out;
  fill(out);
  return textOf(out.encode());
}
const auto secretAes = [](Sheet& s) { s.setNumber(attribute::Class, 4), s.setNumber(attribute::KeyType, 0x1f); };

}  // namespace

Seeds objectSeeds() {
  const std::string block = "0123456789abcdef", iv = "0123456789ab";
  const auto gcm = [&](W& w) { w.add_bytes(M::iv, iv), w.add_bytes(M::aad, "aad"), w.add_uint32(M::tag_bits, 96); };
  const auto more = [](W& w) { w.add_bool(M::more, true); };
  const auto attributes = [](const std::string& encoded) { return [encoded](W& w) { w.add_bytes(M::attributes, encoded); }; };
  const std::string aes = sheet([](Sheet& s) { s.setNumber(attribute::ValueLen, 32), s.set(attribute::Label, bytesOf(std::string("label"))); });
  const std::string generate = by(Method::GenerateObject, "", CKM_AES_KEY_GEN, "", attributes(aes));
  const std::string named = sheet([](Sheet& s) { s.set(attribute::Label, bytesOf(std::string("changed"))), s.setFlag(attribute::Decrypt, false); });
  const std::string data = sheet([](Sheet& s) { s.setNumber(attribute::Class, 0), s.set(attribute::Value, bytesOf(std::string("value"))); });
  std::string store;
  W(store).add_string(1, "session:1");
  W(store).add_bytes(8, "forged");
  std::string use;
  W(use).add_bytes(1, "the pin");
  W(use).add_string(2, "session:1");
  Secret pkcs8;
  const InstalledVersion& y = keyCalled("y")->versions[0];
  if (exportMaterial(KeyType::EC_P256, MaterialFormat::PKCS8, *y.stored, y.spki, &pkcs8) != Code::OK) giveUp("PKCS#8 of y");
  const std::string pair = sheet([](Sheet& s) { s.setNumber(attribute::Class, 3), s.setNumber(attribute::KeyType, 3), s.set(attribute::EcParams, bytesOf(kCurveP256)); });
  Seeds out = {
      {"by_gcm", {by(Method::MechanismEncrypt, "x", CKM_AES_GCM, "plaintext", gcm)}},
      {"by_gcm_iv", {by(Method::MechanismEncrypt, "g", CKM_AES_GCM, "plaintext", [](W& w) { w.add_uint32(M::tag_bits, 128), w.add_bool(M::generate_iv, true); })}},
      {"by_ecb", {by(Method::MechanismDecrypt, "x", CKM_AES_ECB, block)}},
      {"by_cbc_pad", {by(Method::MechanismEncrypt, "x", CKM_AES_CBC_PAD, "text", [&](W& w) { w.add_bytes(M::iv, block); })}},
      {"by_ecdsa", {by(Method::MechanismSign, "y", CKM_ECDSA_SHA256, "message")}},
      {"by_hmac", {by(Method::MechanismSign, "h", CKM_SHA256_HMAC, "message")}},
      {"by_digest", {by(Method::MechanismDigest, "", CKM_SHA512, "message")}},
      {"parts_digest", {by(Method::MechanismDigest, "", CKM_SHA256, "one", more), update("two", false), update("three", true)}},
      {"parts_cbc", {by(Method::MechanismEncrypt, "x", CKM_AES_CBC_PAD, "one", [&](W& w) { w.add_bytes(M::iv, block), w.add_bool(M::more, true); }), update(block, false), update("", true)}},
      {"parts_verify", {by(Method::MechanismVerify, "y", CKM_ECDSA_SHA256, "one", more), update("two", true)}},
      {"wrap_object", {by(Method::WrapObject, "k", CKM_AES_KEY_WRAP_KWP, "", [](W& w) { w.add_string(M::target, "x"); })}},
      {"derive_object", {by(Method::DeriveObject, "p", CKM_ECDH1_DERIVE, "", [&](W& w) { w.add_bytes(M::peer_public, textOf(y.spki)), w.add_bytes(M::attributes, aes); })}},
      {"objects",
       {generate, by(Method::CopyObject, "session:1", 0, "", attributes(named)), by(Method::SetSessionObject, "session:1", 0, "", attributes(named)), frame(Method::GetObjectValue, std::string("\x0a\x01x")),
        frame(Method::StoreObject, store)}},
      {"create_secret", {by(Method::CreateObject, "", 0, std::string(16, 'k'), attributes(sheet(secretAes)))}},
      {"create_private", {by(Method::CreateObject, "", 0, std::string(pkcs8.data(), pkcs8.data() + pkcs8.size()), attributes(pair))}},
      {"create_data", {by(Method::CreateObject, "", 0, "", attributes(data)), frame(Method::GetObjectValue, std::string("\x0a\x09session:1"))}},
      {"ticket", {generate, frame(Method::AuthenticateUse, use), frame(Method::ObjectsEpoch, "")}},
  };
  const std::string wrapped = fieldOf(answersTo(out.at("wrap_object"))[0], 1);
  out["unwrap_object"] = {by(Method::UnwrapObject, "k", CKM_AES_KEY_WRAP_KWP, wrapped, attributes(sheet(secretAes)))};
  return out;
}

}  // namespace quorate::fuzz
