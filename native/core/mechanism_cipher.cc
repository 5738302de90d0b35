// Encryption and decryption by mechanism.
#include <algorithm>
#include <cstring>

#include "core/mechanism_parts.h"
#include "core/rsa.h"

namespace quorate {
namespace {

// AES-GCM with the key as it is prepared, or prepared for this message alone, in the arena.
template <class Work>
Code withGcm(const MechanismKey& key, size_t messageBytes, Work work) {
  if (key.gcm != nullptr) return work(key.gcm);
  ArenaBox<GcmKey> box;
  const Code code = ArenaBox<GcmKey>::make(&box);
  if (code != Code::OK) return code;
  gcm().initOnce(box.get(), key.stored.data(), key.stored.size(), messageBytes);
  return work(box.get());
}

Code gcmEncrypt(const MechanismParams& p, const MechanismKey& key, Bytes in, MutBytes out) {
  uint8_t tag[16];
  return withGcm(key, in.size(), [&](const GcmKey* prepared) {
    gcm().seal(prepared, p.iv.data(), p.aad.data(), p.aad.size(), in.data(), in.size(), out.data(), tag);
    std::memcpy(out.data() + in.size(), tag, p.tagBits / 8);
    return Code::OK;
  });
}

Code gcmDecrypt(const MechanismParams& p, const MechanismKey& key, Bytes in, MutBytes out) {
  const size_t tagBytes = p.tagBits / 8;
  if (in.size() < tagBytes) return Code::CIPHERTEXT_LENGTH_INVALID;
  const Bytes body = in.first(in.size() - tagBytes);
  return withGcm(key, body.size(), [&](const GcmKey* prepared) {
    const bool fits =
        gcm().open(prepared, p.iv.data(), p.aad.data(), p.aad.size(), body.data(), body.size(), out.data(), in.data() + body.size(), tagBytes);
    return fits ? Code::OK : Code::CIPHERTEXT_INVALID;
  });
}

Code counterMode(const MechanismParams& p, const MechanismKey& key, Bytes in, MutBytes out) {
  if (in.size() / 16 + (in.size() % 16 != 0) > counterBlocksLeft(p.iv.data(), p.counterBits)) return Code::DATA_LENGTH_INVALID;
  return aesCtr(key.stored, p.iv.data(), in, out);
}

// RSA_X_509 takes a number: what is shorter than the modulus gets leading zeros (PKCS #11 3.0, 2.1.5).
Code padRaw(const KeyRow& row, Bytes in, Secret* out) {
  if (in.size() > row.bytes) return Code::DATA_LENGTH_INVALID;
  const Code code = Secret::make(row.bytes, out);
  if (code == Code::OK && !in.empty()) std::memcpy(out->data() + row.bytes - in.size(), in.data(), in.size());
  return code;
}

Code rsaEncrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out) {
  const KeyRow& row = *keyRow(key.type);
  const Bytes publicKey = publicOctets(row, key.spki);
  if (publicKey.empty()) return Code::KEY_INVALID;
  return privately([&] {  // the plaintext passes libcrypto's stack
    Code code;
    if (mechanism.row->kind == MechanismKind::rsaOaep) {
      code = rsaOaepEncrypt(row, publicKey, {mechanism.params.hash, mechanism.params.mgf, mechanism.params.label}, in, out);
    } else {
      Secret padded;
      code = padRaw(row, in, &padded);
      if (code == Code::OK) code = rsaPublicOperation(row, publicKey, padded, out);
    }
    return code == Code::INPUT_TOO_LONG ? Code::DATA_LENGTH_INVALID : code;
  });
}

Code rsaDecrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out, size_t* written) {
  const KeyRow& row = *keyRow(key.type);
  if (in.size() != row.bytes) return Code::CIPHERTEXT_LENGTH_INVALID;
  return privately([&] {
    if (mechanism.row->kind == MechanismKind::rsaRaw) {
      const Code code = rsaPrivateOperation(row, key.stored, key.prepared, in, out);
      return code == Code::INPUT_TOO_LONG ? Code::CIPHERTEXT_INVALID : code;
    }
    Secret plain;
    const Code code = rsaOaepDecrypt(row, key.stored, key.prepared, {mechanism.params.hash, mechanism.params.mgf, mechanism.params.label}, in, &plain);
    if (code != Code::OK) return code;
    if (!plain.empty()) std::memcpy(out.data(), plain.data(), plain.size());
    *written = plain.size();
    return Code::OK;
  });
}

Code aesEncrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out) {
  const MechanismParams& p = mechanism.params;
  size_t written = 0;
  Code code = Code::MECHANISM_INVALID;
  switch (mechanism.row->kind) {
    case MechanismKind::aesEcb: code = aesEcb(key.stored, true, in, out); break;
    case MechanismKind::aesCbc: code = aesCbc(key.stored, p.iv.data(), true, in, out); break;
    case MechanismKind::aesCbcPad: code = aesCbcEncrypt(key.stored, p.iv.data(), in, out, &written); break;
    case MechanismKind::aesCtr: code = counterMode(p, key, in, out); break;
    default: break;
  }
  return code == Code::BAD_REQUEST ? Code::DATA_LENGTH_INVALID : code;
}

Code aesDecrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out, size_t* written) {
  const MechanismParams& p = mechanism.params;
  Code code = Code::MECHANISM_INVALID;
  switch (mechanism.row->kind) {
    case MechanismKind::aesEcb: code = aesEcb(key.stored, false, in, out); break;
    case MechanismKind::aesCbc: code = aesCbc(key.stored, p.iv.data(), false, in, out); break;
    case MechanismKind::aesCbcPad:
      if (in.empty() || in.size() % 16 != 0) return Code::CIPHERTEXT_LENGTH_INVALID;
      return aesCbcDecrypt(key.stored, p.iv.data(), in, out, written);
    case MechanismKind::aesCtr:
      code = counterMode(p, key, in, out);
      return code == Code::DATA_LENGTH_INVALID ? Code::CIPHERTEXT_LENGTH_INVALID : code;
    default: break;
  }
  return code == Code::BAD_REQUEST ? Code::CIPHERTEXT_LENGTH_INVALID : code;
}

bool isRsa(MechanismKind kind) { return kind == MechanismKind::rsaOaep || kind == MechanismKind::rsaRaw; }

}  // namespace

uint64_t counterBlocksLeft(const uint8_t counter[16], unsigned bits) {
  unsigned __int128 value = 0;
  for (int i = 0; i < 16; i++) value = value << 8 | counter[i];
  const unsigned __int128 most = bits >= 128 ? ~static_cast<unsigned __int128>(0) : (static_cast<unsigned __int128>(1) << bits) - 1;
  const unsigned __int128 left = most - (value & most);  // one more block than this fits
  return left >= ~uint64_t(0) ? ~uint64_t(0) : uint64_t(left) + 1;
}

Code mechanismEncrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out, size_t* written) {
  Code code = checkMechanism(mechanism, kEncrypt, key.type, nullptr);
  if (code != Code::OK) return code;
  const size_t need = resultBytes(mechanism, kEncrypt, key.type, in.size());
  if (out.size() < need) return Code::INTERNAL;
  out = out.first(need);
  if (mechanism.row->kind == MechanismKind::aesGcm) code = gcmEncrypt(mechanism.params, key, in, out);
  else code = isRsa(mechanism.row->kind) ? rsaEncrypt(mechanism, key, in, out) : aesEncrypt(mechanism, key, in, out);
  if (code == Code::OK) *written = need;
  return code;
}

Code mechanismDecrypt(const Mechanism& mechanism, const MechanismKey& key, Bytes in, MutBytes out, size_t* written) {
  Code code = checkMechanism(mechanism, kDecrypt, key.type, nullptr);
  if (code != Code::OK) return code;
  const size_t need = resultBytes(mechanism, kDecrypt, key.type, in.size());
  if (out.size() < need) return Code::INTERNAL;
  out = out.first(need);
  size_t plain = need;
  if (mechanism.row->kind == MechanismKind::aesGcm) code = gcmDecrypt(mechanism.params, key, in, out);
  else code = isRsa(mechanism.row->kind) ? rsaDecrypt(mechanism, key, in, out, &plain) : aesDecrypt(mechanism, key, in, out, &plain);
  if (code == Code::OK) *written = plain;
  else wipe(out);
  return code;
}

}  // namespace quorate
