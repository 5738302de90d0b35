// What every asymmetric operation leaves behind: no piece of a private key, of a nonce or of a shared secret outside the arena.
#include "core/libcrypto.h"

#include <doctest/doctest.h>
#include <openssl/sha.h>

#include <array>
#include <functional>
#include <thread>

#include "core/key_der.h"
#include "core/key_row.h"
#include "core/keypair.h"
#include "core/stack_scrub.h"
#include "memory_search.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr uint8_t kMessage[] = "a message that is no secret";
constexpr KeyType kTypes[] = {KeyType::AES_256, KeyType::HMAC,    KeyType::EC_P256, KeyType::EC_P384,
                              KeyType::EC_P521, KeyType::ED25519, KeyType::X25519,  KeyType::RSA_2048};

// AddressSanitizer keeps freed memory, and its own copies of frames.
const auto kSkipped = doctest::skip(!memorySearchable());

// The parts of a stored key by which it is known.
void addParts(KeyType type, Bytes stored, MemorySearch* search) {
  if (keyRow(type)->verbs != &kRsaVerbs) {
    search->add("private key", stored);
    return;
  }
  RsaPrivateParts parts;
  REQUIRE(readRsaPrivateKey(stored, &parts));
  search->add("d", parts.d);
  search->add("p", parts.p);
  search->add("q", parts.q);
  search->add("dp", parts.dp);
  search->add("dq", parts.dq);
  search->add("qi", parts.qi);
}

struct Pair {
  Secret stored;
  Buffer spki;
};
Pair generated(KeyType type) {
  Pair pair;
  REQUIRE(generateKey(type, 0, &pair.stored, &pair.spki) == Code::OK);
  return pair;
}

void sha512(std::initializer_list<Bytes> parts, uint8_t* out) {
  SHA512_CTX context;
  SHA512_Init(&context);
  for (const Bytes part : parts) SHA512_Update(&context, part.data(), part.size());
  SHA512_Final(out, &context);
  wipe(&context, sizeof context);
}

// RFC 8032 5.1.5 and 5.1.6: the expanded seed, and the nonce r of kMessage before and after its reduction. Each is as good as the seed.
void addEd25519Secrets(Bytes seed, MemorySearch* search) {
  Secret expanded, hash, reduced;
  for (Secret* each : {&expanded, &hash}) REQUIRE(Secret::make(64, each) == Code::OK);
  REQUIRE(Secret::make(32, &reduced) == Code::OK);
  withScrubbedStack([&] {
    sha512({seed}, expanded.data());
    sha512({Bytes(expanded).last(32), kMessage}, hash.data());
    const BnContext context(BN_CTX_secure_new());
    Bn order(BN_new()), r = secretNumber();
    BIGNUM* tail = nullptr;  // the order is 2^252 + this (RFC 8032 5.1)
    BN_dec2bn(&tail, "27742317777372353535851937790883648493");
    BN_set_bit(order.get(), 252);
    BN_add(order.get(), order.get(), tail);
    BN_free(tail);
    BN_lebin2bn(hash.data(), 64, r.get());
    BN_mod(r.get(), r.get(), order.get(), context.get());
    BN_bn2lebinpad(r.get(), reduced.data(), 32);
    return 0;
  });
  search->add("expanded key", expanded);
  search->add("hash of the nonce", hash);
  search->add("nonce", reduced);
}

// k = (digest + r d) / s modulo the order, from a P1363 signature: whoever holds a nonce holds the key.
void addNonce(KeyType type, Bytes stored, Bytes digest, Bytes signature, MemorySearch* search) {
  const size_t bytes = keyRow(type)->bytes;
  Secret nonce, inverse;
  for (Secret* each : {&nonce, &inverse}) REQUIRE(Secret::make(bytes, each) == Code::OK);
  withScrubbedStack([&] {
    const std::unique_ptr<EC_GROUP, Released<EC_GROUP_free>> group(EC_GROUP_new_by_curve_name(keyRow(type)->curveNid));
    const BIGNUM* order = EC_GROUP_get0_order(group.get());
    const BnContext context(BN_CTX_secure_new());
    Bn d = secretNumber(stored), k = secretNumber(), inverted = secretNumber();
    Bn r = publicNumber(signature.first(bytes)), s = publicNumber(signature.last(bytes)), z = publicNumber(digest);
    BN_mod_mul(k.get(), r.get(), d.get(), order, context.get());
    BN_mod_add(k.get(), k.get(), z.get(), order, context.get());
    BN_mod_inverse(s.get(), s.get(), order, context.get());
    BN_mod_mul(k.get(), k.get(), s.get(), order, context.get());
    BN_mod_inverse(inverted.get(), k.get(), order, context.get());
    BN_bn2binpad(k.get(), nonce.data(), static_cast<int>(bytes));
    BN_bn2binpad(inverted.get(), inverse.data(), static_cast<int>(bytes));
    return 0;
  });
  search->add("nonce", nonce);
  search->add("inverse of the nonce", inverse);
}

void checkClean(MemorySearch& search, const std::string& after) {
  const size_t hits = search.find();
  CHECK_MESSAGE(hits == 0, after);
  for (const std::string& hit : search.report()) MESSAGE(after << ": " << hit);
}

// The operation and then the search, with nothing between them that would allocate: on this thread, and on another.
void runAndCheck(MemorySearch& search, const std::string& name, const std::function<Code()>& operation) {
  Code code = operation();
  checkClean(search, name);
  CHECK(code == Code::OK);
  size_t hits = 0;
  std::thread([&] {
    code = operation();
    hits = search.find();
  }).join();
  CHECK(code == Code::OK);
  CHECK_MESSAGE(hits == 0, name << ", on another thread");
  for (const std::string& hit : search.report()) MESSAGE(name << ": " << hit);
  checkClean(search, name);  // and once that thread has ended
}

SignOptions signing(KeyType type) {
  const KeyRow& row = *keyRow(type);
  return {.type = type, .scheme = row.verbs->signatures[0], .format = SignatureFormat::P1363};
}

}  // namespace

namespace {

// In a frame of their own: the test's may hold on to what was copied.
[[gnu::noinline]] void copyTail(Bytes secret, uint8_t* to) { std::copy(secret.begin() + 9, secret.end(), to); }
[[gnu::noinline]] void copyReversed(Bytes secret, uint8_t* to) { std::reverse_copy(secret.begin(), secret.end(), to); }

}  // namespace

TEST_CASE("memory: the search finds planted copies in either order, cut at the front" * kSkipped) {
  Secret secret;
  REQUIRE(Secret::random(32, &secret) == Code::OK);
  MemorySearch search;
  search.add("canary", secret);
  uint8_t* planted = static_cast<uint8_t*>(std::calloc(1, 40));
  const auto hits = [&] {
    scrubStack();
    asm volatile("" : : "g"(planted) : "memory");  // someone looks at it
    return search.find();
  };
  CHECK(hits() == 0);
  copyTail(secret, planted + 1);  // pieces at 16 and 24 are whole
  CHECK(hits() == 2);
  copyReversed(secret, planted + 3);
  CHECK(hits() == 4);
  // What free leaves of it: the allocator's links take the first 16 bytes.
  std::fill_n(planted, 16, 0);
  CHECK(hits() == 2);
  wipe(planted, 40);
  CHECK(hits() == 0);
  std::array<uint8_t, 32> onStack;
  copyReversed(secret, onStack.data());
  CHECK(hits() == 4);
  wipe(onStack.data(), onStack.size());
  std::free(planted);
}

TEST_CASE("memory: the search finds a number that libcrypto freed as it was" * kSkipped) {
  Secret secret;
  REQUIRE(Secret::random(64, &secret) == Code::OK);
  MemorySearch search;
  search.add("canary", secret);
  const KeptHeap kept;
  BN_clear_free(BN_bin2bn(secret.data(), 64, nullptr));
  CHECK(search.find() == 0);
  BN_free(BN_bin2bn(secret.data(), 64, nullptr));
  CHECK(search.find() == 8);
}

TEST_CASE("memory: generation, import, export and signing leave nothing" * kSkipped) {
  const KeptHeap kept;
  for (const KeyType type : kTypes) {
    CAPTURE(static_cast<int>(type));
    Pair pair = generated(type);
    MemorySearch search;
    addParts(type, pair.stored, &search);
    if (type == KeyType::ED25519) addEd25519Secrets(pair.stored, &search);
    checkClean(search, "generate");
    const MaterialFormat format = isAsymmetric(type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW;
    Secret exported;
    runAndCheck(search, "export", [&] { return exportMaterial(type, format, pair.stored, pair.spki, &exported); });
    Secret imported;
    Buffer spki;
    runAndCheck(search, "import", [&] { return importKey(type, format, exported, &imported, &spki, nullptr); });
    if (!isAsymmetric(type) || keyRow(type)->verbs->sign == nullptr) continue;
    Buffer signature;
    runAndCheck(search, "sign", [&] { return sign(signing(type), imported, kMessage, &signature); });
    bool valid = false;
    REQUIRE(verify(signing(type), spki, kMessage, signature, &valid) == Code::OK);
    CHECK(valid);
    std::shared_ptr<const PreparedSigner> signer;
    runAndCheck(search, "prepare", [&] { return PreparedSigner::prepare(type, imported, &signer); });
    runAndCheck(search, "sign, prepared", [&] { return signer->sign(signing(type), kMessage, &signature); });
    for (Secret* each : {&pair.stored, &imported, &exported}) *each = Secret();
    signer.reset();
    checkClean(search, "free");
  }
}

TEST_CASE("memory: ECDSA leaves neither its nonce nor the inverse" * kSkipped) {
  const KeptHeap kept;
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521}) {
    CAPTURE(static_cast<int>(type));
    const Pair pair = generated(type);
    SignOptions options = signing(type);
    options.hash = Hash::SHA_256;  // no curve shortens it
    options.prehashed = true;
    constexpr std::array<uint8_t, 32> kDigest = {1, 2, 3, 4, 5};
    Buffer signature;
    REQUIRE(sign(options, pair.stored, kDigest, &signature) == Code::OK);
    MemorySearch search;
    addNonce(type, pair.stored, kDigest, signature, &search);
    checkClean(search, "sign");
  }
}

TEST_CASE("memory: agreement leaves neither key nor secret" * kSkipped) {
  const KeptHeap kept;
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521, KeyType::X25519}) {
    CAPTURE(static_cast<int>(type));
    const Pair ours = generated(type), theirs = generated(type);
    Secret z;
    REQUIRE(agree(type, ours.stored, theirs.spki, &z) == Code::OK);
    MemorySearch search;
    addParts(type, ours.stored, &search);
    search.add("shared secret", z);
    runAndCheck(search, "agree", [&] { return agree(type, ours.stored, theirs.spki, &z); });
  }
}

TEST_CASE("memory: OAEP leaves neither key nor plaintext" * kSkipped) {
  const KeptHeap kept;
  const Pair pair = generated(KeyType::RSA_2048);
  Secret plain, opened;
  REQUIRE(Secret::random(40, &plain) == Code::OK);
  MemorySearch search;
  addParts(KeyType::RSA_2048, pair.stored, &search);
  search.add("plaintext", plain);
  Buffer sealed;
  runAndCheck(search, "encrypt", [&] { return oaepEncrypt(pair.spki, Hash::SHA_256, {}, plain, &sealed); });
  runAndCheck(search, "decrypt", [&] { return oaepDecrypt(pair.stored, Hash::SHA_256, {}, sealed, &opened); });
  CHECK(equalConstantTime(opened, plain));
  sealed[100] ^= 1;
  CHECK(oaepDecrypt(pair.stored, Hash::SHA_256, {}, sealed, &opened) == Code::CIPHERTEXT_INVALID);
  checkClean(search, "failed decryption");
}
