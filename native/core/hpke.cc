#include "core/hpke.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/gcm.h"
#include "core/key_row.h"
#include "core/require.h"
#include "core/stack_scrub.h"

namespace quorate {
namespace {

constexpr size_t kHashBytes = 32, kTagBytes = 16, kNonceBytes = 12;
constexpr uint16_t kKem = 0x0020, kKdf = 0x0001;

constexpr uint8_t high(uint16_t n) { return static_cast<uint8_t>(n >> 8); }
constexpr uint8_t low(uint16_t n) { return static_cast<uint8_t>(n); }

// RFC 9180 4.1 and 5.1: what labels the use of each HKDF.
constexpr std::array<uint8_t, 5> kKemSuite = {'K', 'E', 'M', high(kKem), low(kKem)};
constexpr std::array<uint8_t, 10> suiteOf(uint16_t aead) { return {'H', 'P', 'K', 'E', high(kKem), low(kKem), high(kKdf), low(kKdf), high(aead), low(aead)}; }

template <size_t n>
Bytes literal(const char (&text)[n]) {
  return {reinterpret_cast<const uint8_t*>(text), n - 1};
}
constexpr char kVersion[] = "HPKE-v1";

// LabeledExtract (RFC 9180 4).
void labeledExtract(Bytes suite, Bytes salt, Bytes label, Bytes keyMaterial, uint8_t out[kHashBytes]) {
  const Bytes parts[] = {literal(kVersion), suite, label, keyMaterial};
  hmacParts(Hash::SHA_256, salt, parts, out);
}

// LabeledExpand (RFC 9180 4) to at most one hash: HKDF-Expand's first block (RFC 5869 2.3).
void labeledExpand(Bytes suite, const uint8_t prk[kHashBytes], Bytes label, Bytes info, MutBytes out) {
  QUORATE_REQUIRE(out.size() <= kHashBytes);
  const uint8_t length[2] = {0, static_cast<uint8_t>(out.size())};
  constexpr uint8_t kCounter = 1;
  uint8_t block[kHashBytes];
  const Bytes parts[] = {length, literal(kVersion), suite, label, info, {&kCounter, 1}};
  hmacParts(Hash::SHA_256, {prk, kHashBytes}, parts, block);
  std::memcpy(out.data(), block, out.size());
  wipe(block, sizeof block);
}

// The prepared AEAD of one message, on the stack for one call.
struct MessageKey {
  GcmKey gcmKey;
  uint8_t nonce[kNonceBytes];
  MessageKey(const HpkeAead& aead, Bytes shared, Bytes info, size_t messageBytes) {
    HpkeSchedule schedule;
    hpkeKeySchedule(aead, shared, info, &schedule);
    std::memcpy(nonce, schedule.nonce, sizeof nonce);  // of sequence number 0, which is the only one (5.2)
    gcm().initOnce(&gcmKey, schedule.key, aead.keyBytes, messageBytes);
  }
  ~MessageKey() {
    wipe(&gcmKey, sizeof gcmKey);
    wipe(nonce, sizeof nonce);
  }
};

}  // namespace

HpkeSchedule::~HpkeSchedule() {
  wipe(key, sizeof key);
  wipe(nonce, sizeof nonce);
}

Code hpkeKeyPair(Secret* privateKey, uint8_t publicKey[kHpkeKeyBytes]) {
  Buffer spki;
  const Code code = generateKey(KeyType::X25519, 0, privateKey, &spki);
  // RFC 8410 4: the raw key is the last part of its SubjectPublicKeyInfo.
  if (code == Code::OK) std::copy(spki.end() - kHpkeKeyBytes, spki.end(), publicKey);
  return code;
}

Code hpkePublic(Bytes privateKey, uint8_t publicKey[kHpkeKeyBytes]) {
  if (privateKey.size() != kHpkeKeyBytes) return Code::KEY_INVALID;
  const KeyRow& row = *keyRow(KeyType::X25519);
  Buffer octets;
  const Code code = withScrubbedStack([&] { return row.verbs->publicOf(row, privateKey, &octets); });
  if (code == Code::OK) std::copy(octets.begin(), octets.end(), publicKey);
  return code;
}

Code hpkeSharedSecret(Bytes ours, Bytes theirs, Bytes enc, Bytes receiver, Secret* shared) {
  Secret z, made;
  Code code = agree(KeyType::X25519, ours, theirs, &z);
  if (code == Code::OK) code = Secret::make(kHashBytes, &made);
  if (code != Code::OK) return code;
  withScrubbedStack([&] {
    uint8_t prk[kHashBytes], context[2 * kHpkeKeyBytes];
    std::copy(enc.begin(), enc.end(), context);
    std::copy(receiver.begin(), receiver.end(), context + kHpkeKeyBytes);
    labeledExtract(kKemSuite, {}, literal("eae_prk"), z, prk);
    labeledExpand(kKemSuite, prk, literal("shared_secret"), context, made.span());
    wipe(prk, sizeof prk);
    return 0;
  });
  *shared = std::move(made);
  return Code::OK;
}

void hpkeKeySchedule(const HpkeAead& aead, Bytes shared, Bytes info, HpkeSchedule* out) {
  const auto suite = suiteOf(aead.id);
  // mode_base, the hash of no psk_id, the hash of info.
  uint8_t context[1 + 2 * kHashBytes] = {0}, secret[kHashBytes];
  labeledExtract(suite, {}, literal("psk_id_hash"), {}, context + 1);
  labeledExtract(suite, {}, literal("info_hash"), info, context + 1 + kHashBytes);
  labeledExtract(suite, shared, literal("secret"), {}, secret);
  labeledExpand(suite, secret, literal("key"), context, {out->key, aead.keyBytes});
  labeledExpand(suite, secret, literal("base_nonce"), context, out->nonce);
  wipe(secret, sizeof secret);
}

Code hpkeSealWith(const HpkeAead& aead, Bytes ephemeral, Bytes publicKey, Bytes info, Bytes aad, Bytes in, MutBytes out) {
  if (publicKey.size() != kHpkeKeyBytes) return Code::KEY_INVALID;
  if (out.size() != in.size() + kHpkeOverheadBytes) return Code::INTERNAL;
  uint8_t enc[kHpkeKeyBytes];
  Secret shared;
  Code code = hpkePublic(ephemeral, enc);
  if (code == Code::OK) code = hpkeSharedSecret(ephemeral, publicKey, enc, publicKey, &shared);
  if (code != Code::OK) return code;
  std::copy_n(enc, kHpkeKeyBytes, out.begin());
  return withScrubbedStack([&] {
    const MessageKey key(aead, shared, info, in.size());
    uint8_t* body = out.data() + kHpkeKeyBytes;
    gcm().seal(&key.gcmKey, key.nonce, aad.data(), aad.size(), in.data(), in.size(), body, body + in.size());
    return Code::OK;
  });
}

Code hpkeOpenWith(const HpkeAead& aead, Bytes privateKey, Bytes info, Bytes aad, Bytes sealed, MutBytes out) {
  const auto fail = [&](Code code) {
    wipe(out);
    return code;
  };
  if (privateKey.size() != kHpkeKeyBytes) return fail(Code::KEY_INVALID);
  if (sealed.size() < kHpkeOverheadBytes) return fail(Code::CIPHERTEXT_INVALID);
  const size_t n = sealed.size() - kHpkeOverheadBytes;
  if (out.size() != n) return fail(Code::INTERNAL);
  const Bytes enc = sealed.first(kHpkeKeyBytes);
  uint8_t receiver[kHpkeKeyBytes];
  Secret shared;
  Code code = hpkePublic(privateKey, receiver);
  if (code == Code::OK) code = hpkeSharedSecret(privateKey, enc, enc, receiver, &shared);
  if (code != Code::OK) return fail(code == Code::KEY_INVALID ? Code::CIPHERTEXT_INVALID : code);
  const bool ok = withScrubbedStack([&] {
    const MessageKey key(aead, shared, info, n);
    const uint8_t* body = sealed.data() + kHpkeKeyBytes;
    return gcm().open(&key.gcmKey, key.nonce, aad.data(), aad.size(), body, n, out.data(), body + n, kTagBytes);
  });
  return ok ? Code::OK : fail(Code::CIPHERTEXT_INVALID);
}

Code hpkeSeal(Bytes publicKey, Bytes info, Bytes aad, Bytes in, MutBytes out) {
  Secret ephemeral;
  const Code code = Secret::random(kHpkeKeyBytes, &ephemeral);
  return code == Code::OK ? hpkeSealWith(kHpkeAes256Gcm, ephemeral, publicKey, info, aad, in, out) : code;
}

Code hpkeOpen(Bytes privateKey, Bytes info, Bytes aad, Bytes sealed, MutBytes out) {
  return hpkeOpenWith(kHpkeAes256Gcm, privateKey, info, aad, sealed, out);
}

}  // namespace quorate
