// Wrap, Unwrap and other makers of key material, Derive, Random.
#include "core/random.h"
#include "plane/methods.h"
#include "plane/usage.h"

namespace quorate {

namespace {

constexpr size_t kKwOverheadBytes = 8;

// RFC 3394 takes multiples of 8 from 16 bytes; all else goes by RFC 5649.
bool needsPadding(size_t materialBytes) { return materialBytes % 8 != 0 || materialBytes < 16; }

Code exportTarget(const PreparedKey& target, Secret* out) {
  const MaterialFormat format = isAsymmetric(target.type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW;
  return exportMaterial(target.type, format, *target.stored, target.spki, out);
}

Code wrapInPlace(Work& work, Reply& reply, const Secret& material, bool managed) {
  const size_t most = managed ? material.size() + kManagedOverheadBytes : (material.size() + 7) / 8 * 8 + kKwOverheadBytes;
  uint8_t* out = putFieldHeader(reply.begin(fieldBytes(most) + kNumberFieldBytesMax), fields::WrapResponse::wrapped, most);
  size_t written = most;
  const Code code = managed ? work.key->managed->seal(work.request.context, material, {out, most})
                            : aesWrap(*work.key->stored, needsPadding(material.size()), material, {out, most}, &written);
  if (code != Code::OK) return code;
  if (written != most) return Code::INTERNAL;
  reply.end(putNumber(out + most, fields::WrapResponse::version, work.key->version));
  return Code::OK;
}

Code unwrapKw(const PreparedKey& key, Bytes wrapped, Secret* out) {
  if (wrapped.size() < 2 * kKwOverheadBytes || wrapped.size() % 8 != 0) return Code::CIPHERTEXT_INVALID;
  Secret opened;
  if (const Code code = Secret::make(wrapped.size(), &opened); code != Code::OK) return code;
  size_t written = 0;
  // Which of the two forms it is, only the integrity check tells; their constants differ, so one cannot pass for the other.
  Code code = wrapped.size() < 24 ? Code::CIPHERTEXT_INVALID : aesUnwrap(*key.stored, false, wrapped, opened.span(), &written);
  if (code != Code::OK) code = aesUnwrap(*key.stored, true, wrapped, opened.span(), &written);
  if (code != Code::OK) return Code::CIPHERTEXT_INVALID;
  opened.truncate(written);
  *out = std::move(opened);
  return Code::OK;
}

}  // namespace

Code wrap(Work& work, Reply& reply) {
  Secret material;
  if (const Code code = exportTarget(*work.target, &material); code != Code::OK) return code;
  if (work.key->scheme != KeyScheme::RSA_OAEP) return wrapInPlace(work, reply, material, work.key->scheme == KeyScheme::MANAGED);
  Buffer wrapped;
  const HotRequest& r = work.request;
  if (const Code code = oaepEncrypt(work.key->spki, r.hashOr(Hash::SHA_256), r.context, material, &wrapped); code != Code::OK) return code;
  uint8_t* out = putField(reply.begin(fieldBytes(wrapped.size()) + kNumberFieldBytesMax), fields::WrapResponse::wrapped, wrapped);
  reply.end(putNumber(out, fields::WrapResponse::version, work.key->version));
  return Code::OK;
}

Code unwrapMaterial(Work& work, Secret* material) {
  const HotRequest& r = work.request;
  const PreparedKey& key = *work.key;
  switch (key.scheme) {
    case KeyScheme::MANAGED: {
      if (r.data.size() <= kManagedOverheadBytes) return Code::CIPHERTEXT_INVALID;
      Secret opened;
      if (const Code code = Secret::make(r.data.size() - kManagedOverheadBytes, &opened); code != Code::OK) return code;
      const Code code = key.managed->open(r.context, r.data, opened.span());
      if (code == Code::OK) *material = std::move(opened);
      return code;
    }
    case KeyScheme::AES_KW: return unwrapKw(key, r.data, material);
    case KeyScheme::RSA_OAEP: return oaepDecrypt(*key.stored, r.hashOr(Hash::SHA_256), r.context, r.data, material);
    default: return Code::KEY_USAGE_DENIED;
  }
}

Code makeNewKey(Work& work, NewKey* out) {
  const HotRequest& r = work.request;
  if (work.plan != nullptr) return makeObject(work, out);
  out->type = static_cast<KeyType>(r.type);
  out->imported = r.method != Method::CreateSessionKey;
  out->scheme = r.scheme == 0 ? defaultScheme(out->type) : static_cast<KeyScheme>(r.scheme);
  out->exportable = r.method != Method::Unwrap && r.exportable;  // what came wrapped does not leave again
  if (r.method == Method::CreateSessionKey) return generateKey(out->type, r.length, &out->stored, &out->spki);
  const MaterialFormat format = r.format != 0 ? static_cast<MaterialFormat>(r.format) : isAsymmetric(out->type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW;
  std::string detail;
  Code code;
  if (r.method == Method::ImportSessionKey) {
    code = importKey(out->type, format, r.data, &out->stored, &out->spki, &detail);
  } else {
    Secret material;
    code = unwrapMaterial(work, &material);
    if (code == Code::OK) code = importKey(out->type, format, material, &out->stored, &out->spki, &detail);
  }
  if (!detail.empty()) work.fault.detail = detail;
  return code;
}

// ECDH (SP 800-56A) or X25519, then HKDF (RFC 5869): the shared secret itself never leaves.
Code derive(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  Secret z;
  if (const Code code = agree(work.key->type, *work.key->stored, r.data, &z); code != Code::OK) {
    if (code == Code::KEY_INVALID) work.fault = {"peer_public is not a valid public key of this type", "peer_public"};
    return code;
  }
  const size_t n = r.length == 0 ? 32 : r.length;
  uint8_t* out = putFieldHeader(reply.begin(fieldBytes(n) + kNumberFieldBytesMax), fields::DeriveResponse::secret, n);
  if (const Code code = hkdf(r.hashOr(Hash::SHA_256), z, r.salt, r.info, {out, n}); code != Code::OK) return code;
  reply.end(putNumber(out + n, fields::DeriveResponse::version, work.key->version));
  return Code::OK;
}

Code random(Work& work, Reply& reply) {
  const size_t n = work.request.length;
  uint8_t* out = putFieldHeader(reply.begin(fieldBytes(n)), fields::RandomResponse::random, n);
  randomBytes({out, n});
  reply.end(out + n);
  return Code::OK;
}

}  // namespace quorate
