// The symmetric part of the start-up self-tests but for AES-GCM's kernels.
#include <cstring>

#include "core/managed.h"
#include "core/random.h"
#include "core/record.h"
#include "core/selftest.h"
#include "core/selftest_known.h"
#include "core/shamir.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr uint8_t kAbc[] = {'a', 'b', 'c'}, kJefe[] = {'J', 'e', 'f', 'e'};

bool same(Bytes a, Bytes b) { return equalConstantTime(a, b); }

bool hashes() {
  const std::pair<Hash, Bytes> rows[] = {{Hash::SHA_1, known::kAbcSha1}, {Hash::SHA_224, known::kAbcSha224}, {Hash::SHA_256, known::kAbcSha256},
                                         {Hash::SHA_384, known::kAbcSha384}, {Hash::SHA_512, known::kAbcSha512}};
  for (const auto& [hash, expected] : rows) {
    uint8_t out[64];
    if (digest(hash, kAbc, out) != Code::OK || !same({out, hashBytes(hash)}, expected)) return false;
  }
  return true;
}

bool macs() {
  static const std::string kWhat = "what do ya want for nothing?";
  const std::pair<Hash, Bytes> rows[] = {{Hash::SHA_1, known::kJefeSha1}, {Hash::SHA_224, known::kJefeSha224}, {Hash::SHA_256, known::kJefeSha256},
                                         {Hash::SHA_384, known::kJefeSha384}, {Hash::SHA_512, known::kJefeSha512}};
  uint8_t out[64];
  for (const auto& [hash, expected] : rows) {
    if (hmac(hash, kJefe, bytesOf(kWhat), out) != Code::OK || !same({out, hashBytes(hash)}, expected)) return false;
  }
  HmacSha256State state;
  hmacSha256Prepare(kJefe, &state);
  hmacSha256(state, bytesOf(kWhat).first(5), bytesOf(kWhat).subspan(5), out);
  return same({out, 32}, known::kJefeSha256);
}

bool keyDerivation() {
  uint8_t keyMaterial[22], okm[known::kHkdfOkm.size()];
  std::memset(keyMaterial, 0x0b, sizeof keyMaterial);
  return hkdf(Hash::SHA_256, keyMaterial, known::kHkdfSalt, known::kHkdfInfo, okm) == Code::OK && same(okm, known::kHkdfOkm);
}

bool passphrases() {
  uint8_t out[64];
  return scrypt({}, {}, 4, 1, 1, out) == Code::OK && same(out, known::kScrypt);
}

bool cmac() {
  uint8_t out[16];
  return aesCmac(known::kAes128, Bytes(known::kModesText).first(40), out) == Code::OK && same(out, known::kCmac);
}

bool wraps(Bytes kek, bool padded, Bytes text, Bytes expected) {
  uint8_t wrapped[64], back[64];
  size_t n = 0;
  if (aesWrap(kek, padded, text, wrapped, &n) != Code::OK || !same({wrapped, n}, expected)) return false;
  const Bytes sealed(wrapped, n);
  if (aesUnwrap(kek, padded, sealed, back, &n) != Code::OK || !same({back, n}, text)) return false;
  wrapped[3] ^= 1;
  return aesUnwrap(kek, padded, sealed, back, &n) == Code::CIPHERTEXT_INVALID;
}

bool keyWrap() { return wraps(known::kKwKek, false, known::kKwText, known::kKwWrapped); }

bool keyWrapPadded() {
  return wraps(known::kKwpKek, true, known::kKwpText20, known::kKwpWrapped20) && wraps(known::kKwpKek, true, known::kKwpText7, known::kKwpWrapped7);
}

bool cbc() {
  uint8_t sealed[64], back[64];
  size_t n = 0;
  const Bytes expected = known::kCbcSealed;
  return aesCbcEncrypt(known::kAes128, known::kCbcIv.data(), known::kModesText, sealed, &n) == Code::OK && n == 64 &&
         same(Bytes(sealed).first(expected.size()), expected) &&
         aesCbcDecrypt(known::kAes128, known::kCbcIv.data(), sealed, back, &n) == Code::OK && same({back, n}, known::kModesText) &&
         aesCbcDecrypt(known::kAes128, known::kCbcIv.data(), Bytes(sealed).first(48), back, &n) == Code::CIPHERTEXT_INVALID;
}

bool ctr() {
  uint8_t out[known::kModesText.size()];
  return aesCtr(known::kAes256, known::kCtrCounter.data(), known::kModesText, out) == Code::OK && same(out, known::kCtrSealed);
}

bool xaes() {
  static const std::string kNonce = "ABCDEFGHIJKLMNOPQRSTUVWX", kText = "XAES-256-GCM", kAad = "c2sp.org/XAES-256-GCM";
  uint8_t keyMaterial[32], sealed[28], opened[12];
  std::memset(keyMaterial, 3, sizeof keyMaterial);
  const uint8_t* nonce = bytesOf(kNonce).data();
  return xaesSeal(keyMaterial, nonce, bytesOf(kAad), bytesOf(kText), sealed) == Code::OK && same(sealed, known::kXaesSealed) &&
         xaesOpen(keyMaterial, nonce, bytesOf(kAad), sealed, opened) == Code::OK && same(opened, bytesOf(kText));
}

std::shared_ptr<const ManagedKey> documentedKey() {
  KeyIdentity identity{"default", known::kKeyId, 3};
  std::shared_ptr<const ManagedKey> key;
  ManagedKey::prepare(known::kStored, identity, &key);
  return key;
}

bool managed() {
  const auto key = documentedKey();
  if (key == nullptr) return false;
  auto sealed = known::kMessage;
  uint8_t opened[known::kPlaintext.size()];
  if (key->open(known::kContext, sealed, opened) != Code::OK || !same(opened, known::kPlaintext)) return false;
  sealed[60] ^= 1;  // the commitment
  if (key->open(known::kContext, sealed, opened) != Code::CIPHERTEXT_INVALID) return false;
  uint8_t fresh[sizeof opened + kManagedOverheadBytes];
  return key->seal(known::kContext, known::kPlaintext, fresh) == Code::OK && !same(fresh, known::kMessage) &&
         key->open(known::kContext, fresh, opened) == Code::OK && same(opened, known::kPlaintext);
}

bool stream() {
  const auto key = documentedKey();
  if (key == nullptr) return false;
  const Bytes file = known::kFile, header = file.first(kManagedHeaderBytes), chunk = file.subspan(kManagedHeaderBytes);
  uint8_t opened[known::kPlaintext.size()];
  std::unique_ptr<StreamOpener> one, two;
  if (ManagedKey::openStream(key, known::kContext, header, &one) != Code::OK || one->chunk(chunk, true, opened) != Code::OK) return false;
  if (!one->whole() || !same(opened, known::kPlaintext)) return false;
  uint8_t changed[known::kFile.size() - kManagedHeaderBytes];
  std::memcpy(changed, chunk.data(), sizeof changed);
  changed[0] ^= 1;
  return ManagedKey::openStream(key, known::kContext, header, &two) == Code::OK && two->chunk(changed, true, opened) == Code::CIPHERTEXT_INVALID;
}

bool record() {
  uint8_t sealed[known::kRecord.size()], opened[known::kPlaintext.size()];
  if (sealRecordWithSalt(known::kRecordKek, known::kRecordSalt.data(), known::kRecordAad, known::kPlaintext, sealed) != Code::OK) return false;
  if (!same(sealed, known::kRecord) || openRecord(known::kRecordKek, known::kRecordAad, sealed, opened) != Code::OK) return false;
  return same(opened, known::kPlaintext) && openRecord(known::kRecordKek, {}, sealed, opened) == Code::STORE_CORRUPT;
}

bool shamir() {
  Secret one, three, combined;
  if (Secret::copy(known::kShare1, &one) != Code::OK || Secret::copy(known::kShare3, &three) != Code::OK) return false;
  const SecretPtr shares[] = {std::make_shared<const Secret>(std::move(three)), std::make_shared<const Secret>(std::move(one))};
  return shamirCombine(shares, &combined) == Code::OK && same(combined, known::kShareSecret) &&
         shamirCombine(std::span(shares).first(1), &combined) == Code::UNSEAL_FAILED;
}

// What shows of a generator that is stuck: two draws, neither all zeros nor the same (SP 800-90A has no answer to compare).
bool generators() {
  uint8_t a[32] = {}, b[32] = {}, none[32] = {};
  randomBytes(a);
  randomBytes(b);
  bool ok = !same(a, b) && !same(a, none) && !same(b, none);
  randomNonce(a);
  randomNonce(b);
  return ok && !same(a, b) && !same(a, none) && !same(b, none);
}

struct SelfTest {
  const char* name;
  bool (*run)();
};
constexpr SelfTest kSelfTests[] = {
    {"hashes", hashes}, {"hmac", macs},     {"hkdf", keyDerivation}, {"scrypt", passphrases}, {"aes-cmac", cmac}, {"aes-kw", keyWrap}, {"aes-kwp", keyWrapPadded}, {"aes-cbc", cbc},
    {"aes-ctr", ctr},   {"xaes-gcm", xaes}, {"managed", managed},    {"stream", stream},      {"record", record}, {"shamir", shamir},  {"random", generators},
};

}  // namespace

void runSymmetricSelfTests(SelfTestResult* result) {
  for (const SelfTest& test : kSelfTests) (test.run() ? result->passed : result->failed).emplace_back(test.name);
}

}  // namespace quorate
