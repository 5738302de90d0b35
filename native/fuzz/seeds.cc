// What the fuzzer starts from: requests that do their work. Written anew for each run; nothing of it is committed.
#include <filesystem>
#include <fstream>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "core/key_der.h"
#include "core/record.h"
#include "core/shamir.h"
#include "fuzz/run.h"

namespace quorate::fuzz {

namespace {

using W = protozero::pbf_writer;
template <class F>
std::string request(Method method, F fill) {
  std::string body;
  W writer{body};
  fill(writer);
  return frame(method, body);
}

std::string_view textOf(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Each hot method's request with a key that does it.
Seeds plainSeeds() {
  const std::string iv = "0123456789abcdef";
  const std::string gcm = request(Method::Encrypt, [](W& w) { w.add_string(1, "g"), w.add_string(2, "plaintext"), w.add_uint32(5, 12); });
  return {
      {"encrypt_managed", {request(Method::Encrypt, [](W& w) { w.add_string(1, "m"), w.add_string(2, "plaintext"), w.add_string(3, "context"); })}},
      {"encrypt_gcm", {gcm}},
      {"encrypt_gcm_waits_for_ivs", {gcm, gcm + gcm + gcm}},
      {"encrypt_cbc", {request(Method::Encrypt, [&](W& w) { w.add_string(1, "c"), w.add_string(2, "plaintext"), w.add_string(4, iv); })}},
      {"decrypt_ctr", {request(Method::Decrypt, [&](W& w) { w.add_string(1, "t"), w.add_string(2, "ciphertext"), w.add_string(4, iv); })}},
      {"sign", {request(Method::Sign, [](W& w) { w.add_string(1, "s"), w.add_string(2, "message"), w.add_enum(5, 2); })}},
      {"mac", {request(Method::Mac, [](W& w) { w.add_string(1, "h"), w.add_string(2, "message"), w.add_uint32(3, 16); })}},
      {"random", {request(Method::Random, [](W& w) { w.add_uint32(1, 32); })}},
      {"data_key", {request(Method::GenerateDataKey, [](W& w) { w.add_string(1, "m"), w.add_uint32(2, 16); })}},
      {"wrap", {request(Method::Wrap, [](W& w) { w.add_string(1, "w"), w.add_string(2, "h"); })}},
      {"derive", {request(Method::Derive, [](W& w) { w.add_string(1, "d"), w.add_string(2, std::string(32, '\x09')), w.add_uint32(6, 48); })}},
      {"stream",
       {request(Method::EncryptStream, [](W& w) { w.add_string(1, "m"); }), request(Method::StreamChunk, [](W& w) { w.add_uint64(1, 1), w.add_string(2, "data"), w.add_bool(3, true); }),
        request(Method::StreamClose, [](W& w) { w.add_uint64(1, 1); })}},
      {"session",
       {request(Method::CreateSessionKey, [](W& w) { w.add_enum(1, 3), w.add_enum(2, 2); }), request(Method::ImportSessionKey, [](W& w) { w.add_enum(1, 4), w.add_string(5, std::string(32, 'k')); }),
        request(Method::Encrypt, [](W& w) { w.add_string(1, "session:1"), w.add_string(2, "p"); }), request(Method::DestroySessionKey, [](W& w) { w.add_string(1, "session:1"); })}},
      {"import", {request(Method::ImportKey, [](W& w) { w.add_string(1, "n"), w.add_enum(2, 3), w.add_string(8, std::string(32, 'k')), w.add_string(15, std::string(16, 'i')); })}},
      {"too_large", {std::string("\xff\xff\xff\x7f\x01\0\0\0\x02\0\0\0", 12)}},
  };
}

// What opens, verifies or unwraps: made of the answers to the requests above.
Seeds mirroredSeeds(const Seeds& plain) {
  const auto made = [&](const char* seed, uint32_t field = 1) { return fieldOf(answersTo(plain.at(seed))[0], field); };
  const std::string managed = made("encrypt_managed"), header = made("stream", 2), chunk = fieldOf(answersTo(plain.at("stream"))[1], 1);
  const std::string gcm = answersTo(plain.at("encrypt_gcm"))[0];
  const Named& m = *keyCalled("m");
  std::shared_ptr<const ManagedKey> old;
  std::string oldCiphertext(kManagedOverheadBytes + 5, '\0');
  const Buffer empty, five(5, '5');
  if (ManagedKey::prepare(*m.versions[0].stored, {"default", m.versions[0].keyId, 1}, &old) != Code::OK) giveUp("version 1 of m");
  if (old->seal(empty, five, {reinterpret_cast<uint8_t*>(oldCiphertext.data()), oldCiphertext.size()}) != Code::OK) giveUp("a ciphertext of version 1");
  const std::string signature = fieldOf(answersTo({request(Method::Sign, [](W& w) { w.add_string(1, "e"), w.add_string(2, "message"); })})[0], 1);
  return {
      {"decrypt_managed", {request(Method::Decrypt, [&](W& w) { w.add_string(2, managed), w.add_string(3, "context"); })}},
      {"decrypt_managed_version_1", {request(Method::Decrypt, [&](W& w) { w.add_string(1, "m"), w.add_string(2, oldCiphertext); })}},
      {"decrypt_gcm", {request(Method::Decrypt, [&](W& w) { w.add_string(1, "g"), w.add_string(2, fieldOf(gcm, 1)), w.add_string(4, fieldOf(gcm, 2)), w.add_uint32(5, 12); })}},
      {"decrypt_cbc", {request(Method::Decrypt, [&](W& w) { w.add_string(1, "c"), w.add_string(2, made("encrypt_cbc")), w.add_string(4, "0123456789abcdef"); })}},
      {"verify_ecdsa", {request(Method::Verify, [&](W& w) { w.add_string(1, "s"), w.add_string(2, "message"), w.add_enum(5, 2), w.add_string(7, made("sign")); })}},
      {"verify_ed25519", {request(Method::Verify, [&](W& w) { w.add_string(1, "e"), w.add_string(2, "message"), w.add_string(7, signature); })}},
      {"verify_mac", {request(Method::VerifyMac, [&](W& w) { w.add_string(1, "h"), w.add_string(2, "message"), w.add_string(3, made("mac")); })}},
      {"unwrap", {request(Method::Unwrap, [&](W& w) { w.add_string(1, "w"), w.add_string(2, made("wrap")), w.add_enum(6, 4); })}},
      {"rewrap", {request(Method::Rewrap, [&](W& w) { w.add_string(1, "m"), w.add_string(2, oldCiphertext), w.add_string(2, oldCiphertext), w.add_string(4, "new"); })}},
      {"decrypt_stream",
       {request(Method::DecryptStream, [&](W& w) { w.add_string(2, header); }), request(Method::StreamChunk, [&](W& w) { w.add_uint64(1, 1), w.add_string(2, chunk), w.add_bool(3, true); })}},
  };
}

// Key material in its formats, which importing reads: DER strictly.
Seeds importSeeds() {
  Seeds out;
  for (const char* name : {"s", "e", "d"}) {
    const Named& key = *keyCalled(name);
    const InstalledVersion& version = key.versions[0];
    Secret pkcs8;
    if (exportMaterial(key.type, MaterialFormat::PKCS8, *version.stored, version.spki, &pkcs8) != Code::OK) giveUp("PKCS#8 of " + std::string(name));
    const auto import = [&](MaterialFormat format, Bytes material) {
      return request(Method::ImportSessionKey, [&](W& w) { w.add_enum(1, static_cast<int>(key.type)), w.add_enum(4, static_cast<int>(format)), w.add_string(5, std::string(textOf(material))); });
    };
    out["import_pkcs8_" + std::string(name)] = {import(MaterialFormat::PKCS8, pkcs8)};
    out["import_spki_" + std::string(name)] = {import(MaterialFormat::SPKI_PUBLIC, version.spki)};
    out["import_raw_" + std::string(name)] = {import(MaterialFormat::RAW, *version.stored)};
  }
  const std::string peer(textOf(keyCalled("s")->versions[0].spki));
  out["derive_spki"] = {request(Method::Derive, [&](W& w) { w.add_string(1, "p"), w.add_string(2, peer); })};
  out["derive_point"] = {request(Method::Derive, [&](W& w) { w.add_string(1, "p"), w.add_string(2, peer.substr(peer.size() - 65)); })};
  return out;
}

void writeFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush()) giveUp("cannot write " + path.string());
}

// For decode(): the choice of it, a Decoder with its type, the bytes.
void writeDecoderSeeds(const std::filesystem::path& folder) {
  const auto write = [&](const std::string& name, Decoder decoder, unsigned type, Bytes bytes) {
    writeFile(folder / name, std::string{0x40, static_cast<char>(type << 3 | static_cast<unsigned>(decoder))} + std::string(textOf(bytes)));
  };
  const Buffer content(32, 'c');
  std::vector<Secret> shares;
  Secret text;
  if (shamirSplit(content, 3, 2, &shares) != Code::OK || shareEncode(shares[0], &text) != Code::OK) giveUp("a share");
  write("share_text", Decoder::shareText, 0, text);
  Buffer sealed(content.size() + kRecordOverheadBytes);
  if (sealRecord(kFixedKek, kFixedAad, content, sealed) != Code::OK) giveUp("a record");
  write("record", Decoder::record, 0, sealed);
  Buffer signature;
  writeEcdsaSignature(Buffer(64, 0x81), &signature);
  write("signature", Decoder::signature, 0, signature);
  const char json[] = "a.b\0{\"a\":{\"b\":\"\\ud83d\\ude00\\n\"},\"c\":[1.5e3,true,null,{}]}";
  write("json_field", Decoder::jsonField, 0, {reinterpret_cast<const uint8_t*>(json), sizeof(json) - 1});
  for (const KeyType type : {KeyType::EC_P384, KeyType::EC_P521, KeyType::EC_P256, KeyType::ED25519, KeyType::X25519, KeyType::RSA_2048}) {
    Secret stored, pkcs8;
    Buffer spki;
    if (generateKey(type, 0, &stored, &spki) != Code::OK || exportMaterial(type, MaterialFormat::PKCS8, stored, spki, &pkcs8) != Code::OK) giveUp("a key to import");
    const std::string of = "_" + std::to_string(static_cast<unsigned>(type));
    write("decode_pkcs8" + of, Decoder::importPkcs8, static_cast<unsigned>(type), pkcs8);
    write("decode_spki" + of, Decoder::importSpki, static_cast<unsigned>(type), spki);
    write("containers_pkcs8" + of, Decoder::containers, 0, pkcs8);
    write("containers_spki" + of, Decoder::containers, 0, spki);
    write("containers_stored" + of, Decoder::containers, 0, stored);
  }
}

// For Run: frame by frame, in pieces as long as a piece may be; or torn, the frames' ends within a piece.
std::string inPieces(char choices, const Frames& frames, size_t piece) {
  std::string out{choices};
  for (const std::string& frame : frames)
    for (size_t at = 0; at < frame.size(); at += piece) {
      const std::string part = frame.substr(at, piece);
      out += static_cast<char>(part.size());
      out += part;
    }
  return out;
}

}  // namespace

std::vector<std::string> answersTo(const Frames& frames) {
  Run run(0x0f);
  for (const std::string& frame : frames) run.take(frame.data(), frame.size());
  run.answers.erase(run.answers.begin());
  return run.answers;
}

std::string fieldOf(const std::string& body, uint32_t number) {
  for (protozero::pbf_reader r{body}; r.next();) {
    if (r.tag() == number && r.wire_type() == protozero::pbf_wire_type::length_delimited) return r.get_bytes();
    r.skip();
  }
  giveUp("an answer has no field " + std::to_string(number));
}

void writeSeeds(const std::string& folder) {
  const std::filesystem::path in(folder);
  Seeds seeds = plainSeeds();
  seeds.merge(mirroredSeeds(seeds));
  seeds.merge(importSeeds());
  seeds.merge(objectSeeds());
  for (const auto& [name, frames] : seeds) {
    std::string joined;
    for (const std::string& frame : frames) joined += frame;
    writeFile(in / name, inPieces(0x0f, frames, 255));
    writeFile(in / (name + "_torn"), inPieces(0x07, {joined}, 7));
  }
  writeDecoderSeeds(in);
}

}  // namespace quorate::fuzz
