// Files in chunks: whatever is done to their order, number, flags, header or bytes is found.
#include <doctest/doctest.h>

#include <algorithm>

#include "core/managed.h"
#include "hex.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr size_t kChunk = limits::stream_chunk_bytes;
const Buffer kContext = text("report.pdf");

std::shared_ptr<const ManagedKey> keyOf(const std::string& domain = "default", uint8_t id = 1, uint32_t version = 1, uint32_t seed = 5) {
  KeyIdentity identity{domain, {}, version};
  identity.id.fill(id);
  std::shared_ptr<const ManagedKey> made;
  REQUIRE(ManagedKey::prepare(pattern(32, seed), identity, &made) == Code::OK);
  return made;
}

struct File {
  Buffer header = Buffer(kManagedHeaderBytes);
  std::vector<Buffer> chunks;
};

File sealFile(const std::shared_ptr<const ManagedKey>& key, const std::vector<Buffer>& plain) {
  File file;
  std::unique_ptr<StreamSealer> sealer;
  REQUIRE(ManagedKey::sealStream(key, kContext, file.header.data(), &sealer) == Code::OK);
  for (size_t i = 0; i < plain.size(); i++) {
    file.chunks.emplace_back(plain[i].size() + 16);
    REQUIRE(sealer->chunk(plain[i], i + 1 == plain.size(), file.chunks.back()) == Code::OK);
  }
  return file;
}

struct Opened {
  Code code = Code::OK;     // of the header or of the first chunk that failed
  size_t chunks = 0;        // opened before it
  bool whole = false;
  Code after = Code::OK;    // what a further good chunk gets
};

// The last chunk is opened with the last flag.
Opened openFile(const std::shared_ptr<const ManagedKey>& key, const File& file, Bytes context = kContext) {
  Opened opened;
  std::unique_ptr<StreamOpener> opener;
  opened.code = ManagedKey::openStream(key, context, file.header, &opener);
  if (opened.code != Code::OK) return opened;
  for (size_t i = 0; i < file.chunks.size() && opened.code == Code::OK; i++) {
    Buffer out(file.chunks[i].size() < 16 ? 0 : file.chunks[i].size() - 16, 0xff);
    opened.code = opener->chunk(file.chunks[i], i + 1 == file.chunks.size(), out);
    if (opened.code == Code::OK) opened.chunks++;
    else CHECK(out == Buffer(out.size(), 0));
  }
  opened.whole = opener->whole();
  Buffer out(kChunk);
  opened.after = opener->chunk(file.chunks.empty() ? Buffer(kChunk + 16) : Buffer(kChunk + 16, file.chunks[0][0]), false, out);
  return opened;
}

bool refused(const Opened& opened) { return opened.code == Code::CIPHERTEXT_INVALID && !opened.whole && opened.after == Code::STREAM_INVALID; }

const std::vector<Buffer> kThree = {pattern(kChunk, 1), pattern(kChunk, 2), pattern(1000, 3)};

}  // namespace

TEST_CASE("stream: files of every number of chunks open") {
  const auto key = keyOf();
  for (const std::vector<Buffer>& plain : {std::vector<Buffer>{{}}, {pattern(1)}, {pattern(kChunk)}, {pattern(kChunk), pattern(kChunk, 2)}, kThree}) {
    const File file = sealFile(key, plain);
    std::unique_ptr<StreamOpener> opener;
    REQUIRE(ManagedKey::openStream(key, kContext, file.header, &opener) == Code::OK);
    for (size_t i = 0; i < plain.size(); i++) {
      CHECK(!opener->whole());
      Buffer out(plain[i].size());
      CHECK(opener->chunk(file.chunks[i], i + 1 == plain.size(), out) == Code::OK);
      CHECK(out == plain[i]);
    }
    CHECK(opener->whole());
    Buffer out(plain[0].size());
    CHECK(opener->chunk(file.chunks[0], true, out) == Code::STREAM_INVALID);
    CHECK(opener->whole());
  }
}

TEST_CASE("stream: reordered, dropped, repeated and appended chunks") {
  const auto key = keyOf();
  const File good = sealFile(key, kThree);
  REQUIRE(openFile(key, good).whole);
  File file = good;
  std::swap(file.chunks[0], file.chunks[1]);
  CHECK(refused(openFile(key, file)));
  file = good;
  file.chunks.erase(file.chunks.begin());
  CHECK(refused(openFile(key, file)));
  file = good;
  file.chunks.erase(file.chunks.begin() + 1);
  CHECK(refused(openFile(key, file)));
  file = good;
  file.chunks.insert(file.chunks.begin() + 1, good.chunks[0]);
  CHECK(refused(openFile(key, file)));
  file = good;  // appended: a further chunk makes the old last one a middle one, which is too short for it
  file.chunks.push_back(good.chunks[2]);
  CHECK(openFile(key, file).code == Code::STREAM_INVALID);
  const File even = sealFile(key, {pattern(kChunk, 1), pattern(kChunk, 2)});
  file = even;
  file.chunks.push_back(even.chunks[1]);
  CHECK(refused(openFile(key, file)));
  CHECK(openFile(key, file).chunks == 1);
}

TEST_CASE("stream: cut between chunks, inside one, and with the last flag moved") {
  const auto key = keyOf();
  const File good = sealFile(key, kThree);
  for (size_t n : {1, 2}) {
    File file = good;
    file.chunks.resize(n);
    const Opened opened = openFile(key, file);
    CHECK(refused(opened));
    CHECK(opened.chunks == n - 1);
  }
  for (size_t n : {0, 1, 15, 16, 17, 999, 1015}) {
    CAPTURE(n);
    File file = good;
    file.chunks[2].resize(n);
    CHECK(refused(openFile(key, file)));
  }
  // A middle chunk opened as the last, and the last as a middle one.
  const File even = sealFile(key, {pattern(kChunk, 1), pattern(kChunk, 2)});
  std::unique_ptr<StreamOpener> opener;
  REQUIRE(ManagedKey::openStream(key, kContext, even.header, &opener) == Code::OK);
  Buffer out(kChunk);
  REQUIRE(opener->chunk(even.chunks[0], false, out) == Code::OK);
  CHECK(opener->chunk(even.chunks[1], false, out) == Code::CIPHERTEXT_INVALID);
  CHECK(opener->chunk(even.chunks[1], true, out) == Code::STREAM_INVALID);  // for good
  // An empty file whose only chunk is taken away, and a file with an empty last chunk that no sealer makes.
  File file = sealFile(key, {{}});
  file.chunks.clear();
  CHECK(!openFile(key, file).whole);
  File appended = sealFile(key, {pattern(kChunk, 1), pattern(kChunk, 2)});
  appended.chunks.push_back(sealFile(key, {{}}).chunks[0]);
  CHECK(refused(openFile(key, appended)));
}

TEST_CASE("stream: a changed byte anywhere") {
  const auto key = keyOf();
  const File good = sealFile(key, {pattern(kChunk, 1), pattern(20, 2)});
  for (size_t i = 0; i < good.header.size(); i++) {
    File file = good;
    file.header[i] ^= 0x04;
    const bool names = i >= 4 && i < 24;
    CHECK(openFile(key, file).code == (names ? Code::CIPHERTEXT_WRONG_KEY : Code::CIPHERTEXT_INVALID));
  }
  for (size_t i : {size_t(0), size_t(1000), kChunk - 1, kChunk, kChunk + 15}) {
    File file = good;
    file.chunks[0][i] ^= 1;
    CHECK(refused(openFile(key, file)));
  }
  for (size_t i = 0; i < 36; i++) {
    File file = good;
    file.chunks[1][i] ^= 1;
    const Opened opened = openFile(key, file);
    CHECK(refused(opened));
    CHECK(opened.chunks == 1);
  }
}

TEST_CASE("stream: another context, domain, key, version, file or format") {
  const auto key = keyOf();
  const File good = sealFile(key, {pattern(10)});
  CHECK(refused(openFile(key, good, text("other.pdf"))));
  CHECK(openFile(keyOf("other"), good).code == Code::CIPHERTEXT_INVALID);
  CHECK(openFile(keyOf("default", 1, 1, 6), good).code == Code::CIPHERTEXT_INVALID);
  CHECK(openFile(keyOf("default", 2), good).code == Code::CIPHERTEXT_WRONG_KEY);
  CHECK(openFile(keyOf("default", 1, 2), good).code == Code::CIPHERTEXT_WRONG_KEY);
  File mixed = sealFile(key, {pattern(10)});
  mixed.chunks = good.chunks;
  CHECK(refused(openFile(key, mixed)));
  Buffer message(kManagedOverheadBytes + 10);
  REQUIRE(key->seal(kContext, pattern(10), message) == Code::OK);
  File asFile{Buffer(message.begin(), message.begin() + 80), {Buffer(message.begin() + 80, message.end())}};
  CHECK(openFile(key, asFile).code == Code::CIPHERTEXT_INVALID);
  Buffer asMessage = good.header, out(10, 0xff);
  asMessage.insert(asMessage.end(), good.chunks[0].begin(), good.chunks[0].end());
  CHECK(key->open(kContext, asMessage, out) == Code::CIPHERTEXT_INVALID);
  CHECK(out == Buffer(10, 0));
}

TEST_CASE("stream: the sealer refuses wrong lengths and what comes after the last chunk") {
  const auto key = keyOf();
  std::unique_ptr<StreamSealer> sealer;
  Buffer header(kManagedHeaderBytes), out(kChunk + 16), more(kChunk + 17);
  REQUIRE(ManagedKey::sealStream(key, kContext, header.data(), &sealer) == Code::OK);
  CHECK(sealer->chunk(pattern(kChunk - 1), false, MutBytes(out).first(kChunk + 15)) == Code::STREAM_INVALID);
  CHECK(sealer->chunk(pattern(kChunk + 1), false, more) == Code::STREAM_INVALID);
  CHECK(sealer->chunk(pattern(kChunk + 1), true, more) == Code::STREAM_INVALID);
  CHECK(sealer->chunk({}, false, MutBytes(out).first(16)) == Code::STREAM_INVALID);
  CHECK(sealer->chunk(pattern(kChunk), false, more) == Code::INTERNAL);
  CHECK(sealer->chunk(pattern(kChunk), false, out) == Code::OK);  // none of that has moved it
  CHECK(sealer->chunk({}, true, MutBytes(out).first(16)) == Code::STREAM_INVALID);
  CHECK(sealer->chunk(pattern(1), true, MutBytes(out).first(17)) == Code::OK);
  CHECK(sealer->chunk(pattern(1), true, MutBytes(out).first(17)) == Code::STREAM_INVALID);
  const Buffer longContext(limits::context_bytes_max + 1);
  std::unique_ptr<StreamOpener> opener;
  CHECK(ManagedKey::sealStream(key, longContext, header.data(), &sealer) == Code::CONTEXT_TOO_LONG);
  CHECK(ManagedKey::openStream(key, longContext, header, &opener) == Code::CONTEXT_TOO_LONG);
  CHECK(ManagedKey::openStream(key, kContext, Bytes(header).first(79), &opener) == Code::CIPHERTEXT_INVALID);
}

TEST_CASE("stream: its key leaves the arena with the last chunk, or with a failure") {
  const auto key = keyOf();
  const size_t before = Arena::stats().blocks;
  std::unique_ptr<StreamSealer> sealer;
  std::unique_ptr<StreamOpener> opener;
  Buffer header(kManagedHeaderBytes), chunk(26), out(10);
  REQUIRE(ManagedKey::sealStream(key, kContext, header.data(), &sealer) == Code::OK);
  REQUIRE(ManagedKey::openStream(key, kContext, header, &opener) == Code::OK);
  CHECK(Arena::stats().blocks == before + 2);
  REQUIRE(sealer->chunk(pattern(10), true, chunk) == Code::OK);
  CHECK(Arena::stats().blocks == before + 1);
  chunk[0] ^= 1;
  CHECK(opener->chunk(chunk, true, out) == Code::CIPHERTEXT_INVALID);
  CHECK(Arena::stats().blocks == before);
}
