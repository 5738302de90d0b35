#include "core/transport.h"

#include <functional>

#include "core/hpke.h"
#include "core/rsa.h"
#include "key_fixtures.h"
#include "memory_search.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const Buffer kAad = text("default, orders, 1");

TransportRecipient recipientOf(KeyType type) {
  TransportRecipient to;
  std::string detail;
  REQUIRE_MESSAGE(readRecipient(testPair(type).spki, &to, &detail) == Code::OK, detail);
  return to;
}

TransportOpener openerOf(KeyType type) {
  const bool hpke = type == KeyType::X25519;
  return {.type = type, .stored = testPair(type).stored, .mechanism = hpke ? WrapMechanism::WRAP_HPKE : WrapMechanism::WRAP_RSA_AES_KEY_WRAP, .context = hpke ? Bytes(kAad) : Bytes{}};
}

std::string refusal(Bytes spki) {
  TransportRecipient to;
  std::string detail;
  CHECK(readRecipient(spki, &to, &detail) == Code::KEY_INVALID);
  return detail;
}

bool searched(MemorySearch& search, const std::function<bool()>& operation) {
  REQUIRE(search.find() == 0);
  const KeptHeap kept;
  const bool ok = operation();
  const bool clean = search.find() == 0;
  for (const std::string& hit : search.report()) MESSAGE(hit);
  return ok && clean;
}

}  // namespace

TEST_CASE("transport: what is wrapped opens as it was, and with every byte as it was only") {
  for (const KeyType to : {KeyType::RSA_2048, KeyType::RSA_3072, KeyType::X25519}) {
    for (const KeyType type : {KeyType::AES_128, KeyType::HMAC, KeyType::EC_P384, KeyType::ED25519, KeyType::RSA_2048}) {
      CAPTURE(int(to));
      CAPTURE(int(type));
      const TestPair& key = testPair(type);
      Buffer wrapped;
      REQUIRE(wrapTransport(recipientOf(to), kAad, type, key.stored, key.spki, &wrapped) == Code::OK);
      Secret opened, wanted;
      REQUIRE(unwrapTransport(openerOf(to), wrapped, &opened) == Code::OK);
      REQUIRE(exportMaterial(type, isAsymmetric(type) ? MaterialFormat::PKCS8 : MaterialFormat::RAW, key.stored, key.spki, &wanted) == Code::OK);
      CHECK(equalConstantTime(opened, wanted));
      for (const size_t at : {size_t(0), wrapped.size() / 2, wrapped.size() - 1}) {
        Buffer changed = wrapped;
        changed[at] ^= 1;
        CHECK(unwrapTransport(openerOf(to), changed, &opened) == Code::CIPHERTEXT_INVALID);
        CHECK(unwrapTransport(openerOf(to), Bytes(wrapped).first(at), &opened) == Code::CIPHERTEXT_INVALID);
      }
    }
  }
}

TEST_CASE("transport: HPKE is bound to its aad, and keys to their mechanisms") {
  const TestPair& key = testPair(KeyType::AES_256);
  Buffer wrapped;
  REQUIRE(wrapTransport(recipientOf(KeyType::X25519), kAad, KeyType::AES_256, key.stored, {}, &wrapped) == Code::OK);
  TransportOpener with = openerOf(KeyType::X25519);
  const Buffer other = text("default, orders, 2");
  Secret out;
  with.context = other;
  CHECK(unwrapTransport(with, wrapped, &out) == Code::CIPHERTEXT_INVALID);
  with.mechanism = WrapMechanism::WRAP_RSA_OAEP;
  CHECK(unwrapTransport(with, wrapped, &out) == Code::BAD_REQUEST);
  with = openerOf(KeyType::RSA_2048);
  for (const WrapMechanism mechanism : {WrapMechanism::WRAP_HPKE, WrapMechanism::WRAP_AES_KW, WrapMechanism::WRAP_MECHANISM_UNSPECIFIED}) {
    with.mechanism = mechanism;
    CHECK(unwrapTransport(with, wrapped, &out) == Code::BAD_REQUEST);
  }
  CHECK(out.empty());
}

TEST_CASE("transport: values of every length open as they were, and with every byte as it was only") {
  for (const KeyType to : {KeyType::RSA_2048, KeyType::RSA_4096, KeyType::X25519}) {
    for (const size_t n : {size_t(0), size_t(1), size_t(8193), limits::secret_value_bytes_max}) {
      CAPTURE(int(to));
      CAPTURE(n);
      const Buffer value = pattern(n);
      Buffer wrapped, other;
      REQUIRE(wrapValue(recipientOf(to), kAad, value, &wrapped) == Code::OK);
      REQUIRE(wrapValue(recipientOf(to), kAad, value, &other) == Code::OK);
      CHECK(wrapped != other);
      Secret opened;
      REQUIRE(unwrapValue(openerOf(to), wrapped, &opened) == Code::OK);
      REQUIRE(opened.size() == n);
      CHECK(equalConstantTime(opened, value));
      for (const size_t at : {size_t(0), wrapped.size() - n - 17, wrapped.size() - 17, wrapped.size() - 1}) {
        Buffer changed = wrapped;
        changed[at] ^= 1;
        CHECK(unwrapValue(openerOf(to), changed, &opened) == Code::CIPHERTEXT_INVALID);
        CHECK(unwrapValue(openerOf(to), Bytes(wrapped).first(at), &opened) == Code::CIPHERTEXT_INVALID);
        CHECK(opened.empty());
      }
      Buffer longer = wrapped;
      longer.push_back(0);
      CHECK(unwrapValue(openerOf(to), longer, &opened) == Code::CIPHERTEXT_INVALID);
    }
    Buffer wrapped;
    CHECK(wrapValue(recipientOf(to), kAad, pattern(limits::secret_value_bytes_max + 1), &wrapped) == Code::INPUT_TOO_LONG);
  }
  TransportOpener with = openerOf(KeyType::X25519);
  Buffer wrapped;
  REQUIRE(wrapValue(recipientOf(KeyType::X25519), kAad, pattern(5), &wrapped) == Code::OK);
  const Buffer elsewhere = text("default, orders, 2");
  with.context = elsewhere;
  Secret opened;
  CHECK(unwrapValue(with, wrapped, &opened) == Code::CIPHERTEXT_INVALID);
  with.type = KeyType::EC_P256;
  CHECK(unwrapValue(with, wrapped, &opened) == Code::BAD_REQUEST);
}

TEST_CASE("transport: recipients are RSA and X25519, and whole") {
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P521}) CHECK(refusal(testPair(type).spki).find("NIST") != std::string::npos);
  CHECK(refusal(testPair(KeyType::ED25519).spki).find("signs") != std::string::npos);
  const Buffer& spki = testPair(KeyType::RSA_2048).spki;
  for (const size_t n : {size_t(0), size_t(1), spki.size() - 1}) refusal(Bytes(spki).first(n));
  Buffer longer = spki;
  longer.push_back(0);
  refusal(longer);
  Buffer even = spki;
  even[spki.size() - 6] &= 0xfe;  // the modulus' last byte, before 02 03 01 00 01
  CHECK(refusal(even).find("even") != std::string::npos);
  RsaPublicParts parts;
  REQUIRE(readRsaPublicKey(publicOctets(*keyRow(KeyType::RSA_2048), spki), &parts));
  CHECK_FALSE(rsaIsRoca(parts.n));
}

TEST_CASE("transport: leaves nothing of the material outside the arena") {
  if (!memorySearchable()) return;
  const TestPair& key = testPair(KeyType::AES_256);
  MemorySearch search;
  search.add("material", key.stored);
  for (const KeyType to : {KeyType::RSA_2048, KeyType::X25519}) {
    const TransportRecipient recipient = recipientOf(to);
    Buffer wrapped;
    CHECK(searched(search, [&] { return wrapTransport(recipient, kAad, KeyType::AES_256, key.stored, {}, &wrapped) == Code::OK; }));
    Secret out;
    CHECK(searched(search, [&] { return unwrapTransport(openerOf(to), wrapped, &out) == Code::OK; }));
    CHECK(searched(search, [&] { return wrapValue(recipient, kAad, key.stored, &wrapped) == Code::OK; }));
    CHECK(searched(search, [&] { return unwrapValue(openerOf(to), wrapped, &out) == Code::OK; }));
  }
}
