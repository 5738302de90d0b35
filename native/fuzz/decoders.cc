// What is strict has one form: whatever a decoder accepts, its encoder must give back byte for byte.
#include <cstdlib>
#include <memory>

#include "core/json_field.h"
#include "core/key_der.h"
#include "core/record.h"
#include "core/shamir.h"
#include "fuzz/run.h"

namespace quorate::fuzz {

namespace {

void mustHold(bool holds) {
  if (!holds) std::abort();
}

bool same(Bytes a, Bytes b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

// A share is text that people type: many forms of it are accepted, but each says one share.
void shareText(Bytes text) {
  Secret share, written, again;
  if (shareDecode(text, &share) != Code::OK) return;
  mustHold(shareEncode(share, &written) == Code::OK);
  mustHold(shareDecode(written, &again) == Code::OK && same(share, again));
}

void record(Bytes in) {
  Buffer out(in.size() - std::min(in.size(), kRecordOverheadBytes));
  const Code code = openRecord(kFixedKek, kFixedAad, in, out);
  mustHold(code == Code::OK || code == Code::STORE_CORRUPT);
}

void signature(Bytes in, size_t scalarBytes) {
  Buffer fixed(2 * scalarBytes), written;
  if (!readEcdsaSignature(in, scalarBytes, fixed)) return;
  writeEcdsaSignature(fixed, &written);
  mustHold(same(in, written));
}

void containers(Bytes in) {
  Buffer written;
  if (PublicKeyInfo info; readPublicKeyInfo(in, &info)) {
    writePublicKeyInfo(info.algorithm, info.publicKey, &written);
    mustHold(same(in, written));
  }
  if (RsaPublicParts parts; readRsaPublicKey(in, &parts)) {
    writeRsaPublicKey(parts, &written);
    mustHold(same(in, written));
  }
  if (RsaPrivateParts parts; readRsaPrivateKey(in, &parts)) {
    Buffer room(in.size());
    DerWriter writer(room);
    writeRsaPrivateKey(parts, &writer);
    mustHold(same(in, writer.result()));
  }
  // These two may carry attributes, or a curve, that nobody writes again.
  PrivateKeyInfo info;
  EcPrivateParts parts;
  if (readPrivateKeyInfo(in, &info)) readEcPrivateKey(info.privateKey, &parts);
  readEcPrivateKey(in, &parts);
}

// A key that came in goes out and comes in again as the same key. Private keys of the slow types only as `containers` reads them:
// checking one takes as long as a thousand other inputs.
void import(KeyType type, MaterialFormat format, Bytes in) {
  const bool slow = isAsymmetric(type) && type != KeyType::EC_P256 && type != KeyType::ED25519 && type != KeyType::X25519;
  if (slow && format != MaterialFormat::SPKI_PUBLIC) return;
  Secret stored, out, again;
  Buffer spki, spkiAgain;
  std::string detail;
  if (importKey(type, format, in, &stored, &spki, &detail) != Code::OK || stored.empty()) return;
  const MaterialFormat away = isAsymmetric(type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW;
  mustHold(exportMaterial(type, away, stored, spki, &out) == Code::OK);
  mustHold(importKey(type, away, out, &again, &spkiAgain, &detail) == Code::OK);
  mustHold(same(stored, again) && spki == spkiAgain);
}

// The field's name lies before the first NUL. Whatever is found fits its room, and white space around the text changes nothing.
void json(Bytes in) {
  const auto nul = std::find(in.begin(), in.end(), 0);
  if (nul == in.end()) return;
  const std::string field(in.begin(), nul);
  const Bytes text(nul + 1, in.end());
  const size_t room = text.size() + kJsonFieldRoom;
  const std::unique_ptr<uint8_t[]> out(new uint8_t[room]);
  size_t written = room + 1;
  const JsonField found = jsonField(text, field, {out.get(), room}, &written);
  mustHold(written <= room && (found == JsonField::found || written == 0));
  const std::string around = " \n" + std::string(text.begin(), text.end()) + "\t";
  size_t again = 0;
  if (around.size() <= limits::secret_value_bytes_max && found != JsonField::notJson && !(text.size() >= 3 && text[0] == 0xef)) {
    Buffer second(around.size() + kJsonFieldRoom);
    mustHold(jsonField(bytesOf(around), field, second, &again) == found && again == written && same({out.get(), written}, Bytes(second).first(again)));
  }
}

}  // namespace

void decode(Bytes input) {
  keyCalled("");  // the arena is there
  if (input.empty()) return;
  // A copy of exactly its length: a read past its end is seen.
  const size_t n = input.size() - 1;
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[n]);
  std::copy(input.begin() + 1, input.end(), copy.get());
  const Bytes in{copy.get(), n};
  const unsigned type = input[0] >> 3;
  switch (static_cast<Decoder>(input[0] & 7)) {
    case Decoder::shareText: return shareText(in);
    case Decoder::record: return record(in);
    case Decoder::signature: return signature(in, type % 3 == 0 ? 32 : type % 3 == 1 ? 48 : 66);
    case Decoder::containers: return containers(in);
    case Decoder::importRaw: return import(static_cast<KeyType>(type), MaterialFormat::RAW, in);
    case Decoder::importPkcs8: return import(static_cast<KeyType>(type), MaterialFormat::PKCS8, in);
    case Decoder::jsonField: return json(in);
    case Decoder::importSpki: return import(static_cast<KeyType>(type), MaterialFormat::SPKI_PUBLIC, in);
  }
}

}  // namespace quorate::fuzz
