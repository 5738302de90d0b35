// Encrypt, Decrypt, GenerateDataKey, Rewrap. The result is written straight into the connection's output buffer.
#include "core/random.h"
#include "plane/methods.h"

namespace quorate {

namespace {

constexpr size_t kGcmTagBytes = 16, kGcmIvBytes = 12, kBlockBytes = 16;

uint32_t tagBytesOf(const HotRequest& r) { return r.tagBytes == 0 ? kGcmTagBytes : r.tagBytes; }

Code encryptManaged(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  const size_t n = r.data.size() + kManagedOverheadBytes;
  uint8_t* out = putFieldHeader(reply.begin(fieldBytes(n) + kNumberFieldBytesMax), fields::EncryptResponse::ciphertext, n);
  if (const Code code = work.key->managed->seal(r.context, r.data, {out, n}); code != Code::OK) return code;
  reply.end(putNumber(out + n, fields::EncryptResponse::version, work.key->version));
  return Code::OK;
}

// SP 800-38D, 8.2.2: a random 96-bit IV, made here and never by the caller; the key's reserved count was taken before.
Code encryptGcm(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  const size_t tagBytes = tagBytesOf(r), n = r.data.size() + tagBytes;
  alignas(16) uint8_t iv[16] = {};
  randomNonce({iv, kGcmIvBytes});
  // The whole tag is written, and what a shorter one leaves is overwritten by the next field: hence its 16 bytes more.
  uint8_t* out = putFieldHeader(reply.begin(fieldBytes(n) + kGcmTagBytes + fieldBytes(kGcmIvBytes) + kNumberFieldBytesMax), fields::EncryptResponse::ciphertext, n);
  gcm().seal(work.key->gcm.get(), iv, r.context.data(), r.context.size(), r.data.data(), r.data.size(), out, out + r.data.size());
  out = putField(out + n, fields::EncryptResponse::iv, Bytes{iv, kGcmIvBytes});
  reply.end(putNumber(out, fields::EncryptResponse::version, work.key->version));
  return Code::OK;
}

Code encryptCbcOrCtr(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  const Bytes material = *work.key->stored;
  uint8_t iv[kBlockBytes];
  if (r.iv.empty()) randomNonce(iv);
  else std::memcpy(iv, r.iv.data(), kBlockBytes);
  const bool cbc = work.key->scheme == KeyScheme::AES_CBC;
  const size_t n = cbc ? (r.data.size() / kBlockBytes + 1) * kBlockBytes : r.data.size();
  uint8_t* out = reply.begin(fieldBytes(n) + fieldBytes(kBlockBytes) + kNumberFieldBytesMax);
  if (n > 0) {
    out = putFieldHeader(out, fields::EncryptResponse::ciphertext, n);
    size_t written = n;
    const Code code = cbc ? aesCbcEncrypt(material, iv, r.data, {out, n}, &written) : aesCtr(material, iv, r.data, {out, n});
    if (code != Code::OK) return code;
    if (written != n) return Code::INTERNAL;
    out += n;
  }
  out = putField(out, fields::EncryptResponse::iv, iv);
  reply.end(putNumber(out, fields::EncryptResponse::version, work.key->version));
  return Code::OK;
}

Code encryptOaep(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  Buffer sealed;
  if (const Code code = oaepEncrypt(work.key->spki, r.hashOr(Hash::SHA_256), r.context, r.data, &sealed); code != Code::OK) return code;
  uint8_t* out = putField(reply.begin(fieldBytes(sealed.size()) + kNumberFieldBytesMax), fields::EncryptResponse::ciphertext, sealed);
  reply.end(putNumber(out, fields::EncryptResponse::version, work.key->version));
  return Code::OK;
}

// A plaintext of exactly n bytes, written by `open`, which leaves zeros when it fails.
template <class F>
Code answerPlaintext(Work& work, Reply& reply, size_t n, F open) {
  uint8_t* out = reply.begin(fieldBytes(n) + kNumberFieldBytesMax);
  uint8_t none;
  uint8_t* content = n > 0 ? putFieldHeader(out, fields::DecryptResponse::plaintext, n) : &none;
  if (const Code code = open(content); code != Code::OK) return code;
  if (n > 0) out = content + n;
  reply.end(putNumber(out, fields::DecryptResponse::version, work.key->version));
  return Code::OK;
}

Code decryptCbc(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  const size_t most = r.data.size();
  OpenField field(reply.begin(fieldBytes(most) + kNumberFieldBytesMax), fields::DecryptResponse::plaintext, most);
  size_t written = 0;
  const Code code = aesCbcDecrypt(*work.key->stored, r.iv.data(), r.data, {field.content(), most}, &written);
  if (code != Code::OK) {
    wipe(field.content(), most);
    return code;
  }
  reply.end(putNumber(field.close(fields::DecryptResponse::plaintext, written), fields::DecryptResponse::version, work.key->version));
  return Code::OK;
}

Code decryptOaep(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  Secret opened;
  if (const Code code = oaepDecrypt(*work.key->stored, r.hashOr(Hash::SHA_256), r.context, r.data, &opened); code != Code::OK) return code;
  return answerPlaintext(work, reply, opened.size(), [&](uint8_t* out) {
    if (!opened.empty()) std::memcpy(out, opened.data(), opened.size());
    return Code::OK;
  });
}

}  // namespace

Code encrypt(Work& work, Reply& reply) {
  switch (work.key->scheme) {
    case KeyScheme::MANAGED: return encryptManaged(work, reply);
    case KeyScheme::AES_GCM: return encryptGcm(work, reply);
    case KeyScheme::AES_CBC:
    case KeyScheme::AES_CTR: return encryptCbcOrCtr(work, reply);
    case KeyScheme::RSA_OAEP: return encryptOaep(work, reply);
    default: return Code::KEY_USAGE_DENIED;
  }
}

Code decrypt(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  const PreparedKey& key = *work.key;
  switch (key.scheme) {
    case KeyScheme::MANAGED: {
      if (r.data.size() < kManagedOverheadBytes) return Code::CIPHERTEXT_INVALID;
      const size_t n = r.data.size() - kManagedOverheadBytes;
      return answerPlaintext(work, reply, n, [&](uint8_t* out) { return key.managed->open(r.context, r.data, {out, n}); });
    }
    case KeyScheme::AES_GCM: {
      const size_t tagBytes = tagBytesOf(r);
      if (r.data.size() < tagBytes) return Code::CIPHERTEXT_INVALID;
      const size_t n = r.data.size() - tagBytes;
      return answerPlaintext(work, reply, n, [&](uint8_t* out) {
        const bool fits = gcm().open(key.gcm.get(), r.iv.data(), r.context.data(), r.context.size(), r.data.data(), n, out, r.data.data() + n, tagBytes);
        return fits ? Code::OK : Code::CIPHERTEXT_INVALID;
      });
    }
    case KeyScheme::AES_CBC: return decryptCbc(work, reply);
    case KeyScheme::AES_CTR:
      return answerPlaintext(work, reply, r.data.size(), [&](uint8_t* out) { return aesCtr(*key.stored, r.iv.data(), r.data, {out, r.data.size()}); });
    case KeyScheme::RSA_OAEP: return decryptOaep(work, reply);
    default: return Code::KEY_USAGE_DENIED;
  }
}

Code generateDataKey(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  Secret dataKey;
  if (const Code code = Secret::random(r.length == 0 ? 32 : r.length, &dataKey); code != Code::OK) return code;
  const size_t n = dataKey.size() + kManagedOverheadBytes;
  uint8_t* start = reply.begin(fieldBytes(dataKey.size()) + fieldBytes(n) + kNumberFieldBytesMax);
  uint8_t* out = r.withoutPlaintext ? start : putField(start, fields::GenerateDataKeyResponse::plaintext, Bytes(dataKey));
  const size_t plain = static_cast<size_t>(out - start);
  out = putFieldHeader(out, fields::GenerateDataKeyResponse::ciphertext, n);
  if (const Code code = work.key->managed->seal(r.context, dataKey, {out, n}); code != Code::OK) {
    wipe(start, plain);
    return code;
  }
  reply.end(putNumber(out + n, fields::GenerateDataKeyResponse::version, work.key->version));
  return Code::OK;
}

// All or nothing: one ciphertext that does not open fails the batch, and names its place.
Code rewrap(Work& work, Reply& reply) {
  const HotRequest& r = work.request;
  size_t total = kNumberFieldBytesMax, longest = 0;
  for (const Bytes ciphertext : r.ciphertexts) {
    total += fieldBytes(ciphertext.size());
    longest = std::max(longest, ciphertext.size());
  }
  WireBuffer staged;  // one plaintext at a time; wiped when it dies
  uint8_t* plaintext = staged.room(longest);
  staged.extend(longest);
  uint8_t* out = reply.begin(total);
  for (size_t i = 0; i < r.ciphertexts.size(); i++) {
    const Bytes old = r.ciphertexts[i];
    const size_t n = old.size() - kManagedOverheadBytes;
    Code code = work.versions[i]->managed->open(r.context, old, {plaintext, n});
    if (code == Code::OK) {
      out = putFieldHeader(out, fields::RewrapResponse::ciphertexts, old.size());
      code = work.key->managed->seal(r.keepContext ? r.context : r.newContext, {plaintext, n}, {out, old.size()});
      out += old.size();
    }
    if (code != Code::OK) {
      work.fault = {"ciphertexts[" + std::to_string(i) + "]: " + codeMessage(code), "ciphertexts"};
      return code;
    }
  }
  reply.end(putNumber(out, fields::RewrapResponse::version, work.key->version));
  return Code::OK;
}

}  // namespace quorate
