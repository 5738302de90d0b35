// docs/FORMAT.md's examples: made and opened to the byte. They come from another implementation (test/golden/twin.ts).
#include <algorithm>

#include "core/managed.h"
#include "core/record.h"
#include "core/shamir.h"
#include "core/symmetric.h"
#include "golden.h"

using namespace quorate;
using namespace quorate::test;

namespace quorate {

// Seals with the nonces of the examples.
struct ManagedKeyTest {
  static Buffer seal(const ManagedKey& key, const Buffer& nonce, Bytes context, Bytes plaintext) {
    Buffer out(plaintext.size() + kManagedOverheadBytes);
    REQUIRE(nonce.size() == 24);
    REQUIRE(key.sealWithNonce(context, nonce.data(), plaintext, out) == Code::OK);
    return out;
  }
  static Buffer sealFile(const ManagedKey& key, const Buffer& nonce, Bytes context, Bytes plaintext) {
    Buffer out(kManagedHeaderBytes);
    std::unique_ptr<StreamSealer> sealer;
    REQUIRE(key.sealStreamWithNonce(context, nonce.data(), out.data(), &sealer) == Code::OK);
    do {
      const size_t n = std::min<size_t>(plaintext.size(), limits::stream_chunk_bytes), at = out.size();
      out.resize(at + n + 16);
      REQUIRE(sealer->chunk(plaintext.first(n), n == plaintext.size(), MutBytes(out).subspan(at)) == Code::OK);
      plaintext = plaintext.subspan(n);
    } while (!plaintext.empty());
    return out;
  }
};

}  // namespace quorate

namespace {

std::shared_ptr<const ManagedKey> keyOf(const Golden& golden) {
  KeyIdentity identity;
  identity.domain.assign(golden["key.domain"].begin(), golden["key.domain"].end());
  std::copy(golden["key.id"].begin(), golden["key.id"].end(), identity.id.begin());
  for (uint8_t b : golden["key.version"]) identity.version = identity.version << 8 | b;
  std::shared_ptr<const ManagedKey> made;
  REQUIRE(ManagedKey::prepare(golden["key.stored"], identity, &made) == Code::OK);
  return made;
}

Buffer openFile(const std::shared_ptr<const ManagedKey>& key, Bytes context, Bytes sealed) {
  std::unique_ptr<StreamOpener> opener;
  REQUIRE(ManagedKey::openStream(key, context, sealed.first(kManagedHeaderBytes), &opener) == Code::OK);
  Buffer out;
  for (Bytes rest = sealed.subspan(kManagedHeaderBytes); !rest.empty();) {
    const size_t n = std::min<size_t>(rest.size(), limits::stream_chunk_bytes + 16), at = out.size();
    out.resize(at + n - 16);
    REQUIRE(opener->chunk(rest.first(n), n == rest.size(), MutBytes(out).subspan(at)) == Code::OK);
    rest = rest.subspan(n);
  }
  CHECK(opener->whole());
  return out;
}

Buffer longFile() {
  Buffer out(2 * limits::stream_chunk_bytes + 5);
  for (size_t i = 0; i < out.size(); i++) out[i] = uint8_t(i + 3 * (i >> 8));
  return out;
}

}  // namespace

TEST_CASE("format: the message of the document") {
  const Golden golden("formats.txt");
  const auto key = keyOf(golden);
  const Buffer& plaintext = golden["plaintext"];
  CHECK(toHex(ManagedKeyTest::seal(*key, golden["message.nonce"], golden["context"], plaintext)) == toHex(golden["message.sealed"]));
  Buffer opened(plaintext.size());
  CHECK(key->open(golden["context"], golden["message.sealed"], opened) == Code::OK);
  CHECK(opened == plaintext);
}

TEST_CASE("format: the files of the document") {
  const Golden golden("formats.txt");
  const auto key = keyOf(golden);
  const Buffer &nonce = golden["file.nonce"], &context = golden["context"], &plaintext = golden["plaintext"];
  CHECK(toHex(ManagedKeyTest::sealFile(*key, nonce, context, plaintext)) == toHex(golden["file.sealed"]));
  CHECK(toHex(ManagedKeyTest::sealFile(*key, nonce, context, {})) == toHex(golden["file.sealedEmpty"]));
  CHECK(openFile(key, context, golden["file.sealed"]) == plaintext);
  CHECK(openFile(key, context, golden["file.sealedEmpty"]).empty());

  const Buffer sealed = ManagedKeyTest::sealFile(*key, nonce, context, longFile());
  Buffer hash(32);
  digest(Hash::SHA_256, sealed, hash.data());
  CHECK(toHex(hash) == toHex(golden["file.sealedLongSha256"]));
  CHECK(openFile(key, context, sealed) == longFile());
}

TEST_CASE("format: the record of the document") {
  const Golden golden("formats.txt");
  const Buffer& plaintext = golden["plaintext"];
  Buffer sealed(plaintext.size() + kRecordOverheadBytes), opened(plaintext.size());
  REQUIRE(golden["record.salt"].size() == 16);
  CHECK(sealRecordWithSalt(golden["record.kek"], golden["record.salt"].data(), golden["record.aad"], plaintext, sealed) == Code::OK);
  CHECK(toHex(sealed) == toHex(golden["record.sealed"]));
  CHECK(openRecord(golden["record.kek"], golden["record.aad"], golden["record.sealed"], opened) == Code::OK);
  CHECK(opened == plaintext);
}

TEST_CASE("format: the shares of the document") {
  const Golden golden("formats.txt");
  std::vector<SecretPtr> shares;
  for (const char* name : {"share.1", "share.2", "share.3"}) {
    Secret share, text;
    REQUIRE(shareDecode(golden[name + std::string(".text")], &share) == Code::OK);
    CHECK(toHex(share) == toHex(golden[name]));
    REQUIRE(shareEncode(share, &text) == Code::OK);
    CHECK(toHex(text) == toHex(golden[name + std::string(".text")]));
    shares.push_back(std::make_shared<const Secret>(std::move(share)));
  }
  for (size_t without = 0; without < 3; without++) {
    std::vector<SecretPtr> two = shares;
    two.erase(two.begin() + ptrdiff_t(without));
    Secret secret;
    REQUIRE(shamirCombine(two, &secret) == Code::OK);
    CHECK(toHex(secret) == toHex(golden["share.secret"]));
  }
}
