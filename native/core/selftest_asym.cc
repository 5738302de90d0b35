// The asymmetric part of the start-up self-tests (FIPS 140-3 IG 10.3.A asks for the like): known signatures verify and changed
// ones do not, what is signed verifies, agreements and a decryption give their known results. Under 60 ms together.
#include "core/hpke.h"
#include "core/key_der.h"
#include "core/key_row.h"
#include "core/p256_lanes.h"
#include "core/selftest.h"
#include "core/selftest_asym_known.h"

namespace quorate {
namespace {

constexpr uint8_t kSample[] = {'s', 'a', 'm', 'p', 'l', 'e'};
constexpr uint8_t kLabel[] = {'l', 'a', 'b', 'e', 'l'};

bool same(Bytes a, Bytes b) { return equalConstantTime(a, b); }

// Accepts the message's signature, and neither a changed signature nor the signature for a changed message.
bool verifies(const SignOptions& options, Bytes spki, Bytes message, Bytes signature) {
  Buffer changed(signature.begin(), signature.end()), other(message.begin(), message.end());
  changed[changed.size() / 2] ^= 1;
  other[0] ^= 1;
  bool good = false, bad = true, wrong = true;
  return verify(options, spki, message, signature, &good) == Code::OK && verify(options, spki, message, changed, &bad) == Code::OK &&
         verify(options, spki, other, signature, &wrong) == Code::OK && good && !bad && !wrong;
}

// The SPKI of a known private key, by the same code that an import uses, less the checks that take long.
Buffer spkiOf(KeyType type, Bytes stored) {
  Buffer publicKey, spki;
  const KeyRow& row = *keyRow(type);
  if (row.verbs->publicOf(row, stored, &publicKey) == Code::OK) writePublicKeyInfo(row.algorithm, publicKey, &spki);
  return spki;
}

bool ecdsa(KeyType type, Bytes scalar, Bytes known) {
  const SignOptions options{.type = type, .scheme = KeyScheme::ECDSA, .format = SignatureFormat::P1363};
  const Buffer spki = spkiOf(type, scalar);
  if (!verifies(options, spki, kSample, known)) return false;
  Buffer made;
  SignOptions der = options;
  der.format = SignatureFormat::DER;
  bool valid = false;
  return sign(der, scalar, kSample, &made) == Code::OK && verify(der, spki, kSample, made, &valid) == Code::OK && valid;
}

bool agrees(KeyType type, Bytes scalar, Bytes peer, Bytes known) {
  Secret z;
  return agree(type, scalar, peer, &z) == Code::OK && same(z, known);
}

bool ed25519() {
  const SignOptions options{.type = KeyType::ED25519, .scheme = KeyScheme::EDDSA};
  constexpr uint8_t kMessage[] = {0x72};
  const KeyRow& row = *keyRow(KeyType::ED25519);
  Buffer publicKey, spki, made;
  if (row.verbs->publicOf(row, known::kEd25519Seed, &publicKey) != Code::OK || !same(publicKey, known::kEd25519Public)) return false;
  writePublicKeyInfo(row.algorithm, publicKey, &spki);
  return sign(options, known::kEd25519Seed, kMessage, &made) == Code::OK && same(made, known::kEd25519Signature) &&
         verifies(options, spki, kMessage, known::kEd25519Signature);
}

bool rsaPkcs1() {
  const SignOptions options{.type = KeyType::RSA_2048, .scheme = KeyScheme::RSA_PKCS1};
  Buffer made;
  return sign(options, known::kRsaPrivate, kSample, &made) == Code::OK && same(made, known::kRsaPkcs1Signature) &&
         verifies(options, spkiOf(KeyType::RSA_2048, known::kRsaPrivate), kSample, made);
}

bool rsaPss() {
  const SignOptions options{.type = KeyType::RSA_2048, .scheme = KeyScheme::RSA_PSS};
  const Buffer spki = spkiOf(KeyType::RSA_2048, known::kRsaPrivate);
  Buffer made;
  bool valid = false;
  return verifies(options, spki, kSample, known::kRsaPssSignature) && sign(options, known::kRsaPrivate, kSample, &made) == Code::OK &&
         verify(options, spki, kSample, made, &valid) == Code::OK && valid;
}

bool rsaOaep() {
  Secret opened;
  if (oaepDecrypt(known::kRsaPrivate, Hash::SHA_256, kLabel, known::kRsaOaepCiphertext, &opened) != Code::OK || !same(opened, kSample)) {
    return false;
  }
  Buffer changed(known::kRsaOaepCiphertext.begin(), known::kRsaOaepCiphertext.end()), fresh;
  changed[17] ^= 1;
  Secret nothing;
  return oaepDecrypt(known::kRsaPrivate, Hash::SHA_256, kLabel, changed, &nothing) == Code::CIPHERTEXT_INVALID && nothing.empty() &&
         oaepEncrypt(spkiOf(KeyType::RSA_2048, known::kRsaPrivate), Hash::SHA_256, kLabel, kSample, &fresh) == Code::OK &&
         oaepDecrypt(known::kRsaPrivate, Hash::SHA_256, kLabel, fresh, &opened) == Code::OK && same(opened, kSample);
}

bool hpke() {
  Buffer sealed(known::kHpkeSealed.size()), opened(known::kHpkeText.size());
  if (hpkeSealWith(kHpkeAes256Gcm, known::kHpkeEphemeral, known::kHpkePublic, known::kHpkeInfo, known::kHpkeAad, known::kHpkeText, sealed) != Code::OK ||
      !same(sealed, known::kHpkeSealed) || hpkeOpen(known::kHpkePrivate, known::kHpkeInfo, known::kHpkeAad, sealed, opened) != Code::OK || !same(opened, known::kHpkeText)) {
    return false;
  }
  // Neither with enc changed nor with the text.
  for (const size_t at : {size_t{5}, sealed.size() - 20}) {
    Buffer changed = sealed;
    changed[at] ^= 1;
    if (hpkeOpen(known::kHpkePrivate, known::kHpkeInfo, known::kHpkeAad, changed, opened) != Code::CIPHERTEXT_INVALID) return false;
  }
  return true;
}

struct SelfTest {
  const char* name;
  bool (*run)();
};
constexpr SelfTest kSelfTests[] = {
    {"ecdsa-p256", [] { return ecdsa(KeyType::EC_P256, known::kP256Scalar, known::kP256Signature); }},
    {"ecdsa-p384", [] { return ecdsa(KeyType::EC_P384, known::kP384Scalar, known::kP384Signature); }},
    {"ecdsa-p521", [] { return ecdsa(KeyType::EC_P521, known::kP521Scalar, known::kP521Signature); }},
    {"ecdh-p256", [] { return agrees(KeyType::EC_P256, known::kP256AgreeScalar, known::kP256AgreePeer, known::kP256AgreeX); }},
    {"ecdh-p384", [] { return agrees(KeyType::EC_P384, known::kP384AgreeScalar, known::kP384AgreePeer, known::kP384AgreeX); }},
    {"ecdh-p521", [] { return agrees(KeyType::EC_P521, known::kP521AgreeScalar, known::kP521AgreePeer, known::kP521AgreeX); }},
    {"x25519", [] { return agrees(KeyType::X25519, known::kX25519Scalar, known::kX25519Peer, known::kX25519Shared); }},
    {"ed25519", ed25519},
    {"hpke", hpke},
    {"rsa-pkcs1", rsaPkcs1},
    {"rsa-pss", rsaPss},
    {"rsa-oaep", rsaOaep},
};

}  // namespace

void runAsymmetricSelfTests(SelfTestResult* result) {
  for (const SelfTest& test : kSelfTests) (test.run() ? result->passed : result->failed).emplace_back(test.name);
  if (p256LanesPick(cpuFeatures(), gcmForced())) (p256LanesKnownAnswers() ? result->passed : result->failed).emplace_back("ecdsa-p256/lanes");
}

}  // namespace quorate
