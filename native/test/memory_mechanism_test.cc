// What mechanisms leave behind: no piece of a key, of what was wrapped or agreed, outside the arena; nor between the parts of an operation.
#include "core/libcrypto.h"

#include <doctest/doctest.h>

#include <functional>
#include <thread>

#include "core/key_der.h"
#include "core/mechanism.h"
#include "core/stack_scrub.h"
#include "memory_search.h"
#include "object_sheets.h"

using namespace quorate;
using namespace quorate::test;

namespace {

bool skipped() {
  if (memorySearchable()) return false;
  MESSAGE("skipped: AddressSanitizer keeps freed memory");
  return true;
}

Secret randomSecret(size_t n) {
  Secret made;
  REQUIRE(Secret::random(n, &made) == Code::OK);
  return made;
}

void check(MemorySearch& search, const std::string& name) {
  const size_t hits = search.find();
  CHECK_MESSAGE(hits == 0, name);
  for (const std::string& hit : search.report()) MESSAGE(name << ": " << hit);
}

// On this thread and on another, each followed by the search with nothing between.
void runAndSearch(MemorySearch& search, const std::string& name, const std::function<bool()>& operation) {
  REQUIRE_MESSAGE(search.find() == 0, name << ", before");
  const KeptHeap kept;
  const bool ok = operation();
  check(search, name);
  CHECK(ok);
  bool again = false;
  std::thread([&] {
    again = operation();
    check(search, name + ", on another thread");
  }).join();
  CHECK(again);
}

Mechanism mechanism(uint32_t number, MechanismParams params = {}) { return {mechanismRow(number), params}; }

}  // namespace

TEST_CASE("memory: AES and HMAC by mechanism, in one piece and in parts") {
  if (skipped()) return;
  const Secret stored = randomSecret(32);
  const Buffer iv(16, 1), data(96, 2);
  MemorySearch search;
  search.add("key", stored);
  const MechanismKey aes{.type = KeyType::AES_256, .stored = stored}, hmac{.type = KeyType::HMAC, .stored = stored};
  const Mechanism ciphers[] = {mechanism(kCkm_AES_ECB), mechanism(kCkm_AES_CBC, {.iv = iv}), mechanism(kCkm_AES_CBC_PAD, {.iv = iv}),
                               mechanism(kCkm_AES_CTR, {.iv = iv, .counterBits = 64}), mechanism(kCkm_AES_GCM, {.iv = Bytes(iv).first(12), .tagBits = 128})};
  Buffer out(256), back(256), signature;
  size_t n = 0, m = 0;
  bool valid = false;
  for (const Mechanism& each : ciphers) {
    const std::string name = std::to_string(each.row->number);
    runAndSearch(search, "encrypt by " + name, [&] { return mechanismEncrypt(each, aes, data, out, &n) == Code::OK; });
    runAndSearch(search, "decrypt by " + name, [&] { return mechanismDecrypt(each, aes, Bytes(out).first(n), back, &m) == Code::OK; });
  }
  for (const auto& [each, key] : {std::pair{mechanism(kCkm_AES_CMAC), aes}, std::pair{mechanism(kCkm_SHA_1_HMAC), hmac}, std::pair{mechanism(kCkm_SHA512_HMAC), hmac}}) {
    runAndSearch(search, "sign by " + std::to_string(each.row->number), [&, each = each, key = key] { return mechanismSign(each, key, data, &signature) == Code::OK; });
    runAndSearch(search, "verify by " + std::to_string(each.row->number), [&, each = each, key = key] { return mechanismVerify(each, key, data, signature, &valid) == Code::OK && valid; });
  }
  const std::tuple<Mechanism, Use, MechanismKey> operations[] = {
      {ciphers[0], kEncrypt, aes},  {ciphers[1], kDecrypt, aes}, {ciphers[2], kEncrypt, aes},        {ciphers[3], kEncrypt, aes},
      {mechanism(kCkm_AES_CMAC), kSign, aes}, {mechanism(kCkm_SHA256_HMAC), kSign, hmac}, {mechanism(kCkm_SHA384_HMAC), kSign, hmac},
  };
  for (const auto& [each, use, key] : operations) {
    const std::string name = "in parts, " + std::to_string(each.row->number);
    std::unique_ptr<MechanismOperation> operation;
    const auto begin = [&, each = each, use = use, key = key] { return MechanismOperation::begin(each, use, key, &operation) == Code::OK; };
    runAndSearch(search, name + ", begun", begin);
    runAndSearch(search, name + ", a part", [&] { return operation->update(Bytes(data).first(48), out, &n) == Code::OK; });
    runAndSearch(search, name + ", whole", [&] {
      return begin() && operation->update(data, out, &n) == Code::OK && operation->finish({}, out, &n, &valid) == Code::OK;
    });
  }
}

TEST_CASE("memory: wrapping and unwrapping by mechanism leave neither key") {
  if (skipped()) return;
  const Secret kek = randomSecret(32), inside = randomSecret(48);
  Secret stored;
  Buffer spki, wrapped;
  REQUIRE(generateKey(KeyType::RSA_2048, 0, &stored, &spki) == Code::OK);
  RsaPrivateParts parts;
  REQUIRE(readRsaPrivateKey(stored, &parts));
  MemorySearch search;
  search.add("wrapping key", kek);
  search.add("wrapped key", inside);
  search.add("p", parts.p);
  search.add("q", parts.q);
  search.add("d", parts.d);
  const MechanismKey aes{.type = KeyType::AES_256, .stored = kek}, rsa{.type = KeyType::RSA_2048, .stored = stored, .spki = spki};
  const Hash sha1 = Hash::SHA_1;
  const std::pair<Mechanism, MechanismKey> all[] = {
      {mechanism(kCkm_AES_KEY_WRAP), aes},
      {mechanism(kCkm_AES_KEY_WRAP_KWP), aes},
      {mechanism(kCkm_RSA_PKCS_OAEP, {.hash = sha1, .mgf = sha1}), rsa},
      {mechanism(kCkm_RSA_AES_KEY_WRAP, {.bits = 256, .hash = sha1, .mgf = sha1}), rsa},
  };
  for (const auto& [each, key] : all) {
    const std::string name = std::to_string(each.row->number);
    runAndSearch(search, "wrap by " + name, [&, each = each, key = key] { return mechanismWrap(each, key, inside, &wrapped) == Code::OK; });
    runAndSearch(search, "unwrap by " + name, [&, each = each, key = key] {
      Secret opened;
      return mechanismUnwrap(each, key, wrapped, &opened) == Code::OK && opened.size() == 48;
    });
    wrapped[wrapped.size() - 1] ^= 1;
    runAndSearch(search, "a refused unwrap by " + name, [&, each = each, key = key] {
      Secret opened;
      return mechanismUnwrap(each, key, wrapped, &opened) == Code::WRAPPED_KEY_INVALID;
    });
  }
}

TEST_CASE("memory: private operations by mechanism leave neither key nor what was agreed") {
  if (skipped()) return;
  const Buffer data(32, 3);
  Buffer signature;
  const Hash sha256 = Hash::SHA_256;
  const std::pair<Mechanism, KeyType> signs[] = {
      {mechanism(kCkm_ECDSA), KeyType::EC_P256},        {mechanism(kCkm_ECDSA_SHA384), KeyType::EC_P384},
      {mechanism(kCkm_EDDSA), KeyType::ED25519},        {mechanism(kCkm_RSA_PKCS), KeyType::RSA_2048},
      {mechanism(kCkm_RSA_X_509), KeyType::RSA_2048},   {mechanism(kCkm_RSA_PKCS_PSS, {.saltBytes = 0, .hash = sha256, .mgf = sha256}), KeyType::RSA_2048},
  };
  for (const auto& [each, type] : signs) {
    Secret stored;
    Buffer spki;
    REQUIRE(generateKey(type, 0, &stored, &spki) == Code::OK);
    MemorySearch search;
    RsaPrivateParts parts;
    if (type == KeyType::RSA_2048) {
      REQUIRE(readRsaPrivateKey(stored, &parts));
      for (const Bytes part : {parts.d, parts.p, parts.q, parts.dp, parts.dq, parts.qi}) search.add("part", part);
    } else {
      search.add("private key", stored);
    }
    const MechanismKey key{.type = type, .stored = stored, .spki = spki};
    runAndSearch(search, "sign by " + std::to_string(each.row->number), [&, each = each] { return mechanismSign(each, key, data, &signature) == Code::OK; });
  }
  for (const KeyType type : {KeyType::EC_P256, KeyType::X25519}) {
    Secret stored, otherStored, z;
    Buffer spki, peer;
    REQUIRE(generateKey(type, 0, &stored, &spki) == Code::OK);
    REQUIRE(generateKey(type, 0, &otherStored, &peer) == Code::OK);
    REQUIRE(agree(type, stored, peer, &z) == Code::OK);
    Secret hashed;
    REQUIRE(mechanismDerive(mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = peer, .kdf = sha256}), {.type = type, .stored = stored}, 48, &hashed) == Code::OK);
    MemorySearch search;
    search.add("private key", stored);
    search.add("shared secret", z);
    search.add("derived key", hashed);
    for (const Hash kdf : {Hash::HASH_UNSPECIFIED, sha256}) {
      runAndSearch(search, "derive", [&] {
        Secret out;
        return mechanismDerive(mechanism(kCkm_ECDH1_DERIVE, {.peerPublic = peer, .kdf = kdf}), {.type = type, .stored = stored}, kdf == sha256 ? 48 : 24, &out) == Code::OK;
      });
    }
  }
}
