// Sign, Verify, Mac, VerifyMac.
#include "core/der.h"
#include "core/p256_lanes.h"
#include "plane/methods.h"

namespace quorate {

namespace {

SignOptions optionsOf(const Work& work) {
  const HotRequest& r = work.request;
  SignOptions options{};
  options.type = work.key->type;
  options.scheme = work.key->scheme;
  options.hash = static_cast<Hash>(r.hash);
  options.prehashed = !r.digest.empty();
  options.format = static_cast<SignatureFormat>(r.format);
  options.saltBytes = r.saltBytes;
  return options;
}

Bytes inputOf(const HotRequest& r) { return r.digest.empty() ? r.data : r.digest; }

constexpr size_t kMacBytesMax = 64;

// *bytes is the whole MAC's length.
Code macOf(const PreparedKey& key, Bytes message, uint8_t out[kMacBytesMax], size_t* bytes) {
  switch (key.scheme) {
    case KeyScheme::HMAC_SHA256:
      *bytes = 32;
      hmacSha256(*key.hmac.get(), message, {}, out);
      return Code::OK;
    case KeyScheme::HMAC_SHA384: *bytes = 48; return hmac(Hash::SHA_384, *key.stored, message, out);
    case KeyScheme::HMAC_SHA512: *bytes = 64; return hmac(Hash::SHA_512, *key.stored, message, out);
    case KeyScheme::AES_CMAC: *bytes = 16; return aesCmac(*key.stored, message, out);
    default: return Code::KEY_USAGE_DENIED;
  }
}

void answerValid(Work& work, Reply& reply, bool valid) {
  uint8_t* out = putNumber(reply.begin(2 * kNumberFieldBytesMax), fields::VerifyResponse::valid, valid ? 1 : 0);
  reply.end(putNumber(out, fields::VerifyResponse::version, work.key->version));
}

// The answer to Sign.
void answerSignature(Bytes signature, uint32_t version, Reply& reply) {
  uint8_t* out = putField(reply.begin(fieldBytes(signature.size()) + kNumberFieldBytesMax), fields::SignResponse::signature, signature);
  reply.end(putNumber(out, fields::SignResponse::version, version));
}

}  // namespace

bool signsInLanes(const Work& work) {
  const PreparedKey& key = *work.key;
  if (key.type != KeyType::EC_P256 || !key.stored || key.spki.empty() || !p256LanesAvailable()) return false;
  if (work.request.method == Method::Sign) return key.scheme == KeyScheme::ECDSA;
  return work.request.method == Method::MechanismSign && mechanismRow(work.request.mechanism)->kind == MechanismKind::ecdsa;
}

Code laneRequestOf(const Work& work, LaneRequest* out) {
  if (work.request.method == Method::Sign) {
    const SignOptions options = optionsOf(work);
    out->format = options.format;
    return signedDigest(options, inputOf(work.request), out->digest, &out->digestBytes);
  }
  const Mechanism m = mechanismOf(work.request, {});
  out->format = SignatureFormat::P1363;
  return mechanismSignedDigest(m, mechanismKeyOf(work.key, m), work.request.data, out->digest, &out->digestBytes);
}

void answerLane(Method method, const PreparedKey& key, SignatureFormat format, Bytes signature, Reply& reply) {
  if (method == Method::MechanismSign) {
    uint8_t* out = putField(reply.begin(fieldBytes(signature.size()) + kNumberFieldBytesMax), fields::MechanismResponse::data, signature);
    reply.end(putNumber(out, fields::MechanismResponse::version, key.version));
    return;
  }
  if (format == SignatureFormat::P1363) return answerSignature(signature, key.version, reply);
  Buffer der;
  writeEcdsaSignature(signature, &der);
  answerSignature(der, key.version, reply);
}

Code signMessage(Work& work, Reply& reply) {
  Buffer signature;
  if (const Code code = sign(optionsOf(work), *work.key->stored, inputOf(work.request), &signature); code != Code::OK) return code;
  answerSignature(signature, work.key->version, reply);
  return Code::OK;
}

Code verifySignature(Work& work, Reply& reply) {
  bool valid = false;
  if (const Code code = verify(optionsOf(work), work.key->spki, inputOf(work.request), work.request.signature, &valid); code != Code::OK) return code;
  answerValid(work, reply, valid);
  return Code::OK;
}

Code mac(Work& work, Reply& reply) {
  uint8_t whole[kMacBytesMax];
  size_t bytes = 0;
  if (const Code code = macOf(*work.key, work.request.data, whole, &bytes); code != Code::OK) return code;
  const uint32_t asked = work.request.length == 0 ? static_cast<uint32_t>(bytes) : work.request.length;
  if (asked > bytes) {
    work.fault = {"mac_bytes is at most " + std::to_string(bytes) + " for this key", "mac_bytes"};
    return Code::BAD_REQUEST;
  }
  uint8_t* out = putField(reply.begin(fieldBytes(bytes) + kNumberFieldBytesMax), fields::MacResponse::mac, Bytes{whole, asked});
  reply.end(putNumber(out, fields::MacResponse::version, work.key->version));
  return Code::OK;
}

// A shortened MAC is compared on its own length, which is public; checkRequest saw that it has at least 16 bytes, so that no
// caller's input can be verified by less than 128 bits.
Code verifyMac(Work& work, Reply& reply) {
  uint8_t whole[kMacBytesMax];
  size_t bytes = 0;
  if (const Code code = macOf(*work.key, work.request.data, whole, &bytes); code != Code::OK) return code;
  const Bytes given = work.request.signature;
  answerValid(work, reply, given.size() <= bytes && equalConstantTime({whole, std::min(bytes, given.size())}, given));
  wipe(whole, sizeof(whole));  // the right MAC of a message whose sender may not have known it
  return Code::OK;
}

}  // namespace quorate
