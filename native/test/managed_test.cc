// Managed messages: the layout, what each failure says, and that no plaintext comes out with one.
#include "core/managed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "core/symmetric.h"
#include "hex.h"

using namespace quorate;
using namespace quorate::test;

namespace {

KeyIdentity identityOf(const std::string& domain, uint8_t id, uint32_t version) {
  KeyIdentity identity{domain, {}, version};
  identity.id.fill(id);
  return identity;
}

std::shared_ptr<const ManagedKey> keyOf(const Buffer& stored, const KeyIdentity& identity) {
  std::shared_ptr<const ManagedKey> made;
  REQUIRE(ManagedKey::prepare(stored, identity, &made) == Code::OK);
  return made;
}

Buffer seal(const ManagedKey& key, Bytes context, Bytes plaintext) {
  Buffer out(plaintext.size() + kManagedOverheadBytes);
  REQUIRE(key.seal(context, plaintext, out) == Code::OK);
  return out;
}

// The code; when it is not OK, checks that the output was zeroed.
Code openCode(const ManagedKey& key, Bytes context, Bytes ciphertext, Buffer* plaintext = nullptr) {
  Buffer out(ciphertext.size() < kManagedOverheadBytes ? 0 : ciphertext.size() - kManagedOverheadBytes, 0xff);
  const Code code = key.open(context, ciphertext, out);
  if (code != Code::OK) CHECK(std::all_of(out.begin(), out.end(), [](uint8_t b) { return b == 0; }));
  if (plaintext != nullptr) *plaintext = out;
  return code;
}

const Buffer kStored = pattern(32, 7);
const KeyIdentity kIdentity = identityOf("default", 0xa5, 3);

}  // namespace

TEST_CASE("managed: what is sealed opens, at every length around the blocks") {
  const auto key = keyOf(kStored, kIdentity);
  const Buffer context = text("invoice 7");
  for (size_t n : {0, 1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 511, 512, 513, 4096, 16384, 16385, 100'000}) {
    CAPTURE(n);
    const Buffer plaintext = pattern(n, uint32_t(n));
    Buffer opened;
    CHECK(openCode(*key, context, seal(*key, context, plaintext), &opened) == Code::OK);
    CHECK(opened == plaintext);
  }
}

TEST_CASE("managed: the layout is the documented one") {
  const auto key = keyOf(kStored, kIdentity);
  const Buffer plaintext = text("iban FR76"), context = text("ctx");
  const Buffer sealed = seal(*key, context, plaintext);
  CHECK(toHex(Bytes(sealed).first(4)) == "51a10101");
  CHECK(toHex(Bytes(sealed).subspan(4, 16)) == "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
  CHECK(toHex(Bytes(sealed).subspan(20, 4)) == "03000000");

  // The same bytes from the parts: HKDF, HMAC and plain XAES.
  const auto derive = [](const std::string& info) {
    Buffer out(32);
    REQUIRE(hkdf(Hash::SHA_256, kStored, {}, bytesOf(info), out) == Code::OK);
    return out;
  };
  Buffer h(sealed.begin(), sealed.begin() + 24);
  h.push_back(7);
  for (char c : std::string("default")) h.push_back(uint8_t(c));
  const Buffer nonce(sealed.begin() + 24, sealed.begin() + 48);
  Buffer committed = nonce, commitment(32);
  committed.insert(committed.end(), h.begin(), h.end());
  REQUIRE(hmac(Hash::SHA_256, derive("quorate/v1/managed/commit"), committed, commitment.data()) == Code::OK);
  CHECK(toHex(commitment) == toHex(Bytes(sealed).subspan(48, 32)));
  Buffer aad = {uint8_t(h.size()), 0, 0, 0}, body(plaintext.size() + 16);
  aad.insert(aad.end(), h.begin(), h.end());
  aad.insert(aad.end(), context.begin(), context.end());
  REQUIRE(xaesSeal(derive("quorate/v1/managed/encrypt"), nonce.data(), aad, plaintext, body) == Code::OK);
  CHECK(toHex(body) == toHex(Bytes(sealed).subspan(80)));
}

TEST_CASE("managed: any changed byte is found") {
  const auto key = keyOf(kStored, kIdentity);
  const Buffer sealed = seal(*key, text("c"), text("twenty bytes of text"));
  for (size_t i = 0; i < sealed.size(); i++) {
    for (uint8_t bit : {0x01, 0x80}) {
      Buffer changed = sealed;
      changed[i] ^= bit;
      const bool names = i >= 4 && i < 24;  // key id and version
      CHECK(openCode(*key, text("c"), changed) == (names ? Code::CIPHERTEXT_WRONG_KEY : Code::CIPHERTEXT_INVALID));
    }
  }
}

TEST_CASE("managed: any other length is found") {
  const auto key = keyOf(kStored, kIdentity);
  Buffer sealed = seal(*key, {}, text("twenty bytes of text"));
  for (size_t n = 0; n < sealed.size(); n++) CHECK(openCode(*key, {}, Bytes(sealed).first(n)) == Code::CIPHERTEXT_INVALID);
  sealed.push_back(0);
  CHECK(openCode(*key, {}, sealed) == Code::CIPHERTEXT_INVALID);
}

TEST_CASE("managed: context, domain, key, version and format are bound") {
  const auto key = keyOf(kStored, kIdentity);
  const Buffer sealed = seal(*key, text("a"), text("text"));
  CHECK(openCode(*key, text("b"), sealed) == Code::CIPHERTEXT_INVALID);
  CHECK(openCode(*key, {}, sealed) == Code::CIPHERTEXT_INVALID);
  CHECK(openCode(*keyOf(kStored, identityOf("other", 0xa5, 3)), text("a"), sealed) == Code::CIPHERTEXT_INVALID);
  CHECK(openCode(*keyOf(pattern(32, 8), kIdentity), text("a"), sealed) == Code::CIPHERTEXT_INVALID);
  CHECK(openCode(*keyOf(kStored, identityOf("default", 0xa6, 3)), text("a"), sealed) == Code::CIPHERTEXT_WRONG_KEY);
  CHECK(openCode(*keyOf(kStored, identityOf("default", 0xa5, 4)), text("a"), sealed) == Code::CIPHERTEXT_WRONG_KEY);
  Buffer stream = sealed;
  stream[2] = 2;
  CHECK(openCode(*key, text("a"), stream) == Code::CIPHERTEXT_INVALID);
}

TEST_CASE("managed: a domain cannot run into the context") {
  const auto one = keyOf(kStored, identityOf("ab", 1, 1)), two = keyOf(kStored, identityOf("a", 1, 1));
  CHECK(openCode(*two, text("bc"), seal(*one, text("c"), text("text"))) == Code::CIPHERTEXT_INVALID);
}

TEST_CASE("managed: limits") {
  const auto key = keyOf(kStored, kIdentity);
  const Buffer longest(limits::context_bytes_max, 1), tooLong(limits::context_bytes_max + 1, 1);
  CHECK(openCode(*key, longest, seal(*key, longest, text("x"))) == Code::OK);
  Buffer out(1 + kManagedOverheadBytes);
  CHECK(key->seal(tooLong, text("x"), out) == Code::CONTEXT_TOO_LONG);
  CHECK(openCode(*key, tooLong, out) == Code::CONTEXT_TOO_LONG);
  CHECK(key->seal({}, text("xy"), out) == Code::INTERNAL);
  CHECK(key->seal({}, Bytes(out.data(), size_t(1) << 36), out) == Code::INPUT_TOO_LONG);
  std::shared_ptr<const ManagedKey> made;
  CHECK(ManagedKey::prepare(Buffer(31), kIdentity, &made) == Code::KEY_INVALID);
  CHECK(ManagedKey::prepare(kStored, identityOf(std::string(limits::name_bytes_max + 1, 'd'), 1, 1), &made) == Code::NAME_INVALID);
  CHECK(made == nullptr);
  const auto wide = keyOf(kStored, identityOf(std::string(limits::name_bytes_max, 'd'), 1, UINT32_MAX));
  CHECK(openCode(*wide, longest, seal(*wide, longest, text("x"))) == Code::OK);
}

TEST_CASE("managed: a fresh nonce each time") {
  const auto key = keyOf(kStored, kIdentity);
  std::set<std::string> nonces;
  for (int i = 0; i < 2000; i++) nonces.insert(toHex(Bytes(seal(*key, {}, {})).subspan(24, 24)));
  CHECK(nonces.size() == 2000);
}

TEST_CASE("managed: the header is read without a key") {
  const auto key = keyOf(kStored, identityOf("default", 9, 0x01020304));
  const Buffer sealed = seal(*key, {}, {});
  ManagedHeader header;
  REQUIRE(parseManagedHeader(sealed, &header) == Code::OK);
  CHECK(header.format == ManagedFormat::message);
  CHECK(header.id == key->identity().id);
  CHECK(header.version == 0x01020304);
  CHECK(parseManagedHeader(Bytes(sealed).first(79), &header) == Code::CIPHERTEXT_INVALID);
  for (size_t i = 0; i < 4; i++) {
    Buffer changed = sealed;
    changed[i] ^= 0x40;
    CHECK(parseManagedHeader(changed, &header) == Code::CIPHERTEXT_INVALID);
  }
}

TEST_CASE("managed: key material is in the arena only while the key lives") {
  const size_t before = Arena::stats().blocks;
  {
    const auto key = keyOf(kStored, kIdentity);
    CHECK(Arena::stats().blocks == before + 1);
    seal(*key, {}, text("x"));
    CHECK(Arena::stats().blocks == before + 1);
  }
  CHECK(Arena::stats().blocks == before);
}
