// Cryptography by mechanism (PKCS #11 3.0): what is asked about parameters, and the answers. Whether a key may do it, its attributes say.
#include <cstring>

#include "core/random.h"
#include "plane/methods.h"

namespace quorate {

namespace {

constexpr size_t kGcmIvBytes = 12;
constexpr size_t kLongMessage = 256 * 1024, kLongPayload = 1024 * 1024;
namespace F = fields::MechanismResponse;

Code refuse(Work& work, Code code, const char* field, std::string detail) {
  work.fault = {std::move(detail), field};
  return code;
}

bool isRsa(KeyType type) { return type == KeyType::RSA_2048 || type == KeyType::RSA_3072 || type == KeyType::RSA_4096; }
bool isSlowCurve(KeyType type) { return type == KeyType::EC_P384 || type == KeyType::EC_P521; }
bool isGcm(const Mechanism& mechanism) { return mechanism.row->kind == MechanismKind::aesGcm; }
bool isPrivateUse(Use use) { return use == kSign || use == kDecrypt || use == kUnwrap || use == kDerive; }

// SHA-1 breaks collisions: a raw key, which signs for everybody, does not sign over it.
bool signsWithSha1(const Mechanism& m) {
  const bool pss = m.row->kind == MechanismKind::rsaPss;
  const bool isMac = m.row->kind == MechanismKind::hmac || m.row->kind == MechanismKind::hmacGeneral;
  return !isMac && (m.row->hash == Hash::SHA_1 || (pss && (m.params.hash == Hash::SHA_1 || m.params.mgf == Hash::SHA_1)));
}

// Who makes the IV. SP 800-38D, 8.2: one key never sees an IV twice. A key of scheme AES_GCM has the daemon's IVs alone; of scheme
// PKCS11 the caller's are allowed, as Cryptoki has it, and then are the caller's duty.
Code checkIvSource(Work& work, const Mechanism& m, Use use) {
  const HotRequest& r = work.request;
  if (!r.generateIv) {
    if (use == kEncrypt && isGcm(m) && work.key->scheme == KeyScheme::AES_GCM) return refuse(work, Code::MECHANISM_PARAM_INVALID, "iv", "the daemon makes the IV of a key of scheme AES_GCM: ask with generate_iv");
    return Code::OK;
  }
  if (use != kEncrypt || !isGcm(m)) return refuse(work, Code::MECHANISM_PARAM_INVALID, "generate_iv", "an IV is made for encryption with AES-GCM alone");
  if (!r.iv.empty()) return refuse(work, Code::MECHANISM_PARAM_INVALID, "iv", "iv and generate_iv exclude each other");
  return Code::OK;
}

// A MAC by the state that is kept ready.
bool isPreparedHmac(const Work& work) {
  return work.request.mechanism == 0x251 && !work.key->hmac.empty();  // CKM_SHA256_HMAC
}

Code answerData(Work& work, Reply& reply, Bytes data) {
  uint8_t* out = putField(reply.begin(fieldBytes(data.size()) + kNumberFieldBytesMax), F::data, data);
  reply.end(putNumber(out, F::version, work.key == nullptr ? 0 : work.key->version));
  return Code::OK;
}

Code answerValid(Work& work, Reply& reply, bool valid) {
  uint8_t* out = putNumber(reply.begin(2 * kNumberFieldBytesMax), F::valid, valid ? 1 : 0);
  reply.end(putNumber(out, F::version, work.key->version));
  return Code::OK;
}

// The result is written straight into the connection's output buffer.
Code cipher(Work& work, Reply& reply, Use use) {
  const HotRequest& r = work.request;
  uint8_t iv[kGcmIvBytes];
  if (r.generateIv) randomNonce(iv);
  const Mechanism m = mechanismOf(r, iv);
  const MechanismKey key = mechanismKeyOf(work.key, m);
  const size_t most = resultBytes(m, use, key.type, r.data.size());
  OpenField field(reply.begin(fieldBytes(most) + fieldBytes(kGcmIvBytes) + kNumberFieldBytesMax), F::data, most);
  size_t written = 0;
  const MutBytes place{field.content(), most};
  const Code code = use == kEncrypt ? mechanismEncrypt(m, key, r.data, place, &written) : mechanismDecrypt(m, key, r.data, place, &written);
  if (code != Code::OK) {
    wipe(place);
    return code;
  }
  uint8_t* out = field.close(F::data, written);
  if (r.generateIv) out = putField(out, F::iv, Bytes(iv));
  reply.end(putNumber(out, F::version, work.key->version));
  return Code::OK;
}

Code signBy(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  if (isPreparedHmac(work)) {
    uint8_t mac[32];
    hmacSha256(*work.key->hmac.get(), r.data, {}, mac);
    const Code code = answerData(work, reply, mac);
    wipe(mac, sizeof(mac));
    return code;
  }
  const Mechanism m = mechanismOf(r, {});
  Buffer signature;
  Code code = mechanismSign(m, mechanismKeyOf(work.key, m), r.data, &signature);
  if (code == Code::OK) code = answerData(work, reply, signature);
  wipe(signature.data(), signature.size());  // a MAC may be a key to its asker
  return code;
}

Code verifyBy(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  if (isPreparedHmac(work)) {
    uint8_t mac[32];
    hmacSha256(*work.key->hmac.get(), r.data, {}, mac);
    const bool valid = equalConstantTime(mac, r.signature);
    wipe(mac, sizeof(mac));
    return answerValid(work, reply, valid);
  }
  const Mechanism m = mechanismOf(r, {});
  bool valid = false;
  if (const Code code = mechanismVerify(m, mechanismKeyOf(work.key, m), r.data, r.signature, &valid); code != Code::OK) return code;
  return answerValid(work, reply, valid);
}

Code digestBy(Work& work, Reply& reply) {
  const Mechanism m = mechanismOf(work.request, {});
  uint8_t out[64];
  if (const Code code = digest(m.row->hash, work.request.data, out); code != Code::OK) return code;
  const Code code = answerData(work, reply, Bytes{out, hashBytes(m.row->hash)});
  wipe(out, sizeof(out));
  return code;
}

// WrapObject. checkWrapObject() saw that the target may leave by this key.
Code wrapBy(Work& work, Reply& reply) {
  const PreparedKey& target = *work.target;
  const MaterialFormat format = isAsymmetric(target.type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW;
  Secret material;
  if (const Code code = exportMaterial(target.type, format, *target.stored, target.spki, &material); code != Code::OK) return code;
  const Mechanism m = mechanismOf(work.request, {});
  Buffer wrapped;
  if (const Code code = mechanismWrap(m, mechanismKeyOf(work.key, m), material, &wrapped); code != Code::OK) return code;
  return answerData(work, reply, wrapped);
}

// One part. What an error leaves of it is wiped; the operation is over then.
Code stepBy(Work& work, Reply& reply) {
  const OperationStep& step = work.step;
  const HotRequest& r = work.request;
  const size_t most = step.operation->room(r.data.size()) + (step.last ? step.operation->room(0) : 0);
  OpenField field(reply.begin(fieldBytes(most) + 3 * kNumberFieldBytesMax), F::data, most);
  const MutBytes place{field.content(), most};
  size_t written = 0, more = 0;
  bool valid = false;
  Code code = r.data.empty() ? Code::OK : step.operation->update(r.data, place, &written);
  if (code == Code::OK && step.last) code = step.operation->finish(r.signature, place.subspan(written), &more, &valid);
  if (code != Code::OK) {
    wipe(place);
    return code;
  }
  uint8_t* out = putNumber(field.close(F::data, written + more), F::operation, step.number);
  out = putNumber(out, F::valid, step.last && step.use == kVerify && valid ? 1 : 0);
  reply.end(putNumber(out, F::version, step.version));
  return Code::OK;
}

}  // namespace

bool isByMechanism(Method method) {
  const auto number = static_cast<uint16_t>(method);
  return (number >= static_cast<uint16_t>(Method::MechanismEncrypt) && number <= static_cast<uint16_t>(Method::WrapObject)) ||
         (number >= static_cast<uint16_t>(Method::GenerateObject) && number <= static_cast<uint16_t>(Method::ObjectsEpoch));
}

Use mechanismUse(Method method) {
  switch (method) {
    case Method::MechanismEncrypt: return kEncrypt;
    case Method::MechanismDecrypt: return kDecrypt;
    case Method::MechanismSign: return kSign;
    case Method::MechanismVerify: return kVerify;
    case Method::WrapObject: return kWrap;
    case Method::UnwrapObject: return kUnwrap;
    case Method::DeriveObject: return kDerive;
    default: return kDigest;
  }
}

Mechanism mechanismOf(const HotRequest& r, Bytes madeIv) {
  Mechanism m;
  m.row = mechanismRow(r.mechanism);
  MechanismParams& p = m.params;
  p.iv = r.generateIv ? madeIv : r.iv;
  p.aad = r.aad;
  p.label = r.label;
  p.peerPublic = r.peerPublic;
  p.shared = r.shared;
  p.tagBits = r.tagBits;
  p.counterBits = r.counterBits;
  p.saltBytes = r.saltBytes;
  p.macBytes = r.macBytes;
  p.bits = r.bits;
  p.hash = static_cast<Hash>(r.hash);
  p.mgf = static_cast<Hash>(r.mgf);
  p.kdf = static_cast<Hash>(r.kdf);
  return m;
}

MechanismKey mechanismKeyOf(const PreparedKey* key, const Mechanism& mechanism) {
  MechanismKey out;
  if (key == nullptr) return out;
  out.type = key->type;
  if (key->stored) out.stored = *key->stored;
  out.spki = key->spki;
  if (isGcm(mechanism) && !key->gcm.empty()) out.gcm = key->gcm.get();
  return out;
}

Code checkByMechanism(Work& work, const KeySheets* sheets) {
  const HotRequest& r = work.request;
  const Use use = mechanismUse(r.method);
  static constexpr uint8_t kSomeIv[kGcmIvBytes] = {};
  const Mechanism m = mechanismOf(r, kSomeIv);
  if (m.row == nullptr) return refuse(work, Code::MECHANISM_INVALID, "mechanism", "");
  const char* fact = nullptr;
  const KeyType type = work.key == nullptr ? KeyType::KEY_TYPE_UNSPECIFIED : work.key->type;
  if (const Code code = checkMechanism(m, use, type, &fact); code != Code::OK) return refuse(work, code, "mechanism", fact == nullptr ? "" : fact);
  if (work.key != nullptr) {
    if (const Code code = sheets->permits(use, r.mechanism); code != Code::OK) return refuse(work, code, "key", "");
    if (isPrivateUse(use) && work.key->publicOnly) return refuse(work, Code::KEY_USAGE_DENIED, "key", "only the public half of the key is here");
    if (use == kSign && work.key->scheme != KeyScheme::PKCS11 && signsWithSha1(m)) return refuse(work, Code::MECHANISM_INVALID, "mechanism", "SHA-1 signs with keys of scheme PKCS11 alone");
    if (const Code code = checkIvSource(work, m, use); code != Code::OK) return code;
  }
  if (r.data.size() > limits::message_bytes_max) return refuse(work, Code::INPUT_TOO_LONG, "data", "");
  // They are hashed on the plane's thread, some of them many times over.
  const std::pair<Bytes, const char*> parameters[] = {{r.label, "label"}, {r.shared, "shared"}, {r.peerPublic, "peer_public"}};
  for (const auto& [bytes, field] : parameters)
    if (bytes.size() > limits::context_bytes_max) return refuse(work, Code::MECHANISM_PARAM_INVALID, field, "at most " + std::to_string(limits::context_bytes_max) + " bytes");
  return Code::OK;
}

bool isSlowByMechanism(const HotRequest& r, const PreparedKey* key) {
  switch (r.method) {
    case Method::MechanismSign: return isRsa(key->type) || isSlowCurve(key->type) || r.data.size() > kLongMessage;
    case Method::MechanismVerify: return isSlowCurve(key->type) || r.data.size() > kLongMessage;
    case Method::MechanismEncrypt: return r.data.size() + r.aad.size() > kLongPayload;
    case Method::MechanismDecrypt: return isRsa(key->type) || r.data.size() + r.aad.size() > kLongPayload;
    case Method::MechanismDigest: return r.data.size() > kLongMessage;
    case Method::UnwrapObject: return isRsa(key->type);
    case Method::DeriveObject: return isSlowCurve(key->type);
    default: return false;
  }
}

bool isSlowStep(const HotRequest& r, const PreparedKey* key, bool last) {
  return r.data.size() > kLongMessage || (last && key != nullptr && (isRsa(key->type) || isSlowCurve(key->type)));
}

Code computeByMechanism(Work& work, Reply& reply) {
  if (work.step.operation != nullptr) return stepBy(work, reply);
  switch (work.request.method) {
    case Method::MechanismEncrypt: return cipher(work, reply, kEncrypt);
    case Method::MechanismDecrypt: return cipher(work, reply, kDecrypt);
    case Method::MechanismSign: return signBy(work, reply);
    case Method::MechanismVerify: return verifyBy(work, reply);
    case Method::MechanismDigest: return digestBy(work, reply);
    case Method::WrapObject: return wrapBy(work, reply);
    default: return Code::UNKNOWN_METHOD;
  }
}

}  // namespace quorate
