// Signatures and MACs by mechanism.
#include <cstring>

#include "core/ec.h"
#include "core/mechanism_parts.h"
#include "core/rsa.h"

namespace quorate {
namespace {

constexpr size_t kMacBytesMax = 64;

// An HMAC or CMAC in full. False: the mechanism is no MAC.
bool isMac(MechanismKind kind) {
  return kind == MechanismKind::hmac || kind == MechanismKind::hmacGeneral || kind == MechanismKind::aesCmac || kind == MechanismKind::aesCmacGeneral;
}

Code macOf(const Mechanism& mechanism, const MechanismKey& key, Bytes in, uint8_t out[kMacBytesMax]) {
  const bool isCmac = mechanism.row->kind == MechanismKind::aesCmac || mechanism.row->kind == MechanismKind::aesCmacGeneral;
  return isCmac ? aesCmac(key.stored, in, out) : hmac(mechanism.row->hash, key.stored, in, out);
}

RsaPadding paddingOf(const Mechanism& mechanism) {
  if (mechanism.row->kind == MechanismKind::rsaPkcs) return {.kind = RsaPadding::pkcs1, .hash = mechanism.row->hash};
  return {.kind = RsaPadding::pss, .hash = mechanism.params.hash, .mgf = mechanism.params.mgf, .saltBytes = mechanism.params.saltBytes};
}

// Lengths that a raw signature takes: an unhashed RSA_PKCS as much as fits (told by rsaSign), PSS a digest of its hash, ECDSA a digest of any hash.
Code checkInput(const Mechanism& mechanism, const KeyRow& row, Bytes input) {
  switch (mechanism.row->kind) {
    case MechanismKind::rsaPss: return input.size() == hashBytes(mechanism.params.hash) ? Code::OK : Code::DATA_LENGTH_INVALID;
    case MechanismKind::ecdsa: return !input.empty() && input.size() <= 64 ? Code::OK : Code::DATA_LENGTH_INVALID;
    case MechanismKind::rsaRaw: return input.size() <= row.bytes ? Code::OK : Code::DATA_LENGTH_INVALID;
    default: return Code::OK;
  }
}

SignOptions p1363(KeyType type) { return {.type = type, .scheme = KeyScheme::ECDSA, .format = SignatureFormat::P1363}; }

Code signRaw(const KeyRow& row, const MechanismKey& key, Bytes input, Buffer* signature) {
  Secret padded;
  Code code = Secret::make(row.bytes, &padded);
  if (code != Code::OK) return code;
  if (!input.empty()) std::memcpy(padded.data() + row.bytes - input.size(), input.data(), input.size());
  Buffer result(row.bytes);
  code = rsaPrivateOperation(row, key.stored, key.prepared, padded, result);
  if (code == Code::OK) *signature = std::move(result);
  return code;
}

Code verifyRaw(const KeyRow& row, Bytes publicKey, Bytes input, Bytes signature, bool* valid) {
  if (signature.size() != row.bytes) return Code::OK;
  Buffer opened(row.bytes), expected(row.bytes);
  if (!input.empty()) std::memcpy(expected.data() + row.bytes - input.size(), input.data(), input.size());
  const Code code = rsaPublicOperation(row, publicKey, signature, opened);
  if (code == Code::OK) *valid = opened == expected;
  return code == Code::INPUT_TOO_LONG ? Code::OK : code;
}

// What the mechanism's own hash makes of the message; without one, the message.
struct Hashed {
  uint8_t digestBytes[64];
  Bytes bytes;
};
bool hashes(const Mechanism& mechanism) { return mechanism.row->hash != Hash::HASH_UNSPECIFIED && !isMac(mechanism.row->kind); }
void hashInput(const Mechanism& mechanism, Bytes in, Hashed* out) {
  out->bytes = in;
  if (!hashes(mechanism)) return;
  digest(mechanism.row->hash, in, out->digestBytes);
  out->bytes = {out->digestBytes, hashBytes(mechanism.row->hash)};
}

}  // namespace

Code signInput(const Mechanism& mechanism, const MechanismKey& key, Bytes input, Buffer* signature) {
  const KeyRow& row = *keyRow(key.type);
  Code code = checkInput(mechanism, row, input);
  if (code != Code::OK) return code;
  code = privately([&] {
    switch (mechanism.row->kind) {
      case MechanismKind::ecdsa: return ecdsaSign(row, p1363(key.type), key.stored, nullptr, input, signature);
      case MechanismKind::eddsa:
        return row.verbs->sign(row, {.type = key.type, .scheme = KeyScheme::EDDSA}, key.stored, key.prepared, input, signature);
      case MechanismKind::rsaRaw: return signRaw(row, key, input, signature);
      case MechanismKind::rsaPkcs:
      case MechanismKind::rsaPss: return rsaSign(row, paddingOf(mechanism), key.stored, key.prepared, input, signature);
      default: return Code::MECHANISM_INVALID;
    }
  });
  return code == Code::INPUT_TOO_LONG ? Code::DATA_LENGTH_INVALID : code;
}

Code verifyInput(const Mechanism& mechanism, const MechanismKey& key, Bytes input, Bytes signature, bool* valid) {
  const KeyRow& row = *keyRow(key.type);
  const Bytes publicKey = publicOctets(row, key.spki);
  if (publicKey.empty()) return Code::KEY_INVALID;
  Code code = checkInput(mechanism, row, input);
  if (code != Code::OK) return code;
  const ErrorQueueMark mark;
  switch (mechanism.row->kind) {
    case MechanismKind::ecdsa: code = ecdsaVerify(row, p1363(key.type), publicKey, input, signature, valid); break;
    case MechanismKind::eddsa: code = row.verbs->verify(row, {.type = key.type, .scheme = KeyScheme::EDDSA}, publicKey, input, signature, valid); break;
    case MechanismKind::rsaRaw: code = verifyRaw(row, publicKey, input, signature, valid); break;
    case MechanismKind::rsaPkcs:
    case MechanismKind::rsaPss: code = rsaVerify(row, paddingOf(mechanism), publicKey, input, signature, valid); break;
    default: code = Code::MECHANISM_INVALID;
  }
  return code == Code::INPUT_TOO_LONG ? Code::DATA_LENGTH_INVALID : code;
}

Code mechanismSign(const Mechanism& mechanism, const MechanismKey& key, Bytes in, Buffer* signature) {
  Code code = checkMechanism(mechanism, kSign, key.type, nullptr);
  if (code != Code::OK) return code;
  if (isMac(mechanism.row->kind)) {
    uint8_t mac[kMacBytesMax];
    code = withScrubbedStack([&] { return macOf(mechanism, key, in, mac); });
    if (code == Code::OK) signature->assign(mac, mac + resultBytes(mechanism, kSign, key.type, in.size()));
    wipe(mac, sizeof mac);
    return code;
  }
  Hashed hashed;
  hashInput(mechanism, in, &hashed);
  return signInput(mechanism, key, hashed.bytes, signature);
}

Code mechanismSignedDigest(const Mechanism& mechanism, const MechanismKey& key, Bytes in, uint8_t out[64], size_t* bytes) {
  Code code = checkMechanism(mechanism, kSign, key.type, nullptr);
  if (code != Code::OK) return code;
  if (mechanism.row->kind != MechanismKind::ecdsa) return Code::MECHANISM_INVALID;
  Hashed hashed;
  hashInput(mechanism, in, &hashed);
  code = checkInput(mechanism, *keyRow(key.type), hashed.bytes);
  if (code != Code::OK) return code;
  *bytes = hashed.bytes.size();
  std::memcpy(out, hashed.bytes.data(), hashed.bytes.size());
  return Code::OK;
}

Code mechanismVerify(const Mechanism& mechanism, const MechanismKey& key, Bytes in, Bytes signature, bool* valid) {
  *valid = false;
  Code code = checkMechanism(mechanism, kVerify, key.type, nullptr);
  if (code != Code::OK) return code;
  if (isMac(mechanism.row->kind)) {
    uint8_t mac[kMacBytesMax];
    code = withScrubbedStack([&] { return macOf(mechanism, key, in, mac); });
    if (code == Code::OK) *valid = equalConstantTime({mac, resultBytes(mechanism, kSign, key.type, in.size())}, signature);
    wipe(mac, sizeof mac);
    return code;
  }
  Hashed hashed;
  hashInput(mechanism, in, &hashed);
  return verifyInput(mechanism, key, hashed.bytes, signature, valid);
}

}  // namespace quorate
