#include "core/hpke.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/gcm.h"
#include "core/keypair.h"
#include "core/stack_scrub.h"
#include "hex.h"
#include "memory_search.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const Buffer kInfo = text("Ode on a Grecian Urn"), kAad = text("Count-0"), kText = text("Beauty is truth, truth beauty");

struct Vector {
  HpkeAead aead;
  const char *ephemeral, *enc, *privateKey, *publicKey, *shared, *key, *nonce, *sealed;
};
const Vector kVectors[] = {
    // RFC 9180 A.1.1
    {kHpkeAes128Gcm, "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736", "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
     "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8", "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
     "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc", "4531685d41d65f03dc48f6b8302c05b0", "56d890e5accaaf011cff4b7d",
     "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"},
    // The same authors' vector for AES-256-GCM, which the appendix does not print.
    {kHpkeAes256Gcm, "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11", "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
     "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d", "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
     "3101c54c3a4f87439eaac080699ed9bbcc726ffe44e860c0424ccb7e3e2ead7b", "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f",
     "151d9929e2449747889bc923", "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"},
};

struct Pair {
  Secret privateKey;
  Buffer publicKey = Buffer(kHpkeKeyBytes);
  Pair() { REQUIRE(hpkeKeyPair(&privateKey, publicKey.data()) == Code::OK); }
};

Buffer sealed(Bytes publicKey, Bytes in) {
  Buffer out(in.size() + kHpkeOverheadBytes);
  REQUIRE(hpkeSeal(publicKey, kInfo, kAad, in, out) == Code::OK);
  return out;
}

// 32 zero bytes, sealed by whoever knows what X25519 gave: RFC 9180 4.1 written out, without hpke.cc's own.
Buffer sealedWith(Bytes z, const Buffer& enc, const Buffer& publicKey) {
  const std::string suite = std::string("HPKE-v1KEM\0", 11) + '\x20', extract = suite + "eae_prk", expand = std::string("\0\x20", 2) + suite + "shared_secret";
  uint8_t prk[32], shared[32], one = 1;
  const Bytes extracted[] = {bytesOf(extract), z}, expanded[] = {bytesOf(expand), enc, publicKey, {&one, 1}};
  hmacParts(Hash::SHA_256, {}, extracted, prk);
  hmacParts(Hash::SHA_256, prk, expanded, shared);
  HpkeSchedule schedule;
  hpkeKeySchedule(kHpkeAes256Gcm, shared, kInfo, &schedule);
  GcmKey key;
  gcm().init(&key, schedule.key, 32);
  const Buffer in(32);
  Buffer out = enc;
  out.resize(32 + kHpkeOverheadBytes);
  gcm().seal(&key, schedule.nonce, kAad.data(), kAad.size(), in.data(), in.size(), &out[32], &out[64]);
  return out;
}

// The u of the points of small order (RFC 7748 6.1 asks for the zero check because of these), little-endian.
const char* const kSmallOrder[] = {
    "0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};

}  // namespace

TEST_CASE("hpke: the vectors of RFC 9180, step by step") {
  for (const Vector& v : kVectors) {
    CAPTURE(v.aead.id);
    const Buffer ephemeral = hex(v.ephemeral), enc = hex(v.enc), privateKey = hex(v.privateKey), publicKey = hex(v.publicKey);
    Buffer computed(kHpkeKeyBytes);
    CHECK(hpkePublic(ephemeral, computed.data()) == Code::OK);
    CHECK(computed == enc);
    CHECK(hpkePublic(privateKey, computed.data()) == Code::OK);
    CHECK(computed == publicKey);
    Secret ours, theirs;
    REQUIRE(hpkeSharedSecret(ephemeral, publicKey, enc, publicKey, &ours) == Code::OK);
    REQUIRE(hpkeSharedSecret(privateKey, enc, enc, publicKey, &theirs) == Code::OK);
    CHECK(toHex(ours) == v.shared);
    CHECK(toHex(theirs) == v.shared);
    HpkeSchedule schedule;
    hpkeKeySchedule(v.aead, ours, kInfo, &schedule);
    CHECK(toHex({schedule.key, v.aead.keyBytes}) == v.key);
    CHECK(toHex(schedule.nonce) == v.nonce);
    Buffer out(kText.size() + kHpkeOverheadBytes), opened(kText.size());
    CHECK(hpkeSealWith(v.aead, ephemeral, publicKey, kInfo, kAad, kText, out) == Code::OK);
    CHECK(toHex(out) == std::string(v.enc) + v.sealed);
    CHECK(hpkeOpenWith(v.aead, privateKey, kInfo, kAad, out, opened) == Code::OK);
    CHECK(opened == kText);
  }
}

TEST_CASE("hpke: opens with its own key, info and aad only, with every byte as it was") {
  const Pair pair, other;
  for (size_t n : {0, 1, 32, 1000}) {
    CAPTURE(n);
    const Buffer in = pattern(n, 5), message = sealed(pair.publicKey, in);
    CHECK(message != sealed(pair.publicKey, in));
    Buffer out(n, 0xff);
    CHECK(hpkeOpen(pair.privateKey, kInfo, kAad, message, out) == Code::OK);
    CHECK(out == in);
    const auto refused = [&](Bytes privateKey, Bytes info, Bytes aad, Bytes bytes) {
      std::fill(out.begin(), out.end(), 0xff);
      return hpkeOpen(privateKey, info, aad, bytes, out) == Code::CIPHERTEXT_INVALID && out == Buffer(n, 0);
    };
    CHECK(refused(other.privateKey, kInfo, kAad, message));
    CHECK(refused(pair.privateKey, text("Ode on a Grecian urn"), kAad, message));
    CHECK(refused(pair.privateKey, {}, kAad, message));
    CHECK(refused(pair.privateKey, kInfo, text("Count-1"), message));
    CHECK(refused(pair.privateKey, kInfo, {}, message));
    for (size_t i = 0; i < message.size(); i += n > 100 ? 37 : 1) {
      Buffer changed = message;
      changed[i] ^= i == 31 ? 0x80 : 4;  // the bit that X25519 ignores is in the context
      CHECK(refused(pair.privateKey, kInfo, kAad, changed));
    }
  }
}

TEST_CASE("hpke: a point of small order seals nothing and opens nothing") {
  const Pair pair, ephemeral;
  Buffer out(32 + kHpkeOverheadBytes), opened(32);
  Secret z;
  REQUIRE(agree(KeyType::X25519, ephemeral.privateKey, pair.publicKey, &z) == Code::OK);
  REQUIRE(hpkeOpen(pair.privateKey, kInfo, kAad, sealedWith(z, ephemeral.publicKey, pair.publicKey), opened) == Code::OK);
  for (const char* point : kSmallOrder) {
    CAPTURE(point);
    const Buffer u = hex(point);
    CHECK(hpkeSeal(u, kInfo, kAad, Buffer(32), out) == Code::KEY_INVALID);
    // What somebody seals who counts on an all-zero shared secret.
    const Buffer forged = sealedWith(Buffer(32), u, pair.publicKey);
    std::fill(opened.begin(), opened.end(), 0xff);
    CHECK(hpkeOpen(pair.privateKey, kInfo, kAad, forged, opened) == Code::CIPHERTEXT_INVALID);
    CHECK(opened == Buffer(32, 0));
  }
}

TEST_CASE("hpke: refuses wrong lengths") {
  const Pair pair;
  const Buffer in(32), message = sealed(pair.publicKey, in);
  Buffer out(32 + kHpkeOverheadBytes), opened(32);
  for (size_t n : {0, 31, 33, 44}) {
    CHECK(hpkeSeal(Buffer(n, 9), kInfo, kAad, in, out) == Code::KEY_INVALID);
    CHECK(hpkeOpen(Buffer(n, 9), kInfo, kAad, message, opened) == Code::KEY_INVALID);
    CHECK(hpkePublic(Buffer(n, 9), out.data()) == Code::KEY_INVALID);
  }
  CHECK(hpkeSeal(pair.publicKey, kInfo, kAad, Buffer(31), out) == Code::INTERNAL);
  Buffer longer(33);
  CHECK(hpkeOpen(pair.privateKey, kInfo, kAad, message, longer) == Code::INTERNAL);
  for (size_t n = 0; n < message.size(); n++) {
    Buffer shorter(n < kHpkeOverheadBytes ? 0 : n - kHpkeOverheadBytes);
    CHECK(hpkeOpen(pair.privateKey, kInfo, kAad, Bytes(message).first(n), shorter) == Code::CIPHERTEXT_INVALID);
  }
}

TEST_CASE("memory: hpke leaves neither private keys nor what is derived, and what is inside only in the arena" * doctest::skip(!memorySearchable())) {
  const Pair pair;
  Secret inside, ephemeral, z, shared, opened;
  for (Secret* each : {&inside, &ephemeral}) REQUIRE(Secret::random(32, each) == Code::OK);
  Buffer enc(kHpkeKeyBytes), out(32 + kHpkeOverheadBytes);
  REQUIRE(hpkePublic(ephemeral, enc.data()) == Code::OK);
  REQUIRE(agree(KeyType::X25519, ephemeral, pair.publicKey, &z) == Code::OK);
  REQUIRE(hpkeSharedSecret(ephemeral, pair.publicKey, enc, pair.publicKey, &shared) == Code::OK);
  ArenaBox<HpkeSchedule> schedule;
  REQUIRE(ArenaBox<HpkeSchedule>::make(&schedule) == Code::OK);
  REQUIRE(Secret::make(32, &opened) == Code::OK);
  {
    Secret unused;
    uint8_t publicKey[kHpkeKeyBytes];
    REQUIRE(hpkeKeyPair(&unused, publicKey) == Code::OK);
  }
  REQUIRE(hpkeSealWith(kHpkeAes256Gcm, ephemeral, pair.publicKey, kInfo, kAad, inside, out) == Code::OK);
  withScrubbedStack([&] {
    hpkeKeySchedule(kHpkeAes256Gcm, shared, kInfo, schedule.get());
    return 0;
  });
  MemorySearch search;
  search.add("private key", pair.privateKey);
  search.add("ephemeral key", ephemeral);
  search.add("agreed u", z);
  search.add("shared secret", shared);
  search.add("message key", {schedule.get()->key, 32});
  search.add("what is inside", inside);
  const KeptHeap kept;
  const auto clean = [&](const char* name, auto operation) {
    const Code code = operation();
    const size_t hits = search.find();
    CHECK_MESSAGE(hits == 0, name);
    for (const std::string& hit : search.report()) MESSAGE(name << ": " << hit);
    CHECK(code == Code::OK);
  };
  clean("nothing", [] { return Code::OK; });
  clean("seal", [&] { return hpkeSealWith(kHpkeAes256Gcm, ephemeral, pair.publicKey, kInfo, kAad, inside, out); });
  clean("open", [&] { return hpkeOpen(pair.privateKey, kInfo, kAad, out, opened.span()); });
  out.back() ^= 1;
  clean("a refused open", [&] { return hpkeOpen(pair.privateKey, kInfo, kAad, out, opened.span()) == Code::CIPHERTEXT_INVALID ? Code::OK : Code::INTERNAL; });
  clean("public", [&] { return hpkePublic(pair.privateKey, enc.data()); });
}
