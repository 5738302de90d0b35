// Wrapping, unwrapping and key agreement by mechanism.
#include <cstring>

#include "core/der.h"
#include "core/mechanism_parts.h"
#include "core/rsa.h"

namespace quorate {
namespace {

OaepOptions oaepOf(const MechanismParams& p) { return {p.hash, p.mgf, p.label}; }

Code wrapAes(Bytes kek, bool padded, Bytes plain, Buffer* wrapped) {
  Secret out;  // holds the plain key until it is wrapped
  Code code = Secret::make((plain.size() + 7) / 8 * 8 + 8, &out);
  if (code != Code::OK) return code;
  size_t written = 0;
  code = aesWrap(kek, padded, plain, out.span(), &written);
  if (code == Code::OK) wrapped->assign(out.data(), out.data() + written);
  return code == Code::BAD_REQUEST ? Code::KEY_SIZE_INVALID : code;
}

Code unwrapAes(Bytes kek, bool padded, Bytes wrapped, Secret* plain) {
  if (wrapped.size() < 16 || wrapped.size() > limits::secret_bytes_max) return Code::WRAPPED_KEY_INVALID;
  Secret out;
  const Code made = Secret::make(wrapped.size(), &out);
  if (made != Code::OK) return made;
  size_t written = 0;
  const Code code = aesUnwrap(kek, padded, wrapped, out.span(), &written);
  if (code != Code::OK) return code == Code::CIPHERTEXT_INVALID ? Code::WRAPPED_KEY_INVALID : code;
  out.truncate(written);
  *plain = std::move(out);
  return Code::OK;
}

Code wrapRsa(const Mechanism& mechanism, const MechanismKey& key, Bytes plain, Buffer* wrapped) {
  const KeyRow& row = *keyRow(key.type);
  const Bytes publicKey = publicOctets(row, key.spki);
  if (publicKey.empty()) return Code::KEY_INVALID;
  Buffer out(row.bytes);
  Code code;
  if (mechanism.row->kind == MechanismKind::rsaOaep) {
    code = rsaOaepEncrypt(row, publicKey, oaepOf(mechanism.params), plain, out);
  } else {  // CKM_RSA_AES_KEY_WRAP (PKCS #11 3.0, 2.1.22)
    Secret once;
    Buffer rest;
    code = Secret::random(mechanism.params.bits / 8, &once);
    if (code == Code::OK) code = rsaOaepEncrypt(row, publicKey, oaepOf(mechanism.params), once, out);
    if (code == Code::OK) code = wrapAes(once, true, plain, &rest);
    out.insert(out.end(), rest.begin(), rest.end());
  }
  if (code == Code::OK) *wrapped = std::move(out);
  return code == Code::INPUT_TOO_LONG ? Code::KEY_SIZE_INVALID : code;
}

Code unwrapRsa(const Mechanism& mechanism, const MechanismKey& key, Bytes wrapped, Secret* plain) {
  const KeyRow& row = *keyRow(key.type);
  if (wrapped.size() < row.bytes) return Code::WRAPPED_KEY_INVALID;
  const bool whole = mechanism.row->kind == MechanismKind::rsaOaep;
  if (whole && wrapped.size() != row.bytes) return Code::WRAPPED_KEY_INVALID;
  Secret opened;
  const Code code = rsaOaepDecrypt(row, key.stored, key.prepared, oaepOf(mechanism.params), wrapped.first(row.bytes), &opened);
  if (code != Code::OK) return code == Code::CIPHERTEXT_INVALID ? Code::WRAPPED_KEY_INVALID : code;
  if (!whole) return opened.size() == mechanism.params.bits / 8 ? unwrapAes(opened, true, wrapped.subspan(row.bytes), plain) : Code::WRAPPED_KEY_INVALID;
  if (opened.empty()) return Code::WRAPPED_KEY_INVALID;
  *plain = std::move(opened);
  return Code::OK;
}

// A point or the 32 bytes of X25519, bare or in an OCTET STRING as CKA_EC_POINT has it; or SPKI, which agree() reads.
Bytes barePeer(const KeyRow& row, Bytes peer) {
  const size_t bare = row.type == KeyType::X25519 ? row.bytes : 1 + 2 * row.bytes;
  DerReader in(peer);
  Bytes content;
  return peer.size() != bare && in.read(der::kOctetString, &content) && in.atEnd() && content.size() == bare ? content : peer;
}

}  // namespace

Code mechanismWrap(const Mechanism& mechanism, const MechanismKey& wrapping, Bytes plain, Buffer* wrapped) {
  const Code code = checkMechanism(mechanism, kWrap, wrapping.type, nullptr);
  if (code != Code::OK) return code;
  if (plain.empty() || plain.size() > limits::secret_bytes_max - 16) return Code::KEY_SIZE_INVALID;
  return privately([&] {
    if (mechanism.row->key == KeyFamily::rsa) return wrapRsa(mechanism, wrapping, plain, wrapped);
    return wrapAes(wrapping.stored, mechanism.row->kind == MechanismKind::aesKeyWrapPad, plain, wrapped);
  });
}

Code mechanismUnwrap(const Mechanism& mechanism, const MechanismKey& unwrapping, Bytes wrapped, Secret* plain) {
  const Code code = checkMechanism(mechanism, kUnwrap, unwrapping.type, nullptr);
  if (code != Code::OK) return code;
  return privately([&] {
    if (mechanism.row->key == KeyFamily::rsa) return unwrapRsa(mechanism, unwrapping, wrapped, plain);
    return unwrapAes(unwrapping.stored, mechanism.row->kind == MechanismKind::aesKeyWrapPad, wrapped, plain);
  });
}

Code mechanismDerive(const Mechanism& mechanism, const MechanismKey& key, size_t bytes, Secret* out) {
  Code code = checkMechanism(mechanism, kDerive, key.type, nullptr);
  if (code != Code::OK) return code;
  const MechanismParams& p = mechanism.params;
  const bool hashed = p.kdf != Hash::HASH_UNSPECIFIED;
  const KeyRow& row = *keyRow(key.type);
  if (hashed ? bytes == 0 || bytes > limits::hmac_key_bytes_max : bytes > row.bytes) return Code::KEY_SIZE_INVALID;
  Secret z;
  code = agree(key.type, key.stored, barePeer(row, p.peerPublic), &z);
  if (code != Code::OK) return code;
  return privately([&] {
    if (hashed) {
      Secret made;
      Code derived = Secret::make(bytes, &made);
      if (derived == Code::OK) derived = x963Kdf(p.kdf, z, p.shared, made.span());
      if (derived == Code::OK) *out = std::move(made);
      return derived;
    }
    return Secret::copy(bytes == 0 ? Bytes(z) : Bytes(z).last(bytes), out);
  });
}

}  // namespace quorate
