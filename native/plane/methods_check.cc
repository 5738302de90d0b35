// The rules for parameters, and the table of what computes each method. A parameter that means nothing under a key's scheme is
// refused, not ignored: nobody shall believe that a context was authenticated or an IV used.
#include "plane/methods.h"
#include "plane/usage.h"

namespace quorate {

namespace {

constexpr size_t kGcmIvBytes = 12, kBlockBytes = 16, kMacBytesMin = 16;
constexpr size_t kLongMessage = 256 * 1024, kLongPayload = 1024 * 1024;

Code refuse(Work& work, Code code, const char* field, std::string detail) {
  work.fault = {std::move(detail), field};
  return code;
}

// A field was given that means nothing under the key's scheme.
Code meaningless(Work& work, const char* field) { return refuse(work, Code::BAD_REQUEST, field, std::string(field) + " has no meaning for a key of this scheme"); }

bool isRsa(KeyType type) { return type == KeyType::RSA_2048 || type == KeyType::RSA_3072 || type == KeyType::RSA_4096; }
bool isSlowCurve(KeyType type) { return type == KeyType::EC_P384 || type == KeyType::EC_P521; }

Code checkIv(Work& work, bool encrypting) {
  const size_t given = work.request.iv.size();
  switch (work.key->scheme) {
    case KeyScheme::AES_GCM:
      if (encrypting && given != 0) return refuse(work, Code::IV_INVALID, "iv", "the daemon makes the IV of AES-GCM");
      if (!encrypting && given != kGcmIvBytes) return refuse(work, Code::IV_INVALID, "iv", "AES-GCM needs an IV of 12 bytes");
      return Code::OK;
    case KeyScheme::AES_CBC:
    case KeyScheme::AES_CTR:
      if (given == kBlockBytes || (encrypting && given == 0)) return Code::OK;
      return refuse(work, Code::IV_INVALID, "iv", "AES-CBC and AES-CTR take an IV of 16 bytes");
    default: return given == 0 ? Code::OK : refuse(work, Code::IV_INVALID, "iv", "a key of this scheme takes no IV");
  }
}

Code checkCipher(Work& work, bool encrypting) {
  const HotRequest& r = work.request;
  const KeyScheme scheme = work.key->scheme;
  if (const Code code = checkIv(work, encrypting); code != Code::OK) return code;
  if (scheme == KeyScheme::MANAGED && r.version != 0 && r.version != work.key->version) return refuse(work, Code::CIPHERTEXT_WRONG_KEY, "version", "the ciphertext is of another version");
  if (scheme == KeyScheme::AES_GCM && r.tagBytes != 0 && (r.tagBytes < 12 || r.tagBytes > 16)) return refuse(work, Code::TAG_LENGTH_INVALID, "tag_bytes", "");
  if (encrypting && r.data.size() > limits::message_bytes_max) return refuse(work, Code::INPUT_TOO_LONG, "plaintext", "");
  const bool authenticated = scheme != KeyScheme::AES_CBC && scheme != KeyScheme::AES_CTR;
  if (r.tagBytes != 0 && scheme != KeyScheme::AES_GCM) return meaningless(work, "tag_bytes");
  if (r.hash != 0 && scheme != KeyScheme::RSA_OAEP) return meaningless(work, "hash");
  if (!r.context.empty() && !authenticated) return meaningless(work, "context");
  return Code::OK;
}

Code checkSignature(Work& work) {
  const HotRequest& r = work.request;
  if (!r.digest.empty() && !r.data.empty()) return refuse(work, Code::BAD_REQUEST, "digest", "give the message or its digest, not both");
  if (r.format != 0 && work.key->scheme != KeyScheme::ECDSA) return meaningless(work, "format");
  if (r.saltBytes != 0 && work.key->scheme != KeyScheme::RSA_PSS) return meaningless(work, "salt_bytes");
  return Code::OK;
}

Code checkMac(Work& work) {
  const HotRequest& r = work.request;
  if (r.method == Method::Mac && r.length != 0 && r.length < kMacBytesMin) return refuse(work, Code::BAD_REQUEST, "mac_bytes", "a MAC has at least 16 bytes");
  if (r.method == Method::VerifyMac && r.signature.size() < kMacBytesMin) return refuse(work, Code::BAD_REQUEST, "mac", "a MAC has at least 16 bytes");
  return Code::OK;
}

Code checkWrapping(Work& work) {
  const HotRequest& r = work.request;
  const KeyScheme scheme = work.key->scheme;
  if (r.hash != 0 && scheme != KeyScheme::RSA_OAEP) return meaningless(work, "hash");
  if (!r.context.empty() && scheme == KeyScheme::AES_KW) return meaningless(work, "context");
  if (r.method == Method::Unwrap) return r.data.size() > limits::secret_bytes_max ? refuse(work, Code::INPUT_TOO_LONG, "wrapped", "") : Code::OK;
  const bool isPrivate = isAsymmetric(work.target->type);
  const auto fits = static_cast<uint32_t>(isPrivate ? MaterialFormat::PKCS8 : MaterialFormat::RAW);
  if (r.format != 0 && r.format != fits) return refuse(work, Code::BAD_REQUEST, "format", "symmetric keys are wrapped as RAW, private keys as PKCS8");
  if (scheme == KeyScheme::RSA_OAEP && isPrivate) return refuse(work, Code::KEY_USAGE_DENIED, "target", "RSA-OAEP wraps symmetric keys only");
  return Code::OK;
}

Code checkNewKey(Work& work) {
  const HotRequest& r = work.request;
  if (r.type == 0) return refuse(work, Code::BAD_REQUEST, "type", "a key needs a type");
  const KeyType type = static_cast<KeyType>(r.type);
  if (!typeHasScheme(type, r.scheme == 0 ? defaultScheme(type) : static_cast<KeyScheme>(r.scheme))) return refuse(work, Code::KEY_SCHEME_INVALID, "scheme", "");
  if (r.method != Method::CreateSessionKey) return Code::OK;
  const bool isHmac = type == KeyType::HMAC;
  if (r.length != 0 && (!isHmac || r.length < limits::hmac_key_bytes_min || r.length > limits::hmac_key_bytes_max))
    return refuse(work, Code::BAD_REQUEST, "length", "only HMAC keys have a length, from 16 to 256 bytes");
  return Code::OK;
}

}  // namespace

Code checkRequest(Work& work) {
  const HotRequest& r = work.request;
  if (r.context.size() > limits::context_bytes_max) return refuse(work, Code::CONTEXT_TOO_LONG, "context", "");
  switch (r.method) {
    case Method::Encrypt: return checkCipher(work, true);
    case Method::Decrypt: return checkCipher(work, false);
    case Method::Sign:
    case Method::Verify: return checkSignature(work);
    case Method::Mac:
    case Method::VerifyMac: return checkMac(work);
    case Method::GenerateDataKey: return r.length > limits::data_key_bytes_max ? refuse(work, Code::BAD_REQUEST, "length", "a data key has at most 128 bytes") : Code::OK;
    case Method::Unwrap:
      if (const Code code = checkNewKey(work); code != Code::OK) return code;
      return checkWrapping(work);
    case Method::Wrap: return checkWrapping(work);
    case Method::Derive:
      if (r.length > 255 * hashBytes(r.hashOr(Hash::SHA_256))) return refuse(work, Code::INPUT_TOO_LONG, "length", "HKDF gives at most 255 times the hash's length");
      return Code::OK;
    case Method::Rewrap:
      if (r.newContext.size() > limits::context_bytes_max) return refuse(work, Code::CONTEXT_TOO_LONG, "new_context", "");
      return r.keepContext && !r.newContext.empty() ? refuse(work, Code::BAD_REQUEST, "new_context", "keep_context and new_context exclude each other") : Code::OK;
    case Method::Random:
      if (r.length == 0 || r.length > limits::random_bytes_max) return refuse(work, Code::BAD_REQUEST, "length", "from 1 byte to 1 MiB");
      return Code::OK;
    case Method::CreateSessionKey:
    case Method::ImportSessionKey: return checkNewKey(work);
    default: return Code::OK;
  }
}

bool isSlow(const HotRequest& r, const PreparedKey* key) {
  if (isByMechanism(r.method)) return isSlowByMechanism(r, key);
  switch (r.method) {
    case Method::Sign: return isRsa(key->type) || isSlowCurve(key->type) || r.data.size() > kLongMessage;
    case Method::Verify: return isSlowCurve(key->type) || r.data.size() > kLongMessage;
    case Method::Mac:
    case Method::VerifyMac: return r.data.size() > kLongMessage;
    case Method::Encrypt: return r.data.size() > kLongPayload;
    case Method::Decrypt: return isRsa(key->type) || r.data.size() > kLongPayload;
    case Method::Derive: return isSlowCurve(key->type);
    case Method::Random: return r.length > kLongMessage;
    case Method::Unwrap: return isRsa(key->type) || isAsymmetric(static_cast<KeyType>(r.type));
    case Method::Rewrap: {
      size_t total = 0;
      for (const Bytes ciphertext : r.ciphertexts) total += ciphertext.size();
      return total > kLongPayload;
    }
    case Method::CreateSessionKey:
    case Method::ImportSessionKey: return isAsymmetric(static_cast<KeyType>(r.type));
    default: return false;
  }
}

Code compute(Work& work, Reply& reply) {
  if (isByMechanism(work.request.method)) return computeByMechanism(work, reply);
  switch (work.request.method) {
    case Method::Encrypt: return encrypt(work, reply);
    case Method::Decrypt: return decrypt(work, reply);
    case Method::Sign: return signMessage(work, reply);
    case Method::Verify: return verifySignature(work, reply);
    case Method::Mac: return mac(work, reply);
    case Method::VerifyMac: return verifyMac(work, reply);
    case Method::Random: return random(work, reply);
    case Method::GenerateDataKey: return generateDataKey(work, reply);
    case Method::Wrap: return wrap(work, reply);
    case Method::Derive: return derive(work, reply);
    case Method::Rewrap: return rewrap(work, reply);
    case Method::FetchSecret: return fetchSecret(work, reply);
    default: return Code::UNKNOWN_METHOD;
  }
}

}  // namespace quorate
