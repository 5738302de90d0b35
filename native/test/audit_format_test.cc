// The bytes of docs/FORMAT.md, which another implementation made (test/golden/twin.ts), and what a reader refuses.
#include "audit_fixture.h"
#include "golden.h"

using namespace quorate;
using namespace quorate::test;

namespace {

KeyId keyIdOf(const Golden& golden) {
  KeyId id;
  std::copy(golden["key.id"].begin(), golden["key.id"].end(), id.begin());
  return id;
}

std::shared_ptr<const AuditSigner> signerOf(const Golden& golden) {
  std::shared_ptr<const AuditSigner> signer;
  REQUIRE(AuditSigner::make(golden["audit.seed"], "quorate/" + toHex(golden["audit.store"]), &signer) == Code::OK);
  return signer;
}

AuditTree treeOf(const Golden& golden, std::initializer_list<const char*> leaves) {
  AuditTree tree;
  for (const char* leaf : leaves) tree.add(auditLeafHash(golden[leaf]));
  return tree;
}

}  // namespace

TEST_CASE("audit format: the leaves that the plane makes are the messages") {
  const Golden golden("formats.txt");
  const CountRow rows[] = {{7, keyIdOf(golden), 3, 64, 0, 1ull << 40}, {7, {}, 0, 70, 7, 1}};
  Buffer out(kCountsHeadBytesMax + 2 * kCountRowBytesMax);
  out.resize(encodeCounts(1'700'000'000'000, rows, out.data()));
  CHECK(out == golden["audit.counts"]);
  LoggedCall call;
  call.timeMs = 1'700'000'000'001;
  call.uid = 1000;
  call.pid = 4242;
  call.session = 7;
  call.method = 72;
  call.keyId = keyIdOf(golden);
  call.version = 3;
  call.resource = "wages";
  CHECK(encodeCall(call) == golden["audit.call"]);
  const AuditTree known = treeOf(golden, {"audit.counts", "audit.call"});
  CHECK(encodeGap(1'700'000'000'002, "a segment is gone", 1, known) == golden["audit.gap"]);
  uint64_t from = 0;
  CHECK(decodeGap(golden["audit.gap"], &from) == known);
  CHECK(from == 1);
}

TEST_CASE("audit format: the largest rows fit where room is kept for them") {
  KeyId id;
  id.fill(0xff);
  const std::vector<CountRow> rows(AuditCounts::kRowsMax, {UINT64_MAX, id, UINT32_MAX, UINT16_MAX, UINT16_MAX, UINT64_MAX});
  Buffer out(limits::audit_entry_bytes_max + 1, 0x5a);
  const size_t n = encodeCounts(UINT64_MAX, rows, out.data());
  CHECK(n <= kCountsHeadBytesMax + rows.size() * kCountRowBytesMax);
  CHECK(out.back() == 0x5a);
}

TEST_CASE("audit format: a gap is read only as it is written") {
  const Golden golden("formats.txt");
  AuditTree tree;
  CHECK(decodeGap(encodeGap(1, "why", 0, tree)) == tree);
  CHECK_FALSE(decodeGap(encodeGap(1, "why", 1, tree)).has_value());
  for (int i = 0; i < 200; i++) tree.add(auditLeafHash(bytesOf(leafNumber(static_cast<uint64_t>(i)))));
  CHECK(decodeGap(encodeGap(1, "why", 200, tree)) == tree);
  CHECK_FALSE(decodeGap(encodeGap(1, "why", 201, tree)).has_value());
  Buffer gap = golden["audit.gap"];
  CHECK_FALSE(decodeGap(golden["audit.counts"]).has_value());
  CHECK_FALSE(decodeGap(Bytes(gap).first(gap.size() - 1)).has_value());
  gap.back() = gap.back() == '0' ? '1' : '0';  // another subtree: the root is not its
  CHECK_FALSE(decodeGap(gap).has_value());
}

TEST_CASE("audit format: segments open, each leaf at its own index alone") {
  const Golden golden("formats.txt");
  const Bytes segment = golden["audit.segment"], after = golden["audit.segmentAfterGap"];
  std::vector<Buffer> leaves;
  REQUIRE(openEntries(golden["audit.key"], segment.first(kSegmentHeaderBytes), 0, segment.subspan(kSegmentHeaderBytes), &leaves) == Code::OK);
  REQUIRE(leaves.size() == 2);
  CHECK(leaves[0] == golden["audit.counts"]);
  CHECK(leaves[1] == golden["audit.call"]);
  REQUIRE(openEntries(golden["audit.key"], after.first(kSegmentHeaderBytes), 2, after.subspan(kSegmentHeaderBytes), &leaves) == Code::OK);
  REQUIRE(leaves.size() == 1);
  CHECK(leaves[0] == golden["audit.gap"]);
  const auto opens = [&](Bytes header, uint64_t index, Bytes entries) {
    REQUIRE(openEntries(golden["audit.key"], header, index, entries, &leaves) == Code::OK);
    return leaves.size();
  };
  const Bytes header = segment.first(kSegmentHeaderBytes), entries = segment.subspan(kSegmentHeaderBytes);
  CHECK(opens(header, 1, entries) == 0);
  CHECK(opens(after.first(kSegmentHeaderBytes), 0, entries) == 0);
  CHECK(opens(header, 0, entries.first(entries.size() - 1)) == 1);
  for (size_t at = 0; at < entries.size(); at++) {
    Buffer changed(entries.begin(), entries.end());
    changed[at] ^= 0x10;
    CHECK(opens(header, 0, changed) < 2);
  }
  for (size_t at = 0; at < header.size(); at++) {
    Buffer changed(header.begin(), header.end());
    changed[at] ^= 1;
    leaves.clear();
    const Code code = openEntries(golden["audit.key"], changed, 0, entries, &leaves);
    CHECK((code == Code::AUDIT_CORRUPT || leaves.empty()));
  }
}

TEST_CASE("audit format: the writer's segment is the twin's, entry for entry") {
  const Golden golden("formats.txt");
  SegmentHeader header;
  const Bytes segment = golden["audit.segment"];
  REQUIRE(decodeSegmentHeader(segment.first(kSegmentHeaderBytes), &header));
  CHECK(Bytes(header.storeId).size() == golden["audit.store"].size());
  CHECK(std::equal(header.storeId.begin(), header.storeId.end(), golden["audit.store"].begin()));
  Buffer out(segment.size());
  const SegmentHeaderBytes bytes = encodeSegmentHeader(header);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  SegmentKey key;
  REQUIRE(SegmentKey::make(golden["audit.key"], bytes, &key) == Code::OK);
  size_t at = kSegmentHeaderBytes;
  uint64_t index = 0;
  for (const char* leaf : {"audit.counts", "audit.call"}) {
    key.seal(index++, golden[leaf], out.data() + at);
    at += golden[leaf].size() + kEntryOverheadBytes;
  }
  CHECK(out == golden["audit.segment"]);
}

TEST_CASE("audit format: checkpoints and frontier") {
  const Golden golden("formats.txt");
  const auto signer = signerOf(golden);
  const AuditTree tree = treeOf(golden, {"audit.counts", "audit.call", "audit.gap"});
  const std::string expected(golden["audit.checkpoint.text"].begin(), golden["audit.checkpoint.text"].end());
  std::string note;
  REQUIRE(signer->sign({tree.size(), tree.root()}, &note) == Code::OK);
  CHECK(note == expected);
  const auto opened = signer->open(note);
  REQUIRE(opened.has_value());
  CHECK(opened->size == 3);
  CHECK(opened->root == tree.root());
  for (size_t at = 0; at < note.size(); at++) {
    for (const int bit : {0, 5}) {
      std::string changed = note;
      changed[at] = static_cast<char>(changed[at] ^ 1 << bit);
      CHECK_FALSE(signer->open(changed).has_value());
    }
    CHECK_FALSE(signer->open(note.substr(0, at)).has_value());
  }
  CHECK_FALSE(signer->open(note + "\n").has_value());
  CHECK_FALSE(signer->open(note.substr(0, note.find("\n3\n") + 1) + "03\n" + note.substr(note.find("\n3\n") + 3)).has_value());

  StoreId storeId;
  std::copy(golden["audit.store"].begin(), golden["audit.store"].end(), storeId.begin());
  CHECK(encodeFrontier(tree, storeId) == golden["audit.frontier"]);
  CHECK(decodeFrontier(golden["audit.frontier"], storeId) == tree);
  CHECK_FALSE(decodeFrontier(Bytes(golden["audit.frontier"]).first(61), storeId).has_value());
}

TEST_CASE("audit format: the list of segments is this key's and this store's") {
  const AuditPlaces places;
  SegmentList list{{{0, 100}, {12, 3000}}, {}};
  for (int i = 0; i < 77; i++) list.start.add(auditLeafHash(bytesOf(leafNumber(static_cast<uint64_t>(i)))));
  const Buffer bytes = encodeSegmentList(list, places.options.storeId, bytesOf(auditKey()));
  const auto read = decodeSegmentList(bytes, places.options.storeId, bytesOf(auditKey()));
  REQUIRE(read.has_value());
  REQUIRE(read->finished.size() == 2);
  CHECK(read->finished[1].firstIndex == 12);
  CHECK(read->finished[1].bytes == 3000);
  CHECK(read->start == list.start);
  for (size_t at = 0; at < bytes.size(); at++) {
    Buffer changed = bytes;
    changed[at] ^= 4;
    CHECK_FALSE(decodeSegmentList(changed, places.options.storeId, bytesOf(auditKey())).has_value());
    CHECK_FALSE(decodeSegmentList(Bytes(bytes).first(at), places.options.storeId, bytesOf(auditKey())).has_value());
  }
  CHECK_FALSE(decodeSegmentList(bytes, places.options.storeId, bytesOf(auditSeed())).has_value());
  CHECK_FALSE(decodeSegmentList(bytes, StoreId{}, bytesOf(auditKey())).has_value());
}

TEST_CASE("audit format: base64") {
  for (const auto& [plain, text] : {std::pair{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}}) {  // RFC 4648, section 10
    CHECK(encodeBase64(bytesOf(plain)) == text);
    const auto decoded = decodeBase64(text);
    REQUIRE(decoded.has_value());
    CHECK(std::string(decoded->begin(), decoded->end()) == plain);
  }
  for (const char* bad : {"Zg=", "Zg", "Zh==", "Zm9v\n", "Zm9v=", "Z g=", "Zm9vYg", "-m9v"}) CHECK_FALSE(decodeBase64(bad).has_value());
}
